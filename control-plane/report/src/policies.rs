//! Policies: the conditions of each, and the models that it applies to.

use std::collections::{BTreeMap, BTreeSet};

use headgate_model::{
    Finding, NamespacePlan, Plan, PolicyCondition, PolicyId, Subject, condition_reason,
    reason as of_object,
};

use super::query::Query;
use super::{ConditionReport, PolicyReport};

/// The policies that apply to a selected model; all policies if the query selects everything.
pub(super) fn policies(plan: &Plan, query: &Query) -> Vec<PolicyReport> {
    let models = |id: &PolicyId| -> Vec<String> {
        let namespaces = plan.namespaces.iter();
        let applies = namespaces.flat_map(|(name, view)| of_namespace(name, view, id));
        applies.collect::<BTreeSet<String>>().into_iter().collect()
    };
    let invalid = invalid(plan);
    let all = plan.policies.iter().map(|(id, outcome)| PolicyReport {
        policy: id.to_string(),
        generation: outcome.generation,
        accepted: invalid.get(id).map_or_else(
            || condition(&outcome.accepted),
            |finding| not_accepted(finding),
        ),
        resolved: condition(&outcome.resolved),
        models: models(id),
    });
    all.filter(|policy| applies_to(plan, policy, query))
        .collect()
}

/// The findings on policies whose objects are invalid as they are now.
fn invalid(plan: &Plan) -> BTreeMap<&PolicyId, &Finding> {
    let findings = plan.findings.iter();
    let findings = findings.filter(|finding| finding.reason == of_object::UNREADABLE);
    let of_policies = findings.filter_map(|finding| match &finding.object {
        Subject::Policy(id) => Some((id, finding)),
        _ => None,
    });
    of_policies.collect()
}

/// The condition of an invalid policy. Its last valid version is in the plan.
fn not_accepted(finding: &Finding) -> ConditionReport {
    ConditionReport {
        holds: false,
        reason: condition_reason::INVALID.to_owned(),
        message: finding.message.clone(),
    }
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

#[cfg(test)]
mod tests {
    use headgate_contract::{PolicySpec as _, TokenBucketPolicySpec};
    use headgate_model::{PolicyOutcome, Severity};

    use super::*;

    #[test]
    fn an_invalid_policy_is_not_accepted_although_its_last_valid_version_is_in_the_plan() {
        let id = PolicyId {
            kind: TokenBucketPolicySpec::KIND,
            namespace: "default".to_owned(),
            name: "fair".to_owned(),
        };
        let holds = |reason| PolicyCondition {
            holds: true,
            reason,
            message: String::new(),
        };
        let outcome = PolicyOutcome {
            generation: 1,
            accepted: holds(condition_reason::ACCEPTED),
            resolved: holds(condition_reason::RESOLVED),
            at: None,
            authenticates: false,
            namespaces: BTreeSet::new(),
            unserved: BTreeSet::new(),
        };
        let mut plan = Plan {
            policies: [(id.clone(), outcome)].into(),
            ..Plan::default()
        };
        let everything = Query::default();
        assert!(policies(&plan, &everything)[0].accepted.holds);
        plan.findings.push(Finding {
            object: id.clone().into(),
            reason: of_object::UNREADABLE,
            severity: Severity::Error,
            origin: id.to_string(),
            message: "the last valid version stays in effect: capacity must be positive".to_owned(),
        });
        let accepted = &policies(&plan, &everything)[0].accepted;
        assert_eq!(
            (accepted.holds, accepted.reason.as_str()),
            (false, "Invalid")
        );
        assert!(accepted.message.contains("capacity"), "{accepted:?}");
    }
}
