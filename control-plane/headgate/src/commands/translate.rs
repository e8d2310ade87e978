//! `headgate translate`: the resources that would be served, without serving them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use headgate_istio::Stored;
use headgate_model::{Finding, Observed, Plan, Registry, ScaleDamper, plan};
use headgate_publisher::{ScopeRules, tick};
use headgate_report::output::{Format, print, print_error};
use headgate_report::{percent, severity};
use headgate_translate::{Options, snapshot};
use serde_json::json;

use crate::admin::resources;
use crate::config::{Failure, TranslateConfig};
use crate::listener_tls::ListenerTlsSource;
use crate::mesh;
use crate::modules;
use crate::source;
use crate::translation;
use crate::xds_port::scope_rules;

/// Prints the plan and the resources.
///
/// # Errors
/// A directory or the Kubernetes API cannot be read, the plan cannot be translated, or standard output cannot be written.
pub(crate) fn run(config: &TranslateConfig) -> Result<ExitCode, Failure> {
    let input = &config.input;
    let (observed, stored) = source::read(input)?;
    let module = modules::offer(&input.wasm, &input.delivery);
    let module = module.unwrap_or_else(|error| {
        print_error(&format!(
            "info: {error}. The filters are shown without code"
        ));
        modules::without_code()
    });
    let listener = ListenerTlsSource::open(input.listener_tls.as_ref())?;
    let linger = Duration::from_secs(60);
    let options = translation::options(input, module, linger, listener.tls())?;
    let prints_mesh = input.istio.mode.is_some();
    let registry = Registry::build(&observed.objects, &input.labels)
        .with_root_namespace(input.root_namespace.as_deref())
        // The printed objects have every route.
        .in_mesh(mesh::host_rules(input)?, false);
    // As after a start: the first sample of readiness counts at once.
    let scales = ScaleDamper::default().observe(&registry.readiness(), tick(Duration::ZERO));
    let plan = plan(&registry, &observed.objects, &scales);
    if prints_mesh {
        return print_mesh(&plan, &observed, &stored, &options, config);
    }
    let scope = translation::default_scope(input, &options);
    let translated = snapshot(&plan, &scope, &options)?;
    print_problems(&observed, &plan.findings);
    let unserved = plan.namespaces.keys();
    for namespace in unserved.filter(|n| !options.domains.contains_key(*n)) {
        print_error(&format!(
            "warning: namespace {namespace}: no domain is configured, so no proxy would serve it: add --domain {namespace}=<domain>"
        ));
    }
    for rejected in &translated.rejected {
        print_error(&format!(
            "error: left out: {} in {}: {}",
            rejected.what, rejected.namespace, rejected.reason
        ));
    }
    let configs = plan.namespaces.iter();
    let configs: serde_json::Map<_, _> = configs
        .map(|(name, view)| (name.clone(), json!(view.config)))
        .collect();
    let resources = resources(&translated.snapshot);
    let document = json!({ "filterConfig": { "namespaces": configs }, "resources": resources });
    let output = config.format.document(&document)?;
    print(&output.unwrap_or_else(|| text(&plan, &translated.snapshot)))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the problems of the source, and all findings. The source and the plan may report the same finding.
fn print_problems<'a>(observed: &'a Observed, findings: impl IntoIterator<Item = &'a Finding>) {
    for problem in &observed.problems {
        print_error(&format!("{}: {problem}", severity(problem.severity)));
    }
    let findings: BTreeSet<_> = observed.findings.iter().chain(findings).collect();
    for finding in findings {
        let severity = severity(finding.severity);
        let (place, message) = (finding.place(), &finding.message);
        print_error(&format!(
            "{severity}: {place}: {}: {message}",
            finding.reason
        ));
    }
}

/// Prints the objects of Istio as manifests.
fn print_mesh(
    plan: &Plan,
    observed: &Observed,
    stored: &Stored,
    options: &Options,
    config: &TranslateConfig,
) -> Result<ExitCode, Failure> {
    let rules = ScopeRules {
        mesh: true,
        ..ScopeRules::loopback(Vec::new(), config.input.listen)
    };
    let rules = scope_rules(&config.rules, rules)?;
    let controller = config.controller.to_string();
    let options = mesh::options(&config.input, &options.module, &controller, &rules)?;
    let desired = headgate_istio::desired(plan, &observed.objects, &stored.gateways, &options);
    let findings = headgate_istio::findings(&desired, stored, &options);
    print_problems(observed, plan.findings.iter().chain(&findings));
    let manifests = desired.manifests(stored, &options);
    if config.format == Format::Json {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": manifests });
        print(&format!("{list:#}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    for manifest in &manifests {
        let document = Format::Yaml.document(manifest)?.unwrap_or_default();
        print(&format!("---\n{}\n", document.trim_end()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Models with their versions, then all resources.
fn text(plan: &Plan, snapshot: &headgate_xds::Snapshot) -> String {
    let mut out = String::new();
    for (namespace, view) in &plan.namespaces {
        for (id, model) in &view.models {
            let _ = writeln!(out, "{namespace}/{id}");
            for (version, variant) in &model.variants {
                let share = percent(variant.share);
                let (ready, total) = (variant.endpoints.len(), variant.total_endpoints);
                let _ = writeln!(
                    out,
                    "  {version:20} {share:>8} %   {ready}/{total} endpoints"
                );
            }
        }
    }
    for kind in headgate_xds::Kind::PUSH_ORDER {
        for resource in snapshot.of(kind) {
            let (kind, bytes) = (kind.as_str(), resource.body().len());
            let _ = writeln!(out, "{kind:4}  {bytes:8} B  {}", resource.name());
        }
    }
    out
}
