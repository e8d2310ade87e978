//! Types of the status document. Scripts depend on the field names; a test pins them.
//!
//! Each control plane serves its own document. `headgate status` merges the documents of several replicas and names each replica.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use headgate_contract::DefaultMaxTokens;
use serde::{Deserialize, Serialize};

/// The status document.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The control plane and its progress.
    #[serde(flatten)]
    pub head: Head,
    /// The control planes that were queried. Empty in the document of a single control plane.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<ReplicaReport>,
    /// Other replicas that this control plane knows. Each reports its own proxies only. Empty in a merged document.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerReport>,
    /// State of the Kubernetes API; `null` if models come from files.
    #[serde(default)]
    pub api: Option<ApiReport>,
    /// The models: labels, planned weights, and the proxies that run them.
    pub models: Vec<ModelReport>,
    /// The policies and their conditions.
    #[serde(default)]
    pub policies: Vec<PolicyReport>,
    /// Every connected proxy.
    pub proxies: Vec<ProxyReport>,
    /// Problems and remarks for the operator.
    pub problems: Vec<ProblemReport>,
}

/// A control plane and its progress.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Its version.
    pub version: String,
    /// Its name among the replicas that share a Lease; `null` if it shares none.
    #[serde(default)]
    pub replica: Option<String>,
    /// Start time of its process, in Unix seconds. A state observed since then may be older.
    #[serde(default)]
    pub started_at: f64,
    /// Whether it is shutting down and moves its proxies to other replicas.
    #[serde(default)]
    pub shutting_down: bool,
    /// Whether the source has been read at least once.
    pub synced: bool,
    /// Time of the first complete read, in Unix seconds.
    #[serde(default)]
    pub synced_at: Option<f64>,
    /// Number of the last publication of this process.
    pub publication: u64,
    /// Time of the last publication, in Unix seconds.
    pub published_at: f64,
    /// Duration of the last publication, from objects to the snapshots of all scopes, in milliseconds.
    pub took_ms: f64,
}

/// A replica that another replica knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerReport {
    /// Its name.
    pub replica: String,
    /// Its admin address; `null` if it did not publish one.
    pub admin_address: Option<SocketAddr>,
}

/// A control plane that was queried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaReport {
    /// The queried admin address.
    pub address: String,
    /// The error of the query; `null` if it answered.
    pub error: Option<String>,
    /// Its progress, if it answered.
    #[serde(flatten)]
    pub head: Option<Head>,
}

/// State of the Kubernetes API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiReport {
    /// Whether every watched kind was listed at least once.
    pub synced: bool,
    /// Start of the outage of the API server, in Unix seconds; the objects shown are the last known ones. `null` if it answers.
    pub unreachable_since: Option<f64>,
    /// The watch that fails and its last error.
    pub message: Option<String>,
    /// Kinds that cannot be read although the API server answers for other kinds.
    #[serde(default)]
    pub unread: Vec<UnreadReport>,
}

/// A kind that cannot be read although the API server answers for other kinds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnreadReport {
    /// `deployments.apps`, or `deployments.apps in NAMESPACE`.
    pub kind: String,
    /// Start of the failure, in Unix seconds.
    pub since: f64,
    /// The last error of the API server.
    pub message: String,
    /// Whether it was read before. If so, its last known objects stay in effect.
    pub was_read: bool,
    /// Effect on what is served, as a sentence.
    #[serde(default)]
    pub effect: String,
}

/// One model.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(Default))]
#[serde(rename_all = "camelCase")]
pub struct ModelReport {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Model id.
    pub model: String,
    /// Names that clients can use in requests besides the id.
    pub names: Vec<String>,
    /// Current capacity of its buckets, in percent of the configured capacity.
    pub scale_percent: u16,
    /// `max_tokens` of a request without this field, in tokens. For a context window, at most the capacity of the bucket.
    #[serde(default = "usual_max_tokens")]
    pub default_max_tokens: u32,
    /// Objects that carry its labels, oldest first.
    pub carriers: Vec<CarrierReport>,
    /// Its versions and their planned weights.
    pub versions: Vec<VersionReport>,
    /// State of each proxy that serves it.
    #[serde(default)]
    pub proxies: Vec<ProxyModelReport>,
    /// Proxies whose filters run exactly this plan of the model, of the proxies that serve its namespace.
    pub acked: Count,
    /// The carriers that are stored as its base.
    #[serde(default)]
    pub base: Vec<BaseReport>,
    /// Whether every connected proxy has the planned weights; `null` if no proxy is connected.
    #[serde(default)]
    pub converged: Option<bool>,
}

/// A carrier that is stored as the base of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BaseReport {
    /// `kind/name`.
    pub carrier: String,
    /// The versions that it had when it was stored.
    pub versions: Vec<String>,
    /// When the object was deleted or lost its labels, in Unix seconds; `null` if it still carries them.
    #[serde(default)]
    pub undeclared_since: Option<i64>,
}

/// The value of an older replica, whose document lacks the field.
fn usual_max_tokens() -> u32 {
    DefaultMaxTokens::default().tokens()
}

impl ModelReport {
    /// `namespace/model`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.model)
    }

    /// Whether every connected proxy has the planned weights; `None` if no proxy is connected.
    pub fn has_converged(&self) -> Option<bool> {
        let has = |held: &ProxyModelReport| {
            let same = |version: &VersionReport| {
                let acked = version.weight_acked.get(&held.proxy);
                acked.is_some_and(|acked| (acked - version.weight_wanted).abs() < 1e-9)
            };
            self.versions.iter().all(same)
        };
        let waits = self.versions.iter().any(|version| version.waits_for_routes);
        (!self.proxies.is_empty()).then(|| !waits && self.proxies.iter().all(has))
    }
}

/// Progress: current of total.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The number that has the property.
    pub current: usize,
    /// The number of all.
    pub total: usize,
}

/// A version of a model.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionReport {
    /// Version name.
    pub version: String,
    /// Planned percent of new sessions.
    pub weight_wanted: f64,
    /// When this percent was planned, in Unix seconds.
    #[serde(default)]
    pub planned_since: Option<f64>,
    /// Percent of new sessions in the last configuration that the filters of each proxy ACKed, by node id.
    pub weight_acked: BTreeMap<String, f64>,
    /// Ready endpoints, of all endpoints.
    pub endpoints: Count,
    /// The carriers of this version, oldest first. The weight of the first one applies.
    #[serde(default)]
    pub carriers: Vec<String>,
    /// Proxies whose load reports show connection failures only; `null` if there is none.
    #[serde(default)]
    pub unreachable: Option<UnreachableReport>,
    /// Whether proxies of a mesh do not get it yet, because its routes do not exist.
    #[serde(default)]
    pub waits_for_routes: bool,
}

/// Proxies that cannot connect to a version, from their load reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnreachableReport {
    /// Proxies that cannot connect, of the proxies that report and serve the version.
    pub proxies: Count,
    /// Time of the first failure, in Unix seconds.
    pub since: f64,
}

/// An object that carries the labels of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CarrierReport {
    /// `deployment default/llama3-70b-v2`.
    pub carrier: String,
    /// The model, version and weight labels that it has, as written, by label key.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Keys of the labels whose values are invalid.
    #[serde(default)]
    pub refused: Vec<String>,
    /// When this control plane first read these labels, in Unix seconds.
    #[serde(default)]
    pub seen_since: Option<f64>,
    /// `canary 10`, `base`, `held`, `standby` or `dark`; `none` if an older carrier has all its versions.
    pub standing: String,
    /// `canary`, `promoted`, `stable`, `held`, `dark`, or `none`.
    #[serde(default)]
    pub role: String,
    /// Explanation of its weight.
    #[serde(default)]
    pub why: String,
    /// Planned percent of new sessions.
    pub weight: f64,
    /// Ready endpoints, of desired replicas.
    pub ready: Count,
    /// Ports and protocols of its endpoints, without duplicates.
    #[serde(default)]
    pub ports: Vec<PortReport>,
}

/// Port and protocol of endpoints of a carrier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortReport {
    /// Port number, 1–65535.
    pub port: u16,
    /// `HTTP/1.1`, `HTTP/2`, or `as the client` if requests are forwarded in the protocol of the client.
    pub protocol: String,
    /// Source of the port: `annotation`, `service/NAME`, `inferencepool/NAME`, `port named NAME`, or `the only port`.
    pub why: String,
    /// Whether the port was inferred from the pods alone, without an annotation, Service or InferencePool.
    pub inferred: bool,
}

/// State of a model at a proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyModelReport {
    /// Node id.
    pub proxy: String,
    /// `acked` (runs the plan), `pending` (the update is being sent), `waiting` (the update is held back) or `nacked`.
    pub state: String,
    /// The event that the update waits for, or the error of the NACK.
    pub message: Option<String>,
    /// Version of the filter configuration that it last ACKed; empty if none.
    pub config: String,
    /// Time of this ACK, in Unix seconds.
    pub acked_at: Option<f64>,
    /// Percent of new sessions in that configuration, by version; `null` if the control plane no longer stores this configuration.
    pub weights: Option<BTreeMap<String, f64>>,
}

/// A policy and its conditions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyReport {
    /// `TokenBucketPolicy default/tenant-budget`.
    pub policy: String,
    /// `metadata.generation` of the evaluated spec.
    pub generation: i64,
    /// Condition `Accepted`: whether any part of the policy takes effect. The message names the policy that overrides it.
    pub accepted: ConditionReport,
    /// Condition `ResolvedRefs`: whether every object that it names exists.
    pub resolved: ConditionReport,
    /// The models that it applies to: `namespace/model`, or `namespace/*` for all models of a namespace.
    pub models: Vec<String>,
}

/// Status of a condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConditionReport {
    /// Whether the condition is True.
    pub holds: bool,
    /// Reason: a constant word such as `Overridden`.
    pub reason: String,
    /// Message for people; names the field.
    pub message: String,
}

/// An xDS stream of a proxy.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyReport {
    /// Node id.
    pub id: String,
    /// Address of its control plane, in a merged document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<String>,
    /// User agent that it reported, with the version of Envoy.
    pub agent: String,
    /// Its remote address.
    pub address: Option<String>,
    /// Its verified SPIFFE id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The scope whose resources it gets.
    pub scope: String,
    /// Start of the stream, in Unix seconds.
    pub since: f64,
    /// Whether it ACKed the newest version of every resource that it subscribes to.
    pub current: bool,
    /// Progress by resource type: `cds`, `eds`, `lds`, `rds`, `ecds`.
    pub types: BTreeMap<String, TypeReport>,
}

/// Progress of a resource type at a proxy.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeReport {
    /// The newest version in its scope.
    pub wanted: String,
    /// The last version that was sent completely.
    pub sent: String,
    /// The version that it last ACKed.
    pub acked: String,
    /// Time of the last ACK, in Unix seconds.
    pub acked_at: Option<f64>,
    /// Rejected resources with the error of Envoy, by resource name.
    pub nacked: BTreeMap<String, NackReport>,
    /// Resources that are held back and the reason, by resource name.
    pub waiting: BTreeMap<String, String>,
    /// The last NACK.
    pub last_nack: Option<LastNack>,
}

/// A rejected resource.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NackReport {
    /// The rejected version.
    pub version: String,
    /// Error message of Envoy.
    pub message: String,
    /// Number of retries since.
    pub retries: u32,
}

/// The last NACK of a resource type.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastNack {
    /// Time, in Unix seconds.
    pub at: f64,
    /// Error message of Envoy.
    pub message: String,
}

/// A problem or a remark for the operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProblemReport {
    /// `info`, `warning` or `error`.
    pub severity: String,
    /// Reason: a constant word such as `VersionHeld`. The findings reference explains each.
    pub reason: String,
    /// The object or file concerned.
    pub object: String,
    /// The problem and its fix.
    pub message: String,
    /// Start of the problem in Unix seconds, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<f64>,
    /// The control planes that report it. Empty if all of them do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<String>,
}

impl ProblemReport {
    /// A problem without a start time.
    pub fn new(
        severity: &str,
        reason: &str,
        object: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity: severity.to_owned(),
            reason: reason.to_owned(),
            object: object.into(),
            message: message.into(),
            since: None,
            replicas: Vec::new(),
        }
    }

    /// The same problem with a start time, in Unix seconds.
    pub fn since(self, since: f64) -> Self {
        Self {
            since: Some(since),
            ..self
        }
    }
}
