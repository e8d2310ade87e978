//! Identity of objects in the JSON of an API server.

use serde_json::Value;

/// An object that lacks a part of its identity, and so cannot be reported by name. The field names the part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an object has no {0}")]
pub struct MissingIdentity(pub &'static str);

/// The resource version of an object; empty where it has none.
pub fn resource_version(value: &Value) -> &str {
    let version = value.pointer("/metadata/resourceVersion");
    version.and_then(Value::as_str).unwrap_or_default()
}
