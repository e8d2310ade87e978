//! The status document: labels read → weights planned → ACKs of each proxy.
//!
//! ```text
//! Observed, Plan, proxies, ages ──▶ report() ──▶ Report ─┬─▶ /syncz (JSON), /metrics
//!                                                         └─▶ client: fetch, merge ──▶ view: text, changes
//! ```
//!
//! Nothing that serves proxies depends on this crate.

mod ages;
mod carriers;
pub mod client;
mod document;
pub mod explanations;
pub mod metrics;
mod models;
pub mod output;
mod policies;
pub mod problem_log;
mod problems;
mod proxies;
mod query;
pub mod reason;
pub mod reference;
pub mod view;

use std::time::{SystemTime, UNIX_EPOCH};

use headgate_model::{LabelKeys, Severity};
use headgate_xds::fleet::Proxy;
use headgate_xds::loads::Reporter;

pub use self::ages::{AgeSample, AgeTracker};
pub use self::document::{
    ApiReport, BaseReport, CarrierReport, ConditionReport, Count, Head, LastNack, ModelReport,
    NackReport, PeerReport, PolicyReport, PortReport, ProblemReport, ProxyModelReport, ProxyReport,
    ReplicaReport, Report, TypeReport, UnreachableReport, UnreadReport, VersionReport,
};
pub use self::problems::{in_file, logged_problems, logged_unreachable, problem_of, unix};
use self::query::FindingFilter;
pub use self::query::{Query, fingerprint};
use headgate_publisher::Published;
use headgate_publisher::SnapshotStore;
use headgate_publisher::unreachable_versions;

/// Inputs of the status document.
pub struct ReportInput<'a> {
    /// Start time of the process, in Unix seconds.
    pub started: f64,
    /// Whether the process is shutting down.
    pub shutting_down: bool,
    /// The last publication; `None` before the first complete read of the source.
    pub published: Option<&'a Published>,
    /// The name of this replica, if it shares a Lease with others.
    pub replica: Option<String>,
    /// The replicas that share its Lease.
    pub peers: Vec<PeerReport>,
    /// The state of the Kubernetes API, if there is one.
    pub api: Option<ApiReport>,
    /// Problems of the Kubernetes API, and of what is written.
    pub problems: Vec<ProblemReport>,
    /// The keys of the labels.
    pub keys: &'a LabelKeys,
    /// Ages of labels and weights.
    pub ages: &'a AgeTracker,
    /// The snapshot of each scope.
    pub scopes: &'a SnapshotStore,
    /// The connected proxies.
    pub proxies: &'a [Proxy],
    /// Their load reports.
    pub reporters: &'a [Reporter],
}

/// Builds the current document, or the part of it that `query` selects.
pub fn report(input: &ReportInput<'_>, query: &Query) -> Report {
    let mut report = Report {
        head: head(input),
        replicas: Vec::new(),
        peers: input.peers.clone(),
        api: input.api.clone(),
        proxies: input.proxies.iter().map(proxies::proxy).collect(),
        problems: input.problems.clone(),
        ..Report::default()
    };
    let mut findings = Vec::new();
    if let Some(published) = input.published {
        let objects = &published.observed.objects;
        let carriers = carriers::Carriers::new(objects, input.keys, input.ages);
        let filters = models::ConnectedFilters::new(input.scopes, input.proxies);
        let unreachable = unreachable_versions(&published.plan, input.scopes, input.reporters);
        report.models = models::models(published, &filters, &carriers, input.ages, query);
        models::set_unreachable(&mut report.models, &unreachable);
        report.policies = policies::policies(&published.plan, query);
        let problems = problems::problems(published, input.scopes);
        report.problems.extend(problems);
        let filter = FindingFilter::new(query, &report, &published.observed, &input.keys.model);
        let plan = &published.plan;
        findings.extend(problems::findings(plan, &filter));
        findings.extend(problems::unreachable(plan, &unreachable, &filter));
    }
    query::retain_matching(&mut report, query);
    // Findings are already selected by their objects.
    report.problems.extend(findings);
    report
}

fn head(input: &ReportInput<'_>) -> Head {
    let published = input.published;
    Head {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        replica: input.replica.clone(),
        started_at: input.started,
        shutting_down: input.shutting_down,
        synced: published.is_some(),
        synced_at: input.ages.first(),
        publication: published.map_or(0, |p| p.number),
        published_at: published.map_or(0.0, |p| seconds(p.at)),
        took_ms: published.map_or(0.0, |p| p.took.as_secs_f64() * 1e3),
    }
}

/// Converts a share from millionths to percent.
pub fn percent(millionths: u32) -> f64 {
    f64::from(millionths) / 1e4
}

/// `info`, `warning` or `error`.
pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// Time in Unix seconds.
pub fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0.0, |d| d.as_secs_f64())
}
