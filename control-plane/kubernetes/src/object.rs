//! Identity of objects in the JSON of an API server.

use serde_json::Value;

/// An object that has no identity, and so cannot even be reported by name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an object without {0} was skipped")]
pub struct Nameless(pub &'static str);

/// The resource version of an object; empty where it has none.
pub fn resource_version(value: &Value) -> &str {
    let version = value.pointer("/metadata/resourceVersion");
    version.and_then(Value::as_str).unwrap_or_default()
}
