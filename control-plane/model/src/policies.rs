//! Policies → rules of the filters: the models of each policy, the policy that takes precedence where several give the same item, and
//! the outcome of each policy.
//!
//! ```text
//! policy ──▶ targets (models, versions) ──▶ precedence ──▶ rules of a namespace
//!                                                     └──▶ outcome of a policy ──▶ status
//! ```
//!
//! For one item (a bucket name, or the tagging) of one model, the winner is, in this order: an `override` of the root namespace · a
//! policy that names the version, then one that names the model, then one that selects it by labels, then one for all models of the
//! namespace · a policy of the root namespace. Among equals the oldest wins, then the first by namespace and name.
//!
//! Invariant: the rules of a namespace never give one request two buckets of one name, and never name a model or a version that the
//! namespace does not declare.

mod authentication;
mod effective_items;
mod kind;
mod list;
mod outcome;
mod outcomes;
mod overridden_items;
mod precedence;
mod rank;
mod resolved;
mod targets;
mod token_bucket;
mod traffic_tag;
mod typed;

use std::collections::BTreeMap;

use headgate_contract::{
    AuthenticationPolicySpec, ModelId, NamespaceConfig, PolicyKind, TokenBucketPolicySpec,
    TrafficTagPolicySpec,
};

use self::kind::RulePolicy;
pub(crate) use self::kind::Rules;
pub use self::outcome::{PolicyCondition, PolicyOutcome, condition_reason};
use self::outcomes::Outcomes;
use self::rank::oldest_first;
use self::resolved::ResolvedPolicy;
use self::targets::Index;
use crate::{Authentication, Finding, Objects, PolicyId, Registry};

/// Every kind of policies that becomes rules.
static KINDS: [RuleKind; 3] = [
    RuleKind::of::<AuthenticationPolicySpec>(),
    RuleKind::of::<TokenBucketPolicySpec>(),
    RuleKind::of::<TrafficTagPolicySpec>(),
];

/// [`RulePolicy::models_of_rules`].
type ModelsOfRules =
    for<'c> fn(&'c NamespaceConfig, Option<&'c Authentication>, &str) -> Vec<Option<&'c [ModelId]>>;

/// A [`RulePolicy`], as a value.
struct RuleKind {
    kind: PolicyKind,
    resolve: fn(&mut Resolution<'_>, &Objects),
    models_of_rules: ModelsOfRules,
}

impl RuleKind {
    const fn of<S: RulePolicy>() -> Self {
        Self {
            kind: S::KIND,
            resolve: |resolution, objects| resolution.resolve::<S>(objects),
            models_of_rules: S::models_of_rules,
        }
    }
}

/// The models of each rule that a policy has in a namespace. `None` is a rule for all models.
pub(crate) fn models_of_rules<'c>(
    config: &'c NamespaceConfig,
    authentication: Option<&'c Authentication>,
    policy: &PolicyId,
) -> Vec<Option<&'c [ModelId]>> {
    let kind = KINDS.iter().find(|kind| kind.kind == policy.kind);
    kind.map(|kind| (kind.models_of_rules)(config, authentication, &policy.in_rules()))
        .unwrap_or_default()
}

/// The rules of every namespace that declares a model, and the outcome of every policy.
pub(crate) fn resolve(
    registry: &Registry,
    objects: &Objects,
    findings: &mut Vec<Finding>,
) -> (BTreeMap<String, Rules>, BTreeMap<PolicyId, PolicyOutcome>) {
    let mut resolution = Resolution {
        registry,
        index: Index::of(registry, objects),
        rules: BTreeMap::new(),
        outcomes: BTreeMap::new(),
        findings,
    };
    for kind in &KINDS {
        (kind.resolve)(&mut resolution, objects);
    }
    (resolution.rules, resolution.outcomes)
}

/// The results so far, for the policies of all kinds.
struct Resolution<'a> {
    registry: &'a Registry,
    index: Index<'a>,
    rules: BTreeMap<String, Rules>,
    outcomes: BTreeMap<PolicyId, PolicyOutcome>,
    findings: &'a mut Vec<Finding>,
}

impl Resolution<'_> {
    /// Resolves all policies of one kind.
    fn resolve<S: RulePolicy>(&mut self, objects: &Objects) {
        let policies = oldest_first::<S>(objects);
        let resolved: Vec<ResolvedPolicy> = policies
            .iter()
            .map(|policy| self.index.resolve(policy))
            .collect();
        let mut outcomes = Outcomes::<S>::default();
        for namespace in self.registry.namespaces.keys() {
            let mut effective = precedence::resolve(namespace, &self.index, &resolved);
            let rules = self.rules.entry(namespace.clone()).or_default();
            S::add_rules(namespace, &policies, &resolved, &mut effective, rules);
            outcomes.add(namespace, &resolved, effective);
        }
        let advice = policies
            .iter()
            .flat_map(|policy| S::advice(policy, self.registry.needs_routes));
        self.findings.extend(advice);
        self.findings.extend(outcomes.findings(&resolved));
        self.outcomes
            .extend(outcomes.finish(resolved, self.registry));
    }
}

#[cfg(test)]
mod tests {
    use headgate_contract::POLICY_DEFINITIONS;

    use super::*;

    #[test]
    fn every_kind_of_the_contract_becomes_rules() {
        let kinds: Vec<&PolicyKind> = KINDS.iter().map(|kind| &kind.kind).collect();
        let defined: Vec<&PolicyKind> = POLICY_DEFINITIONS.iter().map(|d| &d.kind).collect();
        assert_eq!(kinds, defined);
    }
}
