//! The document itself. Scripts rely on its names, and a test holds them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The whole document.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// This control plane's version.
    pub version: String,
    /// Whether the source has been read at least once.
    pub synced: bool,
    /// Counts publications of this process.
    pub publication: u64,
    /// When the last one was, in Unix seconds.
    pub published_at: f64,
    /// How long it took, from objects to every scope's snapshot, in milliseconds.
    pub took_ms: f64,
    /// What each model is made of, and who runs it so.
    pub models: Vec<ModelReport>,
    /// Every connected proxy.
    pub proxies: Vec<ProxyReport>,
    /// What an operator should know.
    pub problems: Vec<ProblemReport>,
}

/// One model.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModelReport {
    /// Kubernetes namespace.
    pub namespace: String,
    /// The id.
    pub model: String,
    /// Names clients write besides the id.
    pub names: Vec<String>,
    /// Live capacity of its buckets, in percent.
    pub scale_percent: u16,
    /// Its versions.
    pub versions: Vec<VersionReport>,
    /// Its carriers, oldest first.
    pub carriers: Vec<CarrierReport>,
    /// Proxies whose filters run exactly this plan of the model, and proxies that should.
    pub acked: Count,
}

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Count {
    /// So many.
    pub are: usize,
    /// Of so many.
    pub of: usize,
}

/// One version.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VersionReport {
    /// The version.
    pub version: String,
    /// Percent of new sessions wanted.
    pub weight_wanted: f64,
    /// Percent of new sessions that each proxy's filters last acked, by node id.
    pub weight_acked: BTreeMap<String, f64>,
    /// Ready endpoints, of all.
    pub endpoints: Count,
}

/// One carrier.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CarrierReport {
    /// `deployment default/llama3-70b-v2`.
    pub carrier: String,
    /// `canary 10`, `base`, `held`, `standby` or `dark`.
    pub standing: String,
    /// Percent of new sessions.
    pub weight: f64,
    /// Ready endpoints, of replicas wanted.
    pub ready: Count,
}

/// One stream of one proxy.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProxyReport {
    /// Node id.
    pub id: String,
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
pub(crate) struct TypeReport {
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
pub(crate) struct NackReport {
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
pub(crate) struct LastNack {
    /// When, in Unix seconds.
    pub at: f64,
    /// What Envoy said.
    pub message: String,
}

/// Something an operator should know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProblemReport {
    /// `info`, `warning` or `error`.
    pub severity: String,
    /// A constant word, such as `VersionHeld`.
    pub reason: String,
    /// The object or file.
    pub object: String,
    /// What happened, and what to do.
    pub message: String,
    /// Since when, in Unix seconds, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<f64>,
}
