//! Fields of objects as JSON.

use serde_json::Value;

/// The items of a list; none if the field is absent or no list.
pub(crate) fn list<'v>(object: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    let list = object.get(field).and_then(Value::as_array);
    list.into_iter().flatten()
}
