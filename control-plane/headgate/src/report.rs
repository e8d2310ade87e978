//! What the control plane knows, as one document: labels seen → weights planned → acked by each proxy.
//!
//! `/syncz` serves it as JSON and `headgate status` renders it; scripts rely on its names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use headgate_contract::ModelId;
use headgate_model::{NamespacePlan, Plan, PlannedModel, Severity, Standing};
use headgate_source::files::FileProblem;
use headgate_xds::Kind;
use headgate_xds::fleet::{Progress, Proxy};
use headgate_xds::session::Wait;
use serde::{Deserialize, Serialize};

use crate::history::Told;
use crate::publisher::Published;
use crate::world::Scopes;

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

/// Makes the document of this moment.
pub(crate) fn report(published: Option<&Published>, scopes: &Scopes, proxies: &[Proxy]) -> Report {
    let running = Running::of(scopes, proxies);
    Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        synced: published.is_some(),
        publication: published.map_or(0, |p| p.number),
        published_at: published.map_or(0.0, |p| seconds(p.at)),
        took_ms: published.map_or(0.0, |p| p.took.as_secs_f64() * 1e3),
        models: published.map_or_else(Vec::new, |p| models(&p.plan, &running)),
        proxies: proxies.iter().map(proxy).collect(),
        problems: published.map_or_else(Vec::new, |p| problems(p, scopes)),
    }
}

/// What each proxy's filters run: node id and models.
struct Running(Vec<(String, Option<Told>)>);

impl Running {
    fn of(scopes: &Scopes, proxies: &[Proxy]) -> Self {
        let filters = proxies.iter().filter_map(|proxy| {
            let acked = proxy
                .kinds
                .get(&Kind::Extension)?
                .status
                .resources
                .values()
                .next();
            let told = acked.and_then(|a| scopes.told_by(&a.acked));
            Some((proxy.peer.id.clone(), told))
        });
        Self(filters.collect())
    }
}

fn models(plan: &Plan, running: &Running) -> Vec<ModelReport> {
    plan.namespaces
        .iter()
        .flat_map(|(name, view)| view.models.iter().map(move |(id, m)| (name, view, id, m)))
        .map(|(namespace, _, id, planned)| ModelReport {
            namespace: namespace.clone(),
            model: id.to_string(),
            names: planned.plan.names.clone(),
            scale_percent: planned.plan.scale.map_or(100, |s| s.percent),
            versions: versions(namespace, id, planned, running),
            carriers: carriers(planned),
            acked: acked(namespace, id, planned, running),
        })
        .collect()
}

fn acked(namespace: &str, model: &ModelId, planned: &PlannedModel, running: &Running) -> Count {
    let same = |told: &Option<Told>| {
        let theirs = told.as_ref().and_then(|t| t.model(namespace, model));
        theirs.is_some_and(|m| m.plan == planned.plan)
    };
    Count {
        are: running.0.iter().filter(|(_, told)| same(told)).count(),
        of: running.0.len(),
    }
}

fn versions(
    namespace: &str,
    model: &ModelId,
    planned: &PlannedModel,
    running: &Running,
) -> Vec<VersionReport> {
    planned
        .variants
        .iter()
        .map(|(version, variant)| VersionReport {
            version: version.to_string(),
            weight_wanted: percent(variant.share),
            weight_acked: running
                .0
                .iter()
                .filter_map(|(node, told)| {
                    let m = told.as_ref()?.model(namespace, model)?;
                    Some((node.clone(), percent(m.variants.get(version)?.share)))
                })
                .collect(),
            endpoints: Count {
                are: variant.endpoints.len(),
                of: variant.total_endpoints as usize,
            },
        })
        .collect()
}

fn carriers(planned: &PlannedModel) -> Vec<CarrierReport> {
    planned
        .carriers
        .iter()
        .map(|c| CarrierReport {
            carrier: c.key.to_string(),
            standing: match &c.standing {
                Standing::Canary(percent) => format!("canary {percent}"),
                Standing::Base => "base".to_owned(),
                Standing::Standby => "standby".to_owned(),
                Standing::Held { .. } => "held".to_owned(),
                Standing::Dark => "dark".to_owned(),
            },
            weight: percent(c.share),
            ready: Count {
                are: c.ready as usize,
                of: c.desired as usize,
            },
        })
        .collect()
}

/// A share in parts of 1 000 000, in percent.
pub(crate) fn percent(millionths: u32) -> f64 {
    f64::from(millionths) / 1e4
}

fn proxy(proxy: &Proxy) -> ProxyReport {
    ProxyReport {
        id: proxy.peer.id.clone(),
        agent: proxy.peer.agent.clone(),
        address: proxy.peer.address.map(|a| a.to_string()),
        scope: proxy.scope.0.clone(),
        since: seconds(proxy.since),
        settled: proxy.is_settled(),
        types: proxy
            .kinds
            .iter()
            .map(|(kind, progress)| (kind.as_str().to_owned(), of_type(progress)))
            .collect(),
    }
}

fn of_type(progress: &Progress) -> TypeReport {
    let status = &progress.status;
    TypeReport {
        wanted: status.wanted.clone(),
        sent: status.sent.clone(),
        acked: status.acked.clone(),
        acked_at: progress.last_ack.map(seconds),
        nacked: status
            .nacked
            .iter()
            .map(|(name, n)| {
                let nack = NackReport {
                    version: n.version.clone(),
                    message: n.message.clone(),
                    retries: n.retries,
                };
                (name.clone(), nack)
            })
            .collect(),
        waiting: status
            .waiting
            .iter()
            .map(|(name, wait)| (name.clone(), waits_for(wait)))
            .collect(),
        last_nack: progress.last_nack.as_ref().map(|(at, message)| LastNack {
            at: seconds(*at),
            message: message.clone(),
        }),
    }
}

fn waits_for(wait: &Wait) -> String {
    let clusters = wait.clusters.join(", ");
    if wait.failed {
        format!("the proxy did not take {clusters}: it keeps what it has")
    } else {
        format!("until the proxy has {clusters}")
    }
}

/// The problem without its file, which is the object.
pub(crate) fn in_file(problem: &FileProblem) -> String {
    let text = problem.to_string();
    match text.strip_prefix(&problem.file) {
        Some(rest) => rest.trim_start_matches(": ").trim_start().to_owned(),
        None => text,
    }
}

#[allow(clippy::cast_precision_loss)] // seconds since 1970 are far from 2^52
fn unix(seconds: i64) -> f64 {
    seconds as f64
}

fn problems(published: &Published, scopes: &Scopes) -> Vec<ProblemReport> {
    let mut problems: Vec<ProblemReport> = published
        .observed
        .problems
        .iter()
        .map(|p| ProblemReport {
            severity: severity(p.severity).to_owned(),
            reason: "File".to_owned(),
            object: p.file.clone(),
            message: in_file(p),
            since: Some(unix(p.since)),
        })
        .collect();
    problems.extend(published.offered.problem.iter().map(|p| ProblemReport {
        severity: "error".to_owned(),
        reason: "Module".to_owned(),
        object: "--wasm".to_owned(),
        message: p.message.trim_start_matches("--wasm: ").to_owned(),
        since: Some(seconds(p.since)),
    }));
    problems.extend(published.plan.findings.iter().map(|f| ProblemReport {
        severity: severity(f.severity).to_owned(),
        reason: f.reason.to_owned(),
        object: format!("{} ({})", f.object, f.origin),
        message: f.message.clone(),
        since: None,
    }));
    problems.extend(unserved(&published.plan, scopes));
    let mut left_out = BTreeSet::new();
    for (scope, view) in scopes.view() {
        problems.extend(view.failure.map(|message| ProblemReport {
            severity: "error".to_owned(),
            reason: "NotTranslated".to_owned(),
            object: format!("scope {scope}"),
            message,
            since: None,
        }));
        left_out.extend(view.rejected);
    }
    problems.extend(left_out.into_iter().map(|r| ProblemReport {
        severity: "error".to_owned(),
        reason: "LeftOut".to_owned(),
        object: format!("{} in namespace {}", r.what, r.namespace),
        message: r.reason,
        since: None,
    }));
    problems
}

/// A namespace without a domain is served to nobody: said, never inferred.
fn unserved<'a>(plan: &'a Plan, scopes: &'a Scopes) -> impl Iterator<Item = ProblemReport> + 'a {
    let unserved = |(name, _): &(&String, &NamespacePlan)| !scopes.serves(name);
    plan.namespaces
        .iter()
        .filter(unserved)
        .map(|(name, _)| ProblemReport {
            severity: "warning".to_owned(),
            reason: "NoDomain".to_owned(),
            object: format!("namespace {name}"),
            message: format!("no proxy serves it: start with --domain {name}=<domain>"),
            since: None,
        })
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
