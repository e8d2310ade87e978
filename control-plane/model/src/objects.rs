//! The accepted objects as they are now: what a source hands to the registry. Plain maps, no kube.
//!
//! Invariant: an object appears once, under its key; `BTreeMap` order is the only order there is.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use headgate_contract::{TokenBucketPolicySpec, TrafficTagPolicySpec, names};

/// Identity of a carrier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CarrierKey {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Kind in lower case: `deployment`, `service`, `pod` …
    pub kind: String,
    /// The object's name.
    pub name: String,
}

impl CarrierKey {
    /// `kind/name`: the carrier's identity in the filters' rendezvous. It survives every edit of the object.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// The command that sets one of its labels.
    pub(crate) fn label_command(&self, label: &str, value: &str) -> String {
        let (identity, namespace) = (self.identity(), &self.namespace);
        format!("kubectl label {identity} -n {namespace} {label}={value} --overwrite")
    }

    /// The command that sets one of its annotations.
    pub(crate) fn annotate_command(&self, annotation: &str, value: &str) -> String {
        let (identity, namespace) = (self.identity(), &self.namespace);
        format!("kubectl annotate {identity} -n {namespace} {annotation}={value} --overwrite")
    }
}

impl fmt::Display for CarrierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// An object whose labels declare variants and hold their weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carrier {
    /// Its identity.
    pub key: CarrierKey,
    /// `creationTimestamp` in Unix seconds. A missing one is the oldest there can be.
    pub created: Option<i64>,
    /// All its labels: three are Headgate's, any may be selected by a policy.
    pub labels: BTreeMap<String, String>,
    /// All its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Replicas wanted: `spec.replicas`, or what the source takes for it.
    pub desired: u32,
    /// Its pods, ready or not.
    pub pods: Vec<Pod>,
    /// Where people find it, for messages: `llama.yaml`, or `Deployment default/x`.
    pub origin: String,
}

impl Carrier {
    /// Whether this carrier is strictly older than `other`: a missing age is the oldest, two missing ones are
    /// equally old, equal ones go by name.
    #[must_use]
    pub fn older_than(&self, other: &Self) -> bool {
        older((self.created, &self.key), (other.created, &other.key))
    }
}

/// The age rule, for carriers: is `a` strictly older than `b`?
pub(crate) fn older(a: (Option<i64>, &CarrierKey), b: (Option<i64>, &CarrierKey)) -> bool {
    match (a.0, b.0) {
        (None, None) | (Some(_), None) => false,
        (None, Some(_)) => true,
        (Some(_), Some(_)) => by_age(a, b).is_lt(),
    }
}

/// Oldest first. Total, so that ties (also two missing ages) always fall the same way: by name.
pub(crate) fn by_age(a: (Option<i64>, &CarrierKey), b: (Option<i64>, &CarrierKey)) -> Ordering {
    // `None < Some`: a missing age is the oldest.
    a.0.cmp(&b.0)
        .then_with(|| a.1.name.cmp(&b.1.name))
        .then_with(|| a.1.cmp(b.1))
}

/// An endpoint of a carrier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pod {
    /// Its name, for messages.
    pub name: String,
    /// Its own version label; `None` takes the carrier's.
    pub version: Option<String>,
    /// Where it serves.
    pub address: SocketAddr,
    /// Whether it may receive requests.
    pub ready: bool,
}

/// A policy as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy<S> {
    /// Kubernetes namespace: a policy is for models of its own namespace, one of the root namespace for all.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// `metadata.uid`, for status: one made anew under its name is another object. Empty in files.
    pub uid: String,
    /// `creationTimestamp` in Unix seconds. A missing one is the oldest there can be.
    pub created: Option<i64>,
    /// `metadata.generation`, for status.
    pub generation: i64,
    /// Where people find it, for messages.
    pub origin: String,
    /// What it says.
    pub spec: S,
}

/// Namespace and name of a policy.
pub type PolicyKey = (String, String);

/// The accepted objects as they are now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Objects {
    /// Carriers by key.
    pub carriers: BTreeMap<CarrierKey, Carrier>,
    /// Objects that carry no label but stand for carriers, as a Service or an InferencePool for those whose pods it
    /// selects. Policies can be attached to them; nothing else asks.
    pub groups: BTreeMap<CarrierKey, BTreeSet<CarrierKey>>,
    /// Bucket policies by namespace and name.
    pub bucket_policies: BTreeMap<PolicyKey, Policy<TokenBucketPolicySpec>>,
    /// Tagging policies by namespace and name.
    pub tag_policies: BTreeMap<PolicyKey, Policy<TrafficTagPolicySpec>>,
}

/// Keys of the three labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelKeys {
    /// Names the model. Default `model-name`.
    pub model: String,
    /// Names the version. Default `model-version`.
    pub version: String,
    /// Holds the weight. Default `canary-weight`.
    pub weight: String,
}

impl Default for LabelKeys {
    fn default() -> Self {
        Self {
            model: names::LABEL_MODEL.into(),
            version: names::LABEL_VERSION.into(),
            weight: names::LABEL_WEIGHT.into(),
        }
    }
}
