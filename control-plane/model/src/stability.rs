//! Readiness over time: canaries that flap, pods that became ready less than `minReadySeconds` ago, canaries that never start. A
//! state machine; time is an argument.
//!
//! Invariant: while readiness does not change, the verdicts of two replicas agree, whenever each of them started.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::levels::Levels;
use crate::registry::{Member, Model, Weight};
use crate::{Address, CarrierKey, Registry, Tick};

/// How often a canary may become ready within [`WITHIN`] before it counts as flapping.
const RETURNS: usize = 3;
/// The window in which these transitions are counted.
const WITHIN: Duration = Duration::from_secs(60);
/// How long a canary that flapped must be ready before it takes sessions again.
const CALM: Duration = Duration::from_secs(60);
/// How long a weighted version may take to become ready before a finding reports it.
const START: Duration = Duration::from_secs(120);

/// Verdicts on carriers from readiness over time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdicts {
    /// Canaries that flap.
    pub flapping: BTreeSet<CarrierKey>,
    /// Weighted carriers without a pod that became ready in time.
    pub late: BTreeSet<CarrierKey>,
    /// The moment of the verdicts in Unix seconds: pods that are available later do not count as ready yet.
    pub unix_seconds: i64,
    /// The next moment at which a pod becomes available, in Unix seconds.
    pub next_available: Option<i64>,
}

/// Watches readiness over time.
#[derive(Debug, Clone, Default)]
pub struct Stability {
    carriers: BTreeMap<CarrierKey, ReadinessRecord>,
}

/// History of a carrier's readiness, on the monotonic clock.
#[derive(Debug, Clone, Default)]
struct ReadinessRecord {
    /// When it became ready again, the latest last.
    returns: VecDeque<Duration>,
    /// Since when it is ready.
    ready_since: Option<Duration>,
    /// Since when it is weighted without ever having been ready.
    waits_since: Option<Duration>,
    /// Whether it was ever ready since it is known.
    was_ready: bool,
    flapping: bool,
}

impl Stability {
    /// Takes the readings of this moment. Carriers that are not read are forgotten.
    pub fn observe(&mut self, registry: &Registry, at: Tick) -> Verdicts {
        let now = i64::try_from(at.unix_seconds).unwrap_or(i64::MAX);
        let mut verdicts = Verdicts {
            unix_seconds: now,
            ..Verdicts::default()
        };
        let mut carriers = BTreeMap::new();
        for member in registry.members() {
            let before = self.carriers.remove(&member.key).unwrap_or_default();
            let record = before.next(member, at.elapsed);
            if record.flapping {
                verdicts.flapping.insert(member.key.clone());
            }
            let waits = record
                .waits_since
                .map(|since| at.elapsed.saturating_sub(since));
            if waits.is_some_and(|waits| waits >= START) {
                verdicts.late.insert(member.key.clone());
            }
            carriers.insert(member.key.clone(), record);
        }
        self.carriers = carriers;
        let available = registry.members().flat_map(|m| m.available_at.values());
        verdicts.next_available = available.filter(|at| **at > now).min().copied();
        verdicts
    }

    /// Time until [`observe`](Self::observe) may differ from `last`, its last verdicts, although no reading changed. `None`: never.
    #[must_use]
    pub fn wake_after(&self, last: &Verdicts, at: Tick) -> Option<Duration> {
        let calm = self.carriers.values().filter(|record| record.flapping);
        let calm = calm.filter_map(|record| Some(record.ready_since? + CALM));
        let starts = self
            .carriers
            .values()
            .filter_map(|record| Some(record.waits_since? + START));
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
        let ready = member.ready();
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
            .is_some_and(|at| now.saturating_sub(*at) >= WITHIN)
        {
            self.returns.pop_front();
        }
        let canary = matches!(member.weight, Weight::Percent(1..=99));
        self.flapping |= self.returns.len() > RETURNS;
        let calm = self
            .ready_since
            .is_some_and(|since| now.saturating_sub(since) >= CALM);
        if !canary || calm {
            self.flapping = false;
        }
        let weighted = matches!(member.weight, Weight::Percent(1..=100)) && member.desired > 0;
        let waits = weighted && !self.was_ready;
        self.waits_since = waits.then(|| self.waits_since.unwrap_or(now));
        self
    }
}

impl Registry {
    fn members(&self) -> impl Iterator<Item = &Member> {
        let models = self.namespaces.values().flat_map(BTreeMap::values);
        models.flat_map(|model| &model.members)
    }

    /// The registry as these verdicts leave it. A carrier that flaps still counts where nothing else of its model is ready, and a
    /// pod that is ready for too short a time where the base would have none without it.
    #[must_use]
    pub fn with_verdicts(mut self, verdicts: &Verdicts) -> Self {
        for model in self.namespaces.values_mut().flat_map(BTreeMap::values_mut) {
            model.judge(verdicts);
        }
        self
    }
}

impl Model {
    fn judge(&mut self, verdicts: &Verdicts) {
        for member in &mut self.members {
            member.late = verdicts.late.contains(&member.key);
            member.flapping = verdicts.flapping.contains(&member.key);
        }
        if !self.members.iter().any(Member::takes) {
            self.members
                .iter_mut()
                .for_each(|member| member.flapping = false);
        }
        let available = self.available(verdicts.unix_seconds);
        if available.members != self.members {
            *self = self.serving(available);
        }
    }

    /// The model without pods that became ready less than `minReadySeconds` ago.
    fn available(&self, now: i64) -> Self {
        let mut available = self.clone();
        for member in &mut available.members {
            member.keep_available(now);
        }
        available
    }

    /// The model as it serves: by what is available, and where its base has nothing available, by the base's pods that are ready.
    /// So neither a held version nor one at weight 0 stands in for a base whose pods were all restarted.
    fn serving(&self, mut available: Self) -> Self {
        let has_base = |levels: &Levels| !levels.base.is_empty() && levels.stands_in.is_none();
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
        match available.members.iter().any(Member::takes) {
            true => available,
            false => self.clone(),
        }
    }
}

impl Member {
    fn keep_available(&mut self, now: i64) {
        let later = self.available_at.iter().filter(|(_, at)| **at > now);
        let later: BTreeSet<&Address> = later.map(|(address, _)| address).collect();
        if later.is_empty() {
            return;
        }
        for endpoints in self.versions.values_mut() {
            endpoints.ready.retain(|address| !later.contains(address));
        }
    }
}
