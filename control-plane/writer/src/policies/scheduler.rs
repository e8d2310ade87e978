//! Schedule of policy status writes: at most one write of an object in [`MIN_INTERVAL`], by any replica. The first write is immediate, and
//! the newest state is always written last.
//!
//! Pure: both clocks are arguments. Inputs are the desired states (from the plan) and the stored ones (from the watch).

use std::collections::BTreeMap;
use std::time::Duration;

use headgate_contract::Condition;
use headgate_model::{PolicyId, PolicyOutcome};
use k8s_openapi::jiff::Timestamp;

use super::status::to_write;
use crate::counts::PolicyRollup;
use headgate_kubernetes::policies::StoredStatus;

/// Shortest time between two writes of an object.
pub const MIN_INTERVAL: Duration = Duration::from_secs(10);

/// The desired state of every policy.
pub type PolicyStates = BTreeMap<PolicyId, PolicyState>;

/// The desired state of a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyState {
    /// `metadata.uid` of the object.
    pub uid: String,
    /// The result of its evaluation.
    pub outcome: PolicyOutcome,
    /// Proxies that have it.
    pub counts: PolicyRollup,
}

/// Desired and stored states, and the times of the last writes.
///
/// Invariant: the status of an object is never written to another object with the same name.
#[derive(Debug, Default)]
pub struct StatusScheduler {
    wanted: PolicyStates,
    stored: BTreeMap<PolicyId, StoredStatus>,
    /// Conditions before a write, until the watch shows the write.
    before: BTreeMap<PolicyId, Vec<Condition>>,
    /// Earliest time of the next write, on the monotonic clock.
    not_before: BTreeMap<PolicyId, Duration>,
}

/// A write of a status.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// The policy.
    pub id: PolicyId,
    /// `metadata.uid` of the object.
    pub uid: String,
    /// `metadata.resourceVersion` that the write is based on. The API server rejects the write if the object changed.
    pub version: String,
    /// The conditions.
    pub conditions: Vec<Condition>,
}

/// The next actions.
#[derive(Debug, PartialEq, Default)]
pub struct Due {
    /// Writes that are due.
    pub writes: Vec<Write>,
    /// When to call again without a change.
    pub next: Option<Duration>,
}

impl StatusScheduler {
    /// Sets the desired states of all policies.
    pub fn want(&mut self, wanted: PolicyStates) {
        self.wanted = wanted;
    }

    /// Sets the stored status of all objects, and the time of the last write by any replica, so that a new leader keeps the interval.
    /// Only these objects get a status.
    pub fn stored(
        &mut self,
        stored: BTreeMap<PolicyId, StoredStatus>,
        now: Timestamp,
        clock: Duration,
    ) {
        let known = std::mem::replace(&mut self.stored, stored);
        let known = |id: &PolicyId, uid: &str| known.get(id).filter(|known| known.uid == uid);
        self.before.clear();
        self.not_before.retain(|id, _| {
            let there = self.stored.get(id);
            there.is_some_and(|there| known(id, &there.uid).is_some())
        });
        for (id, status) in &self.stored {
            let Some(at) = status.written else {
                continue;
            };
            if known(id, &status.uid).is_some_and(|known| known.written == Some(at)) {
                continue;
            }
            // The API server has a resolution of one second, and its clock may be ahead.
            let age = now.duration_since(at + Duration::from_secs(1));
            let age = Duration::try_from(age).unwrap_or_default();
            let not_before = self.not_before.entry(id.clone()).or_default();
            *not_before = (*not_before).max(clock + MIN_INTERVAL.saturating_sub(age));
        }
    }

    /// The writes that are due at `clock`. They count as done: report a failure with [`Self::failed`] or [`Self::skipped`].
    pub fn due(&mut self, now: Timestamp, clock: Duration) -> Due {
        let mut due = Due {
            writes: Vec::new(),
            next: None,
        };
        for (id, state) in &self.wanted {
            let stored = self.stored.get_mut(id);
            let Some(stored) = stored.filter(|stored| stored.uid == state.uid) else {
                continue;
            };
            let (outcome, counts) = (&state.outcome, state.counts);
            let Some(conditions) = to_write(outcome, counts, &stored.conditions, now) else {
                continue;
            };
            let at = self.not_before.get(id).copied().unwrap_or(clock);
            if at > clock {
                due.next = Some(due.next.map_or(at, |next| next.min(at)));
                continue;
            }
            let before = std::mem::replace(&mut stored.conditions, conditions.clone());
            self.before.insert(id.clone(), before);
            self.not_before.insert(id.clone(), clock + MIN_INTERVAL);
            due.writes.push(Write {
                id: id.clone(),
                uid: stored.uid.clone(),
                version: stored.version.clone(),
                conditions,
            });
        }
        due
    }

    /// A write was not sent. It stays due.
    pub fn skipped(&mut self, id: &PolicyId) {
        self.failed(id);
        self.not_before.remove(id);
    }

    /// A write failed. It is due again after the interval.
    pub fn failed(&mut self, id: &PolicyId) {
        if let (Some(stored), Some(before)) = (self.stored.get_mut(id), self.before.remove(id)) {
            stored.conditions = before;
        }
    }
}
