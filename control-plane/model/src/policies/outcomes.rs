//! Results of policies in all namespaces → their outcomes and findings.
//!
//! Invariant: outcomes are a function of the objects, like the plan. Messages name the field, and those about overridden items name the
//! winners. A finding becomes an Event, so its text changes only when its cause does; the number and the list of models are in the
//! conditions.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use super::effective_items::{Effect, EffectiveItems};
use super::kind::RulePolicy;
use super::list::{join, list};
use super::outcome::{PolicyCondition, PolicyOutcome, condition_reason};
use super::overridden_items::{overridden_items, winners};
use super::resolved::{ResolvedPolicy, Unresolved};
use crate::{Finding, PolicyId, Registry, Severity, reason};

/// The results of the policies of one kind, namespace by namespace.
pub(super) struct Outcomes<S> {
    /// By index of the policy, with the namespace.
    effective: BTreeMap<usize, Vec<(String, EffectiveItems)>>,
    kind: PhantomData<S>,
}

impl<S> Default for Outcomes<S> {
    fn default() -> Self {
        Self {
            effective: BTreeMap::new(),
            kind: PhantomData,
        }
    }
}

impl<S: RulePolicy> Outcomes<S> {
    /// Adds the results of a namespace.
    pub(super) fn add(
        &mut self,
        namespace: &str,
        policies: &[ResolvedPolicy],
        effective: Vec<EffectiveItems>,
    ) {
        for (i, effective) in effective.into_iter().enumerate() {
            if policies[i].targeted.contains_key(namespace) {
                let all = self.effective.entry(i).or_default();
                all.push((namespace.to_owned(), effective));
            }
        }
    }

    /// The findings on all policies, once all namespaces are added.
    pub(super) fn findings(&self, policies: &[ResolvedPolicy]) -> Vec<Finding> {
        let policies = policies.iter().enumerate();
        policies
            .flat_map(|(i, policy)| findings::<S>(policy, self.of(i)))
            .collect()
    }

    /// The outcomes of all policies, once all namespaces are added.
    pub(super) fn finish(
        self,
        policies: Vec<ResolvedPolicy>,
        registry: &Registry,
    ) -> Vec<(PolicyId, PolicyOutcome)> {
        let policies = policies.into_iter().enumerate();
        let outcomes = policies.map(|(i, policy)| {
            let effective = self.of(i);
            let active = effective
                .iter()
                .filter(|(_, effective)| !effective.is_nothing());
            let namespaces: BTreeSet<String> = active.map(|(name, _)| name.clone()).collect();
            let outcome = PolicyOutcome {
                generation: policy.generation,
                accepted: not_in_mesh::<S>(effective, registry)
                    .unwrap_or_else(|| accepted::<S>(&policy, effective)),
                resolved: resolved(&policy),
                at: policy.at,
                authenticates: S::NOT_IN_MESH.is_some(),
                unserved: unserved(&policy, &namespaces, registry),
                namespaces,
            };
            (policy.id, outcome)
        });
        outcomes.collect()
    }

    fn of(&self, policy: usize) -> &[(String, EffectiveItems)] {
        self.effective.get(&policy).map_or(&[], Vec::as_slice)
    }
}

fn findings<S: RulePolicy>(
    policy: &ResolvedPolicy,
    effective: &[(String, EffectiveItems)],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut report = |severity, reason, message| {
        findings.push(Finding {
            object: policy.id.clone().into(),
            reason,
            severity,
            origin: policy.origin.clone(),
            message,
        });
    };
    let matches_nothing = policy.targeted.is_empty();
    for unresolved in &policy.unresolved {
        let message = &unresolved.message;
        if unresolved.unread {
            report(Severity::Warning, reason::TARGET_UNREAD, message.clone());
            continue;
        }
        let message = match matches_nothing {
            true => format!("matches no model and has no effect: {message}"),
            false => message.clone(),
        };
        report(Severity::Warning, reason::MATCHES_NOTHING, message);
    }
    if let Some(message) = ignored_override(policy) {
        report(Severity::Warning, reason::OVERRIDE_IGNORED, message);
    }
    // An exception from a policy for more models is intended. A tie, or a policy without any effect, may not be.
    let total = effective
        .iter()
        .all(|(_, effective)| effective.is_nothing());
    let mut overridden_items = effective
        .iter()
        .flat_map(|(_, effective)| &effective.overridden);
    let tie = overridden_items.any(|item| item.is_tie);
    let overridden = winners::<S>(policy, effective).filter(|_| tie || total);
    let hidden_part =
        hidden_part::<S>(effective).filter(|_| tie || total || is_part_missing(effective));
    if let Some(message) = join([overridden, hidden_part])
        && !matches_nothing
    {
        let (severity, reason) = S::conflict(tie);
        report(severity, reason, message);
    }
    findings
}

fn accepted<S: RulePolicy>(
    policy: &ResolvedPolicy,
    effective: &[(String, EffectiveItems)],
) -> PolicyCondition {
    let total = !effective.is_empty()
        && effective
            .iter()
            .all(|(_, effective)| effective.is_nothing());
    let overridden = overridden_items::<S>(policy, effective);
    let active_parts = effective
        .iter()
        .flat_map(|(_, effective)| effective.active_parts());
    let active_parts: BTreeSet<&str> = active_parts.collect();
    let active_part = match active_parts.len() {
        0 => None,
        1 => Some(format!("its {} takes effect", code(&active_parts))),
        _ => Some(format!("its {} take effect", code(&active_parts))),
    };
    let active_part = active_part.filter(|_| overridden.is_some());
    let overridden = join([overridden, active_part, hidden_part::<S>(effective)]);
    let reason = match (&overridden, ignored_override(policy)) {
        (Some(_), _) => condition_reason::PARTLY_OVERRIDDEN,
        (None, Some(_)) => condition_reason::OVERRIDE_IGNORED,
        (None, None) => condition_reason::ACCEPTED,
    };
    let message =
        join([overridden, ignored_override(policy)]).unwrap_or_else(|| applies_to(policy));
    if total {
        let message = format!("no part of it takes effect: {message}");
        return PolicyCondition::new(false, condition_reason::OVERRIDDEN, message);
    }
    PolicyCondition::new(true, reason, message)
}

/// The condition of a policy that only the listeners of Headgate apply, if none of them serves its namespaces.
fn not_in_mesh<S: RulePolicy>(
    effective: &[(String, EffectiveItems)],
    registry: &Registry,
) -> Option<PolicyCondition> {
    let mut namespaces = effective.iter();
    let has_domain = namespaces.any(|(namespace, _)| registry.has_domain(namespace));
    let instead = S::NOT_IN_MESH.filter(|_| registry.needs_routes && !has_domain)?;
    Some(PolicyCondition::new(
        false,
        condition_reason::NOT_IN_MESH,
        instead,
    ))
}

/// The namespaces without a domain to which a policy applies. Its own namespace is one of them if it matches nothing there, unless it is
/// the root namespace.
fn unserved(
    policy: &ResolvedPolicy,
    namespaces: &BTreeSet<String>,
    registry: &Registry,
) -> BTreeSet<String> {
    let own = &policy.id.namespace;
    let in_root = registry.root_namespace.as_ref() == Some(own);
    let own = Some(own).filter(|_| policy.targeted.is_empty() && !in_root);
    let namespaces = namespaces.iter().chain(own);
    let unserved = namespaces.filter(|namespace| !registry.serves(namespace));
    unserved.cloned().collect()
}

fn applies_to(policy: &ResolvedPolicy) -> String {
    let models: usize = policy.targeted.values().map(BTreeMap::len).sum();
    match (models, policy.targeted.len()) {
        (0, _) => "valid".to_owned(),
        (1, _) => "applies to 1 model".to_owned(),
        (models, 1) => format!("applies to {models} models"),
        (models, namespaces) => format!("applies to {models} models in {namespaces} namespaces"),
    }
}

fn resolved(policy: &ResolvedPolicy) -> PolicyCondition {
    let unresolved = policy.unresolved.iter().map(Unresolved::full_message);
    let message = unresolved.collect::<Vec<_>>().join("; ");
    if policy.unresolved.iter().any(|unresolved| unresolved.unread) {
        return PolicyCondition::new(false, condition_reason::TARGET_UNREAD, message);
    }
    match (policy.targeted.is_empty(), policy.unresolved.is_empty()) {
        (_, true) => {
            PolicyCondition::new(true, condition_reason::RESOLVED, "all its targets exist")
        }
        (false, false) => PolicyCondition::new(false, condition_reason::PARTLY_RESOLVED, message),
        (true, false) => {
            let message = format!("matches no model: {message}");
            PolicyCondition::new(false, condition_reason::MATCHES_NOTHING, message)
        }
    }
}

fn ignored_override(policy: &ResolvedPolicy) -> Option<String> {
    let root = match policy.ignored_override.as_ref()? {
        Some(root) => format!("which is {root}"),
        None => "and none is configured".to_owned(),
    };
    Some(format!(
        "spec.override: takes effect only in the root namespace, {root}: remove it"
    ))
}

/// The message on a part for whole namespaces that other policies hide. The text changes only when those policies do.
fn hidden_part<S: RulePolicy>(effective: &[(String, EffectiveItems)]) -> Option<String> {
    let parts = effective
        .iter()
        .flat_map(|(_, effective)| &effective.namespace_parts);
    let hidden: Vec<(&str, &str)> = parts
        .filter_map(|part| match &part.effect {
            Effect::Hidden { by, .. } => Some((part.field, by.as_str())),
            Effect::Active => None,
        })
        .collect();
    hidden.first()?;
    let fields: BTreeSet<&str> = hidden.iter().map(|(field, _)| *field).collect();
    let (has, it) = match fields.len() {
        1 => ("has", "it"),
        _ => ("have", "them"),
    };
    let by: BTreeSet<&str> = hidden.iter().map(|(_, by)| *by).collect();
    Some(format!(
        "{}: {has} no effect where {} {} takes precedence for the whole namespace. Move {it} there, or remove {it}",
        list(fields.into_iter()),
        S::KIND,
        list(by.into_iter())
    ))
}

/// Names of fields in a sentence.
fn code(fields: &BTreeSet<&str>) -> String {
    let fields: Vec<_> = fields.iter().map(|field| format!("`{field}`")).collect();
    fields.join(" and ")
}

/// Whether a part for whole namespaces is hidden by a policy without that part.
fn is_part_missing(effective: &[(String, EffectiveItems)]) -> bool {
    let mut parts = effective
        .iter()
        .flat_map(|(_, effective)| &effective.namespace_parts);
    parts.any(|part| {
        matches!(
            part.effect,
            Effect::Hidden {
                replaced: false,
                ..
            }
        )
    })
}
