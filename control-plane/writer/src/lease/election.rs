//! Leader election as a state machine, with the rules of client-go.
//!
//! A holder that does not renew the Lease for its duration loses it. Each candidate measures how long it *observed* the record
//! unchanged, on its own clock, because clocks of machines differ; the times in the record are for people. Writes name the
//! `resourceVersion` that they are based on, so only one of several candidates succeeds.
//!
//! Invariant: if `renew` is shorter than `duration`, a leader that cannot renew stops before another one starts.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;

/// Times of an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// How long other candidates wait for a holder that does not renew.
    pub duration: Duration,
    /// How long a holder leads after its last renewal.
    pub renew: Duration,
    /// Time between two attempts.
    pub retry: Duration,
}

impl Default for Times {
    /// The defaults of client-go: 15, 10 and 2 seconds.
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

impl Times {
    /// Times for a Lease of this duration, in the proportions of the defaults.
    #[must_use]
    pub fn lasting(duration: Duration) -> Self {
        Self {
            duration,
            renew: duration * 2 / 3,
            retry: duration * 2 / 15,
        }
    }
}

/// The next action.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Create the Lease.
    Create(LeaseSpec),
    /// Take or renew the Lease, if it still has this `resourceVersion`.
    Replace(LeaseSpec, String),
    /// Wait: another candidate holds the Lease.
    Wait,
}

/// A candidate.
#[derive(Debug, Clone)]
pub struct Election {
    identity: String,
    times: Times,
    /// The last observed record, and when it was first observed.
    observed: Option<(LeaseSpec, Duration)>,
    /// Start time of the last successful renewal.
    renewed: Option<Duration>,
}

impl Election {
    /// A candidate. The identity must be unique to the process.
    #[must_use]
    pub fn new(identity: String, times: Times) -> Self {
        Self {
            identity,
            times,
            observed: None,
            renewed: None,
        }
    }

    /// The next action at `clock`, given the stored Lease. `now` is the time that is written to the record.
    pub fn next_step(&mut self, stored: Option<&Lease>, clock: Duration, now: Timestamp) -> Step {
        let Some(lease) = stored else {
            self.renewed = None;
            return Step::Create(self.record(None, now));
        };
        let spec = lease.spec.clone().unwrap_or_default();
        if self
            .observed
            .as_ref()
            .is_none_or(|(known, _)| *known != spec)
        {
            self.observed = Some((spec.clone(), clock));
        }
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if !holder.is_empty() && holder != self.identity {
            self.renewed = None;
            if self.expires(&spec).is_some_and(|expires| clock < expires) {
                return Step::Wait;
            }
        }
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        Step::Replace(self.record(Some(&spec), now), version)
    }

    /// When the record expires without a renewal.
    fn expires(&self, spec: &LeaseSpec) -> Option<Duration> {
        let (_, since) = self.observed.as_ref()?;
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

    /// Records that the write that started at `clock` succeeded.
    pub fn renewed(&mut self, clock: Duration) {
        self.renewed = Some(clock);
    }

    /// When the leadership lapses without a renewal; `None` if this candidate does not lead.
    #[must_use]
    pub fn lapses(&self) -> Option<Duration> {
        self.renewed.map(|renewed| renewed + self.times.renew)
    }

    /// Whether this candidate leads at `clock`.
    #[must_use]
    pub fn leads(&self, clock: Duration) -> bool {
        self.lapses().is_some_and(|lapses| clock < lapses)
    }

    /// When the leadership of another candidate expires without a renewal; `None` if no other one leads.
    #[must_use]
    pub fn vacant(&self) -> Option<Duration> {
        let (spec, _) = self.observed.as_ref()?;
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let other = self.renewed.is_none() && !holder.is_empty() && holder != self.identity;
        other.then(|| self.expires(spec)).flatten()
    }

    /// Time between two attempts.
    #[must_use]
    pub fn retry(&self) -> Duration {
        self.times.retry
    }

    /// The write that releases the Lease, if this candidate holds it.
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

/// Rounds up to whole seconds, at least one, because the record has whole seconds.
fn seconds(duration: Duration) -> i32 {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(whole.max(1)).unwrap_or(i32::MAX)
}
