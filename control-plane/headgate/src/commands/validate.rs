//! `headgate validate`: checks files with the code that serves them: the reducer of the source, the rules of the plan, and the
//! configuration parser of the filters.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use headgate_contract::{FilterConfig, names};
use headgate_model::{
    CarrierKey, Finding, Plan, Registry, Scales, Severity, Subject, plan, reason,
};
use headgate_model::{FileProblem, Observed};
use headgate_source::files::{Reducer, manifests, read, remarks};
use serde::Serialize;

use crate::config::{Failure, ValidateConfig};
use headgate_report::in_file;
use headgate_report::output::{Format, print};

/// A line of the output.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Remark {
    severity: Level,
    object: String,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Info,
    Warning,
    Error,
}

impl From<Severity> for Level {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Info => Self::Info,
            Severity::Warning => Self::Warning,
            Severity::Error => Self::Error,
        }
    }
}

/// Prints all remarks. Exits with 1 if any of them is an error.
///
/// # Errors
/// A path cannot be read, or standard output cannot be written.
pub(crate) fn run(config: &ValidateConfig) -> Result<ExitCode, Failure> {
    let keys = config.labels.clone();
    let mut reducer = Reducer::new(&config.default_namespace, keys.clone());
    let mut files = Vec::new();
    for path in &config.paths {
        files.extend(contents(path, config.recursive)?);
    }
    for (name, bytes) in &files {
        reducer.apply(name, bytes, 0);
    }
    let Observed {
        objects,
        problems,
        findings,
        ..
    } = reducer.observe(&Observed::default()).unwrap_or_default();
    let mut lines: Vec<Remark> = problems.iter().map(of_file).collect();
    lines.extend(files.iter().filter_map(|(name, _)| skipped(name, &reducer)));
    let remarks = remarks(&files, &config.default_namespace, &keys);
    lines.extend(remarks.problems.iter().map(of_file));
    let registry =
        Registry::build(&objects, &keys).with_root_namespace(config.root_namespace.as_deref());
    let plan = plan(&registry, &objects, &Scales::default());
    // A remark already explains how to list the endpoints of a Service without pods; `NothingReady` would repeat it.
    let is_remarked = |finding: &Finding| {
        finding.reason == reason::NOTHING_READY
            && has_no_pods(&finding.object, &registry, &remarks.services_without_pods)
    };
    let findings = findings.iter().chain(&plan.findings);
    let findings = findings.filter(|finding| !is_remarked(finding));
    lines.extend(findings.map(|finding| of_plan(finding, &plan)));
    lines.dedup();
    for (namespace, view) in &plan.namespaces {
        let filter = FilterConfig {
            namespaces: [(namespace.clone(), view.config.clone())].into(),
            ..FilterConfig::default()
        };
        let json = filter.emit()?;
        if let Err(error) = FilterConfig::parse(json.as_bytes()) {
            lines.push(Remark {
                severity: Level::Error,
                object: format!("namespace {namespace}"),
                message: error.to_string(),
            });
        }
    }
    print_remarks(config.format, &lines, files.len())?;
    let bad = lines.iter().any(|l| l.severity == Level::Error);
    Ok(ExitCode::from(u8::from(bad)))
}

/// Whether all carriers of a model are among these Services, which select no pod.
fn has_no_pods(model: &Subject, registry: &Registry, without_pods: &BTreeSet<CarrierKey>) -> bool {
    let Subject::Model { namespace, id } = model else {
        return false;
    };
    let models = registry.namespaces.get(namespace);
    let model = models.and_then(|models| models.get(id));
    model.is_some_and(|model| model.carriers.is_subset(without_pods))
}

/// The skipped objects of a file, as an INFO remark.
fn skipped(name: &str, reducer: &Reducer) -> Option<Remark> {
    let objects = reducer.unrelated(name)?;
    Some(Remark {
        severity: Level::Info,
        object: name.to_owned(),
        message: format!("skipped, neither policy nor workload: {objects}"),
    })
}

fn of_file(problem: &FileProblem) -> Remark {
    Remark {
        severity: problem.severity.into(),
        object: problem.file.clone(),
        message: in_file(problem),
    }
}

fn of_plan(finding: &Finding, plan: &Plan) -> Remark {
    let object = finding.place();
    // Files of Kubernetes manifests contain no pods, so it is no problem that none is ready.
    if finding.reason == reason::NOTHING_READY {
        return Remark {
            severity: Level::Info,
            object,
            message: format!(
                "these files contain no endpoint. On Kubernetes, pods are the endpoints; for `serve --models`, set the annotation `{}`",
                names::ANNOTATION_ENDPOINTS
            ),
        };
    }
    // The message of the condition suggests similar names.
    let outcome = plan.policies.iter().find(|(id, _)| {
        finding.reason == reason::MATCHES_NOTHING
            && finding.object == Subject::Policy((*id).clone())
    });
    let message = outcome.map_or(&finding.message, |(_, outcome)| &outcome.resolved.message);
    Remark {
        severity: finding.severity.into(),
        object,
        message: message.clone(),
    }
}

fn print_remarks(format: Format, lines: &[Remark], files: usize) -> Result<(), Failure> {
    if let Some(document) = format.document(&lines)? {
        return Ok(print(&document)?);
    }
    let mut out = String::new();
    for line in lines {
        let severity = match line.severity {
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        out.push_str(&format!("{severity}: {}: {}\n", line.object, line.message));
    }
    let errors = lines.iter().filter(|l| l.severity == Level::Error).count();
    out.push_str(&format!(
        "{files} file{}, {errors} errors, {} other remarks\n",
        if files == 1 { "" } else { "s" },
        lines.len() - errors
    ));
    Ok(print(&out)?)
}

/// The contents of a file, of the manifests of a directory in order, or of standard input, each with its name.
fn contents(path: &Path, recursive: bool) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let failed = |path: &Path, e: &dyn std::error::Error| -> Failure {
        format!("{}: {e}", path.display()).into()
    };
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        let read = std::io::stdin().read_to_end(&mut bytes);
        read.map_err(|e| failed(Path::new("standard input"), &e))?;
        return Ok(vec![("standard input".to_owned(), bytes)]);
    }
    let files = if path.metadata().map_err(|e| failed(path, &e))?.is_dir() {
        manifests(path, recursive)
            .map_err(|e| failed(path, &e))?
            .into_iter()
            .collect()
    } else {
        vec![path.to_owned()]
    };
    let read = |file: PathBuf| {
        let bytes = read(&file).map_err(|e| failed(&file, &e))?;
        Ok((file.to_string_lossy().into_owned(), bytes))
    };
    files.into_iter().map(read).collect()
}
