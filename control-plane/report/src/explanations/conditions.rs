//! Conditions of policies and ServedModels.

use super::NONE;

/// Explanation of a reason of a status condition.
#[derive(Debug, Clone, Copy)]
pub struct ConditionExplanation {
    /// The types of the condition, separated by commas.
    pub condition: &'static str,
    /// The reason.
    pub reason: &'static str,
    /// The situation.
    pub cause: &'static str,
    /// The fix.
    pub fix: &'static str,
}

const fn condition(
    condition: &'static str,
    reason: &'static str,
    cause: &'static str,
    fix: &'static str,
) -> ConditionExplanation {
    ConditionExplanation {
        condition,
        reason,
        cause,
        fix,
    }
}

/// The reasons of the conditions of policies and ServedModels.
pub const CONDITIONS: &[ConditionExplanation] = &[
    condition(
        "Accepted",
        "Accepted",
        "The spec is valid and takes effect.",
        NONE,
    ),
    condition(
        "Accepted, ResolvedRefs",
        "Invalid",
        "The spec is invalid. Its last valid content stays in effect.",
        "Correct the field that the message names.",
    ),
    condition(
        "Accepted",
        "InvalidBase",
        "The annotation `headgate.dev/base` of a ServedModel names no existing carrier.",
        "Correct or remove the annotation.",
    ),
    condition(
        "Accepted",
        "PartlyOverridden",
        "Another policy takes precedence for some models.",
        "None if this is intended; the message names the policy and the models.",
    ),
    condition(
        "Accepted",
        "Overridden",
        "Another policy takes precedence for every model, so the policy has no effect.",
        "Remove the policy, or the one that the message names.",
    ),
    condition(
        "Accepted",
        "OverrideIgnored",
        "`override` counts in the root namespace only.",
        "Remove `override`, or move the policy to the root namespace.",
    ),
    condition(
        "Accepted, Programmed",
        "NotInMesh",
        "Only proxies of a service mesh serve the models, and they do not apply the policy.",
        "Write a RequestAuthentication and an AuthorizationPolicy of Istio instead.",
    ),
    condition("ResolvedRefs", "ResolvedRefs", "Every target exists.", NONE),
    condition(
        "ResolvedRefs",
        "TargetNotFound",
        "Some targets do not exist. The policy applies to the others.",
        "Correct the name, or create the object that the message names.",
    ),
    condition(
        "ResolvedRefs",
        "TargetUnread",
        "A target is of a kind that the control plane cannot read.",
        "Install the kind, or grant the permission that the message names.",
    ),
    condition(
        "ResolvedRefs, Programmed",
        "MatchesNothing",
        "The policy applies to no model.",
        "Correct the target, or label the models.",
    ),
    condition(
        "Programmed",
        "Programmed",
        "Every proxy that serves the models has the content.",
        NONE,
    ),
    condition(
        "Programmed, Converged",
        "Reconciling",
        "Some proxies do not have the content yet.",
        "Wait; if it lasts, `headgate status` names the proxies.",
    ),
    condition(
        "Programmed, Converged",
        "NoProxies",
        "No proxy that serves the models is connected.",
        "Start a proxy, or check its connection to the control plane.",
    ),
    condition(
        "Programmed",
        "NoDomain",
        "No namespace of the policy has a domain, so no proxy gets it.",
        "Start the control plane with `--domain NAMESPACE=DOMAIN`.",
    ),
    condition(
        "Programmed",
        "RefusedByProxy",
        "A proxy refuses what is made from the object.",
        "Correct the object as the message says.",
    ),
    condition(
        "Ready",
        "Serving",
        "At least one version that takes new sessions has a ready endpoint.",
        NONE,
    ),
    condition(
        "Ready",
        "NothingReady",
        "No version that takes new sessions has a ready endpoint.",
        "Check the pods of the model.",
    ),
    condition(
        "Ready, Programmed, Converged",
        "NoCarriers",
        "No object has the label of the model.",
        "Label a Deployment or a Service with `model-name` and `model-version`.",
    ),
    condition(
        "Converged",
        "WaitsForRoutes",
        "A version has no subset or no route in the mesh yet, so its proxies do not get it.",
        "Wait for some seconds; if it lasts, `headgate status` shows a problem of the version or of the Kubernetes API.",
    ),
    condition(
        "Converged",
        "Converged",
        "Every proxy has acknowledged the planned weights.",
        NONE,
    ),
];
