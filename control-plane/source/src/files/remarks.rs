//! Remarks of `validate` on manifests: how Kubernetes would serve their pods, as far as the manifests show.
//!
//! Invariant: a function of the files. A remark never fails a file, because a Service outside of the files may change the result.

use std::collections::BTreeSet;

use headgate_contract::names;
use headgate_model::{
    CarrierKey, FileProblem, Finding, LabelKeys, Severity, annotation_findings, template_findings,
};
use serde_json::Value;

use super::document::{Document, split};
use super::pod_template::{dotted, pod_template, pod_templates};
use super::string_map::string_map;
use super::template::{PortOutcome, SelectingService, Template, declares};
use crate::cluster::{no_selector, refused_by_default};
use crate::declared::{is_external_name, is_service};
use headgate_kubernetes::kinds::Kind;

/// One document with its place.
struct LocatedDocument {
    file: String,
    number: Option<usize>,
    prefix: String,
    value: Value,
}

/// The remarks on files.
#[derive(Debug, Default)]
pub struct Remarks {
    /// Remarks on pod templates, Services without pods, and unknown annotations of objects that are not carriers.
    pub problems: Vec<FileProblem>,
    /// The labelled Services without pods: without a selector, or of type ExternalName.
    pub services_without_pods: BTreeSet<CarrierKey>,
}

/// Remarks on these files. Files that cannot be parsed are skipped.
#[must_use]
pub fn remarks(files: &[(String, Vec<u8>)], default_namespace: &str, keys: &LabelKeys) -> Remarks {
    let documents = documents(files);
    let namespace = |value: &Value| namespace(value, default_namespace);
    let services = documents.iter().filter_map(|document| {
        let service = SelectingService::read(&document.value, keys)?;
        Some((namespace(&document.value), service))
    });
    let services: Vec<(String, SelectingService)> = services.collect();
    let mut remarks = Remarks::default();
    let problems = &mut remarks.problems;
    for document in &documents {
        let namespace = namespace(&document.value);
        if has_no_pods(&document.value, keys) {
            let service = key(&document.value, &namespace);
            remarks.services_without_pods.extend(service);
        }
        let near = services.iter().filter(|(place, _)| *place == namespace);
        let near: Vec<&SelectingService> = near.map(|(_, service)| service).collect();
        problems.extend(of_annotations(document, &namespace, keys));
        problems.extend(of_kind(document, keys));
        problems.extend(of_service(document, &namespace, keys));
        if !is_job(&document.value) {
            problems.extend(of_ports(document, &near, keys));
        }
    }
    remarks
}

fn documents(files: &[(String, Vec<u8>)]) -> Vec<LocatedDocument> {
    let documents = files.iter().flat_map(|(file, bytes)| {
        let documents = split(bytes, file.ends_with(".json")).unwrap_or_default();
        documents
            .into_iter()
            .map(|document| located(file, document))
    });
    documents.collect()
}

fn namespace(value: &Value, default_namespace: &str) -> String {
    let own = value.pointer("/metadata/namespace").and_then(Value::as_str);
    own.unwrap_or(default_namespace).to_owned()
}

fn key(value: &Value, namespace: &str) -> Option<CarrierKey> {
    let text = |pointer| value.pointer(pointer).and_then(Value::as_str);
    Some(CarrierKey {
        namespace: namespace.to_owned(),
        kind: text("/kind")?.to_ascii_lowercase(),
        name: text("/metadata/name")?.to_owned(),
    })
}

/// Whether an object is a Service with both labels.
fn is_labelled_service(value: &Value, keys: &LabelKeys) -> bool {
    is_service(value) && declares(value, keys)
}

fn has_no_pods(value: &Value, keys: &LabelKeys) -> bool {
    let selector = value.pointer("/spec/selector").and_then(Value::as_object);
    let selects = selector.is_some_and(|selector| !selector.is_empty());
    is_labelled_service(value, keys) && (!selects || is_external_name(value))
}

/// The findings that Kubernetes would cause on the endpoints of a labelled Service. Files accept every endpoint, so these remarks concern
/// Kubernetes only.
fn of_service(document: &LocatedDocument, namespace: &str, keys: &LabelKeys) -> Vec<FileProblem> {
    let value = &document.value;
    let Some(key) = key(value, namespace).filter(|_| is_labelled_service(value, keys)) else {
        return Vec::new();
    };
    let annotations = value.pointer("/metadata/annotations");
    let list = annotations.and_then(|all| all.get(names::ANNOTATION_ENDPOINTS));
    if list.is_some_and(|list| !list.is_string()) {
        // The manifest reader reports an error.
        return Vec::new();
    }
    let list = list.and_then(Value::as_str);
    let lists_any = |list: &&str| list.split(',').any(|address| !address.trim().is_empty());
    let Some(list) = list.filter(lists_any) else {
        let name = value.pointer("/spec/externalName").and_then(Value::as_str);
        let name = name.filter(|_| is_external_name(value));
        let warning = || document.problem("spec", Severity::Warning, no_selector(&key, name));
        let warning = has_no_pods(value, keys).then(warning);
        return warning.into_iter().collect();
    };
    let refused = refused_by_default(list).into_iter();
    let info = |message| {
        let message = format!("on Kubernetes: {message}");
        document.problem("metadata.annotations", Severity::Info, message)
    };
    refused.map(info).collect()
}

fn located(file: &str, document: Document) -> LocatedDocument {
    LocatedDocument {
        file: file.to_owned(),
        number: document.number,
        prefix: document.prefix,
        value: document.value,
    }
}

impl LocatedDocument {
    fn problem(&self, path: &str, severity: Severity, message: String) -> FileProblem {
        let path = match self.prefix.as_str() {
            "" => path.to_owned(),
            prefix => format!("{prefix}.{path}"),
        };
        FileProblem {
            file: self.file.clone(),
            document: self.number,
            path,
            message,
            severity,
            since: 0,
        }
    }
}

fn of_annotations(
    document: &LocatedDocument,
    namespace: &str,
    keys: &LabelKeys,
) -> Vec<FileProblem> {
    let value = &document.value;
    let Some(key) = key(value, namespace) else {
        return Vec::new();
    };
    let problem = |path: String| {
        move |finding: Finding| document.problem(&path, finding.severity, finding.message)
    };
    let own = string_map(value, "/metadata/annotations");
    // The plan validates the annotations of a carrier.
    let carries = string_map(value, "/metadata/labels").contains_key(&keys.model);
    let own = annotation_findings(&key, &document.file, &own).into_iter();
    let own = own
        .filter(|_| !carries)
        .map(problem("metadata.annotations".to_owned()));
    let of_template = |template: &'static str| {
        let pointer = format!("{template}/metadata/annotations");
        let findings = template_findings(&key, &document.file, &string_map(value, &pointer));
        findings.into_iter().map(problem(dotted(&pointer)))
    };
    own.chain(pod_templates(value).flat_map(of_template))
        .collect()
}

fn is_job(value: &Value) -> bool {
    let kind = value.get("kind").and_then(Value::as_str);
    matches!(kind, Some("Job" | "CronJob"))
}

/// A model label on a kind that is not watched on Kubernetes. In files, an object of any kind is a carrier if an annotation lists its
/// endpoints.
fn of_kind(document: &LocatedDocument, keys: &LabelKeys) -> Option<FileProblem> {
    let value = &document.value;
    let text = |pointer| value.pointer(pointer).and_then(Value::as_str);
    let (version, kind) = (text("/apiVersion")?, text("/kind")?);
    let watched = ["Pod", "Service"].contains(&kind)
        || Kind::defaults().iter().any(|known| known.kind == kind);
    let annotations = string_map(value, "/metadata/annotations");
    if watched
        || version.starts_with(names::ANNOTATION_PREFIX)
        || annotations.contains_key(names::ANNOTATION_ENDPOINTS)
    {
        return None;
    }
    let template = pod_template(value);
    let pods = [
        &format!("{template}/metadata/labels"),
        "/spec/jobTemplate/spec/template/metadata/labels",
    ];
    let own = ["/metadata/labels", "/spec/jobTemplate/metadata/labels"];
    // An unquoted value counts: the remark still applies after it is quoted.
    let labelled = |pointer: &&str| {
        let labels = value.pointer(pointer);
        labels.is_some_and(|labels| labels.get(&keys.model).is_some())
    };
    let path = dotted(own.into_iter().chain(pods).find(labelled)?);
    let path = path.as_str();
    let label = &keys.model;
    let effect = match pods.iter().any(labelled) {
        true => "each of its pods is a separate carrier",
        false => "it has no effect",
    };
    if is_job(value) {
        let message = format!(
            "label `{label}` on a {kind}: on Kubernetes {effect}, because Headgate does not watch {kind}s, whose pods end. Label a \
             Deployment instead, or a Service that selects the pods"
        );
        return Some(document.problem(path, Severity::Warning, message));
    }
    let severity = match value.pointer(&format!("{template}/spec")).is_some() {
        true => Severity::Warning,
        // A chart may put its labels on everything.
        false => Severity::Info,
    };
    let group = version.rsplit_once('/').map_or("", |(group, _)| group);
    let version = version.rsplit('/').next().unwrap_or_default();
    let message = format!(
        "label `{label}` on a {kind}: on Kubernetes {effect}, because Headgate does not watch {kind}s by default. Label a Deployment or a \
         Service. If a {kind} owns the pods, start `serve` with --owner-kind {group}/{version}/PLURAL/{kind}"
    );
    Some(document.problem(path, severity, message))
}

/// A remark on the port that serves, if it is inferred or ambiguous.
fn of_ports(
    document: &LocatedDocument,
    near: &[&SelectingService],
    keys: &LabelKeys,
) -> Option<FileProblem> {
    let template = Template::read(&document.value, near, keys)?;
    let at = |severity, message| Some(document.problem(&template.path, severity, message));
    let (outcome, service) = template.serving(near);
    let carrier = service.map_or(String::new(), |name| {
        format!(" on Service {name}, which has the labels")
    });
    match outcome {
        PortOutcome::Chosen => None,
        PortOutcome::OnlyPort(port) => at(
            Severity::Info,
            format!(
                "the port is inferred: {port} is the only declared port. To declare it, name it `http` or `grpc`"
            ),
        ),
        PortOutcome::NoPort(why) => at(
            Severity::Warning,
            format!(
                "no port serves on Kubernetes: {why}. Name the port that serves `http` or `grpc`, or write the annotation `{}`{carrier}",
                names::ANNOTATION_PORT
            ),
        ),
    }
}
