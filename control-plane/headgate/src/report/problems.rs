//! What an operator should know: of files, objects, modules, scopes and the Kubernetes API.

use std::collections::{BTreeMap, BTreeSet};

use headgate_model::{NamespacePlan, Plan};
use headgate_source::files::FileProblem;
use headgate_source::kubernetes::ApiState;
use headgate_source::writes::Failing;

use super::{ApiReport, ProblemReport, seconds, severity};
use crate::publisher::Published;
use crate::world::Scopes;

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

/// How the Kubernetes API fares.
pub(super) fn api(state: &ApiState) -> ApiReport {
    let lost = state.lost();
    ApiReport {
        synced: state.synced(),
        away_since: lost.map(|(_, lost)| unix(lost.since)),
        message: lost.map(|(watch, lost)| format!("{watch}: {}", lost.message)),
    }
}

/// What of the Kubernetes API is not as it should be.
pub(super) fn of_api(api: &ApiState) -> Vec<ProblemReport> {
    let problem = |severity: &str, reason: &str, object: &str, message| ProblemReport {
        severity: severity.to_owned(),
        reason: reason.to_owned(),
        object: object.to_owned(),
        message,
        since: None,
        replicas: Vec::new(),
    };
    let missing = api.missing.iter().map(|missing| {
        let message = format!(
            "{missing}, but {}: {} | kubectl apply -f -",
            missing.why, api.grant
        );
        problem("error", "MissingRight", &missing.resource, message)
    });
    let undefined = api.undefined().map(|(kind, command)| {
        let message =
            format!("the Kubernetes API has no such kind, so there are none of it: {command}");
        problem("warning", "NoDefinition", kind, message)
    });
    lost(api)
        .into_iter()
        .chain(missing)
        .chain(undefined)
        .collect()
}

/// The Kubernetes API that does not answer, and since when: what is shown may be older than it looks.
fn lost(api: &ApiState) -> Option<ProblemReport> {
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
        replicas: Vec::new(),
    })
}

/// What cannot be written to the Kubernetes API, and what is lost by that; proxies are served all the same.
pub(super) fn unwritten(
    failing: &BTreeMap<&'static str, Failing>,
) -> impl Iterator<Item = ProblemReport> {
    failing.iter().map(|(resource, failing)| ProblemReport {
        severity: "warning".to_owned(),
        reason: "KubernetesWrite".to_owned(),
        object: (*resource).to_owned(),
        message: failing.message.clone(),
        since: Some(unix(failing.since)),
        replicas: Vec::new(),
    })
}

pub(super) fn problems(published: &Published, scopes: &Scopes) -> Vec<ProblemReport> {
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
            replicas: Vec::new(),
        })
        .collect();
    problems.extend(published.offered.problem.iter().map(|p| ProblemReport {
        severity: "error".to_owned(),
        reason: "Module".to_owned(),
        object: "--wasm".to_owned(),
        message: p.message.trim_start_matches("--wasm: ").to_owned(),
        since: Some(seconds(p.since)),
        replicas: Vec::new(),
    }));
    problems.extend(published.plan.findings.iter().map(|f| ProblemReport {
        severity: severity(f.severity).to_owned(),
        reason: f.reason.to_owned(),
        object: format!("{} ({})", f.object, f.origin),
        message: f.message.clone(),
        since: None,
        replicas: Vec::new(),
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
            replicas: Vec::new(),
        }));
        left_out.extend(view.rejected);
    }
    problems.extend(left_out.into_iter().map(|r| ProblemReport {
        severity: "error".to_owned(),
        reason: "LeftOut".to_owned(),
        object: format!("{} in namespace {}", r.what, r.namespace),
        message: r.reason,
        since: None,
        replicas: Vec::new(),
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
            replicas: Vec::new(),
        })
}
