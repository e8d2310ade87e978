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

use super::status::{Counts, to_write};

/// Time between two writes of one object.
pub const PACE: Duration = Duration::from_secs(10);

/// What every policy's status should say.
pub type Standings = BTreeMap<PolicyId, (PolicyOutcome, Counts)>;

/// What is wanted, what is stored, and when was written.
#[derive(Debug, Default)]
pub struct Desk {
    wanted: Standings,
    stored: BTreeMap<PolicyId, Vec<Condition>>,
    /// What was stored before a write, until it is seen.
    before: BTreeMap<PolicyId, Vec<Condition>>,
    /// Before when not to write again, by a clock that only goes forward.
    rests: BTreeMap<PolicyId, Duration>,
    /// When each was written last, by this process or another one, as the API server has it.
    written: BTreeMap<PolicyId, Timestamp>,
}

/// What to do now.
#[derive(Debug, PartialEq, Default)]
pub struct Due {
    /// The conditions to write.
    pub writes: Vec<(PolicyId, Vec<Condition>)>,
    /// When to ask again, if nothing else happens.
    pub next: Option<Duration>,
}

impl Desk {
    /// What the statuses should say, all of them.
    pub fn want(&mut self, wanted: Standings) {
        self.wanted = wanted;
    }

    /// What is stored, of every object there is. Statuses are written of these only.
    pub fn stored(&mut self, stored: BTreeMap<PolicyId, Vec<Condition>>) {
        self.stored = stored;
        self.before.clear();
        self.rests.retain(|id, _| self.stored.contains_key(id));
    }

    /// When each object was written last, which may have been another replica: who takes over keeps the pace.
    pub fn written(
        &mut self,
        written: BTreeMap<PolicyId, Timestamp>,
        now: Timestamp,
        clock: Duration,
    ) {
        for (id, at) in &written {
            if self.written.get(id) == Some(at) {
                continue;
            }
            // The API server tells whole seconds, and its clock may be ahead.
            let age = now.duration_since(*at + Duration::from_secs(1));
            let age = Duration::try_from(age).unwrap_or_default();
            let rests = self.rests.entry(id.clone()).or_default();
            *rests = (*rests).max(clock + PACE.saturating_sub(age));
        }
        self.written = written;
    }

    /// What to write at `clock`. It counts as written: if that fails, say so with [`Self::failed`] or [`Self::untried`].
    pub fn due(&mut self, now: Timestamp, clock: Duration) -> Due {
        let mut due = Due {
            writes: Vec::new(),
            next: None,
        };
        for (id, (outcome, counts)) in &self.wanted {
            let Some(stored) = self.stored.get_mut(id) else {
                continue;
            };
            let Some(conditions) = to_write(outcome, *counts, stored, now) else {
                continue;
            };
            let at = self.rests.get(id).copied().unwrap_or(clock);
            if at > clock {
                due.next = Some(due.next.map_or(at, |next| next.min(at)));
                continue;
            }
            let before = std::mem::replace(stored, conditions.clone());
            self.before.insert(id.clone(), before);
            self.rests.insert(id.clone(), clock + PACE);
            due.writes.push((id.clone(), conditions));
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
            *stored = before;
        }
    }
}
