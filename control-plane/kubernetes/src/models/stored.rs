//! The parser of stored `ServedModel`s: JSON of the API server or of a file → an object, with the errors of fields that cannot be read.
//!
//! Invariant: only an object without a name or a namespace is refused. If the spec cannot be read, the status still counts.

use std::collections::BTreeSet;

use headgate_contract::{ConfigError, ModelId, ServedModelSpec, Version, names, parse_json};
use headgate_model::{Memory, WrittenBase};
use serde::Deserialize as _;
use serde_json::Value;

use super::MANAGER;
use super::memory::{base_of, memory_of};
use super::resource::ServedModelStatus;
use crate::object::{IDENTITY, Metadata, managers};
use crate::pruning::{Keep, Shape};

/// The fields of `spec` that the control plane writes when it creates an object.
const OWN: [&str; 2] = ["modelName", "controllerName"];

/// Field managers, and the fields that each one wrote.
const MANAGERS: Keep = Keep::Fields(&[
    ("manager", Keep::Scalar),
    (
        "fieldsV1",
        Keep::Fields(&[
            ("f:spec", Keep::All(2)),
            (
                "f:metadata",
                Keep::Fields(&[("f:labels", Keep::All(1)), ("f:annotations", Keep::All(1))]),
            ),
        ]),
    ),
]);

/// The fields of a `ServedModel`'s JSON that the watch keeps.
#[derive(Debug, Clone)]
pub struct ModelShape;
impl Shape for ModelShape {
    const KEEP: Keep = Keep::Fields(&[
        (
            "metadata",
            Keep::Joined(
                IDENTITY,
                &[
                    ("generation", Keep::Scalar),
                    ("annotations", Keep::Prefixed(names::ANNOTATION_PREFIX)),
                    ("managedFields", MANAGERS),
                ],
            ),
        ),
        ("spec", Keep::All(4)),
        ("status", Keep::All(6)),
    ]);
}

/// A `ServedModel` as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredModel {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `metadata.uid`; empty in files.
    pub uid: String,
    /// `metadata.resourceVersion`; empty in files.
    pub resource_version: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.creationTimestamp`, in Unix seconds.
    pub created: Option<i64>,
    /// The model id: `spec.modelName`, else the object's name.
    pub model: Result<ModelId, ConfigError>,
    /// The spec, or why it cannot be read.
    pub spec: Result<ServedModelSpec, ConfigError>,
    /// The installation that manages it.
    pub controller: String,
    /// Whether another field manager wrote its spec, a label or an annotation. If so, it is kept when no object declares its model.
    pub by_person: bool,
    /// Its annotation `headgate.dev/base`.
    pub annotation: Option<String>,
    /// Its annotation `headgate.dev/previous-base`.
    pub previous_annotation: Option<String>,
    /// Whether another field manager wrote `headgate.dev/base` last, as a restore does.
    pub restored: bool,
    /// Its status; `None` if it is missing or cannot be read.
    pub status: Option<ServedModelStatus>,
}

impl StoredModel {
    /// Parses an object; `None` without a namespace or a name.
    #[must_use]
    pub fn read(object: &Value) -> Option<Self> {
        let metadata = Metadata::read(object)?;
        let controller = object.pointer("/spec/controllerName");
        let controller = controller.and_then(Value::as_str);
        let status = object.get("status").filter(|status| status.is_object());
        let annotations = object.pointer("/metadata/annotations");
        let annotation = |name| {
            let text = annotations.and_then(|all| all.get(name));
            text.and_then(Value::as_str).map(str::to_owned)
        };
        Some(Self {
            namespace: metadata.namespace.to_owned(),
            name: metadata.name.to_owned(),
            uid: metadata.uid.to_owned(),
            resource_version: metadata.resource_version.to_owned(),
            generation: metadata.generation,
            created: metadata.created,
            model: model(metadata.name, object),
            spec: spec(object),
            controller: controller
                .unwrap_or(names::DEFAULT_CONTROLLER_NAME)
                .to_owned(),
            by_person: by_person(object),
            annotation: annotation(names::ANNOTATION_BASE),
            previous_annotation: annotation(names::ANNOTATION_PREVIOUS_BASE),
            restored: restored(object),
            status: status.and_then(|status| ServedModelStatus::deserialize(status).ok()),
        })
    }

    /// An object that is about to be created.
    pub fn new(namespace: &str, name: &str, id: &ModelId) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: String::new(),
            resource_version: String::new(),
            generation: 1,
            created: None,
            model: Ok(id.clone()),
            spec: Ok(ServedModelSpec::default()),
            controller: names::DEFAULT_CONTROLLER_NAME.to_owned(),
            by_person: false,
            annotation: None,
            previous_annotation: None,
            restored: false,
            status: None,
        }
    }

    /// The versions whose routes exist in the mesh.
    #[must_use]
    pub fn routed(&self) -> BTreeSet<Version> {
        let routes = self.status.iter().flat_map(|status| &status.routes);
        routes
            .filter_map(|text| Version::try_from(text.as_str()).ok())
            .collect()
    }

    /// Its memory: that of the status, with the base of the annotation if the status has none. A backup drops the status.
    #[must_use]
    pub fn memory(&self) -> Option<Memory> {
        let Some(status) = &self.status else {
            self.annotation.as_ref()?;
            return Some(self.in_annotations(Memory::default()));
        };
        let base = self.annotation.as_deref().map(base_of);
        let memory = memory_of(status);
        // A person emptied a status without a base: the control plane empties the annotation first.
        Some(match base {
            Some(base) if memory.base.is_empty() && !base.is_empty() => memory.with_base(base),
            _ => memory,
        })
    }

    /// A memory with the base and the previous base of the annotations.
    pub fn in_annotations(&self, memory: Memory) -> Memory {
        let read = |text: &Option<String>| base_of(text.as_deref().unwrap_or_default());
        let mut memory = memory.with_base(read(&self.annotation));
        let base = &memory.base;
        let previous = read(&self.previous_annotation).into_iter();
        let previous = previous.filter(|(carrier, _)| !base.contains_key(carrier));
        memory.previous = previous.collect();
        memory
    }

    /// Whether a restore created it: it has no status, and another field manager wrote a base into its annotation.
    pub fn is_restored(&self) -> bool {
        let base = self.annotation.as_deref().map(base_of);
        self.status.is_none() && self.restored && base.is_some_and(|base| !base.is_empty())
    }

    /// The base in the annotation, if another field manager wrote it and it differs from the base in the status.
    #[must_use]
    pub fn written_base(&self) -> Option<WrittenBase> {
        let text = self.annotation.as_deref().filter(|_| self.restored)?;
        let stored = memory_of(self.status.as_ref()?).base;
        let base = base_of(text);
        let same = base.len() == stored.len()
            && base.iter().all(|(carrier, written)| {
                let known = stored.get(carrier);
                known.is_some_and(|known| known.versions == written.versions)
            });
        (!stored.is_empty() && !same && !text.trim().is_empty()).then(|| WrittenBase {
            text: text.to_owned(),
            base,
        })
    }

    /// Its name in messages.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("ServedModel {}/{}", self.namespace, self.name)
    }
}

/// The model id, even if the rest of the spec cannot be read.
fn model(name: &str, object: &Value) -> Result<ModelId, ConfigError> {
    let bad = |path, error: headgate_contract::InvalidId| ConfigError::new(path, error.to_string());
    match object.pointer("/spec/modelName").and_then(Value::as_str) {
        Some(id) => ModelId::try_from(id).map_err(|error| bad("spec.modelName", error)),
        None => ModelId::try_from(name).map_err(|error| bad("metadata.name", error)),
    }
}

fn spec(object: &Value) -> Result<ServedModelSpec, ConfigError> {
    match object.get("spec").filter(|spec| !spec.is_null()) {
        None => Ok(ServedModelSpec::default()),
        Some(spec) => parse_json(spec.to_string().as_bytes()).map_err(|error| error.under("spec")),
    }
}

fn by_person(object: &Value) -> bool {
    let spec = object.get("spec").and_then(Value::as_object);
    if spec.is_some_and(|spec| spec.keys().any(|field| !OWN.contains(&field.as_str()))) {
        return true;
    }
    managers(object)
        .filter(|manager| !is_own(manager))
        .any(wrote)
}

fn is_own(manager: &Value) -> bool {
    manager.get("manager").and_then(Value::as_str) == Some(MANAGER)
}

/// Whether the base annotation has field managers, and the control plane is none of them.
fn restored(object: &Value) -> bool {
    let field = format!("f:{}", names::ANNOTATION_BASE);
    let owns = |manager: &&Value| {
        let fields = manager.pointer("/fieldsV1/f:metadata/f:annotations");
        fields.is_some_and(|fields| fields.get(&field).is_some())
    };
    let mut owners = managers(object).filter(owns).peekable();
    owners.peek().is_some() && !owners.any(is_own)
}

/// Whether a field manager wrote a field that people write: spec, labels, annotations. `.` stands for the map itself.
fn wrote(manager: &Value) -> bool {
    let own = [names::ANNOTATION_BASE, names::ANNOTATION_PREVIOUS_BASE];
    let own = own.map(|name| format!("f:{name}"));
    let parts = ["f:spec", "f:metadata/f:labels", "f:metadata/f:annotations"];
    let mut fields = parts.into_iter().filter_map(|part| {
        let fields = manager.pointer(&format!("/fieldsV1/{part}"))?;
        fields.as_object()
    });
    fields.any(|fields| {
        fields
            .keys()
            .any(|field| field != "." && !own.contains(field))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pruning::Pruned;

    /// Parses an object as the watch does.
    fn read(object: &Value) -> StoredModel {
        let pruned: Pruned<ModelShape> = serde_json::from_str(&object.to_string()).unwrap();
        StoredModel::read(&pruned.value).unwrap()
    }

    #[test]
    fn an_object_is_by_a_person_if_its_spec_has_own_fields_or_another_manager_wrote_it() {
        let by_person = |spec: Value, manager: &str, fields: Value| {
            let object = json!({
                "metadata": {"name": "m", "namespace": "default", "managedFields": [
                    {"manager": manager, "operation": "Update", "fieldsV1": fields},
                ]},
                "spec": spec,
            });
            read(&object).by_person
        };
        let own = || json!({"modelName": "M"});
        for (manager, fields, expected) in [
            (MANAGER, json!({"f:spec": {"f:modelName": {}}}), false),
            (
                "kubectl",
                json!({"f:spec": {".": {}, "f:modelName": {}}}),
                true,
            ),
            (
                "kubectl",
                json!({"f:metadata": {"f:labels": {".": {}, "f:team": {}}}}),
                true,
            ),
            (
                "argocd",
                json!({"f:metadata": {"f:annotations": {"f:argocd.argoproj.io/tracking-id": {}}}}),
                true,
            ),
            // Restoring the base and writing status, finalizers or owners do not count.
            (
                "velero",
                json!({"f:metadata": {"f:annotations": {".": {}, "f:headgate.dev/base": {}}}}),
                false,
            ),
            ("monitor", json!({"f:status": {"f:base": {}}}), false),
            (
                "webhook",
                json!({"f:spec": {}, "f:metadata": {"f:finalizers": {"v:\"x\"": {}}, "f:ownerReferences": {}}}),
                false,
            ),
            (
                "webhook",
                json!({"f:spec": {".": {}}, "f:metadata": {"f:labels": {".": {}}}}),
                false,
            ),
        ] {
            assert_eq!(
                by_person(own(), manager, fields.clone()),
                expected,
                "{manager}: {fields}"
            );
        }
        let more = json!({"names": ["x"]});
        assert!(by_person(more, MANAGER, json!({"f:spec": {"f:names": {}}})));
    }

    #[test]
    fn the_memory_comes_from_the_status_else_from_the_annotation_whatever_the_spec_is() {
        let mut object = json!({
            "metadata": {"name": "m-1", "namespace": "default", "annotations": {
                "headgate.dev/base": "deployment/a=v1", "other": "x",
            }},
            "spec": {"modelName": "M", "minReadyPercent": 500},
            "status": {
                "base": [{"carrier": "deployment/b", "versions": ["v2"]}],
                "conditions": [{"type": "Ready", "status": "cannot be read"}],
            },
        });
        let stored = read(&object);
        assert_eq!(stored.model.unwrap().as_str(), "M");
        assert!(stored.spec.is_err());
        let carriers = |stored: &StoredModel| -> Vec<String> {
            stored.memory().unwrap().base.into_keys().collect()
        };
        assert_eq!(carriers(&read(&object)), ["deployment/b"]);
        // An annotation by another field manager may take precedence over the status; one by the control plane does not.
        for (managers, expected) in [
            (vec!["velero"], Some("deployment/a=v1")),
            (vec![MANAGER], None),
            (vec!["velero", MANAGER], None),
        ] {
            let field = json!({"f:metadata": {"f:annotations": {"f:headgate.dev/base": {}}}});
            let managers = managers
                .into_iter()
                .map(|manager| json!({"manager": manager, "fieldsV1": field}));
            object["metadata"]["managedFields"] = managers.collect();
            let stored = read(&object);
            assert_eq!(carriers(&stored), ["deployment/b"], "{object}");
            let written = stored.written_base().map(|written| written.text);
            assert_eq!(written.as_deref(), expected, "{object}");
        }
        object["metadata"]["managedFields"][0]["manager"] = "velero".into();
        object["metadata"]["managedFields"]
            .as_array_mut()
            .unwrap()
            .truncate(1);
        for (text, is_written) in [("deployment/b=v2", false), ("b", true), ("", false)] {
            object["metadata"]["annotations"]["headgate.dev/base"] = text.into();
            assert_eq!(read(&object).written_base().is_some(), is_written, "{text}");
        }
        object["metadata"]["annotations"]["headgate.dev/base"] = "deployment/a=v1".into();
        for emptied in [json!({}), Value::Null] {
            object["status"] = emptied;
            assert_eq!(carriers(&read(&object)), ["deployment/a"]);
        }
        object["metadata"]["annotations"] = Value::Null;
        assert_eq!(read(&object).memory(), None);
    }
}
