//! A carrier before its versions are merged with those of other carriers: its labels, and its endpoints sorted into versions.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{ModelId, Version, names};

use super::upstream::UpstreamAnnotations;
use super::{Endpoints, Weight};
use crate::{
    Carrier, CarrierKey, Finding, LabelKeys, Severity, annotation_findings, incomplete_labels,
    reason,
};

/// A carrier whose labels were read.
pub(super) struct Draft<'a> {
    pub(super) carrier: &'a Carrier,
    pub(super) weight: Weight,
    pub(super) versions: BTreeMap<Version, Endpoints>,
}

impl Draft<'_> {
    /// The key for [`by_age`](crate::age::by_age).
    pub(super) fn age(&self) -> (Option<i64>, &CarrierKey) {
        (self.carrier.created, &self.carrier.key)
    }

    /// Whether the carrier joins the base at once.
    pub(super) fn joins(&self) -> bool {
        let join = self.carrier.annotations.get(names::ANNOTATION_JOIN);
        join.is_some_and(|value| value == "share")
    }
}

/// Reads the labels of a carrier. `None` if it names no model, or its model label cannot be read.
pub(super) fn read<'a>(
    carrier: &'a Carrier,
    keys: &LabelKeys,
    findings: &mut Vec<Finding>,
) -> Option<(ModelId, Draft<'a>)> {
    let label = |key: &String| carrier.labels.get(key).map(String::as_str);
    let model = label(&keys.model)?;
    // A Service declares a variant only if it has both labels; otherwise the workload behind it does.
    if carrier.key.kind == "service" && label(&keys.version).is_none() {
        let (key, origin) = (&carrier.key, &carrier.origin);
        findings.extend(incomplete_labels(key, origin, &carrier.labels, keys));
        return None;
    }
    let model = match ModelId::try_from(model) {
        Ok(model) => model,
        Err(error) => {
            let command = carrier.key.label_command(&keys.model, "MODEL");
            let message = format!(
                "label `{}`: {error}. Headgate ignores the object: {command}",
                keys.model
            );
            findings.push(carrier.finding(Severity::Error, reason::INVALID_MODEL, message));
            return None;
        }
    };
    findings.extend(annotation_findings(
        &carrier.key,
        &carrier.origin,
        &carrier.annotations,
    ));
    let draft = Draft {
        carrier,
        weight: Weight::parse(label(&keys.weight)),
        versions: versions(carrier, keys, findings),
    };
    Some((model, draft))
}

/// The endpoints of each version. The version is that of the pod, else of the carrier; without pods, that of the carrier.
fn versions(
    carrier: &Carrier,
    keys: &LabelKeys,
    findings: &mut Vec<Finding>,
) -> BTreeMap<Version, Endpoints> {
    let key = &carrier.key;
    // Pods of one template have the same error, which is reported once.
    let mut errors: BTreeSet<String> = BTreeSet::new();
    let own = carrier.labels.get(&keys.version).and_then(|text| {
        let command = key.label_command(&keys.version, "VERSION");
        let refuse = |error| errors.insert(format!("label `{}`: {error}: {command}", keys.version));
        Version::try_from(text.as_str()).map_err(refuse).ok()
    });
    let mut of_pod = |text: &str| {
        let fix = format!("kubectl edit {} -n {}", key.identity(), key.namespace);
        let label = &keys.version;
        let refuse = |error| {
            errors.insert(format!(
                "label `{label}` of its pods: {error}: write another version into the pod template, or remove the label: {fix}"
            ))
        };
        Version::try_from(text).map_err(refuse).ok()
    };
    let mut versions: BTreeMap<Version, Endpoints> = BTreeMap::new();
    for pod in &carrier.pods {
        let label = pod.version.as_deref().filter(|text| !text.is_empty());
        let version = label.and_then(&mut of_pod);
        if let Some(version) = version.or_else(|| own.clone()) {
            let endpoints = versions.entry(version).or_default();
            endpoints.all.insert(pod.address.clone());
            let protocols = &mut endpoints.protocols;
            protocols.entry(pod.address.clone()).or_insert(pod.protocol);
            if pod.ready {
                endpoints.ready.insert(pod.address.clone());
            }
        }
    }
    let invalid = |message| carrier.finding(Severity::Error, reason::INVALID_VERSION, message);
    findings.extend(errors.into_iter().map(invalid));
    if carrier.pods.is_empty() {
        versions.extend(own.map(|version| (version, Endpoints::default())));
    }
    let annotations = UpstreamAnnotations::read(carrier, findings);
    for endpoints in versions.values_mut() {
        endpoints.annotations = annotations.clone();
        endpoints.carriers.push(key.clone());
    }
    if versions.is_empty() {
        let message = format!(
            "names a model, but neither it nor one of its pods names a version: kubectl label {} -n {} {}=VERSION",
            key.identity(),
            key.namespace,
            keys.version
        );
        findings.push(carrier.finding(Severity::Warning, reason::NO_VERSION, message));
    }
    versions
}
