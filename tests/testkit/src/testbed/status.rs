//! The control plane's status document (`/syncz`), as far as tests read it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The whole document.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Whether the source has been read.
    pub synced: bool,
    /// Number of publications of this process.
    pub publication: u64,
    /// Time of the last publication, Unix seconds.
    pub published_at: f64,
    /// Every model.
    pub models: Vec<ModelStatus>,
    /// Every connected proxy.
    pub proxies: Vec<ProxyStatus>,
    /// Findings for the operator.
    pub problems: Vec<Problem>,
}

/// One model.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelStatus {
    /// Kubernetes namespace.
    pub namespace: String,
    /// The id.
    pub model: String,
    /// Live capacity of its buckets, in percent.
    pub scale_percent: u16,
    /// Its versions.
    pub versions: Vec<VersionStatus>,
    /// Its workloads.
    pub carriers: Vec<CarrierStatus>,
    /// Proxies whose filters run exactly this plan.
    pub acked: Count,
}

/// Progress: current of total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Count {
    /// Current number.
    pub current: usize,
    /// Total number.
    pub total: usize,
}

/// One version.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionStatus {
    /// The version.
    pub version: String,
    /// Target share of new sessions, in percent.
    pub weight_wanted: f64,
    /// Acknowledged share of new sessions in percent, by node id.
    pub weight_acked: BTreeMap<String, f64>,
    /// Ready endpoints of all endpoints.
    pub endpoints: Count,
    /// Proxies that cannot connect to it, if any.
    pub unreachable: Option<UnreachableStatus>,
}

/// Proxies cannot connect to a version.
#[derive(Debug, Clone, Deserialize)]
pub struct UnreachableStatus {
    /// Proxies that cannot connect, of those that report.
    pub proxies: Count,
    /// Start of the outage, Unix seconds.
    pub since: f64,
}

/// One workload that carries labels.
#[derive(Debug, Clone, Deserialize)]
pub struct CarrierStatus {
    /// `deployment default/llama3-70b-v2`.
    pub carrier: String,
    /// `canary 10`, `base`, `held`, `standby` or `dark`.
    pub standing: String,
    /// Share of new sessions, in percent.
    pub weight: f64,
}

/// One connected proxy.
#[derive(Debug, Clone, Deserialize)]
pub struct ProxyStatus {
    /// Node id.
    pub id: String,
    /// Its scope.
    pub scope: String,
    /// Whether it runs everything that it should.
    pub current: bool,
    /// `cds`, `eds`, `lds`, `rds`, `ecds`.
    pub types: BTreeMap<String, TypeStatus>,
}

/// One type at one proxy.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeStatus {
    /// The version that it should run.
    pub wanted: String,
    /// The version that it acknowledged.
    pub acked: String,
    /// Time of its last ACK, Unix seconds.
    pub acked_at: Option<f64>,
    /// Rejected resources, by name.
    pub nacked: BTreeMap<String, Nack>,
    /// Resources that are held back from it, with the reason.
    pub waiting: BTreeMap<String, String>,
}

/// A rejected resource.
#[derive(Debug, Clone, Deserialize)]
pub struct Nack {
    /// The rejected version.
    pub version: String,
    /// Envoy's message.
    pub message: String,
    /// Number of retries since.
    pub retries: u32,
}

/// A finding for the operator.
#[derive(Debug, Clone, Deserialize)]
pub struct Problem {
    /// `info`, `warning` or `error`.
    pub severity: String,
    /// A constant, such as `VersionHeld`.
    pub reason: String,
    /// The object or file.
    pub object: String,
    /// The cause and the fix.
    pub message: String,
}

impl Status {
    /// A model in any namespace.
    #[must_use]
    pub fn model(&self, model: &str) -> Option<&ModelStatus> {
        self.models.iter().find(|m| m.model == model)
    }

    /// A version of a model.
    #[must_use]
    pub fn version(&self, model: &str, version: &str) -> Option<&VersionStatus> {
        self.model(model)?
            .versions
            .iter()
            .find(|v| v.version == version)
    }

    /// A workload of a model, by the end of its name.
    #[must_use]
    pub fn carrier(&self, model: &str, name: &str) -> Option<&CarrierStatus> {
        self.model(model)?
            .carriers
            .iter()
            .find(|c| c.carrier.ends_with(name))
    }

    /// A connected proxy.
    #[must_use]
    pub fn proxy(&self, id: &str) -> Option<&ProxyStatus> {
        self.proxies.iter().find(|p| p.id == id)
    }

    /// The findings with this reason.
    pub fn problems_of<'a>(&'a self, reason: &'a str) -> impl Iterator<Item = &'a Problem> {
        self.problems.iter().filter(move |p| p.reason == reason)
    }

    /// Whether there is at least one proxy, and the filters of every proxy acknowledged this percentage for a version.
    #[must_use]
    pub fn all_acked(&self, model: &str, version: &str, percent: f64) -> bool {
        self.version(model, version).is_some_and(|v| {
            v.weight_acked.len() == self.proxies.len()
                && !self.proxies.is_empty()
                && v.weight_acked
                    .values()
                    .all(|acked| (acked - percent).abs() < 1e-9)
        })
    }
}
