//! `TrafficTagPolicy` → tag rules.
//!
//! `cors` and `apis` apply to a whole namespace. Invariant: those of one policy are never merged with those of another. The status
//! reports hidden ones, because pages and paths that they allow are refused.

use headgate_contract::{ModelId, NamespaceConfig, TagRule, Tagging, TrafficTagPolicySpec};

use super::effective_items::{Effect, EffectiveItems, NamespacePart};
use super::kind::{RulePolicy, Rules};
use super::rank::Rank;
use super::resolved::ResolvedPolicy;
use super::typed::TypedPolicy;
use crate::{Authentication, Severity, reason};

impl RulePolicy for TrafficTagPolicySpec {
    const CONFLICT_FIX: &'static str = "One tagging applies per model";

    /// The tagging is one item without a name.
    fn items(&self) -> Vec<String> {
        vec![String::new()]
    }

    fn describe(_index: usize, _name: &str) -> String {
        "spec: the tagging".to_owned()
    }

    fn conflict(_tie: bool) -> (Severity, &'static str) {
        (Severity::Warning, reason::TAGGING_SHADOWED)
    }

    fn add_rules(
        namespace: &str,
        policies: &[TypedPolicy<'_, Self>],
        resolved: &[ResolvedPolicy],
        effective: &mut [EffectiveItems],
        rules: &mut Rules,
    ) {
        rules.tagging = tag_rules(namespace, policies, resolved, effective);
        set_namespace_parts(namespace, policies, resolved, &rules.tagging, effective);
    }

    fn models_of_rules<'c>(
        config: &'c NamespaceConfig,
        _authentication: Option<&'c Authentication>,
        policy: &str,
    ) -> Vec<Option<&'c [ModelId]>> {
        let rules = config.tagging.iter().filter(|rule| rule.policy == policy);
        rules.map(|rule| rule.models.as_deref()).collect()
    }
}

/// The tag rules of a namespace by rank, because the filter takes the first one that names a model.
fn tag_rules(
    namespace: &str,
    policies: &[TypedPolicy<'_, TrafficTagPolicySpec>],
    resolved: &[ResolvedPolicy],
    effective: &[EffectiveItems],
) -> Vec<TagRule> {
    let mut order: Vec<(&Rank, usize)> = (0..policies.len())
        .filter_map(|i| Some((resolved[i].rank(namespace, true)?, i)))
        .collect();
    order.sort();
    // The first rule for all models is kept even if every model has a more specific one: a hop that follows tags applies it to models
    // that are not in the plan.
    let for_all = order.iter().find(|(_, i)| resolved[*i].all);
    let for_all = for_all.map(|(_, i)| *i);
    let rule = |(_, i): (&Rank, usize)| {
        let models = effective[i].items.first()?;
        if models.is_empty() && for_all != Some(i) {
            return None;
        }
        Some(TagRule {
            policy: policies[i].policy.id().in_rules(),
            models: (!resolved[i].all).then(|| models.keys().cloned().collect()),
            tagging: policies[i].spec.tagging.clone(),
        })
    };
    order.into_iter().filter_map(rule).collect()
}

/// Whether a tagging has a part.
type HasPart = fn(&Tagging) -> bool;

/// The fields for whole namespaces, and whether a tagging has them.
const PARTS: [(&str, HasPart); 2] = [
    ("spec.cors", |tagging| tagging.cors.is_some()),
    ("spec.apis", |tagging| tagging.apis.is_some()),
];

/// Records the effect of every part for whole namespaces: that of the first rule for all models of the namespace takes effect.
fn set_namespace_parts(
    namespace: &str,
    policies: &[TypedPolicy<'_, TrafficTagPolicySpec>],
    resolved: &[ResolvedPolicy],
    rules: &[TagRule],
    effective: &mut [EffectiveItems],
) {
    let Some(first) = rules.iter().find(|rule| rule.models.is_none()) else {
        return;
    };
    for ((policy, resolved), effective) in policies.iter().zip(resolved).zip(effective) {
        if !resolved.targeted.contains_key(namespace) {
            continue;
        }
        for (field, has) in PARTS.iter().filter(|(_, has)| has(&policy.spec.tagging)) {
            let effect = match policy.policy.id().in_rules() == first.policy {
                true => Effect::Active,
                false => Effect::Hidden {
                    by: first.policy.clone(),
                    replaced: has(&first.tagging),
                },
            };
            effective
                .namespace_parts
                .push(NamespacePart { field, effect });
        }
    }
}
