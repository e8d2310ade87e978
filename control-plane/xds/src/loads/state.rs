//! The clusters that each proxy cannot reach, derived from its load reports. Pure: time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::provider::Scope;

/// Most unreached clusters kept for one proxy; further ones are dropped.
const MAX_CLUSTERS: usize = 4096;
/// Longest name of a cluster that is kept, in bytes.
const MAX_NAME: usize = 1024;
/// Most closed streams that are kept; beyond it the one with the oldest report is dropped.
const MAX_CLOSED: usize = 1024;
/// How long the last report of a proxy counts if no other one follows.
const REPORT_EXPIRY: Duration = Duration::from_secs(300);
/// How long an unreached cluster is kept without a new request to it. The filters send a request to a version that they pass
/// over at least every 5 min if it has sessions, so a shorter time would split one outage into many.
const OUTAGE_EXPIRY: Duration = Duration::from_secs(900);

/// Requests to one cluster in one window of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterLoad {
    /// Requests with a response other than 5xx.
    pub succeeded: u64,
    /// Requests without a response, or with a 5xx.
    pub failed: u64,
    /// Requests that were sent on a connection in this window (`total_issued_requests`).
    pub issued: u64,
    /// Requests in progress at the end of the window.
    pub in_progress: u64,
    /// Length of the window.
    pub window: Duration,
}

impl ClusterLoad {
    /// Whether the proxy reached the cluster in this window; `None` if the window does not tell.
    ///
    /// Envoy does not issue a request that gets no connection. An issued request that failed may have received a 500 from a
    /// server, and one in progress may still be answered: a generation takes longer than a window.
    #[must_use]
    pub fn reached(&self) -> Option<bool> {
        match (self.succeeded, self.failed) {
            (1.., _) => Some(true),
            (0, 1..) if self.in_progress == 0 => (self.issued == 0).then_some(false),
            _ => None,
        }
    }
}

/// A proxy that reports its load, and the clusters that it cannot reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reporter {
    /// Node id.
    pub node: String,
    /// Scope.
    pub scope: Scope,
    /// The clusters that it cannot reach, each with the start of the outage.
    pub unreached: BTreeMap<String, SystemTime>,
}

/// One stream of reports, open or closed.
#[derive(Clone, Debug)]
struct Entry {
    node: String,
    scope: Scope,
    open: bool,
    /// Time of the last report, or of the opening.
    last_report: SystemTime,
    /// By cluster.
    outages: BTreeMap<String, Outage>,
}

/// A cluster that a proxy cannot reach.
#[derive(Clone, Copy, Debug)]
struct Outage {
    since: SystemTime,
    /// Time of the last failed request.
    last_failure: SystemTime,
}

/// All streams.
#[derive(Debug, Default)]
pub(super) struct State {
    next: u64,
    entries: BTreeMap<u64, Entry>,
}

impl State {
    /// Opens a stream and returns its number. It takes over the outages of a closed stream of the same node and scope.
    pub(super) fn join(&mut self, node: &str, scope: &Scope, now: SystemTime) -> u64 {
        let closed = self
            .entries
            .iter()
            .find(|(_, entry)| !entry.open && entry.node == node && entry.scope == *scope);
        let closed = closed.map(|(stream, _)| *stream);
        let entry = closed.and_then(|stream| self.entries.remove(&stream));
        let mut entry = entry.unwrap_or_else(|| Entry {
            node: node.to_owned(),
            scope: scope.clone(),
            open: true,
            last_report: now,
            outages: BTreeMap::new(),
        });
        entry.open = true;
        entry.last_report = now;
        self.next += 1;
        self.entries.insert(self.next, entry);
        self.next
    }

    /// Closes a stream, and drops it if it has no outage. Returns whether the reporters changed.
    pub(super) fn leave(&mut self, stream: u64) -> bool {
        let Some(entry) = self.entries.get_mut(&stream) else {
            return false;
        };
        entry.open = false;
        if entry.outages.is_empty() {
            self.entries.remove(&stream);
            return true;
        }
        let closed = self.entries.iter().filter(|(_, entry)| !entry.open);
        if closed.clone().count() <= MAX_CLOSED {
            return false;
        }
        let oldest = closed.min_by_key(|(_, entry)| entry.last_report);
        let oldest = oldest.map(|(stream, _)| *stream);
        oldest
            .and_then(|stream| self.entries.remove(&stream))
            .is_some()
    }

    /// Records a report. Returns whether the reporters changed.
    pub(super) fn report(
        &mut self,
        stream: u64,
        loads: impl IntoIterator<Item = (String, ClusterLoad)>,
        now: SystemTime,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(&stream) else {
            return false;
        };
        entry.last_report = now;
        let mut changed = false;
        for (cluster, load) in loads {
            match load.reached() {
                None => {}
                Some(true) => changed |= entry.outages.remove(&cluster).is_some(),
                Some(false) => changed |= entry.fail(cluster, load.window, now),
            }
        }
        changed
    }

    /// Drops outages that are too old. Returns whether the reporters changed.
    pub(super) fn expire(&mut self, now: SystemTime) -> bool {
        let mut changed = false;
        let old = |at: SystemTime, after| now.duration_since(at).is_ok_and(|age| age >= after);
        for entry in self.entries.values_mut() {
            let silent = old(entry.last_report, REPORT_EXPIRY);
            let before = entry.outages.len();
            let lasts = |outage: &Outage| !silent && !old(outage.last_failure, OUTAGE_EXPIRY);
            entry.outages.retain(|_, outage| lasts(outage));
            changed |= entry.outages.len() != before;
        }
        let before = self.entries.len();
        self.entries
            .retain(|_, entry| entry.open || !entry.outages.is_empty());
        changed || self.entries.len() != before
    }

    /// When [`State::expire`] next drops something.
    pub(super) fn expires_at(&self) -> Option<SystemTime> {
        let failing = self.entries.values().filter(|e| !e.outages.is_empty());
        let at = failing.flat_map(|entry| {
            let outages = entry
                .outages
                .values()
                .map(|o| o.last_failure + OUTAGE_EXPIRY);
            outages.chain([entry.last_report + REPORT_EXPIRY])
        });
        at.min()
    }

    pub(super) fn reporters(&self) -> impl Iterator<Item = Reporter> {
        self.entries.values().map(Entry::reporter)
    }
}

impl Entry {
    fn reporter(&self) -> Reporter {
        let outages = self.outages.iter();
        Reporter {
            node: self.node.clone(),
            scope: self.scope.clone(),
            unreached: outages.map(|(c, o)| (c.clone(), o.since)).collect(),
        }
    }

    /// Records failed requests to a cluster in the window that ends `now`. Returns whether the outage is new.
    fn fail(&mut self, cluster: String, window: Duration, now: SystemTime) -> bool {
        if let Some(outage) = self.outages.get_mut(&cluster) {
            outage.last_failure = now;
            return false;
        }
        if self.outages.len() >= MAX_CLUSTERS || cluster.len() > MAX_NAME {
            return false;
        }
        // A proxy may report a window longer than the clock can represent.
        let since = now.checked_sub(window.min(REPORT_EXPIRY)).unwrap_or(now);
        self.outages.insert(
            cluster,
            Outage {
                since,
                last_failure: now,
            },
        );
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn scope() -> Scope {
        Scope("all".to_owned())
    }

    /// Answered, failed, issued, in progress.
    fn load([succeeded, failed, issued, in_progress]: [u64; 4]) -> ClusterLoad {
        ClusterLoad {
            succeeded,
            failed,
            issued,
            in_progress,
            window: WINDOW,
        }
    }

    const REFUSED: [u64; 4] = [0, 3, 0, 0];
    const ANSWERED: [u64; 4] = [1, 0, 1, 0];

    fn report(state: &mut State, stream: u64, loads: [u64; 4], now: u64) -> bool {
        state.report(stream, [("c".to_owned(), load(loads))], at(now))
    }

    fn unreached(state: &State) -> Vec<(String, Vec<(String, SystemTime)>)> {
        let reporters = state.reporters();
        reporters
            .map(|r| (r.node, r.unreached.into_iter().collect()))
            .collect()
    }

    fn of_node(node: &str, clusters: &[(&str, SystemTime)]) -> (String, Vec<(String, SystemTime)>) {
        let clusters = clusters.iter().map(|(name, at)| ((*name).to_owned(), *at));
        (node.to_owned(), clusters.collect())
    }

    #[test]
    fn a_window_without_a_clear_result_counts_as_neither_reached_nor_unreached() {
        for (loads, reached) in [
            (REFUSED, Some(false)),
            (ANSWERED, Some(true)),
            ([0, 0, 0, 0], None),
            // A server that answers 500 was reached, one that resets may have been.
            ([0, 2, 2, 0], None),
            // A generation is in progress.
            ([0, 1, 0, 1], None),
            ([0, 0, 1, 1], None),
            // One of two endpoints answers.
            ([4, 4, 4, 0], Some(true)),
        ] {
            assert_eq!(load(loads).reached(), reached, "{loads:?}");
        }
    }

    #[test]
    fn an_outage_lasts_from_the_window_of_its_first_failure_until_a_response() {
        let mut state = State::default();
        let stream = state.join("a", &scope(), at(0));
        assert!(!report(&mut state, stream, ANSWERED, 10));
        assert!(report(&mut state, stream, REFUSED, 20));
        assert!(!report(&mut state, stream, REFUSED, 30), "the same");
        assert!(!report(&mut state, stream, [0, 1, 1, 0], 40));
        assert_eq!(unreached(&state), [of_node("a", &[("c", at(10))])]);
        assert!(report(&mut state, stream, ANSWERED, 50));
        assert_eq!(unreached(&state), [of_node("a", &[])]);
    }

    #[test]
    fn old_outages_and_reports_of_silent_proxies_expire() {
        let mut state = State::default();
        let stream = state.join("a", &scope(), at(0));
        report(&mut state, stream, REFUSED, 10);
        // The proxy reports, and sends no request to the cluster: as long as the filters may take to send one.
        for now in (20..910).step_by(10) {
            state.report(stream, [], at(now));
            assert!(!state.expire(at(now)), "{now}");
        }
        state.report(stream, [], at(910));
        assert!(state.expire(at(910)));
        assert_eq!(unreached(&state), [of_node("a", &[])]);
        // The proxy does not report.
        report(&mut state, stream, REFUSED, 1000);
        assert_eq!(state.expires_at(), Some(at(1300)));
        assert!(!state.expire(at(1299)));
        assert!(state.expire(at(1300)));
        assert_eq!(unreached(&state), [of_node("a", &[])]);
        assert_eq!(state.expires_at(), None);
    }

    #[test]
    fn a_closed_stream_leaves_its_outages_to_the_next_stream_of_the_node() {
        let mut state = State::default();
        let well = state.join("well", &scope(), at(0));
        assert!(state.leave(well));
        assert!(unreached(&state).is_empty());
        let ill = state.join("ill", &scope(), at(0));
        report(&mut state, ill, REFUSED, 10);
        state.leave(ill);
        let other = state.join("other", &scope(), at(15));
        let again = state.join("ill", &scope(), at(20));
        assert_eq!(unreached(&state).len(), 2, "taken over");
        assert!(report(&mut state, again, ANSWERED, 30));
        state.leave(other);
        state.leave(again);
        assert!(unreached(&state).is_empty());
        let ill = state.join("ill", &scope(), at(100));
        report(&mut state, ill, REFUSED, 110);
        state.leave(ill);
        assert!(state.expire(at(410)), "the node did not come back");
        assert!(unreached(&state).is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let mut state = State::default();
        let stream = state.join("a", &scope(), at(0));
        let many = (0..MAX_CLUSTERS + 10).map(|n| (n.to_string(), load(REFUSED)));
        state.report(stream, many, at(10));
        let long = ("x".repeat(MAX_NAME + 1), load(REFUSED));
        state.report(stream, [long], at(10));
        assert_eq!(unreached(&state)[0].1.len(), MAX_CLUSTERS);
        state.leave(stream);
        for n in 0..MAX_CLOSED + 10 {
            let stream = state.join(&format!("n{n}"), &scope(), at(20));
            report(&mut state, stream, REFUSED, 30);
            state.leave(stream);
        }
        assert_eq!(state.entries.len(), MAX_CLOSED);
        assert!(!unreached(&state).iter().any(|(node, _)| node == "a"));
    }
}
