//! Source text of YAML values that must be strings but are read as numbers or booleans: `1.10` is the number 1.1.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::document::options;

/// The source texts of an object's fields; empty if they are unknown, or if every field is a string already.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Written {
    pub(crate) metadata: Texts,
    pub(crate) spec: Spec,
    /// Those of the objects of a `List`.
    pub(crate) items: Vec<Written>,
}

/// Of `metadata`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Texts {
    pub(crate) labels: BTreeMap<String, Option<String>>,
    pub(crate) annotations: BTreeMap<String, Option<String>>,
}

/// Of `spec`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Spec {
    pub(crate) template: Template,
}

/// Of `spec.template`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Template {
    pub(crate) metadata: Texts,
}

impl Texts {
    /// A label or an annotation.
    pub(crate) fn of(&self, field: &str, key: &str) -> Option<&str> {
        let map = match field {
            "labels" => &self.labels,
            _ => &self.annotations,
        };
        map.get(key)?.as_deref()
    }
}

/// The source texts of each document. Empty if `values`, read from the same text, have only strings in these places.
pub(super) fn of_text(text: &str, values: &[Value]) -> Vec<Written> {
    if !values.iter().any(misread) {
        return Vec::new();
    }
    // Asked for strings, the parser returns the source text, also of JSON. If it cannot, the message shows the number.
    serde_saphyr::from_multiple_with_options(text, options(text)).unwrap_or_default()
}

fn misread(value: &Value) -> bool {
    let listed = value.get("items").and_then(Value::as_array);
    let places = [
        "/metadata/labels",
        "/metadata/annotations",
        "/spec/template/metadata/labels",
    ];
    let maps = places.iter().filter_map(|place| value.pointer(place));
    let mut texts = maps
        .filter_map(Value::as_object)
        .flat_map(|map| map.values());
    texts.any(|text| text.is_number() || text.is_boolean())
        || listed.into_iter().flatten().any(misread)
}
