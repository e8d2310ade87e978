//! What an operator should know: of files, objects, modules, scopes and the Kubernetes API.

use std::collections::{BTreeMap, BTreeSet};

use headgate_model::{NamespacePlan, Plan};
use headgate_source::files::FileProblem;
use headgate_source::kubernetes::ApiState;
use headgate_source::writes::Failing;

use super::{ApiReport, ProblemReport, reason, seconds, severity};
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
    let missing = api.missing.iter().map(|missing| {
        let message = format!(
            "{missing}, but {}: {} | kubectl apply -f -",
            missing.why, api.grant
        );
        ProblemReport::new("error", reason::MISSING_RIGHT, &missing.resource, message)
    });
    let undefined = api.undefined().map(|(kind, command)| {
        let message =
            format!("the Kubernetes API has no such kind, so there are none of it: {command}");
        ProblemReport::new("warning", reason::NO_DEFINITION, kind, message)
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
    Some(
        ProblemReport::new(
            "error",
            reason::KUBERNETES_API,
            watch,
            format!("the Kubernetes API {what}, {served}: {}", lost.message),
        )
        .since(unix(lost.since)),
    )
}

/// What cannot be written to the Kubernetes API, and what is lost by that; proxies are served all the same.
pub(super) fn unwritten(
    failing: &BTreeMap<String, Failing>,
) -> impl Iterator<Item = ProblemReport> {
    failing.iter().map(|(resource, failing)| {
        ProblemReport::new(
            "warning",
            reason::KUBERNETES_WRITE,
            resource,
            failing.message.clone(),
        )
        .since(unix(failing.since))
    })
}

pub(super) fn problems(published: &Published, scopes: &Scopes) -> Vec<ProblemReport> {
    let mut problems: Vec<ProblemReport> = published
        .observed
        .problems
        .iter()
        .map(|p| {
            ProblemReport::new(
                severity(p.severity),
                reason::FILE,
                p.file.clone(),
                in_file(p),
            )
            .since(unix(p.since))
        })
        .collect();
    problems.extend(published.offered.problem.iter().map(|p| {
        ProblemReport::new(
            "error",
            reason::MODULE,
            "--wasm",
            p.message.trim_start_matches("--wasm: "),
        )
        .since(seconds(p.since))
    }));
    problems.extend(published.plan.findings.iter().map(|f| {
        ProblemReport::new(
            severity(f.severity),
            f.reason,
            format!("{} ({})", f.object, f.origin),
            f.message.clone(),
        )
    }));
    problems.extend(unserved(&published.plan, scopes));
    let mut left_out = BTreeSet::new();
    for (scope, view) in scopes.view() {
        problems.extend(view.failure.map(|message| {
            ProblemReport::new(
                "error",
                reason::NOT_TRANSLATED,
                format!("scope {scope}"),
                message,
            )
        }));
        left_out.extend(view.rejected);
    }
    problems.extend(left_out.into_iter().map(|r| {
        ProblemReport::new(
            "error",
            reason::LEFT_OUT,
            format!("{} in namespace {}", r.what, r.namespace),
            r.reason,
        )
    }));
    problems
}

/// A namespace without a domain is served to nobody: said, never inferred.
fn unserved<'a>(plan: &'a Plan, scopes: &'a Scopes) -> impl Iterator<Item = ProblemReport> + 'a {
    let unserved = |(name, _): &(&String, &NamespacePlan)| !scopes.serves(name);
    plan.namespaces.iter().filter(unserved).map(|(name, _)| {
        ProblemReport::new(
            "warning",
            reason::NO_DOMAIN,
            format!("namespace {name}"),
            format!("no proxy serves it: start with --domain {name}=<domain>"),
        )
    })
}
