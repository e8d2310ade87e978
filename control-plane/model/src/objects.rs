//! The accepted objects in their current state: what a source hands to the registry. Plain maps, no kube.
//!
//! Invariant: an object appears once, under its key. Every iteration follows the order of a `BTreeMap`.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::AnyPolicySpec;

use crate::{
    Address, CarrierKey, CarrierMesh, Finding, ModelKey, ModelRecord, OwnerReplicas, PolicyId,
    PortSource, Protocol, Severity, Unread,
};

/// An object whose labels declare variants and hold their weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carrier {
    /// Its identity.
    pub key: CarrierKey,
    /// `creationTimestamp` in Unix seconds. `None` counts as the oldest.
    pub created: Option<i64>,
    /// All its labels: Headgate reads three of them; a policy may select by any.
    pub labels: BTreeMap<String, String>,
    /// All its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Desired replicas: `spec.replicas`, or the number that the source derives instead.
    pub desired: u32,
    /// The shares of `desired` in owners whose pods other carriers may select too. Empty if the source knows of none.
    pub owner_replicas: OwnerReplicas,
    /// Its pods, ready or not.
    pub pods: Vec<Pod>,
    /// `minReadySeconds` of the workload: how long a pod must be ready before it counts as ready, in seconds.
    pub min_ready_seconds: u32,
    /// Reasons why its pods are not ready, in the words of Kubernetes, each once: `ImagePullBackOff: …`.
    pub unready_reasons: Vec<String>,
    /// Its pods and Services as a service mesh sees them.
    pub mesh: CarrierMesh,
    /// The place of the object for messages: `llama.yaml`, or `Deployment default/x`.
    pub origin: String,
}

impl Carrier {
    /// A finding on this carrier.
    pub(crate) fn finding(
        &self,
        severity: Severity,
        reason: &'static str,
        message: String,
    ) -> Finding {
        Finding::on_carrier(&self.key, &self.origin, severity, reason, message)
    }
}

/// An endpoint of a carrier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pod {
    /// Its name, for messages.
    pub name: String,
    /// Its own version label. Default: the carrier's version.
    pub version: Option<String>,
    /// The address at which it serves.
    pub address: Address,
    /// The protocol in which requests are sent to it.
    pub protocol: Protocol,
    /// The source of its port.
    pub port_source: PortSource,
    /// Whether it may receive requests.
    pub ready: bool,
    /// When it became ready, in Unix seconds; `None` if the source does not know.
    pub ready_since: Option<i64>,
}

impl Pod {
    /// A ready HTTP/1.1 endpoint of the carrier's version, as an annotation declares it.
    #[must_use]
    pub fn at(name: impl Into<String>, address: impl Into<Address>) -> Self {
        Self {
            name: name.into(),
            version: None,
            address: address.into(),
            protocol: Protocol::default(),
            port_source: PortSource::Annotation,
            ready: true,
            ready_since: None,
        }
    }
}

/// An accepted policy of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Kubernetes namespace. A policy applies to models of its own namespace; one of the root namespace applies to all.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// `metadata.uid`, for status: a recreated object of the same name has another one. Empty in files.
    pub uid: String,
    /// `creationTimestamp` in Unix seconds. `None` counts as the oldest.
    pub created: Option<i64>,
    /// `metadata.generation`, for status.
    pub generation: i64,
    /// The place of the object for messages.
    pub origin: String,
    /// Its spec.
    pub spec: AnyPolicySpec,
}

impl Policy {
    /// Its identity.
    #[must_use]
    pub fn id(&self) -> PolicyId {
        PolicyId {
            kind: self.spec.kind(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

/// The accepted objects in their current state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Objects {
    /// Carriers by key.
    pub carriers: BTreeMap<CarrierKey, Carrier>,
    /// Unlabelled objects that stand for carriers, such as a Service or an InferencePool for the carriers whose pods it selects. Policies
    /// can target them; they have no other effect.
    pub groups: BTreeMap<CarrierKey, BTreeSet<CarrierKey>>,
    /// Policies of all kinds, each under its [`Policy::id`].
    pub policies: BTreeMap<PolicyId, Policy>,
    /// The `ServedModel` of each model, by namespace and model: its spec and its memory.
    pub served_models: BTreeMap<ModelKey, ModelRecord>,
    /// Kinds that cannot be read, so more carriers may exist.
    pub unread: Unread,
}

impl Objects {
    /// Adds a policy, in place of the one with the same kind, namespace and name.
    pub fn insert_policy(&mut self, policy: Policy) {
        self.policies.insert(policy.id(), policy);
    }
}
