//! Readiness over time: canaries that flap, pods that are ready for less than `minReadySeconds`, versions that never start. A state
//! machine; time is an argument.
//!
//! Invariant: while readiness does not change, the reports of all replicas agree, whenever each of them started.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::levels::Levels;
use crate::registry::{Member, Model, Weight};
use crate::{Address, CarrierKey, Registry, Tick};

/// Number of times that a canary may become ready again within [`FLAP_WINDOW`] without flapping.
const MAX_RETURNS: usize = 3;
/// The window in which these returns count.
const FLAP_WINDOW: Duration = Duration::from_secs(60);
/// Time for which a flapping canary must be ready before it takes sessions again.
const CALM: Duration = Duration::from_secs(60);
/// Time that a weighted version may take to become ready before a finding reports it.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// The carriers whose readiness over time is a problem.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StabilityReport {
    /// Canaries that flap.
    pub flapping: BTreeSet<CarrierKey>,
    /// Weighted carriers without a pod that became ready in time.
    pub not_started: BTreeSet<CarrierKey>,
    /// The time of the report in Unix seconds: pods that become available later do not count as ready yet.
    pub unix_seconds: i64,
    /// The next time at which a pod becomes available, in Unix seconds.
    pub next_available: Option<i64>,
}

/// Tracks readiness over time.
#[derive(Debug, Clone, Default)]
pub struct Stability {
    carriers: BTreeMap<CarrierKey, ReadinessRecord>,
}

/// History of a carrier's readiness, on the monotonic clock.
#[derive(Debug, Clone, Default)]
struct ReadinessRecord {
    /// Times at which it became ready again, the latest last.
    returns: VecDeque<Duration>,
    /// Since when it is ready.
    ready_since: Option<Duration>,
    /// Since when it has a weight and has never been ready.
    waits_since: Option<Duration>,
    /// Whether it was ready at any reading so far.
    was_ready: bool,
    flapping: bool,
}

impl Stability {
    /// Takes the current readings. Carriers that are not in the registry are forgotten.
    pub fn observe(&mut self, registry: &Registry, at: Tick) -> StabilityReport {
        let now = i64::try_from(at.unix_seconds).unwrap_or(i64::MAX);
        let mut stability_report = StabilityReport {
            unix_seconds: now,
            ..StabilityReport::default()
        };
        let mut carriers = BTreeMap::new();
        for member in registry.members() {
            let before = self.carriers.remove(&member.key).unwrap_or_default();
            let record = before.next(member, at.elapsed);
            if record.flapping {
                stability_report.flapping.insert(member.key.clone());
            }
            let waits = record
                .waits_since
                .map(|since| at.elapsed.saturating_sub(since));
            if waits.is_some_and(|waits| waits >= START_TIMEOUT) {
                stability_report.not_started.insert(member.key.clone());
            }
            carriers.insert(member.key.clone(), record);
        }
        self.carriers = carriers;
        let available = registry.members().flat_map(|m| m.available_at.values());
        stability_report.next_available = available.filter(|at| **at > now).min().copied();
        stability_report
    }

    /// Time until [`observe`](Self::observe) may return another report than `last`, although no reading changed. `None` means never.
    #[must_use]
    pub fn wake_after(&self, last: &StabilityReport, at: Tick) -> Option<Duration> {
        let calm = self.carriers.values().filter(|record| record.flapping);
        let calm = calm.filter_map(|record| Some(record.ready_since? + CALM));
        let starts = self
            .carriers
            .values()
            .filter_map(|record| Some(record.waits_since? + START_TIMEOUT));
        let due = calm.chain(starts.filter(|due| *due > at.elapsed));
        let due = due.map(|due| due.saturating_sub(at.elapsed)).min();
        let available = last.next_available.map(|available| {
            let now = i64::try_from(at.unix_seconds).unwrap_or(i64::MAX);
            Duration::from_secs(u64::try_from(available - now).unwrap_or(0))
        });
        due.into_iter().chain(available).min()
    }
}

impl ReadinessRecord {
    fn next(mut self, member: &Member, now: Duration) -> Self {
        let ready = member.is_ready();
        if !ready {
            self.ready_since = None;
        } else if self.ready_since.is_none() {
            self.ready_since = Some(now);
            if std::mem::replace(&mut self.was_ready, true) {
                self.returns.push_back(now);
            }
        }
        while self
            .returns
            .front()
            .is_some_and(|at| now.saturating_sub(*at) >= FLAP_WINDOW)
        {
            self.returns.pop_front();
        }
        let canary = matches!(member.weight, Weight::Percent(1..=99));
        self.flapping |= self.returns.len() > MAX_RETURNS;
        let calm = self
            .ready_since
            .is_some_and(|since| now.saturating_sub(since) >= CALM);
        if !canary || calm {
            self.flapping = false;
        }
        let has_weight = matches!(member.weight, Weight::Percent(1..=100)) && member.desired > 0;
        let waits = has_weight && !self.was_ready;
        self.waits_since = waits.then(|| self.waits_since.unwrap_or(now));
        self
    }
}

impl Registry {
    fn members(&self) -> impl Iterator<Item = &Member> {
        let models = self.namespaces.values().flat_map(BTreeMap::values);
        models.flat_map(|model| &model.members)
    }

    /// The same registry with this report applied. A flapping carrier still takes sessions if no other carrier of its model is ready,
    /// and pods that are not available yet still count as ready if the base has no other ready pod.
    #[must_use]
    pub fn with_stability(mut self, stability_report: &StabilityReport) -> Self {
        for model in self.namespaces.values_mut().flat_map(BTreeMap::values_mut) {
            model.apply(stability_report);
        }
        self
    }
}

impl Model {
    fn apply(&mut self, stability_report: &StabilityReport) {
        for member in &mut self.members {
            member.not_started = stability_report.not_started.contains(&member.key);
            member.flapping = stability_report.flapping.contains(&member.key);
        }
        if !self.members.iter().any(Member::accepts_sessions) {
            self.members
                .iter_mut()
                .for_each(|member| member.flapping = false);
        }
        let available = self.available(stability_report.unix_seconds);
        if available.members != self.members {
            *self = self.with_ready_base(available);
        }
    }

    /// The model without pods that have been ready for less than `minReadySeconds`.
    fn available(&self, now: i64) -> Self {
        let mut available = self.clone();
        for member in &mut available.members {
            member.remove_unavailable(now);
        }
        available
    }

    /// Returns `available`, the model without unavailable pods. If its base then has no ready pod, the base keeps its ready pods, so
    /// neither a held version nor one of weight 0 stands in for a base whose pods were all restarted.
    fn with_ready_base(&self, mut available: Self) -> Self {
        let has_base = |levels: &Levels| !levels.base.is_empty() && levels.stand_in.is_none();
        if has_base(&Levels::of(&available)) {
            return available;
        }
        let ready = Levels::of(self);
        if has_base(&ready) {
            for index in ready.base {
                available.members[index] = self.members[index].clone();
            }
            return available;
        }
        match available.members.iter().any(Member::accepts_sessions) {
            true => available,
            false => self.clone(),
        }
    }
}

impl Member {
    fn remove_unavailable(&mut self, now: i64) {
        let unavailable = self.available_at.iter().filter(|(_, at)| **at > now);
        let unavailable: BTreeSet<&Address> = unavailable.map(|(address, _)| address).collect();
        if unavailable.is_empty() {
            return;
        }
        for endpoints in self.versions.values_mut() {
            endpoints
                .ready
                .retain(|address| !unavailable.contains(address));
        }
    }
}
