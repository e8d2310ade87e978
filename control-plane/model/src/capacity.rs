//! Ready and desired replicas of a model, over all carriers that serve it: what its scale is made of.
//!
//! Invariant: the desired replicas of an owner count once, and each pod counts once, however many carriers select it. Models are
//! independent: two models that share pods both count all of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::levels::{CarrierState, Levels};
use crate::registry::{Member, Model};
use crate::{Address, Readiness};

/// The share of a carrier in the desired replicas of one owner of its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerShare {
    /// Replicas of the owner that this carrier desires. [`Carrier::desired`](crate::Carrier::desired) includes them.
    pub desired: u32,
    /// Replicas that the owner desires in total, for all carriers.
    pub total: u32,
}

/// The shares of a carrier, by owner as `kind/name`.
pub type OwnerReplicas = BTreeMap<String, OwnerShare>;

/// Adds the desired replicas of another carrier. `known` of them are already included. The sum is limited to
/// the total of each owner; returns the number of replicas above that limit.
pub(crate) fn join(shares: &mut OwnerReplicas, more: &OwnerReplicas, known: u32) -> u32 {
    for (owner, share) in more {
        let none = OwnerShare {
            desired: 0,
            ..*share
        };
        let sum = shares.entry(owner.clone()).or_insert(none);
        sum.desired = sum
            .desired
            .saturating_add(share.desired.saturating_sub(known));
    }
    let mut excess = 0_u32;
    for share in shares.values_mut() {
        excess = excess.saturating_add(share.desired.saturating_sub(share.total));
        share.desired = share.desired.min(share.total);
    }
    excess
}

/// A carrier that is meant to take new sessions, and the replicas of it that count as desired.
struct Counted<'a> {
    member: &'a Member,
    desired: u32,
}

impl Model {
    /// Ready and desired replicas of the carriers that are meant to take new sessions. A carrier that is held,
    /// dark or standing by neither lends capacity nor is missed. A promoted one that still shares with the base of before
    /// counts as what is ready of it, or a promotion would halve every budget. Of a canary at most its percent of all
    /// replicas is missed, or one of 5 % whose pods still load would.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let levels = Levels::of(self);
        let promoted = |i: usize| levels.weights[i] == Some(100);
        let others = (0..self.members.len()).any(|i| levels.base.contains(&i) && !promoted(i));
        let serving = self.members.iter().enumerate();
        let serving = serving.filter(|(i, _)| levels.serves(*i));
        let serving: Vec<(usize, &Member)> = serving.collect();
        let wanted = |i: usize, member: &Member| match others && promoted(i) {
            true => member.ready_endpoints(),
            false => member.desired,
        };
        let all = sum(serving.iter().map(|(i, member)| wanted(*i, member)));
        let missed = |i: usize, member: &Member| {
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
                desired: ready.saturating_add(missed(*i, member)),
            }
        });
        jointly(&counted.collect::<Vec<_>>())
    }
}

/// The sum over carriers, less what those of one owner count more than once.
fn jointly(serving: &[Counted<'_>]) -> Readiness {
    let ready = sum(serving.iter().map(|one| one.member.ready_endpoints()));
    let desired = sum(serving.iter().map(|one| one.desired));
    if !share_an_owner(serving) {
        return Readiness { ready, desired };
    }
    let over = over(serving);
    let twice = twice(serving);
    let desired = desired.saturating_sub(over);
    let ready = ready.saturating_sub(twice);
    // Replicas above the owner's total exist only while a canary or a preview runs. Nobody desired them as capacity: if all of
    // them are ready, the scale is 100 %, as with two workloads.
    let spare = over
        .saturating_sub(twice)
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

/// Desired replicas beyond what owners want of all their pods.
fn over(serving: &[Counted<'_>]) -> u32 {
    let mut sums: BTreeMap<&String, OwnerShare> = BTreeMap::new();
    for one in serving {
        // What does not count of a carrier counts of none of its owners.
        let uncounted = one.member.desired.saturating_sub(one.desired);
        for (owner, share) in &one.member.owner_replicas {
            let none = OwnerShare {
                desired: 0,
                ..*share
            };
            let into = sums.entry(owner).or_insert(none);
            into.desired = into
                .desired
                .saturating_add(share.desired.saturating_sub(uncounted));
        }
    }
    sum(sums
        .values()
        .map(|share| share.desired.saturating_sub(share.total)))
}

/// Ready endpoints of pods that another of these carriers counts too.
fn twice(serving: &[Counted<'_>]) -> u32 {
    let mut counted: BTreeSet<&Address> = BTreeSet::new();
    let owned = serving
        .iter()
        .filter(|one| !one.member.owner_replicas.is_empty());
    let again = owned.flat_map(|one| {
        let ready = one.member.versions.values().flat_map(|e| &e.ready);
        ready.map(|address| one.member.same_pod.get(address).unwrap_or(address))
    });
    let again = again.filter(|address| !counted.insert(address));
    u32::try_from(again.count()).unwrap_or(u32::MAX)
}

fn sum(counts: impl Iterator<Item = u32>) -> u32 {
    counts.fold(0, u32::saturating_add)
}

/// `percent` of `all`, rounded down.
fn part(all: u32, percent: u8) -> u32 {
    let part = u64::from(all) * u64::from(percent) / 100;
    u32::try_from(part).unwrap_or(u32::MAX)
}
