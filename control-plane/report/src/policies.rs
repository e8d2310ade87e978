//! The policies: what became of each, and whom it limits or tags.

use std::collections::BTreeSet;

use headgate_model::{NamespacePlan, Plan, PolicyCondition, PolicyId};

use super::select::Asked;
use super::{PolicyReport, VerdictReport};

/// Every policy; of those that a model is asked for, the ones that count for it.
pub(super) fn policies(plan: &Plan, asked: &Asked) -> Vec<PolicyReport> {
    let models = |id: &PolicyId| -> Vec<String> {
        let namespaces = plan.namespaces.iter();
        let counts = namespaces.flat_map(|(name, view)| of_namespace(name, view, id));
        counts.collect::<BTreeSet<String>>().into_iter().collect()
    };
    let all = plan.policies.iter().map(|(id, outcome)| PolicyReport {
        policy: id.to_string(),
        generation: outcome.generation,
        accepted: condition(&outcome.accepted),
        resolved: condition(&outcome.resolved),
        models: models(id),
    });
    all.filter(|policy| counts_for(plan, policy, asked))
        .collect()
}

fn condition(condition: &PolicyCondition) -> VerdictReport {
    VerdictReport {
        holds: condition.holds,
        reason: condition.reason.to_owned(),
        message: condition.message.clone(),
    }
}

/// The models of a namespace that a policy counts for; `namespace/*` where it counts for all.
fn of_namespace(namespace: &str, view: &NamespacePlan, id: &PolicyId) -> Vec<String> {
    let told = view.models_of_rules(id);
    if told.iter().any(|models| models.is_none()) {
        return vec![format!("{namespace}/*")];
    }
    let models = told.into_iter().flatten().flatten();
    models.map(|id| format!("{namespace}/{id}")).collect()
}

fn counts_for(plan: &Plan, policy: &PolicyReport, asked: &Asked) -> bool {
    let every = asked.is_everything();
    every
        || plan.namespaces.iter().any(|(namespace, view)| {
            let mut wanted = view
                .models
                .iter()
                .filter(|(id, model)| asked.wants(namespace, id.as_str(), &model.plan.names));
            let all = policy.models.contains(&format!("{namespace}/*"));
            wanted.any(|(id, _)| all || policy.models.contains(&format!("{namespace}/{id}")))
        })
}
