//! Ready and desired replicas of a model, over all carriers that serve it: the input of its scale.
//!
//! Invariant: the desired replicas of an owner count once, and each pod counts once, however many carriers select it. Models are
//! independent: two models that share pods both count all of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::levels::{CarrierState, Levels};
use crate::registry::{Member, Model};
use crate::{Address, ModelKey, OwnerShare, Readiness, Registry};

impl Registry {
    /// The readings for a [`ScaleDamper`](crate::ScaleDamper): those of every model, by namespace and id.
    #[must_use]
    pub fn readiness(&self) -> BTreeMap<ModelKey, Readiness> {
        let models = self.namespaces.iter().flat_map(|(namespace, models)| {
            models
                .iter()
                .map(move |(id, model)| ((namespace.clone(), id.clone()), model.readiness()))
        });
        models.collect()
    }
}

/// A carrier that serves, and the number of its replicas that count as desired.
struct Counted<'a> {
    member: &'a Member,
    desired: u32,
}

impl Model {
    /// Ready and desired replicas of the carriers that serve, or will once they are ready.
    ///
    /// Held, dark and standby carriers count neither as ready nor as desired. A promoted carrier that still shares with the previous
    /// base counts with its ready replicas only, or a promotion would halve every budget. Unready replicas of
    /// a canary lower the result by at most the weight of the canary, or a canary of 5 % whose pods still load would halve every budget.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let levels = Levels::of(self);
        let is_promoted = |i: usize| levels.weights[i] == Some(100);
        let shared = (0..self.members.len()).any(|i| levels.base.contains(&i) && !is_promoted(i));
        let serving = self.members.iter().enumerate();
        let serving = serving.filter(|(i, _)| levels.serves(*i));
        let serving: Vec<(usize, &Member)> = serving.collect();
        let wanted = |i: usize, member: &Member| match shared && is_promoted(i) {
            true => member.ready_endpoints(),
            false => member.desired,
        };
        let all = sum(serving.iter().map(|(i, member)| wanted(*i, member)));
        let missing = |i: usize, member: &Member| {
            let missing = wanted(i, member).saturating_sub(member.ready_endpoints());
            match levels.states[i] {
                CarrierState::Canary(percent) => missing.min(part(all, percent)),
                _ => missing,
            }
        };
        let counted = serving.iter().map(|(i, member)| {
            let ready = member.ready_endpoints().min(wanted(*i, member));
            Counted {
                member,
                desired: ready.saturating_add(missing(*i, member)),
            }
        });
        total(&counted.collect::<Vec<_>>())
    }
}

/// The sum over carriers, without replicas and pods of one owner that several carriers count.
fn total(serving: &[Counted<'_>]) -> Readiness {
    let ready = sum(serving.iter().map(|one| one.member.ready_endpoints()));
    let desired = sum(serving.iter().map(|one| one.desired));
    if !share_an_owner(serving) {
        return Readiness { ready, desired };
    }
    let excess = excess_desired(serving);
    let duplicates = duplicate_ready(serving);
    let desired = desired.saturating_sub(excess);
    let ready = ready.saturating_sub(duplicates);
    // Replicas above the owner's total exist only while a canary or a preview runs. Nobody desired them as capacity: if all of them are
    // ready, the scale is 100 %, as with two workloads.
    let spare = excess
        .saturating_sub(duplicates)
        .min(ready.saturating_sub(desired));
    Readiness {
        ready: ready - spare,
        desired,
    }
}

fn share_an_owner(serving: &[Counted<'_>]) -> bool {
    let mut owners = BTreeSet::new();
    let mut all = serving
        .iter()
        .flat_map(|one| one.member.owner_replicas.keys());
    !all.all(|owner| owners.insert(owner))
}

/// Desired replicas above the totals of their owners.
fn excess_desired(serving: &[Counted<'_>]) -> u32 {
    let mut sums: BTreeMap<&String, OwnerShare> = BTreeMap::new();
    for one in serving {
        // A replica of the carrier that does not count as desired counts for none of its owners.
        let uncounted = one.member.desired.saturating_sub(one.desired);
        for (owner, share) in &one.member.owner_replicas {
            let none = OwnerShare {
                desired: 0,
                ..*share
            };
            let sum = sums.entry(owner).or_insert(none);
            sum.desired = sum
                .desired
                .saturating_add(share.desired.saturating_sub(uncounted));
        }
    }
    sum(sums
        .values()
        .map(|share| share.desired.saturating_sub(share.total)))
}

/// Ready endpoints on pods that another of these carriers counts too.
fn duplicate_ready(serving: &[Counted<'_>]) -> u32 {
    let mut counted: BTreeSet<&Address> = BTreeSet::new();
    let owned = serving
        .iter()
        .filter(|one| !one.member.owner_replicas.is_empty());
    let endpoints = owned.flat_map(|one| {
        let ready = one.member.versions.values().flat_map(|e| &e.ready);
        ready.map(|address| one.member.same_pod.get(address).unwrap_or(address))
    });
    let duplicates = endpoints.filter(|address| !counted.insert(address));
    u32::try_from(duplicates.count()).unwrap_or(u32::MAX)
}

fn sum(counts: impl Iterator<Item = u32>) -> u32 {
    counts.fold(0, u32::saturating_add)
}

/// `percent` of `all`, rounded down.
fn part(all: u32, percent: u8) -> u32 {
    let part = u64::from(all) * u64::from(percent) / 100;
    u32::try_from(part).unwrap_or(u32::MAX)
}
