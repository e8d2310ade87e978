//! The contest for items: for each item name, model and version, one policy takes precedence.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{ModelId, Version};

use super::awards::{Awards, Loss};
use super::rank::Rank;
use super::resolved::ResolvedPolicy;
use super::targets::{Index, versions};

/// The parts of a model that are taken so far, each with the rank of the winner.
#[derive(Default)]
struct Taken<'a> {
    versions: BTreeMap<Version, &'a Rank>,
    whole: Option<&'a Rank>,
}

/// A policy's claim to one item of one model.
struct Claim<'a> {
    /// Index of the policy.
    policy: usize,
    /// Index of the item in the policy.
    item: usize,
    rank: &'a Rank,
    model: &'a ModelId,
    /// The claimed versions; `None` means the whole model.
    versions: Option<&'a BTreeSet<Version>>,
}

/// The results of all policies of one kind in a namespace, in their order.
pub(crate) fn settle(
    namespace: &str,
    index: &Index<'_>,
    policies: &[ResolvedPolicy],
) -> Vec<Awards> {
    let mut claimants: BTreeMap<&str, Vec<(usize, usize)>> = BTreeMap::new();
    let mut awards: Vec<Awards> = Vec::with_capacity(policies.len());
    for (i, policy) in policies.iter().enumerate() {
        let claimed = policy.claims.get(namespace).map_or(0, BTreeMap::len);
        let everything = policy.all && claimed == index.declared(namespace).len();
        awards.push(Awards::new(policy.items.len(), claimed, everything));
        if claimed > 0 {
            for (item, name) in policy.items.iter().enumerate() {
                claimants.entry(name).or_default().push((i, item));
            }
        }
    }
    for claimants in claimants.into_values() {
        // Without a second claimant there is no contest.
        if let [(policy, item)] = claimants[..] {
            let claims = policies[policy].claims.get(namespace);
            awards[policy].items[item] = claims.cloned().unwrap_or_default();
            continue;
        }
        let mut claims: Vec<Claim<'_>> = claimants
            .into_iter()
            .flat_map(|(policy, item)| claims(namespace, policy, item, &policies[policy]))
            .collect();
        claims.sort_by_key(|claim| claim.rank);
        let mut taken: BTreeMap<&ModelId, Taken<'_>> = BTreeMap::new();
        for claim in &claims {
            let taken = taken.entry(claim.model).or_default();
            take(claim, taken, namespace, index, &mut awards);
        }
    }
    awards
}

fn claims<'a>(
    namespace: &str,
    policy: usize,
    item: usize,
    resolved: &'a ResolvedPolicy,
) -> impl Iterator<Item = Claim<'a>> + use<'a> {
    let ranks = [true, false].map(|whole_model| resolved.rank(namespace, whole_model));
    let claims = resolved.claims.get(namespace).into_iter().flatten();
    claims.filter_map(move |(model, versions)| {
        Some(Claim {
            policy,
            item,
            rank: ranks[usize::from(versions.is_some())]?,
            model,
            versions: versions.as_ref(),
        })
    })
}

/// Awards to a claim what is left of the model, and records the losses of the rest.
fn take<'a>(
    claim: &Claim<'a>,
    taken: &mut Taken<'a>,
    namespace: &str,
    index: &Index<'_>,
    awards: &mut [Awards],
) {
    let awards = &mut awards[claim.policy];
    let is_claimed = |version: &Version| claim.versions.is_none_or(|v| v.contains(version));
    let mut by_winner: BTreeMap<&Rank, BTreeSet<Version>> = BTreeMap::new();
    for (version, winner) in taken.versions.iter().filter(|(v, _)| is_claimed(v)) {
        by_winner.entry(winner).or_default().insert(version.clone());
    }
    let mut lost: Vec<_> = by_winner
        .into_iter()
        .map(|(winner, versions)| (winner, Some(versions)))
        .collect();
    let left = left(claim, taken, namespace, index);
    let is_left = left.as_ref().is_none_or(|left| !left.is_empty());
    match (taken.whole, claim.versions) {
        (Some(winner), _) => lost.extend(is_left.then_some((winner, left))),
        (None, versions) => {
            match versions {
                None => taken.whole = Some(claim.rank),
                Some(versions) => {
                    for version in versions {
                        taken.versions.entry(version.clone()).or_insert(claim.rank);
                    }
                }
            }
            if is_left {
                awards.items[claim.item].insert(claim.model.clone(), left);
            }
        }
    }
    awards
        .losses
        .extend(lost.into_iter().map(|(winner, versions)| Loss {
            item: claim.item,
            model: claim.model.clone(),
            versions,
            winner: winner.policy(),
            because: winner.because(claim.rank),
            is_tie: winner.is_tie(claim.rank),
        }));
}

/// The claimed versions that are not taken individually; `None` if that is the whole model.
fn left(
    claim: &Claim<'_>,
    taken: &Taken<'_>,
    namespace: &str,
    index: &Index<'_>,
) -> Option<BTreeSet<Version>> {
    let all = match claim.versions {
        None if taken.versions.is_empty() => return None,
        None => {
            let model = index.declared(namespace).get(claim.model);
            model.map(versions).unwrap_or_default()
        }
        Some(versions) => versions.clone(),
    };
    let is_free = |version: &Version| !taken.versions.contains_key(version);
    Some(all.into_iter().filter(is_free).collect())
}
