//! Maps of strings in JSON, such as labels.

use std::collections::BTreeMap;

use serde_json::Value;

/// A map of strings to strings.
pub(super) type StringMap = BTreeMap<String, String>;

/// The entries with string values of the map at a JSON pointer. The manifest reader reports the others.
pub(super) fn string_map(value: &Value, pointer: &str) -> StringMap {
    let map = value.pointer(pointer).and_then(Value::as_object);
    let pairs = map.into_iter().flatten();
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    pairs.filter_map(text).collect()
}
