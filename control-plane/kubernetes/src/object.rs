//! Metadata of objects in the JSON of an API server.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::pruning::{Fields, Keep};

/// The fields of `metadata` that are kept of every kind.
pub const IDENTITY: Fields = &[
    ("name", Keep::Scalar),
    ("namespace", Keep::Scalar),
    ("uid", Keep::Scalar),
    ("resourceVersion", Keep::Scalar),
    ("creationTimestamp", Keep::Scalar),
];

/// An object that lacks a part of its identity, and so cannot be reported by name. The field names the part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an object has no {0}")]
pub struct MissingIdentity(pub &'static str);

/// The metadata of an object of one of Headgate's own kinds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metadata<'o> {
    pub(crate) namespace: &'o str,
    pub(crate) name: &'o str,
    /// Empty in files.
    pub(crate) uid: &'o str,
    /// Empty in files.
    pub(crate) resource_version: &'o str,
    /// 0 if it is missing.
    pub(crate) generation: i64,
    /// `creationTimestamp`, in Unix seconds.
    pub(crate) created: Option<i64>,
}

impl<'o> Metadata<'o> {
    /// Reads it from an object; `None` without a namespace or a name.
    pub(crate) fn read(object: &'o Value) -> Option<Self> {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
        let filled = |pointer| text(pointer).filter(|text| !text.is_empty());
        let created = text("/metadata/creationTimestamp");
        let created = created.and_then(|time| time.parse::<Timestamp>().ok());
        let generation = object.pointer("/metadata/generation");
        Some(Self {
            namespace: filled("/metadata/namespace")?,
            name: filled("/metadata/name")?,
            uid: text("/metadata/uid").unwrap_or_default(),
            resource_version: resource_version(object),
            generation: generation.and_then(Value::as_i64).unwrap_or(0),
            created: created.map(Timestamp::as_second),
        })
    }
}

/// The resource version of an object; empty where it has none.
pub fn resource_version(value: &Value) -> &str {
    let version = value.pointer("/metadata/resourceVersion");
    version.and_then(Value::as_str).unwrap_or_default()
}

/// The field managers of an object.
pub(crate) fn managers(object: &Value) -> impl Iterator<Item = &Value> {
    let managers = object.pointer("/metadata/managedFields");
    managers.and_then(Value::as_array).into_iter().flatten()
}
