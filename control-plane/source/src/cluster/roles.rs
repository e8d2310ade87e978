//! Conventions of the operators of the default kinds: the labels of pods that serve, and the fields that name the generation that takes
//! traffic.
//!
//! Invariant: a table of labels and fields that the operators themselves set. Nothing is guessed beyond it: a labelled Service decides.

use serde_json::Value;

use super::identity::{Controller, Labels};
use crate::declared::text;
use headgate_kubernetes::kinds::Kind;

/// Labels that name the owner of objects which an operator creates through another operator: label, and the owner's group and kind.
/// KServe's serverless mode creates Deployments through Knative.
const NAMED_OWNERS: [(&str, &str, &str); 1] = [(
    "serving.kserve.io/inferenceservice",
    KSERVE,
    "InferenceService",
)];

/// Groups whose controllers copy all labels of their objects to the Services that they create. No user wrote them there.
const GROUPS_THAT_COPY_LABELS: [&str; 2] =
    ["networking.internal.knative.dev", "serving.knative.dev"];

/// Owners whose operator copies their labels to the Services that it creates, possibly only at creation: group and kind.
const OWNERS_COPIED_TO_SERVICES: [(&str, &str); 1] = [(KSERVE, "InferenceService")];

/// Kinds whose operator copies labels and annotations of the owner at creation: group, kind, and the owner's kind.
const KINDS_COPIED_FROM_OWNER: [(&str, &str, &str); 1] = [(RAY, "RayCluster", "RayService")];

/// The role of a pod for its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// It answers requests. If an owner has parts of several ranks, those of the lowest rank do.
    Serves(u8),
    /// It helps other pods that serve.
    Helper,
    /// Its labels do not declare a role.
    Unspecified,
}

const SERVES: Role = Role::Serves(1);
const KSERVE: &str = "serving.kserve.io";
const RAY: &str = "ray.io";
const ARGO: &str = "argoproj.io";
const COMPONENT: &str = "app.kubernetes.io/component";

/// The label with the index of a pod in its LeaderWorkerSet group; the leader has 0.
const WORKER_INDEX: &str = "leaderworkerset.sigs.k8s.io/worker-index";

/// A label, its values, and the role of the pods that have one of them.
type Rule = (&'static str, &'static [&'static str], Role);

/// The first rule that matches decides.
const LLM_INFERENCE_SERVICE: &[Rule] = &[
    ("llm-d.ai/role", &["prefill", "encode"], Role::Helper),
    (
        COMPONENT,
        &[
            "llminferenceservice-router-scheduler",
            "llminferenceservice-router",
            "llminferenceservice-workload-prefill",
            "llminferenceservice-workload-prefill-worker",
            "llminferenceservice-workload-leader-prefill",
            "llminferenceservice-workload-worker-prefill",
        ],
        Role::Helper,
    ),
    // Its InferencePool selects these, also the workers of a group without a leader.
    ("kserve.io/component", &["workload"], SERVES),
    (
        COMPONENT,
        &[
            "llminferenceservice-workload",
            "llminferenceservice-workload-leader",
        ],
        SERVES,
    ),
    (
        COMPONENT,
        &["llminferenceservice-workload-worker"],
        Role::Helper,
    ),
    (
        "llm-d.ai/role",
        &["decode", "both", "prefill-decode"],
        SERVES,
    ),
];

const INFERENCE_SERVICE: &[Rule] = &[
    // Requests go to the transformer, which calls the predictor.
    ("component", &["transformer"], Role::Serves(0)),
    ("component", &["predictor"], SERVES),
    ("component", &["explainer", "worker"], Role::Helper),
];

const RAY_PODS: &[Rule] = &[
    ("ray.io/serve", &["true"], SERVES),
    ("ray.io/serve", &["false"], Role::Helper),
    ("ray.io/node-type", &["head", "redis-cleanup"], Role::Helper),
];

/// The rules of a kind.
fn rules(kind: &Kind) -> &'static [Rule] {
    match (kind.group.as_str(), kind.kind.as_str()) {
        (KSERVE, "LLMInferenceService") => LLM_INFERENCE_SERVICE,
        (KSERVE, "InferenceService") => INFERENCE_SERVICE,
        (RAY, "RayService" | "RayCluster") => RAY_PODS,
        _ => &[],
    }
}

/// The owner that a label names: group, kind and name.
pub(super) fn named_owner(labels: &Labels) -> Option<(&'static str, &'static str, &str)> {
    NAMED_OWNERS.iter().find_map(|(label, group, kind)| {
        let name = labels.get(*label)?;
        Some((*group, *kind, name.as_str()))
    })
}

/// Whether a controller copies labels of another object to the Services that it creates.
pub(super) fn is_in_copying_group(controller: &Controller) -> bool {
    GROUPS_THAT_COPY_LABELS.contains(&controller.group.as_str())
}

/// Whether the labels of a controller, where it has any, are copied to its Services.
pub(super) fn is_copied_to_services(controller: &Controller) -> bool {
    OWNERS_COPIED_TO_SERVICES.contains(&(controller.group.as_str(), controller.kind.as_str()))
}

/// Whether the labels and annotations of an object of this kind are copies of its controller's.
pub(super) fn is_copied_from_owner(kind: &Kind, controller: &Controller) -> bool {
    let copies = |(group, copy, original): &(&str, &str, &str)| {
        kind.is(group, copy)
            && (controller.group.as_str(), controller.kind.as_str()) == (*group, *original)
    };
    KINDS_COPIED_FROM_OWNER.iter().any(copies)
}

/// The role of a pod with these labels and an owner of this kind; `None` if the owner is a pod.
pub(super) fn role(kind: Option<&Kind>, labels: &Labels) -> Role {
    let rules = kind.map_or(&[][..], rules);
    let holds = |(label, values, _): &&Rule| {
        labels
            .get(*label)
            .is_some_and(|value| values.contains(&value.as_str()))
    };
    if let Some((_, _, role)) = rules.iter().find(holds) {
        return *role;
    }
    match labels.get(WORKER_INDEX).map(String::as_str) {
        Some("0") => SERVES,
        Some(_) => Role::Helper,
        None => Role::Unspecified,
    }
}

/// Whether all servers of a kind speak HTTP, so that a gRPC port is a helper's: an endpoint picker's.
pub(super) fn serves_http_only(kind: Option<&Kind>) -> bool {
    kind.is_some_and(|kind| kind.is(KSERVE, "LLMInferenceService"))
}

/// The generations of pods that an owner runs side by side, as during a blue-green update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Generations {
    /// The label of pods, and of the Service's selector, that names their generation.
    pub(super) label: &'static str,
    /// The Service whose selector names the generation that takes traffic.
    pub(super) service: Option<String>,
    /// The generation that takes traffic, according to the owner's status.
    pub(super) active: Option<String>,
    /// A generation that does not take traffic yet, according to the status.
    pub(super) pending: Option<String>,
}

/// The generations of an owner's pods; `None` if all its pods take traffic.
pub(super) fn generations(kind: &Kind, name: &str, value: &Value) -> Option<Generations> {
    let field = |pointer: &str| {
        let found = text(value, pointer).filter(|text| !text.is_empty());
        found.map(str::to_owned)
    };
    match (kind.group.as_str(), kind.kind.as_str()) {
        (ARGO, "Rollout") => {
            let label = "rollouts-pod-template-hash";
            if value.pointer("/spec/strategy/blueGreen").is_some() {
                let active = field("/status/blueGreen/activeSelector");
                return Some(Generations {
                    label,
                    service: field("/spec/strategy/blueGreen/activeService"),
                    active: active.or_else(|| field("/status/stableRS")),
                    pending: None,
                });
            }
            // Without a traffic router, Argo splits traffic by pod counts, so all pods take traffic.
            value.pointer("/spec/strategy/canary/trafficRouting")?;
            Some(Generations {
                label,
                service: field("/spec/strategy/canary/stableService"),
                active: field("/status/stableRS"),
                pending: None,
            })
        }
        (RAY, "RayService") => Some(Generations {
            label: "ray.io/cluster",
            service: Some(format!("{name}-serve-svc")),
            active: field("/status/activeServiceStatus/rayClusterName"),
            pending: field("/status/pendingServiceStatus/rayClusterName"),
        }),
        _ => None,
    }
}

/// Whether spec and status of a kind's objects are read, and not only metadata.
pub(super) fn reads_in_full(kind: &Kind) -> bool {
    kind.replicas.is_some() || kind.is(RAY, "RayService") || kind.is(ARGO, "Rollout")
}
