//! What the control plane knows, as one document: labels seen → weights planned → acked by each proxy.
//!
//! `/syncz` serves it as JSON and `headgate status` renders it. Place in the flow: beside it, a function of what was read,
//! planned and acked, and of the [`Sightings`] that give it its ages.

mod carriers;
mod document;
mod models;
mod policies;
mod problems;
mod proxies;
pub mod reason;
mod select;
mod sightings;
pub mod view;

use std::time::{SystemTime, UNIX_EPOCH};

use headgate_model::{LabelKeys, Severity};
use headgate_xds::fleet::Proxy;
use headgate_xds::loads::Reporter;

pub use self::document::{
    ApiReport, BaseReport, CarrierReport, Count, Head, HeldReport, LastNack, ModelReport,
    NackReport, PeerReport, PolicyReport, PortReport, ProblemReport, ProxyReport, ReplicaReport,
    Report, TypeReport, UnreachableReport, UnreadReport, VerdictReport, VersionReport,
};
pub use self::problems::{in_file, unix};
use self::select::Concern;
pub use self::select::{Asked, fingerprint};
pub use self::sightings::{Look, Sightings};
use headgate_publisher::Published;
use headgate_publisher::SnapshotStore;
use headgate_publisher::unreached;

/// What the document is made from.
pub struct Known<'a> {
    /// When the process started, in Unix seconds.
    pub started: f64,
    /// Whether it was asked to end.
    pub ending: bool,
    /// What was last published; `None` before the source was read.
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
    /// Since when what is as it is.
    pub seen: &'a Sightings,
    /// What each scope is served.
    pub scopes: &'a SnapshotStore,
    /// Who is connected.
    pub proxies: &'a [Proxy],
    /// What they report of their requests.
    pub reporters: &'a [Reporter],
}

/// Makes the document of this moment, or the part of it that is asked for.
pub fn report(known: &Known<'_>, asked: &Asked) -> Report {
    let mut report = Report {
        head: head(known),
        replicas: Vec::new(),
        peers: known.peers.clone(),
        api: known.api.clone(),
        proxies: known.proxies.iter().map(proxies::proxy).collect(),
        problems: known.problems.clone(),
        ..Report::default()
    };
    let mut found = Vec::new();
    if let Some(published) = known.published {
        let objects = &published.observed.objects;
        let carriers = carriers::Carriers::of_all(objects, known.keys, known.seen);
        let running = models::Running::of(known.scopes, known.proxies);
        let unreached = unreached(&published.plan, known.scopes, known.reporters);
        report.models = models::models(published, &running, &carriers, known.seen, asked);
        models::tell_unreached(&mut report.models, &unreached);
        report.policies = policies::policies(&published.plan, asked);
        let problems = problems::problems(published, known.scopes);
        report.problems.extend(problems);
        let concern = Concern::of(asked, &report, &published.observed, &known.keys.model);
        let plan = &published.plan;
        found.extend(problems::findings(plan, &concern));
        found.extend(problems::unreached(plan, &unreached, &concern));
    }
    select::concerning(&mut report, asked);
    // Findings are chosen by their objects already.
    report.problems.extend(found);
    report
}

fn head(known: &Known<'_>) -> Head {
    let published = known.published;
    Head {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        replica: known.replica.clone(),
        started_at: known.started,
        ending: known.ending,
        synced: published.is_some(),
        synced_at: known.seen.first(),
        publication: published.map_or(0, |p| p.number),
        published_at: published.map_or(0.0, |p| seconds(p.at)),
        took_ms: published.map_or(0.0, |p| p.took.as_secs_f64() * 1e3),
    }
}

/// A share in parts of 1 000 000, in percent.
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

/// Unix seconds.
pub fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0.0, |d| d.as_secs_f64())
}
