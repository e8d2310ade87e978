//! Remarks of `validate` on manifests: how Kubernetes would serve their pods, as far as the manifests tell.
//!
//! Invariant: a function of the files. A remark never fails a file, because a Service outside of the files may change the result.

use std::collections::BTreeMap;

use headgate_contract::names;
use headgate_model::{
    CarrierKey, Finding, LabelKeys, Severity, annotation_findings, template_findings,
};
use serde_json::Value;

use super::document::{Document, split};
use super::observed::FileProblem;
use super::template::{Front, Template, Verdict};
use crate::kubernetes::Kind;

type Texts = BTreeMap<String, String>;

/// One document with its place.
struct Placed {
    file: String,
    number: Option<usize>,
    prefix: String,
    value: Value,
}

/// Remarks on the pod templates of these files, and on unknown annotations of objects that are no carriers. Files that cannot be
/// parsed are skipped.
#[must_use]
pub fn remarks(
    files: &[(String, Vec<u8>)],
    default_namespace: &str,
    keys: &LabelKeys,
) -> Vec<FileProblem> {
    let documents = files.iter().flat_map(|(file, bytes)| {
        let documents = split(bytes, file.ends_with(".json")).unwrap_or_default();
        documents.into_iter().map(|document| placed(file, document))
    });
    let documents: Vec<Placed> = documents.collect();
    let namespace = |value: &Value| {
        let own = value.pointer("/metadata/namespace").and_then(Value::as_str);
        own.unwrap_or(default_namespace).to_owned()
    };
    let fronts = documents.iter().filter_map(|document| {
        let front = Front::read(&document.value, keys)?;
        Some((namespace(&document.value), front))
    });
    let fronts: Vec<(String, Front)> = fronts.collect();
    let mut problems = Vec::new();
    for document in &documents {
        let namespace = namespace(&document.value);
        let near = fronts.iter().filter(|(place, _)| *place == namespace);
        let near: Vec<&Front> = near.map(|(_, front)| front).collect();
        problems.extend(of_annotations(document, &namespace, keys));
        problems.extend(of_kind(document, keys));
        if !is_job(&document.value) {
            problems.extend(of_ports(document, &near, keys));
        }
    }
    problems
}

fn placed(file: &str, document: Document) -> Placed {
    Placed {
        file: file.to_owned(),
        number: document.number,
        prefix: document.prefix,
        value: document.value,
    }
}

impl Placed {
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

/// The string entries of a map; others are skipped.
pub(super) fn texts(value: &Value, pointer: &str) -> Texts {
    let map = value.pointer(pointer).and_then(Value::as_object);
    let pairs = map.into_iter().flatten();
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    pairs.filter_map(text).collect()
}

fn of_annotations(document: &Placed, namespace: &str, keys: &LabelKeys) -> Vec<FileProblem> {
    let value = &document.value;
    let text = |pointer| value.pointer(pointer).and_then(Value::as_str);
    let (Some(kind), Some(name)) = (text("/kind"), text("/metadata/name")) else {
        return Vec::new();
    };
    let key = CarrierKey {
        namespace: namespace.to_owned(),
        kind: kind.to_ascii_lowercase(),
        name: name.to_owned(),
    };
    let say = |path: &'static str| {
        move |finding: Finding| document.problem(path, finding.severity, finding.message)
    };
    let own = texts(value, "/metadata/annotations");
    let template = texts(value, "/spec/template/metadata/annotations");
    // The annotations of a carrier are checked with the plan.
    let carries = texts(value, "/metadata/labels").contains_key(&keys.model);
    let own = annotation_findings(&key, &document.file, &own).into_iter();
    let own = own.filter(|_| !carries).map(say("metadata.annotations"));
    let template = template_findings(&key, &document.file, &template).into_iter();
    own.chain(template.map(say("spec.template.metadata.annotations")))
        .collect()
}

fn is_job(value: &Value) -> bool {
    let kind = value.get("kind").and_then(Value::as_str);
    matches!(kind, Some("Job" | "CronJob"))
}

/// A model label on a kind that is not watched on Kubernetes. With endpoints as an annotation, any kind carries in files.
fn of_kind(document: &Placed, keys: &LabelKeys) -> Option<FileProblem> {
    let value = &document.value;
    let text = |pointer| value.pointer(pointer).and_then(Value::as_str);
    let (version, kind) = (text("/apiVersion")?, text("/kind")?);
    let watched = ["Pod", "Service"].contains(&kind)
        || Kind::defaults().iter().any(|known| known.kind == kind);
    let annotations = texts(value, "/metadata/annotations");
    if watched
        || version.starts_with(names::ANNOTATION_PREFIX)
        || annotations.contains_key(names::ANNOTATION_ENDPOINTS)
    {
        return None;
    }
    let pods = [
        "spec.template.metadata.labels",
        "spec.jobTemplate.spec.template.metadata.labels",
    ];
    let own = ["metadata.labels", "spec.jobTemplate.metadata.labels"];
    let labelled = |path: &&str| {
        let pointer = format!("/{}", path.replace('.', "/"));
        texts(value, &pointer).contains_key(&keys.model)
    };
    let path = own.into_iter().chain(pods).find(labelled)?;
    let label = &keys.model;
    let effect = match pods.iter().any(labelled) {
        true => "each of its pods is a carrier of its own",
        false => "it has no effect",
    };
    if is_job(value) {
        let message = format!(
            "label `{label}` on a {kind}: on Kubernetes {effect}, because Headgate does not watch {kind}s, whose pods end. Label a \
             Deployment in its place, or a Service that selects the pods"
        );
        return Some(document.problem(path, Severity::Warning, message));
    }
    let severity = match value.pointer("/spec/template/spec").is_some() {
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

/// The port that serves, where it is inferred or ambiguous.
fn of_ports(document: &Placed, near: &[&Front], keys: &LabelKeys) -> Option<FileProblem> {
    let template = Template::read(&document.value, keys)?;
    let at = |severity, message| Some(document.problem(template.path, severity, message));
    match template.serving(near) {
        Verdict::Plain => None,
        Verdict::Alone(port) => at(
            Severity::Info,
            format!(
                "no port is named as one that serves: the only one declared, {port}, is taken. To say so, name it `http` or `grpc`"
            ),
        ),
        Verdict::None(why) => at(
            Severity::Warning,
            format!(
                "no port serves on Kubernetes: {why}. Name the port that serves `http` or `grpc`, or write the annotation `{}`",
                names::ANNOTATION_PORT
            ),
        ),
    }
}
