//! What the operators of the usual kinds call the parts of what they own: which pods serve, and which of several generations
//! of them takes traffic.
//!
//! Invariant: a table, read from the labels and fields that the operators themselves set. What it does not tell is not guessed:
//! a labelled Service tells it.

use serde_json::Value;

use super::objects::Controller;
use super::selectors::Labels;
use crate::declared::text;
use headgate_kubernetes::kinds::Kind;

/// Labels with which an operator names the owner of what it makes through another one's objects: label, and the owner's group and
/// kind. KServe's serverless mode makes Deployments through Knative.
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

/// What a pod is to its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// It answers requests. Where an owner has parts of several ranks, those of the lowest do.
    Serves(u8),
    /// It helps others that do.
    Helps,
    /// Its labels do not say.
    Untold,
}

const SERVES: Role = Role::Serves(1);
const KSERVE: &str = "serving.kserve.io";
const RAY: &str = "ray.io";
const ARGO: &str = "argoproj.io";
const COMPONENT: &str = "app.kubernetes.io/component";

/// The label with the place of a pod in its LeaderWorkerSet group; the leader's is 0.
const WORKER_INDEX: &str = "leaderworkerset.sigs.k8s.io/worker-index";

/// A label, and what the pods are that have it with one of these values.
type Rule = (&'static str, &'static [&'static str], Role);

/// The first rule that holds counts.
const LLM_INFERENCE_SERVICE: &[Rule] = &[
    ("llm-d.ai/role", &["prefill", "encode"], Role::Helps),
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
        Role::Helps,
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
        Role::Helps,
    ),
    (
        "llm-d.ai/role",
        &["decode", "both", "prefill-decode"],
        SERVES,
    ),
];

const INFERENCE_SERVICE: &[Rule] = &[
    // A transformer stands before the predictor, and calls it.
    ("component", &["transformer"], Role::Serves(0)),
    ("component", &["predictor"], SERVES),
    ("component", &["explainer", "worker"], Role::Helps),
];

const RAY_PODS: &[Rule] = &[
    ("ray.io/serve", &["true"], SERVES),
    ("ray.io/serve", &["false"], Role::Helps),
    ("ray.io/node-type", &["head", "redis-cleanup"], Role::Helps),
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

/// Whether a controller copies labels of another object to the Services that it makes.
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

/// The role of a pod with these labels below an owner of this kind; `None` for a pod as the owner.
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
        Some(_) => Role::Helps,
        None => Role::Untold,
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
    /// The Service whose selector names the one that takes traffic.
    pub(super) service: Option<String>,
    /// The one that takes traffic as the owner's status says it.
    pub(super) active: Option<String>,
    /// One that takes none yet, as the status says it.
    pub(super) pending: Option<String>,
}

/// What an owner says of its generations; `None` where all its pods take traffic.
pub(super) fn generations(kind: &Kind, name: &str, value: &Value) -> Option<Generations> {
    let word = |pointer: &str| {
        let found = text(value, pointer).filter(|text| !text.is_empty());
        found.map(str::to_owned)
    };
    match (kind.group.as_str(), kind.kind.as_str()) {
        (ARGO, "Rollout") => {
            let label = "rollouts-pod-template-hash";
            if value.pointer("/spec/strategy/blueGreen").is_some() {
                let active = word("/status/blueGreen/activeSelector");
                return Some(Generations {
                    label,
                    service: word("/spec/strategy/blueGreen/activeService"),
                    active: active.or_else(|| word("/status/stableRS")),
                    pending: None,
                });
            }
            // Without a router, Argo splits traffic by the numbers of pods, which is what all pods together do.
            value.pointer("/spec/strategy/canary/trafficRouting")?;
            Some(Generations {
                label,
                service: word("/spec/strategy/canary/stableService"),
                active: word("/status/stableRS"),
                pending: None,
            })
        }
        (RAY, "RayService") => Some(Generations {
            label: "ray.io/cluster",
            service: Some(format!("{name}-serve-svc")),
            active: word("/status/activeServiceStatus/rayClusterName"),
            pending: word("/status/pendingServiceStatus/rayClusterName"),
        }),
        _ => None,
    }
}

/// Whether more than the metadata of a kind's objects is read, although it has no number of replicas.
pub(super) fn reads_in_full(kind: &Kind) -> bool {
    kind.replicas.is_some() || kind.is(RAY, "RayService") || kind.is(ARGO, "Rollout")
}
