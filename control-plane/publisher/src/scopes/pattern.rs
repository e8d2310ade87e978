//! Patterns of ids in the file of `--scopes`.

use std::borrow::Cow;
use std::fmt;

use headgate_contract::pattern::matches_any;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

/// A list of patterns. A value fits if it matches at least one of them. If the list is empty, every value fits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns(pub Vec<String>);

impl Patterns {
    /// Whether the rule does not look at the value.
    pub(super) fn is_absent(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a value fits; `None` if the proxy has none.
    pub(super) fn fit(&self, value: Option<&str>) -> bool {
        self.is_absent() || value.is_some_and(|value| matches_any(&self.0, value))
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PatternsVisitor)
    }
}

struct PatternsVisitor;

impl<'de> Visitor<'de> for PatternsVisitor {
    type Value = Patterns;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a pattern, or a list of patterns")
    }

    fn visit_str<E: de::Error>(self, pattern: &str) -> Result<Patterns, E> {
        Ok(Patterns(vec![checked(pattern.to_owned())?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Patterns, A::Error> {
        let mut patterns = Vec::new();
        while let Some(pattern) = list.next_element::<String>()? {
            patterns.push(checked(pattern)?);
        }
        if patterns.is_empty() {
            return Err(de::Error::custom(
                "the list of patterns is empty, so nothing would match: add a pattern, or remove the field",
            ));
        }
        Ok(Patterns(patterns))
    }
}

fn checked<E: de::Error>(pattern: String) -> Result<String, E> {
    if pattern.is_empty() {
        let fix = "a pattern is empty, so nothing would match: write a value, or `*` for any";
        return Err(de::Error::custom(fix));
    }
    Ok(pattern)
}

impl JsonSchema for Patterns {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Patterns".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "minLength": 1 },
                { "type": "array", "minItems": 1, "items": { "type": "string", "minLength": 1 } }
            ]
        })
    }
}
