//! Parts of generated specs.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value};

/// An object with these fields.
pub(crate) fn object(fields: Vec<(&'static str, Value)>) -> Map<String, Value> {
    fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}

/// Mostly a valid text, sometimes an invalid one.
pub(crate) fn mostly(
    valid: Vec<&'static str>,
    invalid: Vec<&'static str>,
) -> impl Strategy<Value = &'static str> {
    prop_oneof![12 => select(valid), 1 => select(invalid)]
}

/// A field that is there sometimes.
pub(crate) fn maybe(
    name: &'static str,
    value: impl Strategy<Value = Value>,
) -> impl Strategy<Value = Option<(&'static str, Value)>> {
    prop::option::weighted(0.4, value).prop_map(move |value| Some((name, value?)))
}
