//! Source texts of YAML values that the parser changes: `1.10` becomes the number 1.1, and `12e4567` becomes infinite.
//!
//! Invariant: a value without a source text is as it is written, or its source text is unknown.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Map, Value};

use super::yaml::options;

/// The parser's values of unquoted floats that are not finite.
const NOT_FINITE: [&str; 3] = [".inf", "-.inf", ".nan"];

/// The source texts of an object, in its shape; null if they are unknown, or if the object is as it is written.
#[derive(Debug, Clone, Default)]
pub(crate) struct SourceText(Value);

impl SourceText {
    /// The source text of an entry of the map at a JSON pointer.
    pub(crate) fn of(&self, pointer: &str, key: &str) -> Option<&str> {
        self.0.pointer(pointer)?.get(key)?.as_str()
    }

    /// The source texts of each object of a `List`.
    pub(super) fn items(self) -> Vec<Self> {
        let Value::Object(mut object) = self.0 else {
            return Vec::new();
        };
        match object.remove("items") {
            Some(Value::Array(items)) => items.into_iter().map(Self).collect(),
            _ => Vec::new(),
        }
    }
}

/// Whether a text that was read represents a number that is not finite, and whose source text is `written`. An unquoted `.inf` cannot be
/// distinguished from a quoted one, and is text.
pub(crate) fn is_not_finite(text: &str, written: &str) -> bool {
    NOT_FINITE.contains(&text) && text != written
}

/// The source texts of each document of the text that `values` were read from. Values such as the commit `12e4567`, which are floats for
/// Rust and strings for kubectl, are restored in `values`.
pub(super) fn restore_source_texts(text: &str, values: &mut [Value]) -> Vec<SourceText> {
    if !values.iter().any(misread) {
        return Vec::new();
    }
    SHAPES.set(values.iter().cloned().collect());
    // For strings, the parser returns the source text, also of JSON. If it fails, messages show the number.
    let sources = serde_saphyr::from_multiple_with_options::<Source>(text, options(text));
    SHAPES.take();
    let sources = sources.unwrap_or_default();
    for (value, source) in values.iter_mut().zip(&sources) {
        restore(value, &source.0);
    }
    sources.into_iter().map(|s| SourceText(s.0)).collect()
}

/// Whether a value has a number where a text is expected, or a text that may be a number that is not finite.
fn misread(value: &Value) -> bool {
    match value {
        Value::String(text) => NOT_FINITE.contains(&text.as_str()),
        Value::Array(items) => items.iter().any(misread),
        Value::Object(map) => {
            map.get("metadata").is_some_and(lacks_quotes) || map.values().any(misread)
        }
        _ => false,
    }
}

fn lacks_quotes(metadata: &Value) -> bool {
    let maps = ["labels", "annotations"].map(|field| metadata.get(field));
    let maps = maps.into_iter().flatten().filter_map(Value::as_object);
    let names = ["name", "namespace"].map(|field| metadata.get(field));
    let mut texts = maps
        .flat_map(Map::values)
        .chain(names.into_iter().flatten());
    texts.any(|text| text.is_number() || text.is_boolean())
}

/// Restores texts that were read as numbers that are not finite. YAML writes such numbers as `.inf` and `.nan` only, and kubectl reads a
/// number out of the range of floats as text.
fn restore(value: &mut Value, source: &Value) {
    match (value, source) {
        (Value::String(text), Value::String(source)) => {
            let word = source.trim_start_matches(['+', '-']).to_ascii_lowercase();
            let is_number = matches!(word.as_str(), ".nan" | ".inf");
            if !is_number && NOT_FINITE.contains(&text.as_str()) {
                text.clone_from(source);
            }
        }
        (Value::Array(values), Value::Array(sources)) => {
            let pairs = values.iter_mut().zip(sources);
            pairs.for_each(|(value, source)| restore(value, source));
        }
        (Value::Object(values), Value::Object(sources)) => {
            for (key, value) in values {
                if let Some(source) = sources.get(key) {
                    restore(value, source);
                }
            }
        }
        _ => {}
    }
}

thread_local! {
    /// The shapes of the documents that are read again. The parser accepts no seeds for multiple documents, so the shapes are passed here.
    static SHAPES: RefCell<VecDeque<Value>> = RefCell::default();
}

/// The source texts of a document, read in the shape of its values.
struct Source(Value);

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let shape = SHAPES.with_borrow_mut(VecDeque::pop_front);
        let shape = shape.ok_or_else(|| de::Error::custom("more documents than before"))?;
        Shape(&shape).deserialize(from).map(Self)
    }
}

/// Deserializes every scalar as its source text. Serde does not expose whether a node is a scalar, so the value of the first parse decides.
struct Shape<'a>(&'a Value);

impl<'de> DeserializeSeed<'de> for Shape<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        match self.0 {
            Value::Null => IgnoredAny::deserialize(from).map(|_| Value::Null),
            Value::Array(_) => from.deserialize_seq(self),
            Value::Object(_) => from.deserialize_map(self),
            _ => String::deserialize(from).map(Value::String),
        }
    }
}

impl<'de> Visitor<'de> for Shape<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the document as it was read before")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) =
            from.next_element_seed(Shape(self.0.get(items.len()).unwrap_or(&Value::Null)))?
        {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut entries = Map::new();
        while let Some(key) = from.next_key::<String>()? {
            let shape = self.0.get(&key).unwrap_or(&Value::Null);
            let value = from.next_value_seed(Shape(shape))?;
            entries.insert(key, value);
        }
        Ok(Value::Object(entries))
    }
}
