//! Policies: the conditions of each, and the models that it applies to.

use std::collections::BTreeSet;

use headgate_model::{NamespacePlan, Plan, PolicyCondition, PolicyId};

use super::query::Query;
use super::{ConditionReport, PolicyReport};

/// The policies that apply to a selected model; all policies if the query selects everything.
pub(super) fn policies(plan: &Plan, query: &Query) -> Vec<PolicyReport> {
    let models = |id: &PolicyId| -> Vec<String> {
        let namespaces = plan.namespaces.iter();
        let applies = namespaces.flat_map(|(name, view)| of_namespace(name, view, id));
        applies.collect::<BTreeSet<String>>().into_iter().collect()
    };
    let all = plan.policies.iter().map(|(id, outcome)| PolicyReport {
        policy: id.to_string(),
        generation: outcome.generation,
        accepted: condition(&outcome.accepted),
        resolved: condition(&outcome.resolved),
        models: models(id),
    });
    all.filter(|policy| applies_to(plan, policy, query))
        .collect()
}

fn condition(condition: &PolicyCondition) -> ConditionReport {
    ConditionReport {
        holds: condition.holds,
        reason: condition.reason.to_owned(),
        message: condition.message.clone(),
    }
}

/// The models of a namespace that a policy applies to; `namespace/*` if it applies to all of them.
fn of_namespace(namespace: &str, view: &NamespacePlan, id: &PolicyId) -> Vec<String> {
    let rules_models = view.models_of_rules(id);
    if rules_models.iter().any(|models| models.is_none()) {
        return vec![format!("{namespace}/*")];
    }
    let models = rules_models.into_iter().flatten().flatten();
    models.map(|id| format!("{namespace}/{id}")).collect()
}

fn applies_to(plan: &Plan, policy: &PolicyReport, query: &Query) -> bool {
    let every = query.is_everything();
    every
        || plan.namespaces.iter().any(|(namespace, view)| {
            let mut wanted = view
                .models
                .iter()
                .filter(|(id, model)| query.matches(namespace, id.as_str(), &model.plan.names));
            let all = policy.models.contains(&format!("{namespace}/*"));
            wanted.any(|(id, _)| all || policy.models.contains(&format!("{namespace}/{id}")))
        })
}
