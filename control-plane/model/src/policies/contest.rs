//! Who wins what: for each name of a thing, each model and each of its versions, one policy.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{
    BucketRule, ModelId, TagRule, TokenBucketPolicySpec, TrafficTagPolicySpec, Version,
};

use super::losses::Loss;
use super::outcome::{Won, in_rules};
use super::rank::Rank;
use super::reach::{Claims, Index, Reach, versions};
use crate::Policy;

/// What is taken of a model so far, each part with its taker.
#[derive(Default)]
struct Taken<'a> {
    versions: BTreeMap<Version, &'a Rank>,
    whole: Option<&'a Rank>,
}

/// A policy's claim to one thing of one model.
struct Claim<'a> {
    policy: usize,
    thing: usize,
    rank: &'a Rank,
    model: &'a ModelId,
    versions: Option<&'a BTreeSet<Version>>,
}

/// What each policy wins in a namespace, by its place.
pub(crate) fn settle(namespace: &str, index: &Index<'_>, reaches: &[Reach]) -> Vec<Won> {
    let mut givers: BTreeMap<&str, Vec<(usize, usize)>> = BTreeMap::new();
    let mut won: Vec<Won> = Vec::with_capacity(reaches.len());
    for (policy, reach) in reaches.iter().enumerate() {
        let claims = reach.claims.get(namespace).map_or(0, Claims::len);
        let everything = reach.all && claims == index.declared(namespace).len();
        won.push(Won::new(reach.gives.len(), claims, everything));
        if claims > 0 {
            for (thing, name) in reach.gives.iter().enumerate() {
                givers.entry(name).or_default().push((policy, thing));
            }
        }
    }
    for givers in givers.into_values() {
        // Nobody contests it.
        if let [(policy, thing)] = givers[..] {
            let claims = reaches[policy].claims.get(namespace);
            won[policy].things[thing] = claims.cloned().unwrap_or_default();
            continue;
        }
        let mut claims: Vec<Claim<'_>> = givers
            .into_iter()
            .flat_map(|(policy, thing)| claims(namespace, policy, thing, &reaches[policy]))
            .collect();
        claims.sort_by_key(|claim| claim.rank);
        let mut taken: BTreeMap<&ModelId, Taken<'_>> = BTreeMap::new();
        for claim in &claims {
            let taken = taken.entry(claim.model).or_default();
            take(claim, taken, namespace, index, &mut won);
        }
    }
    won
}

fn claims<'a>(
    namespace: &str,
    policy: usize,
    thing: usize,
    reach: &'a Reach,
) -> impl Iterator<Item = Claim<'a>> + use<'a> {
    let ranks = [true, false].map(|whole| reach.rank(namespace, whole));
    let claims = reach.claims.get(namespace).into_iter().flatten();
    claims.filter_map(move |(model, versions)| {
        Some(Claim {
            policy,
            thing,
            rank: ranks[usize::from(versions.is_some())]?,
            model,
            versions: versions.as_ref(),
        })
    })
}

/// Gives a claim what is left of the model, and tells who has the rest.
fn take<'a>(
    claim: &Claim<'a>,
    taken: &mut Taken<'a>,
    namespace: &str,
    index: &Index<'_>,
    won: &mut [Won],
) {
    let won = &mut won[claim.policy];
    let wanted = |version: &Version| claim.versions.is_none_or(|some| some.contains(version));
    let mut apart: BTreeMap<&Rank, BTreeSet<Version>> = BTreeMap::new();
    for (version, winner) in taken.versions.iter().filter(|(v, _)| wanted(v)) {
        apart.entry(winner).or_default().insert(version.clone());
    }
    let mut lost: Vec<_> = apart.into_iter().map(|(by, all)| (by, Some(all))).collect();
    let left = left(claim, taken, namespace, index);
    let some = left.as_ref().is_none_or(|left| !left.is_empty());
    match (taken.whole, claim.versions) {
        (Some(winner), _) => lost.extend(some.then_some((winner, left))),
        (None, versions) => {
            match versions {
                None => taken.whole = Some(claim.rank),
                Some(versions) => {
                    for version in versions {
                        taken.versions.entry(version.clone()).or_insert(claim.rank);
                    }
                }
            }
            if some {
                won.things[claim.thing].insert(claim.model.clone(), left);
            }
        }
    }
    won.losses
        .extend(lost.into_iter().map(|(winner, versions)| Loss {
            thing: claim.thing,
            model: claim.model.clone(),
            versions,
            winner: winner.identity(),
            because: winner.because(claim.rank),
            equal: winner.is_equal(claim.rank),
        }));
}

/// The versions that a claim wants and nobody took apart; `None` where that is all of the model.
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
    let free = |version: &Version| !taken.versions.contains_key(version);
    Some(all.into_iter().filter(free).collect())
}

/// The rules of what a policy won.
pub(crate) fn bucket_rules<'a>(
    policy: &'a Policy<TokenBucketPolicySpec>,
    won: &'a Won,
) -> impl Iterator<Item = BucketRule> + 'a {
    let buckets = policy.spec.buckets.iter().zip(&won.things);
    buckets.flat_map(move |(bucket, models)| {
        let mut by_versions: BTreeMap<Option<&BTreeSet<Version>>, Vec<ModelId>> = BTreeMap::new();
        for (model, versions) in models {
            by_versions
                .entry(versions.as_ref())
                .or_default()
                .push(model.clone());
        }
        by_versions
            .into_iter()
            .map(move |(versions, models)| BucketRule {
                policy: in_rules(&policy.namespace, &policy.name),
                models: (!(won.everything && versions.is_none() && models.len() == won.claimed))
                    .then_some(models),
                versions: versions.map(|some| some.iter().cloned().collect()),
                bucket: bucket.clone(),
            })
    })
}

/// The taggings of a namespace: the filter takes the first that names a model, so by rank.
pub(crate) fn tag_rules(
    namespace: &str,
    policies: &[&Policy<TrafficTagPolicySpec>],
    reaches: &[Reach],
    won: &[Won],
) -> Vec<TagRule> {
    let mut order: Vec<(&Rank, usize)> = (0..policies.len())
        .filter_map(|i| Some((reaches[i].rank(namespace, true)?, i)))
        .collect();
    order.sort();
    // The first for all models is told even where every model has a closer one: a hop that follows tags by it what the
    // plan does not know.
    let for_all = order.iter().find(|(_, i)| reaches[*i].all).map(|(_, i)| *i);
    let rule = |(_, i): (&Rank, usize)| {
        let models = won[i].things.first()?;
        if models.is_empty() && for_all != Some(i) {
            return None;
        }
        Some(TagRule {
            policy: in_rules(&policies[i].namespace, &policies[i].name),
            models: (!reaches[i].all).then(|| models.keys().cloned().collect()),
            tagging: policies[i].spec.tagging.clone(),
        })
    };
    order.into_iter().filter_map(rule).collect()
}
