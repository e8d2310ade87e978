//! What an operator should know: of files, objects, modules, scopes and the Kubernetes API.

use std::collections::{BTreeMap, BTreeSet};

use headgate_model::{Finding, NamespacePlan, Plan, VariantKey, unreachable};
use headgate_source::files::FileProblem;
use headgate_source::kubernetes::{ApiState, Lost, Undefined, WatchState};
use headgate_source::writes::{Failing, FaultPlace};

use super::select::Concern;
use super::{ApiReport, ProblemReport, UnreadReport, reason, seconds, severity};
use crate::publisher::Published;
use crate::reach::Unreached;
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
    let away = state.away();
    let unread = state.unread().map(|(kind, watch, lost)| UnreadReport {
        kind: kind.to_owned(),
        since: unix(lost.since),
        message: lost.message.clone(),
        was_read: watch.synced,
        effect: watch.effect().to_owned(),
    });
    ApiReport {
        synced: state.synced(),
        away_since: away.map(|(_, lost)| unix(lost.since)),
        message: away.map(|(watch, lost)| format!("{watch}: {}", lost.message)),
        unread: unread.collect(),
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
    away(api)
        .into_iter()
        .chain(api.unread().map(unread))
        .chain(missing)
        .chain(api.undefined().map(undefined))
        .collect()
}

/// The Kubernetes API that does not answer, and since when: what is shown may be older than it looks.
fn away(api: &ApiState) -> Option<ProblemReport> {
    let (watch, lost) = api.away()?;
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

/// A kind that cannot be read, and what is not served because of it.
fn unread((kind, watch, lost): (&str, &WatchState, &Lost)) -> ProblemReport {
    let effect = watch.effect();
    let message = format!("the kind cannot be read, {effect}: {}", lost.message);
    ProblemReport::new("error", reason::KIND_UNREAD, kind, message).since(unix(lost.since))
}

/// A kind that the API server does not have, with the command that installs it.
fn undefined(it: Undefined<'_>) -> ProblemReport {
    let what = if it.counts {
        "the kind was removed from the Kubernetes API, so its objects count as deleted until it is installed again"
    } else {
        "the Kubernetes API does not have this kind, so none of its objects are read"
    };
    let fix = it
        .install
        .or(it.restore)
        .unwrap_or("install its CustomResourceDefinition again");
    let message = format!("{what}: {fix}");
    let problem = ProblemReport::new("warning", reason::NO_DEFINITION, it.kind, message);
    match it.since {
        Some(since) => problem.since(unix(since)),
        None => problem,
    }
}

/// What cannot be written to the Kubernetes API, and what is lost by that; proxies are served all the same.
pub(super) fn unwritten(
    failing: &BTreeMap<String, Failing>,
) -> impl Iterator<Item = ProblemReport> {
    failing.iter().map(|(resource, failing)| {
        let reason = match failing.place {
            FaultPlace::StateDirectory => reason::STATE_WRITE,
            FaultPlace::Kubernetes => reason::KUBERNETES_WRITE,
        };
        ProblemReport::new("warning", reason, resource, failing.message.clone())
            .since(unix(failing.since))
    })
}

fn found(finding: &Finding) -> ProblemReport {
    ProblemReport::new(
        severity(finding.severity),
        finding.reason,
        format!("{} ({})", finding.object, finding.origin),
        finding.message.clone(),
    )
}

/// What is found of the objects of what is asked for.
pub(super) fn findings(plan: &Plan, concern: &Concern<'_>) -> impl Iterator<Item = ProblemReport> {
    let found_of = |finding: &&Finding| concern.is(finding);
    plan.findings.iter().filter(found_of).map(found)
}

/// The versions that proxies cannot reach, of what is asked for.
pub(super) fn unreached(
    plan: &Plan,
    unreached: &BTreeMap<VariantKey, Unreached>,
    concern: &Concern<'_>,
) -> impl Iterator<Item = ProblemReport> {
    unreached.iter().filter_map(|(variant, its)| {
        let finding = unreachable(plan, variant).filter(|finding| concern.is(finding))?;
        Some(found(&finding).since(seconds(its.since)))
    })
}

/// What is wrong with files, modules, scopes and namespaces.
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
