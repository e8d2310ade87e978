//! The log lines about refused connections, limited for each reason: a client that tries again and again, or a scanner, must not
//! fill the log. The metric counts all of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use headgate_xds::Refusal;

/// Length of a window.
const WINDOW: Duration = Duration::from_secs(60);
/// Lines of one reason in a window.
const MAX_LINES: u32 = 10;

/// The windows of all reasons.
#[derive(Debug, Default)]
pub(crate) struct RefusalLog(BTreeMap<Refusal, Window>);

#[derive(Debug)]
struct Window {
    ends: Instant,
    lines: u32,
    /// Lines suppressed since the last one that was logged.
    suppressed: u64,
}

impl RefusalLog {
    /// Logs a refusal, unless there were too many of its reason.
    pub(crate) fn refused(
        &mut self,
        port: &str,
        peer: SocketAddr,
        refusal: Refusal,
        detail: &str,
        now: Instant,
    ) {
        if let Some(suppressed) = self.admit(refusal, now) {
            let peer = peer.to_string();
            let refusal = refusal.as_str();
            tracing::warn!(
                port,
                peer,
                refusal,
                detail,
                suppressed,
                "connection refused"
            );
        }
    }

    /// Whether to log a line at `now`: if so, the number of lines that were suppressed since the last one.
    fn admit(&mut self, refusal: Refusal, now: Instant) -> Option<u64> {
        let window = self.0.entry(refusal).or_insert_with(|| Window {
            ends: now + WINDOW,
            lines: 0,
            suppressed: 0,
        });
        if window.ends <= now {
            window.ends = now + WINDOW;
            window.lines = 0;
        }
        if window.lines == MAX_LINES {
            window.suppressed += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_logged_a_few_times_a_minute_and_the_next_line_counts_what_was_suppressed() {
        let (mut log, t) = (RefusalLog::default(), Instant::now());
        let logged = (0..100).filter(|_| log.admit(Refusal::UriSan, t).is_some());
        assert_eq!(logged.count(), 10);
        assert_eq!(
            log.admit(Refusal::NoCertificate, t),
            Some(0),
            "its own limit"
        );
        assert_eq!(log.admit(Refusal::UriSan, t + WINDOW), Some(90));
    }
}
