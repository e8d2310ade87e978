//! Problems of files, objects, modules, scopes and namespaces, as rows of the status document.

use std::collections::{BTreeMap, BTreeSet};

use headgate_model::{FileProblem, Finding, Plan, VariantKey, unreachable_finding};
use headgate_publisher::{
    LeftOut, ModuleProblem, Published, Rejected, SnapshotStore, UnreachableVersion,
};
use headgate_xds::loads::Reporter;

use super::problem_log::{CarriedModels, LoggedProblem};
use super::query::FindingFilter;
use super::{ProblemReport, reason, seconds, severity};

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

/// A finding as a row.
#[must_use]
pub fn problem_of(finding: &Finding) -> ProblemReport {
    ProblemReport::new(
        severity(finding.severity),
        finding.reason,
        finding.place(),
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
pub(super) fn unreachable(
    plan: &Plan,
    unreachable: &BTreeMap<VariantKey, UnreachableVersion>,
    filter: &FindingFilter<'_>,
) -> impl Iterator<Item = ProblemReport> {
    unreachable.iter().filter_map(|(variant, its)| {
        let finding =
            unreachable_finding(plan, variant).filter(|finding| filter.matches(finding))?;
        Some(problem_of(&finding).since(seconds(its.since)))
    })
}

/// Problems of files, modules, scopes and namespaces.
pub(super) fn problems(published: &Published, scopes: &SnapshotStore) -> Vec<ProblemReport> {
    let all = with_fields(published, scopes).into_iter();
    all.map(|(problem, _)| problem).collect()
}

/// The same problems, with the fields of their log lines.
#[must_use]
pub fn logged_problems(published: &Published, scopes: &SnapshotStore) -> BTreeSet<LoggedProblem> {
    let all = with_fields(published, scopes).into_iter();
    all.map(|(problem, fields)| fields.with(problem)).collect()
}

/// Each problem, with the fields that only its log line has.
fn with_fields(
    published: &Published,
    scopes: &SnapshotStore,
) -> Vec<(ProblemReport, LoggedProblem)> {
    let files = published.observed.problems.iter().map(|problem| {
        let document = problem.document.unwrap_or_default();
        let fields = LoggedProblem {
            part: Some(format!("{document} {}", problem.path)),
            file: Some(problem.file.clone()),
            ..LoggedProblem::default()
        };
        (of_file(problem), fields)
    });
    let modules = published.offered.problem.iter();
    let modules = modules.map(|problem| (of_module(problem), LoggedProblem::default()));
    let unserved = unserved(&published.plan, scopes).map(|namespace| {
        let fields = LoggedProblem {
            namespace: Some(namespace.clone()),
            ..LoggedProblem::default()
        };
        (of_namespace(namespace), fields)
    });
    let mut all: Vec<_> = files.chain(modules).chain(unserved).collect();
    let mut left_out = BTreeSet::new();
    for (scope, view) in scopes.view() {
        all.extend(view.failure.map(|message| {
            let problem = of_scope(&scope, message);
            let fields = LoggedProblem {
                scope: Some(scope),
                ..LoggedProblem::default()
            };
            (problem, fields)
        }));
        left_out.extend(view.rejected);
    }
    all.extend(left_out.into_iter().map(|rejected| {
        let fields = LoggedProblem {
            namespace: Some(rejected.namespace.clone()),
            model: match &rejected.what {
                LeftOut::Model(id) => Some(id.to_string()),
                LeftOut::Bucket { .. } | LeftOut::Host(_) => None,
            },
            ..LoggedProblem::default()
        };
        (of_left_out(rejected), fields)
    }));
    all
}

/// The versions that proxies cannot reach, with the fields of their log lines.
#[must_use]
pub fn logged_unreachable(
    published: &Published,
    scopes: &SnapshotStore,
    reporters: &[Reporter],
) -> BTreeSet<LoggedProblem> {
    let Published { plan, observed, .. } = published;
    let variants = headgate_publisher::unreachable_versions(plan, scopes, reporters);
    if variants.is_empty() {
        return BTreeSet::new();
    }
    let findings = variants.keys().filter_map(|v| unreachable_finding(plan, v));
    let models = CarriedModels::new(plan);
    findings
        .map(|finding| LoggedProblem {
            // It comes from load reports.
            file: None,
            ..LoggedProblem::of_finding(&finding, &models, observed)
        })
        .collect()
}

fn of_file(problem: &FileProblem) -> ProblemReport {
    let severity = severity(problem.severity);
    ProblemReport::new(severity, reason::FILE, &problem.file, in_file(problem))
        .since(unix(problem.since))
}

fn of_module(problem: &ModuleProblem) -> ProblemReport {
    let message = problem.message.trim_start_matches("--wasm: ");
    ProblemReport::new("error", reason::MODULE, "--wasm", message).since(seconds(problem.since))
}

fn of_scope(scope: &str, message: String) -> ProblemReport {
    let object = format!("scope {scope}");
    ProblemReport::new("error", reason::NOT_TRANSLATED, object, message)
}

fn of_left_out(rejected: Rejected) -> ProblemReport {
    let object = format!("{} in namespace {}", rejected.what, rejected.namespace);
    ProblemReport::new("error", reason::LEFT_OUT, object, rejected.reason)
}

/// Namespaces with models and without a domain. A domain is always configured, never inferred.
fn unserved<'a>(
    plan: &'a Plan,
    scopes: &'a SnapshotStore,
) -> impl Iterator<Item = &'a String> + 'a {
    plan.namespaces.keys().filter(|name| !scopes.serves(name))
}

fn of_namespace(name: &String) -> ProblemReport {
    ProblemReport::new(
        "warning",
        reason::NO_DOMAIN,
        format!("namespace {name}"),
        format!(
            "no domain is configured, so no proxy serves it: start headgate with --domain {name}=<domain>"
        ),
    )
}
