//! `headgate validate`: what would `serve` say of these files? Read by the same reducer, planned by the same rules,
//! parsed by the filters' own parser.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use headgate_contract::{FilterConfig, Role, names};
use headgate_model::{
    CarrierKey, Finding, Plan, Registry, Scales, Severity, Subject, plan, reason,
};
use headgate_model::{FileProblem, Observed};
use headgate_source::files::{Reducer, manifests, read, remarks};
use serde::Serialize;

use crate::cli::{Output, ValidateArgs};
use crate::settings::Failure;
use headgate_report::in_file;

/// One thing to know.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Line {
    severity: Severe,
    object: String,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severe {
    Info,
    Warning,
    Error,
}

impl From<Severity> for Severe {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Info => Self::Info,
            Severity::Warning => Self::Warning,
            Severity::Error => Self::Error,
        }
    }
}

/// Prints what is wrong; exits 1 if anything is an error.
///
/// # Errors
/// Paths that cannot be read.
pub(crate) fn run(args: &ValidateArgs) -> Result<ExitCode, Failure> {
    let keys = args.labels.keys();
    let mut reducer = Reducer::new(&args.default_namespace, keys.clone());
    let mut files = Vec::new();
    for path in &args.paths {
        files.extend(contents(path, args.recursive)?);
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
    let mut lines: Vec<Line> = problems.iter().map(of_file).collect();
    lines.extend(files.iter().filter_map(|(name, _)| passed(name, &reducer)));
    let remarks = remarks(&files, &args.default_namespace, &keys);
    lines.extend(remarks.problems.iter().map(of_file));
    let registry =
        Registry::build(&objects, &keys).with_root_namespace(args.root_namespace.as_deref());
    let plan = plan(&registry, &objects, &Scales::default());
    // A remark already says how to list the endpoints of a Service without pods, so `NothingReady` would repeat it.
    let is_remarked = |finding: &Finding| {
        finding.reason == reason::NOTHING_READY
            && has_no_pods(&finding.object, &registry, &remarks.services_without_pods)
    };
    let findings = findings.iter().chain(&plan.findings);
    let findings = findings.filter(|finding| !is_remarked(finding));
    lines.extend(findings.map(|finding| of_plan(finding, &plan)));
    lines.dedup();
    for (namespace, view) in &plan.namespaces {
        let config = FilterConfig {
            stages: None,
            role: Role::Decide,
            retry: 0,
            max_body_bytes: 1 << 20,
            namespaces: [(namespace.clone(), view.config.clone())].into(),
        };
        let json = config.emit()?;
        if let Err(error) = FilterConfig::parse(json.as_bytes()) {
            lines.push(Line {
                severity: Severe::Error,
                object: format!("namespace {namespace}"),
                message: error.to_string(),
            });
        }
    }
    print(args.output, &lines, files.len())?;
    let bad = lines.iter().any(|l| l.severity == Severe::Error);
    Ok(ExitCode::from(u8::from(bad)))
}

/// Whether all carriers of a model are among these Services, which lead to no pod.
fn has_no_pods(model: &Subject, registry: &Registry, without_pods: &BTreeSet<CarrierKey>) -> bool {
    let Subject::Model { namespace, id } = model else {
        return false;
    };
    let models = registry.namespaces.get(namespace);
    let model = models.and_then(|models| models.get(id));
    model.is_some_and(|model| model.carriers.is_subset(without_pods))
}

/// The objects of a file that are not Headgate's, as an INFO line.
fn passed(name: &str, reducer: &Reducer) -> Option<Line> {
    let objects = reducer.unrelated(name)?;
    Some(Line {
        severity: Severe::Info,
        object: name.to_owned(),
        message: format!("skipped, neither policy nor workload: {objects}"),
    })
}

fn of_file(problem: &FileProblem) -> Line {
    Line {
        severity: problem.severity.into(),
        object: problem.file.clone(),
        message: in_file(problem),
    }
}

fn of_plan(finding: &Finding, plan: &Plan) -> Line {
    let object = format!("{} ({})", finding.object, finding.origin);
    // Where the pods are is not in the files: that none is ready says nothing of them.
    if finding.reason == reason::NOTHING_READY {
        return Line {
            severity: Severe::Info,
            object,
            message: format!(
                "no endpoint is in these files. On Kubernetes the pods are the endpoints; for `serve --models`, write the annotation `{}`",
                names::ANNOTATION_ENDPOINTS
            ),
        };
    }
    // Who checks a file wants to know what could have been meant.
    let outcome = plan.policies.iter().find(|(id, _)| {
        finding.reason == reason::MATCHES_NOTHING
            && finding.object == Subject::Policy((*id).clone())
    });
    let message = outcome.map_or(&finding.message, |(_, outcome)| &outcome.resolved.message);
    Line {
        severity: finding.severity.into(),
        object,
        message: message.clone(),
    }
}

fn print(output: Output, lines: &[Line], files: usize) -> Result<(), Failure> {
    if output == Output::Json {
        println!("{}", serde_json::to_string_pretty(lines)?);
        return Ok(());
    }
    for line in lines {
        let severity = match line.severity {
            Severe::Info => "info",
            Severe::Warning => "warning",
            Severe::Error => "error",
        };
        println!("{severity}: {}: {}", line.object, line.message);
    }
    let errors = lines.iter().filter(|l| l.severity == Severe::Error).count();
    println!(
        "{files} file{}, {errors} errors, {} other remarks",
        if files == 1 { "" } else { "s" },
        lines.len() - errors
    );
    Ok(())
}

/// The content of a file, of the manifests of a directory in order, or of standard input, with its name.
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
