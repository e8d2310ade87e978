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
pub(crate) mod reason;
mod select;
mod sightings;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use headgate_model::{LabelKeys, Severity};
use headgate_source::kubernetes::ApiState;
use headgate_source::writes::{Failing, Peer, Peers};
use headgate_xds::fleet::Proxy;
use headgate_xds::loads::Reporter;

pub(crate) use self::document::{
    ApiReport, BaseReport, CarrierReport, Count, Head, HeldReport, LastNack, ModelReport,
    NackReport, PeerReport, PolicyReport, PortReport, ProblemReport, ProxyReport, ReplicaReport,
    Report, TypeReport, UnreachableReport, UnreadReport, VerdictReport, VersionReport,
};
pub(crate) use self::problems::in_file;
use self::select::Concern;
pub(crate) use self::select::{Asked, fingerprint};
pub(crate) use self::sightings::{Look, Sightings};
use crate::publisher::Published;
use crate::reach::unreached;
use crate::world::Scopes;

/// What the document is made from.
pub(crate) struct Known<'a> {
    /// When the process started, in Unix seconds.
    pub started: f64,
    /// Whether it was asked to end.
    pub ending: bool,
    /// What was last published; `None` before the source was read.
    pub published: Option<&'a Published>,
    /// How the Kubernetes API fares, if there is one.
    pub api: Option<&'a ApiState>,
    /// What cannot be written to it.
    pub unwritten: &'a BTreeMap<String, Failing>,
    /// The replicas that share its Lease, if it writes there.
    pub peers: Option<&'a Peers>,
    /// The keys of the labels.
    pub keys: &'a LabelKeys,
    /// Since when what is as it is.
    pub seen: &'a Sightings,
    /// What each scope is served.
    pub scopes: &'a Scopes,
    /// Who is connected.
    pub proxies: &'a [Proxy],
    /// What they report of their requests.
    pub reporters: &'a [Reporter],
}

/// Makes the document of this moment, or the part of it that is asked for.
pub(crate) fn report(known: &Known<'_>, asked: &Asked) -> Report {
    let mut report = Report {
        head: head(known),
        replicas: Vec::new(),
        peers: known
            .peers
            .map(Peers::now)
            .into_iter()
            .flatten()
            .map(peer)
            .collect(),
        api: known.api.map(problems::api),
        proxies: known.proxies.iter().map(proxies::proxy).collect(),
        problems: known
            .api
            .map_or_else(Vec::new, problems::of_api)
            .into_iter()
            .chain(problems::unwritten(known.unwritten))
            .collect(),
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
        replica: known.peers.map(|peers| peers.own().to_owned()),
        started_at: known.started,
        ending: known.ending,
        synced: published.is_some(),
        synced_at: known.seen.first(),
        publication: published.map_or(0, |p| p.number),
        published_at: published.map_or(0.0, |p| seconds(p.at)),
        took_ms: published.map_or(0.0, |p| p.took.as_secs_f64() * 1e3),
    }
}

fn peer(peer: Peer) -> PeerReport {
    PeerReport {
        replica: peer.replica,
        admin_address: peer.admin,
    }
}

/// A share in parts of 1 000 000, in percent.
pub(crate) fn percent(millionths: u32) -> f64 {
    f64::from(millionths) / 1e4
}

/// `info`, `warning` or `error`.
pub(crate) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// Unix seconds.
pub(crate) fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0.0, |d| d.as_secs_f64())
}
