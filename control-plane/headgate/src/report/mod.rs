//! What the control plane knows, as one document: labels seen → weights planned → acked by each proxy.
//!
//! `/syncz` serves it as JSON and `headgate status` renders it.

mod document;

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use headgate_contract::ModelId;
use headgate_model::{NamespacePlan, Plan, PlannedModel, Severity, Standing};
use headgate_source::files::FileProblem;
use headgate_source::kubernetes::ApiState;
use headgate_xds::Kind;
use headgate_xds::fleet::{Progress, Proxy};
use headgate_xds::session::Wait;

pub(crate) use self::document::{
    CarrierReport, Count, LastNack, ModelReport, NackReport, ProblemReport, ProxyReport, Report,
    TypeReport, VersionReport,
};
use crate::history::Told;
use crate::publisher::Published;
use crate::world::Scopes;

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

/// The Kubernetes API that does not answer, and since when: what is shown may be older than it looks.
pub(crate) fn lost(api: &ApiState) -> Option<ProblemReport> {
    let (watch, lost) = api.lost()?;
    let (what, served) = if api.synced() {
        ("does not answer", "what was seen last is served")
    } else {
        ("was not read in full yet", "nothing is served before that")
    };
    Some(ProblemReport {
        severity: "error".to_owned(),
        reason: "KubernetesApi".to_owned(),
        object: watch.to_owned(),
        message: format!("the Kubernetes API {what}, {served}: {}", lost.message),
        since: Some(unix(lost.since)),
    })
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
