//! Problems of files, objects, modules, scopes and namespaces, as rows of the status document.

use std::collections::{BTreeMap, BTreeSet};

use headgate_model::{FileProblem, Finding, NamespacePlan, Plan, VariantKey, unreachable_finding};

use super::query::FindingFilter;
use super::{ProblemReport, reason, seconds, severity};
use headgate_publisher::Published;
use headgate_publisher::SnapshotStore;
use headgate_publisher::Unreached;

/// The message of a file problem without the file name, which is in the `object` column.
pub fn in_file(problem: &FileProblem) -> String {
    let text = problem.to_string();
    match text.strip_prefix(&problem.file) {
        Some(rest) => rest.trim_start_matches(": ").trim_start().to_owned(),
        None => text,
    }
}

/// Unix seconds as the document represents them.
#[allow(clippy::cast_precision_loss)] // seconds since 1970 are far from 2^52
pub fn unix(seconds: i64) -> f64 {
    seconds as f64
}

fn problem_of(finding: &Finding) -> ProblemReport {
    ProblemReport::new(
        severity(finding.severity),
        finding.reason,
        format!("{} ({})", finding.object, finding.origin),
        finding.message.clone(),
    )
}

/// The findings that concern the query.
pub(super) fn findings(
    plan: &Plan,
    filter: &FindingFilter<'_>,
) -> impl Iterator<Item = ProblemReport> {
    let matching = |finding: &&Finding| filter.matches(finding);
    plan.findings.iter().filter(matching).map(problem_of)
}

/// The versions that proxies cannot reach, as far as they concern the query.
pub(super) fn unreached(
    plan: &Plan,
    unreached: &BTreeMap<VariantKey, Unreached>,
    filter: &FindingFilter<'_>,
) -> impl Iterator<Item = ProblemReport> {
    unreached.iter().filter_map(|(variant, its)| {
        let finding =
            unreachable_finding(plan, variant).filter(|finding| filter.matches(finding))?;
        Some(problem_of(&finding).since(seconds(its.since)))
    })
}

/// Problems of files, modules, scopes and namespaces.
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

/// Namespaces with models and without a domain. A domain is always configured, never inferred.
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
            format!("no domain is configured, so no proxy serves it: start headgate with --domain {name}=<domain>"),
        )
    })
}
