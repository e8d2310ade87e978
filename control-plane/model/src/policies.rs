//! Policies → rules: which models each policy is for, which one counts where several give the same thing, and what became
//! of each.
//!
//! ```text
//! policy ──▶ reach (which models, which versions) ──▶ contest (who wins) ──▶ rules of a namespace
//!                                                                       └──▶ outcome of a policy ──▶ status
//! ```
//!
//! For one bucket name, and for the tagging, of one model the winner is, in this order: an `override` of the root
//! namespace · a policy that names the version, then one that names the model, then one that selects it, then one for
//! all models of the namespace · a policy of the root namespace; among equals the oldest, then the first by namespace and name.
//!
//! Invariant: the rules of a namespace never give one request two buckets of one name, and never name a model or a
//! version the namespace does not declare.

mod contest;
mod cors;
mod losses;
mod outcome;
mod rank;
mod reach;
mod windows;

use std::collections::BTreeMap;

use headgate_contract::{BucketRule, TagRule};

use self::outcome::Outcomes;
pub use self::outcome::{PolicyCondition, PolicyOutcome, condition_reason};
use self::rank::oldest_first;
use self::reach::Reach;
use crate::{Finding, Objects, PolicyId, Registry};

/// The rules of a namespace.
#[derive(Default)]
pub(crate) struct Rules {
    pub(crate) buckets: Vec<BucketRule>,
    pub(crate) tagging: Vec<TagRule>,
}

/// The rules of every namespace that declares a model, and what became of every policy.
pub(crate) fn resolve(
    registry: &Registry,
    objects: &Objects,
    findings: &mut Vec<Finding>,
) -> (BTreeMap<String, Rules>, BTreeMap<PolicyId, PolicyOutcome>) {
    let index = reach::Index::of(registry, objects);
    let mut outcomes = Outcomes::default();
    let mut rules: BTreeMap<String, Rules> = BTreeMap::new();

    let policies = oldest_first(&objects.bucket_policies);
    findings.extend(
        policies
            .iter()
            .filter_map(|policy| windows::finding(policy)),
    );
    let reaches: Vec<Reach> = policies.iter().map(|policy| index.reach(policy)).collect();
    for namespace in registry.namespaces.keys() {
        let won = contest::settle(namespace, &index, &reaches);
        let own = rules.entry(namespace.clone()).or_default();
        for (policy, won) in policies.iter().zip(&won) {
            own.buckets.extend(contest::bucket_rules(policy, won));
        }
        outcomes.enter(namespace, &reaches, won);
    }
    outcomes.close(reaches, registry);

    let policies = oldest_first(&objects.tag_policies);
    let reaches: Vec<Reach> = policies.iter().map(|policy| index.reach(policy)).collect();
    for namespace in registry.namespaces.keys() {
        let mut won = contest::settle(namespace, &index, &reaches);
        let own = rules.entry(namespace.clone()).or_default();
        own.tagging = contest::tag_rules(namespace, &policies, &reaches, &won);
        cors::enter(namespace, &policies, &reaches, &own.tagging, &mut won);
        outcomes.enter(namespace, &reaches, won);
    }
    outcomes.close(reaches, registry);

    findings.extend(outcomes.findings);
    (rules, outcomes.of)
}
