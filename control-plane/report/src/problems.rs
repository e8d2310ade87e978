//! What an operator should know: of files, objects, modules, scopes and the Kubernetes API.

use std::collections::{BTreeMap, BTreeSet};

use headgate_model::{FileProblem, Finding, NamespacePlan, Plan, VariantKey, unreachable_finding};

use super::select::Concern;
use super::{ProblemReport, reason, seconds, severity};
use headgate_publisher::Published;
use headgate_publisher::SnapshotStore;
use headgate_publisher::Unreached;

/// The problem without its file, which is the object.
pub fn in_file(problem: &FileProblem) -> String {
    let text = problem.to_string();
    match text.strip_prefix(&problem.file) {
        Some(rest) => rest.trim_start_matches(": ").trim_start().to_owned(),
        None => text,
    }
}

/// Unix seconds as the document has them.
#[allow(clippy::cast_precision_loss)] // seconds since 1970 are far from 2^52
pub fn unix(seconds: i64) -> f64 {
    seconds as f64
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
        let finding = unreachable_finding(plan, variant).filter(|finding| concern.is(finding))?;
        Some(found(&finding).since(seconds(its.since)))
    })
}

/// What is wrong with files, modules, scopes and namespaces.
pub(super) fn problems(published: &Published, scopes: &SnapshotStore) -> Vec<ProblemReport> {
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
fn unserved<'a>(
    plan: &'a Plan,
    scopes: &'a SnapshotStore,
) -> impl Iterator<Item = ProblemReport> + 'a {
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
