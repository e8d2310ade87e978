//! `headgate translate`: what would be served now, without serving.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use headgate_model::{Registry, ScaleDamper, plan};
use headgate_translate::snapshot;
use serde_json::json;

use crate::admin::resources;
use crate::cli::{Output, TranslateArgs};
use crate::modules;
use crate::settings::{self, Failure};
use crate::source;
use headgate_publisher::tick;
use headgate_report::{percent, severity};

/// Prints the plan and the resources.
///
/// # Errors
/// Unreadable directories or a Kubernetes API that does not answer, and a plan that cannot be translated.
pub(crate) fn run(args: &TranslateArgs) -> Result<ExitCode, Failure> {
    let observed = source::read(&args.input)?;
    let module = modules::offer(&args.input.wasm, args.input.wasm_inline);
    let module = module.unwrap_or_else(|error| {
        eprintln!("info: {error}. Without it the filters are shown without their code");
        modules::without_code()
    });
    let options = settings::options(&args.input, module, Duration::from_secs(60))?;
    let registry = Registry::build(&observed.objects, &args.input.labels.keys())
        .with_root_namespace(args.input.root_namespace.as_deref());
    // As one that starts now serves it: a first reading counts at once.
    let scales = ScaleDamper::default().observe(&registry.readiness(), tick(Duration::ZERO));
    let plan = plan(&registry, &observed.objects, &scales);
    let translated = snapshot(
        &plan,
        &settings::plain_scope(&args.input, &options),
        &options,
    )?;
    for problem in &observed.problems {
        eprintln!("{}: {problem}", severity(problem.severity));
    }
    // Both may report the same finding.
    let findings: BTreeSet<_> = observed.findings.iter().chain(&plan.findings).collect();
    for finding in findings {
        eprintln!(
            "{}: {} ({}): {}",
            severity(finding.severity),
            finding.object,
            finding.origin,
            finding.message
        );
    }
    for namespace in plan
        .namespaces
        .keys()
        .filter(|n| !options.domains.contains_key(*n))
    {
        eprintln!(
            "warning: namespace {namespace}: no proxy would be served it: add --domain {namespace}=<domain>"
        );
    }
    for rejected in &translated.rejected {
        eprintln!(
            "error: left out: {} in {}: {}",
            rejected.what, rejected.namespace, rejected.reason
        );
    }
    let resources = resources(&translated.snapshot);
    match args.output {
        Output::Json => {
            let configs: serde_json::Map<_, _> = plan
                .namespaces
                .iter()
                .map(|(name, view)| (name.clone(), json!(view.config)))
                .collect();
            let all = json!({ "filterConfig": { "namespaces": configs }, "resources": resources });
            println!("{}", serde_json::to_string_pretty(&all)?);
        }
        Output::Text => {
            for (namespace, view) in &plan.namespaces {
                for (id, model) in &view.models {
                    println!("{namespace}/{id}");
                    for (version, variant) in &model.variants {
                        println!(
                            "  {version:20} {:>8} %   {}/{} endpoints",
                            percent(variant.share),
                            variant.endpoints.len(),
                            variant.total_endpoints
                        );
                    }
                }
            }
            for kind in headgate_xds::Kind::PUSH_ORDER {
                for resource in translated.snapshot.of(kind) {
                    println!(
                        "{:4}  {:8} B  {}",
                        kind.as_str(),
                        resource.body().len(),
                        resource.name()
                    );
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
