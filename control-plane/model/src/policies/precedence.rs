//! Precedence among policies: for each item name, model and version, the items of one policy take effect.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{ModelId, Version};

use super::effective_items::{EffectiveItems, OverriddenItem};
use super::rank::Rank;
use super::resolved::ResolvedPolicy;
use super::targets::{Index, versions};

/// The parts of a model that are assigned so far, each with the rank of the policy.
#[derive(Default)]
struct Assigned<'a> {
    versions: BTreeMap<Version, &'a Rank>,
    whole: Option<&'a Rank>,
}

/// A policy that targets one model with one item.
struct Candidate<'a> {
    /// Index of the policy.
    policy: usize,
    /// Index of the item in the policy.
    item: usize,
    rank: &'a Rank,
    model: &'a ModelId,
    /// The targeted versions; `None` means the whole model.
    versions: Option<&'a BTreeSet<Version>>,
}

/// The results of all policies of one kind in a namespace, in their order.
pub(crate) fn resolve(
    namespace: &str,
    index: &Index<'_>,
    policies: &[ResolvedPolicy],
) -> Vec<EffectiveItems> {
    let mut by_item: BTreeMap<&str, Vec<(usize, usize)>> = BTreeMap::new();
    let mut effective: Vec<EffectiveItems> = Vec::with_capacity(policies.len());
    for (i, policy) in policies.iter().enumerate() {
        let targeted = policy.targeted.get(namespace).map_or(0, BTreeMap::len);
        let all_models = policy.all && targeted == index.declared(namespace).len();
        effective.push(EffectiveItems::new(
            policy.items.len(),
            targeted,
            all_models,
        ));
        if targeted > 0 {
            for (item, name) in policy.items.iter().enumerate() {
                by_item.entry(name).or_default().push((i, item));
            }
        }
    }
    for same_item in by_item.into_values() {
        // A single policy has precedence.
        if let [(policy, item)] = same_item[..] {
            let models = policies[policy].targeted.get(namespace);
            effective[policy].items[item] = models.cloned().unwrap_or_default();
            continue;
        }
        let mut candidates: Vec<Candidate<'_>> = same_item
            .into_iter()
            .flat_map(|(policy, item)| candidates_of(namespace, policy, item, &policies[policy]))
            .collect();
        candidates.sort_by_key(|candidate| candidate.rank);
        let mut assigned: BTreeMap<&ModelId, Assigned<'_>> = BTreeMap::new();
        for candidate in &candidates {
            let assigned = assigned.entry(candidate.model).or_default();
            assign(candidate, assigned, namespace, index, &mut effective);
        }
    }
    effective
}

fn candidates_of<'a>(
    namespace: &str,
    policy: usize,
    item: usize,
    resolved: &'a ResolvedPolicy,
) -> impl Iterator<Item = Candidate<'a>> + use<'a> {
    let ranks = [true, false].map(|whole_model| resolved.rank(namespace, whole_model));
    let models = resolved.targeted.get(namespace).into_iter().flatten();
    models.filter_map(move |(model, versions)| {
        Some(Candidate {
            policy,
            item,
            rank: ranks[usize::from(versions.is_some())]?,
            model,
            versions: versions.as_ref(),
        })
    })
}

/// Assigns to a candidate the parts of the model that are not assigned yet, and records the rest as overridden.
fn assign<'a>(
    candidate: &Candidate<'a>,
    assigned: &mut Assigned<'a>,
    namespace: &str,
    index: &Index<'_>,
    effective: &mut [EffectiveItems],
) {
    let effective = &mut effective[candidate.policy];
    let is_targeted = |version: &Version| candidate.versions.is_none_or(|v| v.contains(version));
    let mut by_winner: BTreeMap<&Rank, BTreeSet<Version>> = BTreeMap::new();
    for (version, winner) in assigned.versions.iter().filter(|(v, _)| is_targeted(v)) {
        by_winner.entry(winner).or_default().insert(version.clone());
    }
    let mut overridden: Vec<_> = by_winner
        .into_iter()
        .map(|(winner, versions)| (winner, Some(versions)))
        .collect();
    let unassigned = unassigned(candidate, assigned, namespace, index);
    let is_unassigned = unassigned
        .as_ref()
        .is_none_or(|unassigned| !unassigned.is_empty());
    match (assigned.whole, candidate.versions) {
        (Some(winner), _) => overridden.extend(is_unassigned.then_some((winner, unassigned))),
        (None, versions) => {
            match versions {
                None => assigned.whole = Some(candidate.rank),
                Some(versions) => {
                    for version in versions {
                        assigned
                            .versions
                            .entry(version.clone())
                            .or_insert(candidate.rank);
                    }
                }
            }
            if is_unassigned {
                effective.items[candidate.item].insert(candidate.model.clone(), unassigned);
            }
        }
    }
    effective.overridden.extend(
        overridden
            .into_iter()
            .map(|(winner, versions)| OverriddenItem {
                item: candidate.item,
                model: candidate.model.clone(),
                versions,
                winner: winner.policy(),
                because: winner.because(candidate.rank),
                is_tie: winner.is_tie(candidate.rank),
            }),
    );
}

/// The targeted versions that are not assigned individually; `None` if that is the whole model.
fn unassigned(
    candidate: &Candidate<'_>,
    assigned: &Assigned<'_>,
    namespace: &str,
    index: &Index<'_>,
) -> Option<BTreeSet<Version>> {
    let all = match candidate.versions {
        None if assigned.versions.is_empty() => return None,
        None => {
            let model = index.declared(namespace).get(candidate.model);
            model.map(versions).unwrap_or_default()
        }
        Some(versions) => versions.clone(),
    };
    let is_free = |version: &Version| !assigned.versions.contains_key(version);
    Some(all.into_iter().filter(is_free).collect())
}
