//! Queue of Events: new findings and transitions → Events to write.
//!
//! Every replica observes the same findings; only the leader writes Events. A new leader writes all current findings and recent
//! transitions, in case the last leader did not. It finds Events that the last leader wrote by their names and does not repeat them.
//!
//! Pure: the clock is an argument. Invariant: a finding is written once while it lasts; the queue of transitions is bounded.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use headgate_model::Finding;

use super::EventRateLimiter;

/// Largest number of queued transitions. Beyond it the oldest is dropped.
const MAX_QUEUED: usize = 1024;
/// How long a replica that is not the leader keeps transitions: longer than the longest Lease.
const RECENT: Duration = Duration::from_secs(300);
/// Largest number of attempts that the API server answers with an error. With the backoff between them, this covers a restart of
/// the API server. An Event that still fails is the cause itself.
const MAX_TRIES: u32 = 8;

/// An Event to write.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PendingEvent {
    /// Its content and its object.
    pub finding: Finding,
    /// Whether it is a new occurrence, which increases the count of an existing Event. Otherwise it may be written already.
    pub is_new: bool,
    /// Number of attempts that the API server answered with an error. Timeouts do not count.
    pub tries: u32,
}

/// The queue of a replica.
#[derive(Debug, Default)]
pub struct EventQueue {
    leads: bool,
    /// The current findings; `None` before the first observation.
    findings: Option<BTreeSet<Finding>>,
    /// The current findings that are not written yet, and whether they are new.
    unwritten: BTreeMap<Finding, bool>,
    /// Transitions while another replica was the leader, with their times.
    recent: VecDeque<(Duration, Finding)>,
    queue: VecDeque<PendingEvent>,
    /// Events whose write failed. They have passed the rate limiter.
    failed: VecDeque<PendingEvent>,
    rate_limiter: EventRateLimiter,
    /// Number of dropped Events.
    dropped: u64,
}

impl EventQueue {
    /// Records the current findings, and the transitions since the last call.
    pub fn observe(
        &mut self,
        findings: BTreeSet<Finding>,
        transitions: Vec<Finding>,
        clock: Duration,
    ) {
        let first = self.findings.is_none();
        let before = self.findings.take().unwrap_or_default();
        let unwritten = std::mem::take(&mut self.unwritten).into_iter();
        let (lasting, over): (BTreeMap<_, _>, BTreeMap<_, _>) =
            unwritten.partition(|(finding, _)| findings.contains(finding));
        self.unwritten = lasting;
        // A new finding that ended before it was written becomes a transition.
        for (finding, _) in over.into_iter().filter(|(_, is_new)| *is_new) {
            self.push(finding, true);
        }
        if self.leads {
            let appeared = findings.difference(&before).cloned();
            // Findings of the first observation may be older than the process.
            self.unwritten
                .extend(appeared.map(|finding| (finding, !first)));
        }
        self.findings = Some(findings);
        for finding in transitions {
            if self.leads {
                self.push(finding, true);
            } else {
                self.recent.push_back((clock, finding));
            }
        }
        self.drop_old(clock);
    }

    /// Sets whether this replica is the leader from `clock` on.
    pub fn set_leading(&mut self, leads: bool, clock: Duration) {
        if std::mem::replace(&mut self.leads, leads) == leads {
            return;
        }
        self.drop_old(clock);
        self.queue.clear();
        self.failed.clear();
        self.unwritten.clear();
        if !leads {
            return;
        }
        let findings = self.findings.iter().flatten().cloned();
        self.unwritten = findings.map(|finding| (finding, false)).collect();
        for (_, finding) in std::mem::take(&mut self.recent) {
            self.push(finding, false);
        }
    }

    fn drop_old(&mut self, clock: Duration) {
        while self
            .recent
            .front()
            .is_some_and(|(at, _)| *at + RECENT < clock)
            || self.recent.len() > MAX_QUEUED
        {
            self.recent.pop_front();
        }
    }

    fn push(&mut self, finding: Finding, is_new: bool) {
        if self.queue.len() == MAX_QUEUED {
            self.queue.pop_front();
            self.dropped += 1;
        }
        self.queue.push_back(untried(finding, is_new));
    }

    fn pop_unwritten(&mut self) -> Option<PendingEvent> {
        let (finding, is_new) = self.unwritten.pop_first()?;
        Some(untried(finding, is_new))
    }

    /// The next Event to write at `clock`, if this replica is the leader. Events that were not tried yet come first, so that a failing
    /// one delays no other. Events beyond the rate limit of their object are dropped.
    pub fn next(&mut self, clock: Duration) -> Option<PendingEvent> {
        if !self.leads {
            return None;
        }
        while let Some(pending) = self.pop_unwritten().or_else(|| self.queue.pop_front()) {
            if self.rate_limiter.take(&pending.finding.object, clock) {
                return Some(pending);
            }
            self.dropped += 1;
        }
        self.failed.pop_front()
    }

    /// Queues failed Events behind all others, without a further charge of the rate limiter. Returns the Events that exceed
    /// the number of attempts; they are discarded.
    #[must_use]
    pub fn retry(&mut self, events: Vec<PendingEvent>) -> Vec<PendingEvent> {
        let (discarded, again): (Vec<_>, Vec<_>) = events
            .into_iter()
            .partition(|pending| pending.tries >= MAX_TRIES);
        self.failed.extend(again);
        while self.failed.len() > MAX_QUEUED {
            self.failed.pop_front();
            self.dropped += 1;
        }
        discarded
    }

    /// Whether Events were dropped since the last call of [`EventQueue::take_dropped`].
    pub fn has_dropped(&self) -> bool {
        self.dropped > 0
    }

    /// The number of Events dropped since the last call.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

fn untried(finding: Finding, is_new: bool) -> PendingEvent {
    PendingEvent {
        finding,
        is_new,
        tries: 0,
    }
}
