//! The manifest reader: one object → a carrier, a policy or a `ServedModel`, or an error.
//!
//! Invariant: every result satisfies the contract; an error names the JSON path and the fix.

use headgate_contract::{
    ConfigError, ModelId, POLICY_DEFINITIONS, PolicyDefinition, Version, names,
};
use headgate_model::{
    Address, Carrier, CarrierKey, CarrierMesh, Finding, LabelKeys, OwnerReplicas, Pod, Policy,
    Protocol, addresses, incomplete_labels,
};
use serde_json::Value;

use super::metadata::{Metadata, at, kind, required, texts};
use super::models;
use super::pod_template::{dotted, pod_template, pod_templates};
use super::source_text::SourceText;
use headgate_kubernetes::kinds::Kind;
use headgate_kubernetes::models::StoredModel;

/// An object of a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Manifest {
    Carrier(Carrier),
    Policy(Policy),
    Model(Box<StoredModel>),
    /// A workload that is not a carrier, with the warning.
    Ignored(String),
    /// An object with a version or a weight, but without a model.
    IncompleteLabels(Finding),
    /// An object that Headgate does not read: `Kind name`.
    Unrelated(String),
}

/// The settings of the manifest reader.
#[derive(Debug, Clone)]
pub(crate) struct ManifestReader {
    pub(crate) default_namespace: String,
    pub(crate) keys: LabelKeys,
}

impl ManifestReader {
    /// Reads one object of `file`.
    pub(crate) fn read(
        &self,
        file: &str,
        object: &Value,
        written: &SourceText,
    ) -> Result<Manifest, ConfigError> {
        if !object.is_object() {
            return Err(ConfigError::new(
                ".",
                "is not an object: write apiVersion, kind and metadata",
            ));
        }
        if self.is_foreign(object)? {
            return Ok(Manifest::Unrelated(display_name(object)));
        }
        let meta = Metadata::parse(object, written, &self.default_namespace)?;
        for template in pod_templates(object) {
            for field in ["labels", "annotations"] {
                texts(object, template, field, written)?;
            }
        }
        if meta.api_version == names::API_VERSION
            && let Some(definition) = PolicyDefinition::find(&meta.kind)
        {
            return policy(definition, meta, file, object).map(Manifest::Policy);
        }
        match (meta.api_version.as_str(), meta.kind.as_str()) {
            (names::API_VERSION, "ServedModel") => {
                let model = models::read(&meta, object)?;
                Ok(Manifest::Model(Box::new(model)))
            }
            (version, kind) if version.starts_with("headgate.dev/") => Err(ConfigError::new(
                "apiVersion",
                format!(
                    "{version} has no kind {kind}: write {} with {} or ServedModel",
                    names::API_VERSION,
                    POLICY_DEFINITIONS
                        .each_ref()
                        .map(|definition| definition.kind.as_str())
                        .join(", ")
                ),
            )),
            _ if meta.labels.contains_key(&self.keys.model) => {
                self.carrier(meta, file, object).map(Manifest::Carrier)
            }
            _ => Ok(
                match incomplete_labels(&key(&meta), file, &meta.labels, &self.keys) {
                    Some(finding) => Manifest::IncompleteLabels(finding),
                    None => Manifest::Ignored(self.ignored(&meta, object)),
                },
            ),
        }
    }

    /// Whether Headgate does not read an object: it is neither a policy nor a workload, and has none of Headgate's labels and annotations.
    /// The object is not validated.
    fn is_foreign(&self, object: &Value) -> Result<bool, ConfigError> {
        let version = required(object, "apiVersion")?;
        let kind = kind(object)?;
        let workload = kind == "Pod" || Kind::defaults().iter().any(|known| known.kind == kind);
        let has = |field: &str, ours: &dyn Fn(&String) -> bool| {
            let map = object.pointer(field).and_then(Value::as_object);
            map.is_some_and(|map| map.keys().any(ours))
        };
        let keys = [&self.keys.model, &self.keys.version, &self.keys.weight];
        let labelled = has("/metadata/labels", &|key| keys.contains(&key));
        let annotated = has("/metadata/annotations", &|key| {
            key.starts_with(names::ANNOTATION_PREFIX)
        });
        // A list without items is an error: its objects are missing.
        let ours = version.starts_with("headgate.dev/") || kind.ends_with("List");
        Ok(!ours && !workload && !labelled && !annotated)
    }

    fn ignored(&self, meta: &Metadata, object: &Value) -> String {
        let model = &self.keys.model;
        let ignored = format!(
            "{} {}/{} is ignored: it is not a policy of headgate.dev, and it lacks the label `{model}` of a carrier",
            meta.kind, meta.namespace, meta.name
        );
        let template = format!("{}/metadata/labels", pod_template(object));
        match object
            .pointer(&template)
            .and_then(|labels| labels.get(model))
        {
            Some(_) => format!(
                "{ignored}. Only its pod template has the label, and in files only the object's own labels count: add the labels to `metadata.labels`"
            ),
            None => ignored,
        }
    }

    /// A carrier, of any kind. The weight is not validated here: an invalid weight has its own rule.
    fn carrier(&self, meta: Metadata, file: &str, object: &Value) -> Result<Carrier, ConfigError> {
        let label = |key: &String| meta.labels.get(key);
        let bad = |key: &String, e: headgate_contract::InvalidId| {
            ConfigError::new(at("labels", key), e.to_string())
        };
        if let Some(model) = label(&self.keys.model) {
            ModelId::try_from(model.as_str()).map_err(|e| bad(&self.keys.model, e))?;
        }
        if let Some(version) = label(&self.keys.version) {
            Version::try_from(version.as_str()).map_err(|e| bad(&self.keys.version, e))?;
        }
        let own = self.pod_version(object)?;
        let addresses = endpoints(&meta)?;
        let protocol = protocol(&meta)?;
        let desired = match replicas(object)? {
            Some(replicas) => replicas,
            None => u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1),
        };
        let pod = |(i, address): (usize, &Address)| Pod {
            version: own.clone(),
            protocol,
            ..Pod::at(format!("{}-{i}", meta.name), address.clone())
        };
        Ok(Carrier {
            pods: addresses.iter().enumerate().map(pod).collect(),
            key: key(&meta),
            created: meta.created,
            labels: meta.labels,
            annotations: meta.annotations,
            desired,
            owner_replicas: OwnerReplicas::new(),
            min_ready_seconds: 0,
            unready_reasons: Vec::new(),
            mesh: CarrierMesh::default(),
            origin: file.to_owned(),
        })
    }

    /// The version of its pods: the label of the pod template.
    fn pod_version(&self, object: &Value) -> Result<Option<String>, ConfigError> {
        let (label, template) = (&self.keys.version, pod_template(object));
        let labels = object.pointer(&format!("{template}/metadata/labels"));
        let version = labels.and_then(|labels| labels.get(label)?.as_str());
        let Some(version) = version else {
            return Ok(None);
        };
        let path = || format!("{}.{}", dotted(template), at("labels", label));
        Version::try_from(version).map_err(|e| ConfigError::new(path(), e.to_string()))?;
        Ok(Some(version.to_owned()))
    }
}

fn key(meta: &Metadata) -> CarrierKey {
    CarrierKey {
        namespace: meta.namespace.clone(),
        kind: meta.kind.to_ascii_lowercase(),
        name: meta.name.clone(),
    }
}

/// `Kind name` of an object, or `Kind` if it has no name.
fn display_name(object: &Value) -> String {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
    let kind = text("/kind").unwrap_or_default();
    match (text("/metadata/namespace"), text("/metadata/name")) {
        (Some(namespace), Some(name)) => format!("{kind} {namespace}/{name}"),
        (None, Some(name)) => format!("{kind} {name}"),
        (_, None) => kind.to_owned(),
    }
}

fn policy(
    definition: &PolicyDefinition,
    meta: Metadata,
    file: &str,
    object: &Value,
) -> Result<Policy, ConfigError> {
    let spec = object
        .get("spec")
        .ok_or_else(|| ConfigError::new("spec", "is missing: a policy says what it does there"))?;
    let spec = definition
        .parse(spec.to_string().as_bytes())
        .map_err(|e| e.under("spec"))?;
    Ok(Policy {
        namespace: meta.namespace,
        name: meta.name,
        created: meta.created,
        uid: String::new(),
        generation: meta.generation,
        origin: file.to_owned(),
        spec,
    })
}

fn replicas(object: &Value) -> Result<Option<u32>, ConfigError> {
    match object.pointer("/spec/replicas") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| i32::try_from(*n).is_ok())
            .map(Some)
            .ok_or_else(|| {
                ConfigError::new(
                    "spec.replicas",
                    format!("is {value}: write a whole number of at least 0"),
                )
            }),
    }
}

/// The endpoints in the annotation that replaces the pods: `ip:port,…` and `name:port,…`.
fn endpoints(meta: &Metadata) -> Result<Vec<Address>, ConfigError> {
    let Some(list) = meta.annotations.get(names::ANNOTATION_ENDPOINTS) else {
        return Ok(Vec::new());
    };
    let (addresses, invalid) = addresses(list);
    match invalid.first() {
        None => Ok(addresses),
        Some((text, why)) => {
            let path = at("annotations", names::ANNOTATION_ENDPOINTS);
            Err(ConfigError::new(path, format!("{text:?} {why}")))
        }
    }
}

/// The protocol in the annotation.
fn protocol(meta: &Metadata) -> Result<Protocol, ConfigError> {
    let Some(text) = meta.annotations.get(names::ANNOTATION_PROTOCOL) else {
        return Ok(Protocol::default());
    };
    text.parse().map_err(|e| {
        let path = at("annotations", names::ANNOTATION_PROTOCOL);
        ConfigError::new(path, format!("is {:?}: {e}", text.trim()))
    })
}
