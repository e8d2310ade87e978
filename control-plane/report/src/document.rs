//! The document itself. Scripts rely on its names, and a test holds them.
//!
//! One control plane says it of itself; `headgate status` makes one of what several say, and then names each.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use headgate_contract::DefaultMaxTokens;
use serde::{Deserialize, Serialize};

/// The whole document.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Who says it, and how far it is.
    #[serde(flatten)]
    pub head: Head,
    /// Every control plane that was asked; empty in what one says of itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<ReplicaReport>,
    /// The other replicas that one knows of: each tells of its own proxies only. Empty where several were asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerReport>,
    /// How the Kubernetes API fares; `null` where models come from files.
    #[serde(default)]
    pub api: Option<ApiReport>,
    /// What each model is made of, and who runs it so.
    pub models: Vec<ModelReport>,
    /// What became of each policy.
    #[serde(default)]
    pub policies: Vec<PolicyReport>,
    /// Every connected proxy.
    pub proxies: Vec<ProxyReport>,
    /// What an operator should know.
    pub problems: Vec<ProblemReport>,
}

/// A control plane, and how far it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Its version.
    pub version: String,
    /// Its name among the replicas that share a Lease; `null` where it shares none.
    #[serde(default)]
    pub replica: Option<String>,
    /// When its process started, in Unix seconds. What it has seen unchanged since then may be older.
    #[serde(default)]
    pub started_at: f64,
    /// Whether it was asked to end and sends its proxies elsewhere.
    #[serde(default)]
    pub ending: bool,
    /// Whether the source has been read at least once.
    pub synced: bool,
    /// When that was, in Unix seconds.
    #[serde(default)]
    pub synced_at: Option<f64>,
    /// Counts publications of this process.
    pub publication: u64,
    /// When the last one was, in Unix seconds.
    pub published_at: f64,
    /// How long it took, from objects to every scope's snapshot, in milliseconds.
    pub took_ms: f64,
}

/// A replica that another one knows of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerReport {
    /// Its name.
    pub replica: String,
    /// Where it answers people; `null` where it did not say.
    pub admin_address: Option<SocketAddr>,
}

/// One of the control planes that were asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaReport {
    /// Where it was asked.
    pub address: String,
    /// Why it does not answer, if so.
    pub error: Option<String>,
    /// What it says of itself, if it answers.
    #[serde(flatten)]
    pub head: Option<Head>,
}

/// How the Kubernetes API fares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiReport {
    /// Whether it has told all there is at least once.
    pub synced: bool,
    /// Since when it does not answer, in Unix seconds: what is shown is from then.
    pub away_since: Option<f64>,
    /// What is not answered, and what was said last.
    pub message: Option<String>,
    /// Kinds that cannot be read, while the API server answers for others.
    #[serde(default)]
    pub unread: Vec<UnreadReport>,
}

/// A kind that cannot be read, while the API server answers for others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnreadReport {
    /// `deployments.apps`, or `deployments.apps in NAMESPACE`.
    pub kind: String,
    /// Since when, in Unix seconds.
    pub since: f64,
    /// The last error of the API server.
    pub message: String,
    /// Whether it was read before. If so, its objects count as last seen.
    pub was_read: bool,
    /// What that means for what is served, in words.
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
    /// The id.
    pub model: String,
    /// Names clients write besides the id.
    pub names: Vec<String>,
    /// Live capacity of its buckets, in percent.
    pub scale_percent: u16,
    /// The `max_tokens` of a request that names none, in tokens; for a context window, at most what the bucket holds.
    #[serde(default = "usual_max_tokens")]
    pub default_max_tokens: u32,
    /// Its carriers, oldest first: the labels seen.
    pub carriers: Vec<CarrierReport>,
    /// Its versions, with their planned weights.
    pub versions: Vec<VersionReport>,
    /// What each proxy runs of it.
    #[serde(default)]
    pub proxies: Vec<HeldReport>,
    /// Proxies whose filters run exactly this plan of the model, and proxies that should.
    pub acked: Count,
    /// The carriers that are stored as its base.
    #[serde(default)]
    pub base: Vec<BaseReport>,
    /// Whether every proxy has the planned weights; `null` where none is connected.
    #[serde(default)]
    pub converged: Option<bool>,
}

/// A carrier that is remembered as the base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BaseReport {
    /// `kind/name`.
    pub carrier: String,
    /// The versions that it had.
    pub versions: Vec<String>,
    /// Since when no object declares it, in Unix seconds.
    #[serde(default)]
    pub undeclared_since: Option<i64>,
}

/// What an older replica, which does not say it, has.
fn usual_max_tokens() -> u32 {
    DefaultMaxTokens::default().tokens()
}

impl ModelReport {
    /// `namespace/model`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.model)
    }

    /// Whether every proxy has the planned weights; `None` where none is connected.
    pub fn has_converged(&self) -> Option<bool> {
        let has = |held: &HeldReport| {
            let same = |version: &VersionReport| {
                let acked = version.weight_acked.get(&held.proxy);
                acked.is_some_and(|acked| (acked - version.weight_wanted).abs() < 1e-9)
            };
            self.versions.iter().all(same)
        };
        (!self.proxies.is_empty()).then(|| self.proxies.iter().all(has))
    }
}

/// So many of so many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// So many.
    pub are: usize,
    /// Of so many.
    pub of: usize,
}

/// One version.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionReport {
    /// The version.
    pub version: String,
    /// Percent of new sessions wanted.
    pub weight_wanted: f64,
    /// Since when that percent is wanted, in Unix seconds.
    #[serde(default)]
    pub planned_since: Option<f64>,
    /// Percent of new sessions that each proxy's filters last acked, by node id.
    pub weight_acked: BTreeMap<String, f64>,
    /// Ready endpoints, of all.
    pub endpoints: Count,
    /// The carriers that bring it, oldest first: the first one's weight counts.
    #[serde(default)]
    pub carriers: Vec<String>,
    /// Proxies whose load reports say that they cannot connect to it; `null` if there is none.
    #[serde(default)]
    pub unreachable: Option<UnreachableReport>,
}

/// Proxies that cannot connect to a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnreachableReport {
    /// Proxies that cannot, of those that report and may have it.
    pub proxies: Count,
    /// Since when the first of them cannot, in Unix seconds.
    pub since: f64,
}

/// One carrier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CarrierReport {
    /// `deployment default/llama3-70b-v2`.
    pub carrier: String,
    /// Those of the three labels that it has, as written, by their keys.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The keys of those that cannot be taken as written.
    #[serde(default)]
    pub refused: Vec<String>,
    /// Since when the labels are so, in Unix seconds: when this control plane first saw them.
    #[serde(default)]
    pub seen_since: Option<f64>,
    /// `canary 10`, `base`, `held`, `standby` or `dark`; `none` if all its versions are an older carrier's.
    pub standing: String,
    /// `canary`, `promoted`, `stable`, `held`, `dark`, or `none`.
    #[serde(default)]
    pub role: String,
    /// Why it takes what it takes.
    #[serde(default)]
    pub why: String,
    /// Percent of new sessions.
    pub weight: f64,
    /// Ready endpoints, of replicas wanted.
    pub ready: Count,
    /// Where its endpoints serve, each combination once.
    #[serde(default)]
    pub ports: Vec<PortReport>,
}

/// Where endpoints of a carrier serve.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortReport {
    /// 1–65535.
    pub port: u16,
    /// `HTTP/1.1`, `HTTP/2`, or `as the client` where requests go on in the protocol in which they came.
    pub protocol: String,
    /// Source of the port: `annotation`, `service/NAME`, `inferencepool/NAME`, `port named NAME`, or `the only port`.
    pub why: String,
    /// Whether the port was inferred from the pods alone, without an annotation, Service or InferencePool.
    pub inferred: bool,
}

/// What one proxy runs of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldReport {
    /// Node id.
    pub proxy: String,
    /// `acked` (runs the plan), `pending` (was sent it, or will be), `waiting` (it is held back) or `nacked`.
    pub state: String,
    /// What for it waits, or what it said.
    pub message: Option<String>,
    /// The version of the filter configuration that it acked last; empty if none.
    pub config: String,
    /// When, in Unix seconds.
    pub acked_at: Option<f64>,
    /// Percent of new sessions by that configuration, by version; `null` where it is older than the control plane's memory.
    pub weights: Option<BTreeMap<String, f64>>,
}

/// What became of a policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyReport {
    /// `TokenBucketPolicy default/tenant-budget`.
    pub policy: String,
    /// `metadata.generation` that this is about.
    pub generation: i64,
    /// Whether any of it counts; the message names who took its place.
    pub accepted: VerdictReport,
    /// Whether all that it names exists.
    pub resolved: VerdictReport,
    /// The models that are limited or tagged by it: `namespace/model`, or `namespace/*` for all.
    pub models: Vec<String>,
}

/// A condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerdictReport {
    /// Whether it holds.
    pub holds: bool,
    /// A constant word, such as `Overridden`.
    pub reason: String,
    /// For people; names the field.
    pub message: String,
}

/// One stream of one proxy.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyReport {
    /// Node id.
    pub id: String,
    /// The control plane it is connected to, where several were asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<String>,
    /// Envoy's version as it said.
    pub agent: String,
    /// Where it connects from.
    pub address: Option<String>,
    /// What it may have.
    pub scope: String,
    /// Since when it is connected, in Unix seconds.
    pub since: f64,
    /// Whether it runs everything it should.
    pub settled: bool,
    /// Per type: `cds`, `eds`, `lds`, `rds`, `ecds`.
    pub types: BTreeMap<String, TypeReport>,
}

/// One type at one proxy.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeReport {
    /// The version it should run.
    pub wanted: String,
    /// The version it was last sent completely.
    pub sent: String,
    /// The version it acked.
    pub acked: String,
    /// When it last acked, in Unix seconds.
    pub acked_at: Option<f64>,
    /// What it refuses, by resource, with Envoy's words.
    pub nacked: BTreeMap<String, NackReport>,
    /// What is held back from it, by resource, and what for.
    pub waiting: BTreeMap<String, String>,
    /// When it last refused something, and what it said.
    pub last_nack: Option<LastNack>,
}

/// A refused resource.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NackReport {
    /// The refused version.
    pub version: String,
    /// What Envoy said.
    pub message: String,
    /// How often it was offered again since.
    pub retries: u32,
}

/// The last refusal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastNack {
    /// When, in Unix seconds.
    pub at: f64,
    /// What Envoy said.
    pub message: String,
}

/// Something an operator should know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProblemReport {
    /// `info`, `warning` or `error`.
    pub severity: String,
    /// A constant word, such as `VersionHeld`.
    pub reason: String,
    /// The object or file.
    pub object: String,
    /// What happened, and what to do.
    pub message: String,
    /// Since when, in Unix seconds, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<f64>,
    /// Which of the control planes say so, where not all do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<String>,
}

impl ProblemReport {
    /// A problem without a time.
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

    /// The same, since this moment in Unix seconds.
    pub fn since(self, since: f64) -> Self {
        Self {
            since: Some(since),
            ..self
        }
    }
}
