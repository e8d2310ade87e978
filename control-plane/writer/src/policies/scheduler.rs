//! Which statuses to write when: at most one write of an object in [`PACE`], whoever wrote last, the first at once, the
//! newest always last.
//!
//! Pure: both clocks are arguments. Place in the flow: between the plan (what became of each policy), the watch (what is
//! stored) and the writer.

use std::collections::BTreeMap;
use std::time::Duration;

use headgate_model::{PolicyId, PolicyOutcome};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;

use super::status::to_write;
use crate::counts::PolicyRollup;
use headgate_kubernetes::policies::StoredStatus;

/// Time between two writes of one object.
pub const PACE: Duration = Duration::from_secs(10);

/// What every policy's status should say.
pub type Standings = BTreeMap<PolicyId, Standing>;

/// What the status of one object should say.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// `metadata.uid` of the object that this describes.
    pub uid: String,
    /// What became of it.
    pub outcome: PolicyOutcome,
    /// How many proxies have it.
    pub counts: PolicyRollup,
}

/// What is wanted, what is stored, and when was written.
///
/// Invariant: the status of an object is never written to another object with the same name.
#[derive(Debug, Default)]
pub struct StatusScheduler {
    wanted: Standings,
    stored: BTreeMap<PolicyId, StoredStatus>,
    /// What was stored before a write, until it is seen.
    before: BTreeMap<PolicyId, Vec<Condition>>,
    /// Before when not to write again, by a clock that only goes forward.
    rests: BTreeMap<PolicyId, Duration>,
}

/// A status to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Which policy.
    pub id: PolicyId,
    /// `metadata.uid` of the object.
    pub uid: String,
    /// `metadata.resourceVersion` that was seen: the write is refused if the object has changed since.
    pub version: String,
    /// What to write.
    pub conditions: Vec<Condition>,
}

/// What to do now.
#[derive(Debug, PartialEq, Default)]
pub struct Due {
    /// What to write.
    pub writes: Vec<Write>,
    /// When to ask again, if nothing else happens.
    pub next: Option<Duration>,
}

impl StatusScheduler {
    /// What the statuses should say, all of them.
    pub fn want(&mut self, wanted: Standings) {
        self.wanted = wanted;
    }

    /// Records the stored status of every object, and when any replica wrote it last, so that a new leader keeps the pace. Only these
    /// objects get a status.
    pub fn stored(
        &mut self,
        stored: BTreeMap<PolicyId, StoredStatus>,
        now: Timestamp,
        clock: Duration,
    ) {
        let known = std::mem::replace(&mut self.stored, stored);
        let known = |id: &PolicyId, uid: &str| known.get(id).filter(|known| known.uid == uid);
        self.before.clear();
        self.rests.retain(|id, _| {
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
            // The API server tells whole seconds, and its clock may be ahead.
            let age = now.duration_since(at + Duration::from_secs(1));
            let age = Duration::try_from(age).unwrap_or_default();
            let rests = self.rests.entry(id.clone()).or_default();
            *rests = (*rests).max(clock + PACE.saturating_sub(age));
        }
    }

    /// What to write at `clock`. It counts as written: if that fails, say so with [`Self::failed`] or [`Self::untried`].
    pub fn due(&mut self, now: Timestamp, clock: Duration) -> Due {
        let mut due = Due {
            writes: Vec::new(),
            next: None,
        };
        for (id, standing) in &self.wanted {
            let stored = self.stored.get_mut(id);
            let Some(stored) = stored.filter(|stored| stored.uid == standing.uid) else {
                continue;
            };
            let (outcome, counts) = (&standing.outcome, standing.counts);
            let Some(conditions) = to_write(outcome, counts, &stored.conditions, now) else {
                continue;
            };
            let at = self.rests.get(id).copied().unwrap_or(clock);
            if at > clock {
                due.next = Some(due.next.map_or(at, |next| next.min(at)));
                continue;
            }
            let before = std::mem::replace(&mut stored.conditions, conditions.clone());
            self.before.insert(id.clone(), before);
            self.rests.insert(id.clone(), clock + PACE);
            due.writes.push(Write {
                id: id.clone(),
                uid: stored.uid.clone(),
                version: stored.version.clone(),
                conditions,
            });
        }
        due
    }

    /// A write was not tried: it is due as if it had not been.
    pub fn untried(&mut self, id: &PolicyId) {
        self.failed(id);
        self.rests.remove(id);
    }

    /// A write did not happen: what was stored still is, and the write is due again, at its pace.
    pub fn failed(&mut self, id: &PolicyId) {
        if let (Some(stored), Some(before)) = (self.stored.get_mut(id), self.before.remove(id)) {
            stored.conditions = before;
        }
    }
}
