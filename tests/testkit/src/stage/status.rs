//! What the control plane says of itself (`/syncz`), as far as tests ask it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The whole document.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Whether the source has been read.
    pub synced: bool,
    /// Counts publications of this process.
    pub publication: u64,
    /// When the last one was, in Unix seconds.
    pub published_at: f64,
    /// Every model.
    pub models: Vec<ModelStatus>,
    /// Every connected proxy.
    pub proxies: Vec<ProxyStatus>,
    /// What an operator should know.
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
    /// Live capacity of its buckets, percent.
    pub scale_percent: u16,
    /// Its versions.
    pub versions: Vec<VersionStatus>,
    /// Its carriers.
    pub carriers: Vec<CarrierStatus>,
    /// Proxies whose filters run exactly this plan.
    pub acked: Count,
}

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Count {
    /// So many.
    pub are: usize,
    /// Of so many.
    pub of: usize,
}

/// One version.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionStatus {
    /// The version.
    pub version: String,
    /// Percent of new sessions wanted.
    pub weight_wanted: f64,
    /// Percent of new sessions acked, by node id.
    pub weight_acked: BTreeMap<String, f64>,
    /// Ready endpoints, of all.
    pub endpoints: Count,
    /// Which proxies cannot connect to it.
    pub unreachable: Option<UnreachableStatus>,
}

/// That proxies cannot connect to a version.
#[derive(Debug, Clone, Deserialize)]
pub struct UnreachableStatus {
    /// Proxies that cannot, of those that report.
    pub proxies: Count,
    /// Since when, in Unix seconds.
    pub since: f64,
}

/// One carrier.
#[derive(Debug, Clone, Deserialize)]
pub struct CarrierStatus {
    /// `deployment default/llama3-70b-v2`.
    pub carrier: String,
    /// `canary 10`, `base`, `held`, `standby` or `dark`.
    pub standing: String,
    /// Percent of new sessions.
    pub weight: f64,
}

/// One connected proxy.
#[derive(Debug, Clone, Deserialize)]
pub struct ProxyStatus {
    /// Node id.
    pub id: String,
    /// What it may have.
    pub scope: String,
    /// Whether it runs everything it should.
    pub settled: bool,
    /// `cds`, `eds`, `lds`, `rds`, `ecds`.
    pub types: BTreeMap<String, TypeStatus>,
}

/// One type at one proxy.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeStatus {
    /// The version it should run.
    pub wanted: String,
    /// The version it acked.
    pub acked: String,
    /// When it last acked, in Unix seconds.
    pub acked_at: Option<f64>,
    /// What it refuses, by resource.
    pub nacked: BTreeMap<String, Nack>,
    /// What is held back from it, by resource, and what for.
    pub waiting: BTreeMap<String, String>,
}

/// A refused resource.
#[derive(Debug, Clone, Deserialize)]
pub struct Nack {
    /// The refused version.
    pub version: String,
    /// What Envoy said.
    pub message: String,
    /// How often it was offered again since.
    pub retries: u32,
}

/// Something an operator should know.
#[derive(Debug, Clone, Deserialize)]
pub struct Problem {
    /// `info`, `warning` or `error`.
    pub severity: String,
    /// A constant word, such as `VersionHeld`.
    pub reason: String,
    /// The object or file.
    pub object: String,
    /// What happened, and what to do.
    pub message: String,
}

impl Status {
    /// A model, whatever its namespace.
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

    /// A carrier of a model, by the end of its name.
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

    /// The problems with this reason.
    pub fn problems_of<'a>(&'a self, reason: &'a str) -> impl Iterator<Item = &'a Problem> {
        self.problems.iter().filter(move |p| p.reason == reason)
    }

    /// Whether every proxy's filters acked this percent for a version, and there is a proxy at all.
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
