//! Who leads: the rules of client-go's leader election, as a state machine.
//!
//! A holder that has not renewed for the Lease's duration is dead. That is judged by how long the record was *seen* unchanged on
//! one's own clock; the times in it are for people, as clocks of machines differ. Writes name the version of the record they
//! were decided on, so that of two that see a dead holder one wins.
//!
//! Invariant: a leader that cannot renew stops before another may begin, as long as `renew` is shorter than `duration`.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;

/// The three times of an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// How long others wait for a holder that says nothing.
    pub duration: Duration,
    /// How long a holder leads after it renewed last.
    pub renew: Duration,
    /// Time between two tries.
    pub retry: Duration,
}

impl Default for Times {
    /// Those of client-go: 15, 10 and 2 seconds.
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

impl Times {
    /// The usual ones in proportion, for a Lease of this duration.
    #[must_use]
    pub fn lasting(duration: Duration) -> Self {
        Self {
            duration,
            renew: duration * 2 / 3,
            retry: duration * 2 / 15,
        }
    }
}

/// What to do about the Lease.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Make it.
    Create(LeaseSpec),
    /// Take or renew it, if it is still at this version.
    Replace(LeaseSpec, String),
    /// Nothing: another one holds it.
    Wait,
}

/// One candidate.
#[derive(Debug, Clone)]
pub struct Election {
    identity: String,
    times: Times,
    /// The record as it was read last, and since when it has been so.
    seen: Option<(LeaseSpec, Duration)>,
    /// When the write was begun that renewed it last.
    renewed: Option<Duration>,
}

impl Election {
    /// A candidate whose identity no other process ever has.
    #[must_use]
    pub fn new(identity: String, times: Times) -> Self {
        Self {
            identity,
            times,
            seen: None,
            renewed: None,
        }
    }

    /// What to do at `clock`, given the Lease as it is stored. `now` is what is written for people.
    pub fn judge(&mut self, stored: Option<&Lease>, clock: Duration, now: Timestamp) -> Step {
        let Some(lease) = stored else {
            self.renewed = None;
            return Step::Create(self.record(None, now));
        };
        let spec = lease.spec.clone().unwrap_or_default();
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != spec) {
            self.seen = Some((spec.clone(), clock));
        }
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if !holder.is_empty() && holder != self.identity {
            self.renewed = None;
            if self.dies(&spec).is_some_and(|dies| clock < dies) {
                return Step::Wait;
            }
        }
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        Step::Replace(self.record(Some(&spec), now), version)
    }

    /// When the holder of this record is dead if it says nothing.
    fn dies(&self, spec: &LeaseSpec) -> Option<Duration> {
        let (_, since) = self.seen.as_ref()?;
        let given = spec.lease_duration_seconds.unwrap_or(0);
        let given = u64::try_from(given).ok().filter(|seconds| *seconds > 0);
        Some(*since + given.map_or(self.times.duration, Duration::from_secs))
    }

    fn record(&self, before: Option<&LeaseSpec>, now: Timestamp) -> LeaseSpec {
        let ours = before.filter(|spec| spec.holder_identity.as_deref() == Some(&self.identity));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        let taken = before.is_some() && ours.is_none();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(seconds(self.times.duration)),
            acquire_time: ours
                .and_then(|spec| spec.acquire_time.clone())
                .or(Some(MicroTime(now))),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(transitions.saturating_add(i32::from(taken))),
            ..LeaseSpec::default()
        }
    }

    /// The write that was begun at `clock` was accepted.
    pub fn renewed(&mut self, clock: Duration) {
        self.renewed = Some(clock);
    }

    /// When it leads no more unless it renews; `None` if it does not lead.
    #[must_use]
    pub fn lapses(&self) -> Option<Duration> {
        self.renewed.map(|renewed| renewed + self.times.renew)
    }

    /// Whether it leads at `clock`.
    #[must_use]
    pub fn leads(&self, clock: Duration) -> bool {
        self.lapses().is_some_and(|lapses| clock < lapses)
    }

    /// From when another one's lead is over if it says nothing; `None` if no other leads.
    #[must_use]
    pub fn vacant(&self) -> Option<Duration> {
        let (spec, _) = self.seen.as_ref()?;
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let other = self.renewed.is_none() && !holder.is_empty() && holder != self.identity;
        other.then(|| self.dies(spec)).flatten()
    }

    /// Time between two tries.
    #[must_use]
    pub fn retry(&self) -> Duration {
        self.times.retry
    }

    /// The record that lets another one begin at once, if this one holds it.
    #[must_use]
    pub fn resign(&mut self, stored: &Lease, now: Timestamp) -> Option<Step> {
        self.renewed = None;
        let spec = stored.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return None;
        }
        let version = stored.metadata.resource_version.clone().unwrap_or_default();
        let free = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            acquire_time: Some(MicroTime(now)),
            renew_time: Some(MicroTime(now)),
            ..spec
        };
        Some(Step::Replace(free, version))
    }
}

/// Whole seconds, as the record has them; at least one.
fn seconds(duration: Duration) -> i32 {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(whole.max(1)).unwrap_or(i32::MAX)
}
