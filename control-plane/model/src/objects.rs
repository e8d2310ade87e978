//! The accepted objects as they are now: what a source hands to the registry. Plain maps, no kube.
//!
//! Invariant: an object appears once, under its key; `BTreeMap` order is the only order there is.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use headgate_contract::{ModelId, TokenBucketPolicySpec, TrafficTagPolicySpec, names};

use crate::capacity::OwnerReplicas;
use crate::memory::ModelRecord;
use crate::ports::Probe;
use crate::unread::Unread;

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
    #[must_use]
    pub fn label_command(&self, label: &str, value: &str) -> String {
        let (identity, namespace) = (self.identity(), &self.namespace);
        format!("kubectl label {identity} -n {namespace} {label}={value} --overwrite")
    }

    /// The command that sets one of its annotations. `value` is as the shell reads it: see [`quote`].
    #[must_use]
    pub fn annotate_command(&self, annotation: &str, value: &str) -> String {
        let (identity, namespace) = (self.identity(), &self.namespace);
        format!("kubectl annotate {identity} -n {namespace} {annotation}={value} --overwrite")
    }

    /// The command that removes one of its annotations.
    #[must_use]
    pub fn remove_annotation_command(&self, annotation: &str) -> String {
        let (identity, namespace) = (self.identity(), &self.namespace);
        format!("kubectl annotate {identity} -n {namespace} {annotation}-")
    }
}

/// A text in quotes, as one word of a POSIX shell.
#[must_use]
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
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
    /// The shares of `desired` in owners whose pods other carriers may select too. Empty if the source knows of none.
    pub owner_replicas: OwnerReplicas,
    /// Its pods, ready or not.
    pub pods: Vec<Pod>,
    /// `minReadySeconds` of the workload: how long a pod must be ready before it counts as ready, in seconds.
    pub min_ready_seconds: u32,
    /// Reasons why its pods are not ready, in the words of Kubernetes, each once: .ImagePullBackOff: …`.
    pub unready_reasons: Vec<String>,
    /// Where people find it, for messages: `llama.yaml`, or `Deployment default/x`.
    pub origin: String,
}

/// Carriers created within this many seconds are equally old, unless one of them served when the other was created.
const AS_OLD: i64 = 10;

/// The age rule, for carriers: is `a` older than `b`?
pub(crate) fn older(a: Option<i64>, b: Option<i64>) -> bool {
    match (a, b) {
        (None, None) | (Some(_), None) => false,
        (None, Some(_)) => true,
        (Some(a), Some(b)) => a.saturating_add(AS_OLD) <= b,
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
    pub address: Address,
    /// How requests are sent to it.
    pub protocol: Protocol,
    /// The source of its port.
    pub port_source: PortSource,
    /// Whether it may receive requests.
    pub ready: bool,
    /// When it became ready, in Unix seconds; `None` where the source does not know.
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

/// Where an endpoint serves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A DNS name, which Envoy resolves, and a port.
    Name {
        /// The name, in lower case, without a final dot.
        host: String,
        /// 1–65535.
        port: u16,
    },
}

impl Address {
    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Ip(address) => address.port(),
            Self::Name { port, .. } => *port,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

/// `10.0.0.1:8000`, `[fd00::1]:8000`, `api.example.com:443`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// How requests are sent to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without upgrade, as gRPC needs it.
    Http2,
    /// The protocol in which the client's request came.
    Client,
}

/// The text is not a protocol; the message lists the valid ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write http1, http2, grpc or client")]
pub struct InvalidProtocol;

/// `http1`, `http2` or `grpc`, `client`, as `headgate.dev/protocol` says it.
impl FromStr for Protocol {
    type Err = InvalidProtocol;

    fn from_str(text: &str) -> Result<Self, InvalidProtocol> {
        match text.trim() {
            "http1" => Ok(Self::Http1),
            "http2" | "grpc" => Ok(Self::Http2),
            "client" => Ok(Self::Client),
            _ => Err(InvalidProtocol),
        }
    }
}

/// As [`Protocol::from_str`] reads it.
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Client => "client",
        })
    }
}

/// The source of an endpoint's port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortSource {
    /// An annotation.
    Annotation,
    /// The `targetPort` of this Service.
    Service(String),
    /// The `targetPorts` of this InferencePool.
    Pool(String),
    /// The port's name.
    Name(String),
    /// Of several ports whose names say nothing, an HTTP probe of a container asks it.
    Probe(Probe),
    /// It is the only port that the pod declares for requests.
    Only,
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

/// A model by namespace and id.
pub type ModelKey = (String, ModelId);

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
    /// The `ServedModel` of each model, by namespace and model: its spec and its memory.
    pub served_models: BTreeMap<ModelKey, ModelRecord>,
    /// Carriers that may exist although none of the above declares them.
    pub unread: Unread,
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
