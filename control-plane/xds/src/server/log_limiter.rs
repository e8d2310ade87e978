//! A limit on log lines that a loop could repeat, such as a proxy that reconnects and rejects the same version again and again.
//! Pure, over an injected clock.
//!
//! The lines about one proxy are limited per resource type and topic in windows of one minute. In a window each rejected
//! version is logged once, at most [`MAX_REJECTIONS`] of them, at most [`MAX_CONNECTIONS`] lines on the begin and the end of
//! streams, and each other line once. The next line says how many were suppressed; for rejections, if none follows, the end of the
//! window does.
//!
//! Invariant: the first line of each window is logged, and no suppressed rejection goes unreported while its proxy is connected.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::resource::Kind;

/// Length of a window.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Different rejected versions that are logged in a window.
const MAX_REJECTIONS: usize = 10;
/// Lines on the begin and the end of streams that are logged in a window.
const MAX_CONNECTIONS: usize = 10;
/// Windows that are kept. Beyond it the one that ends first is dropped.
const MAX_WINDOWS: usize = 4096;

/// The subject of a limited line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic<'a> {
    /// A rejected response with several resources.
    RejectedResponse,
    /// A rejected version of a resource.
    RejectedResource {
        /// The resource.
        name: &'a str,
        /// Its version on the wire. Retries of a version are the same version.
        version: &'a str,
    },
    /// A slow acknowledgement.
    SlowAck,
    /// A stream without permission.
    Denied,
    /// The begin of a stream, its first snapshot, or its end.
    Connection,
}

impl Topic<'_> {
    /// Topics with the same number share a window.
    fn group(self) -> u8 {
        match self {
            Topic::RejectedResponse | Topic::RejectedResource { .. } => REJECTIONS,
            Topic::SlowAck => 1,
            Topic::Denied => 2,
            Topic::Connection => 3,
        }
    }
}

const REJECTIONS: u8 = 0;

/// Node id, resource type (`None` for lines about a whole stream), group of topics.
type Key = (String, Option<Kind>, u8);

#[derive(Debug)]
struct Window {
    ends: Instant,
    /// Names and versions of the rejected resources that were logged in this window.
    rejections: Vec<(String, String)>,
    /// Lines that are not about a rejected resource, logged in this window.
    others: usize,
    /// Lines suppressed since the last one that was logged.
    suppressed: u64,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self {
            ends: now + WINDOW,
            rejections: Vec::new(),
            others: 0,
            suppressed: 0,
        }
    }

    /// Whether a line may be logged in this window.
    fn admits(&mut self, topic: Topic<'_>) -> bool {
        let Topic::RejectedResource { name, version } = topic else {
            let most = match topic {
                Topic::Connection => MAX_CONNECTIONS,
                _ => 1,
            };
            let admits = self.others < most;
            self.others += usize::from(admits);
            return admits;
        };
        let version = version.split_once("+r").map_or(version, |(hash, _)| hash);
        let mut logged = self.rejections.iter();
        if logged.any(|(n, v)| n == name && v == version) || self.rejections.len() >= MAX_REJECTIONS
        {
            return false;
        }
        self.rejections.push((name.to_owned(), version.to_owned()));
        true
    }
}

/// The windows of all proxies.
#[derive(Debug, Default)]
pub(super) struct LogLimiter {
    windows: BTreeMap<Key, Window>,
}

impl LogLimiter {
    /// Whether to log a line at `now`: if so, the number of lines that were suppressed since the last one.
    pub(super) fn admit(
        &mut self,
        node: &str,
        kind: Option<Kind>,
        topic: Topic<'_>,
        now: Instant,
    ) -> Option<u64> {
        self.make_room(now);
        let key = (node.to_owned(), kind, topic.group());
        let window = self.windows.entry(key).or_insert_with(|| Window::new(now));
        if window.ends <= now {
            let suppressed = window.suppressed;
            *window = Window {
                suppressed,
                ..Window::new(now)
            };
        }
        if window.admits(topic) {
            Some(std::mem::take(&mut window.suppressed))
        } else {
            window.suppressed += 1;
            None
        }
    }

    /// When [`LogLimiter::take_suppressed`] has something to report about a proxy; `None` if no rejection is unreported.
    pub(super) fn report_at(&self, node: &str) -> Option<Instant> {
        let windows = Kind::PUSH_ORDER.into_iter().filter_map(|kind| {
            let key = (node.to_owned(), Some(kind), REJECTIONS);
            let window = self.windows.get(&key)?;
            (window.suppressed > 0).then_some(window.ends)
        });
        windows.min()
    }

    /// The numbers of suppressed rejections of a proxy in windows that have ended by `now`, by resource type.
    pub(super) fn take_suppressed(&mut self, node: &str, now: Instant) -> Vec<(Kind, u64)> {
        let mut all = Vec::new();
        for kind in Kind::PUSH_ORDER {
            let key = (node.to_owned(), Some(kind), REJECTIONS);
            let window = self.windows.get_mut(&key).filter(|w| w.ends <= now);
            let suppressed = window.map_or(0, |window| std::mem::take(&mut window.suppressed));
            if suppressed > 0 {
                all.push((kind, suppressed));
            }
        }
        all
    }

    fn make_room(&mut self, now: Instant) {
        if self.windows.len() < MAX_WINDOWS {
            return;
        }
        self.windows
            .retain(|_, window| window.ends > now || window.suppressed > 0);
        if self.windows.len() >= MAX_WINDOWS {
            let first = self.windows.iter().min_by_key(|(_, window)| window.ends);
            let first = first.map(|(key, _)| key.clone());
            first.and_then(|key| self.windows.remove(&key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: Option<Kind> = Some(Kind::Route);

    fn rejected(version: &str) -> Topic<'_> {
        Topic::RejectedResource { name: "r", version }
    }

    #[test]
    fn the_same_version_is_logged_once_a_minute_and_the_next_line_counts_what_was_suppressed() {
        let (t, mut limiter) = (Instant::now(), LogLimiter::default());
        assert_eq!(limiter.admit("n", ROUTES, rejected("1"), t), Some(0));
        for second in 1..60 {
            let at = t + Duration::from_secs(second);
            // A retry has other bytes, but is the same version.
            let version = format!("1+r{second}");
            assert_eq!(limiter.admit("n", ROUTES, rejected(&version), at), None);
        }
        assert_eq!(
            limiter.admit("n", ROUTES, rejected("1"), t + WINDOW),
            Some(59)
        );
        assert_eq!(
            limiter.admit("n", ROUTES, rejected("2"), t + WINDOW),
            Some(0)
        );
    }

    #[test]
    fn many_versions_are_logged_up_to_the_limit_and_other_proxies_and_types_have_their_own() {
        let (t, mut limiter) = (Instant::now(), LogLimiter::default());
        let logged = (0..100)
            .filter(|n| {
                let version = n.to_string();
                let admitted = limiter.admit("n", ROUTES, rejected(&version), t);
                admitted.is_some()
            })
            .count();
        assert_eq!(logged, MAX_REJECTIONS);
        assert_eq!(limiter.admit("other", ROUTES, rejected("99"), t), Some(0));
        let clusters = Some(Kind::Cluster);
        assert_eq!(limiter.admit("n", clusters, rejected("99"), t), Some(0));
        assert_eq!(limiter.admit("n", ROUTES, Topic::SlowAck, t), Some(0));
        assert_eq!(limiter.admit("n", ROUTES, Topic::SlowAck, t), None);
    }

    #[test]
    fn a_proxy_that_reconnects_all_the_time_logs_a_few_lines_a_minute() {
        let (t, mut limiter) = (Instant::now(), LogLimiter::default());
        let mut admit = |n: u64| {
            let at = t + Duration::from_millis(100) * u32::try_from(n).unwrap_or(0);
            limiter.admit("n", None, Topic::Connection, at)
        };
        let logged = (0..600).filter(|n| admit(*n).is_some()).count();
        assert_eq!(logged, MAX_CONNECTIONS);
        assert_eq!(admit(600), Some(590), "the next minute");
    }

    #[test]
    fn probes_do_not_use_up_the_lines_of_the_resources_at_fault() {
        let (t, mut limiter) = (Instant::now(), LogLimiter::default());
        let response = Topic::RejectedResponse;
        assert_eq!(limiter.admit("n", ROUTES, response, t), Some(0));
        for _ in 0..20 {
            assert_eq!(limiter.admit("n", ROUTES, response, t), None);
        }
        assert_eq!(limiter.admit("n", ROUTES, rejected("1"), t), Some(20));
    }

    #[test]
    fn suppressed_lines_are_reported_at_the_end_of_the_window_if_no_other_follows() {
        let (t, mut limiter) = (Instant::now(), LogLimiter::default());
        limiter.admit("n", ROUTES, rejected("1"), t);
        assert_eq!(limiter.report_at("n"), None);
        limiter.admit("n", ROUTES, rejected("1"), t);
        assert_eq!(limiter.report_at("n"), Some(t + WINDOW));
        assert_eq!(limiter.take_suppressed("n", t), []);
        let reported = limiter.take_suppressed("n", t + WINDOW);
        assert_eq!(reported, [(Kind::Route, 1)]);
        assert_eq!(limiter.report_at("n"), None);
    }

    #[test]
    fn the_number_of_windows_is_bounded() {
        let (t, mut limiter) = (Instant::now(), LogLimiter::default());
        for n in 0..MAX_WINDOWS + 100 {
            limiter.admit(&n.to_string(), None, Topic::Denied, t);
        }
        assert_eq!(limiter.windows.len(), MAX_WINDOWS);
    }
}
