//! Source text of YAML values that are not read as they are written: `1.10` is the number 1.1, and `12e4567` is infinite.
//!
//! Invariant: a value without a source text is as it is written, or its source text is unknown.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Map, Value};

use super::document::options;

/// What the parser makes of an unquoted text that is a float for Rust, but not a finite one.
const NOT_FINITE: [&str; 3] = [".inf", "-.inf", ".nan"];

/// The source texts of an object, in its shape; null if they are unknown, or if the object is as it is written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written(Value);

impl Written {
    /// An entry of the map at a JSON pointer.
    pub(crate) fn of(&self, pointer: &str, key: &str) -> Option<&str> {
        self.0.pointer(pointer)?.get(key)?.as_str()
    }

    /// Those of the objects of a `List`.
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

/// Whether a text that was read stands for a number that is not finite, which the file has as `written`. An unquoted `.inf` cannot be
/// told from a quoted one, and is text.
pub(crate) fn is_not_finite(text: &str, written: &str) -> bool {
    NOT_FINITE.contains(&text) && text != written
}

/// The source texts of each document of a text that `values` were read from. Values such as `nan` or the commit `12e4567`, which are
/// floats for Rust and strings for kubectl, are put back into `values`.
pub(super) fn of_text(text: &str, values: &mut [Value]) -> Vec<Written> {
    if !values.iter().any(misread) {
        return Vec::new();
    }
    SHAPES.set(values.iter().cloned().collect());
    // Asked for strings, the parser returns the source text, also of JSON. If it cannot, the message shows the number.
    let sources = serde_saphyr::from_multiple_with_options::<Source>(text, options(text));
    SHAPES.take();
    let sources = sources.unwrap_or_default();
    for (value, source) in values.iter_mut().zip(&sources) {
        restore(value, &source.0);
    }
    sources.into_iter().map(|s| Written(s.0)).collect()
}

/// Whether a value holds a number where text is due, or what may be one that is not finite.
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

/// Puts back texts that were read as numbers that are not finite. YAML has only `.inf` and `.nan` for those, and kubectl takes a number
/// out of the range of floats for text.
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
    /// The documents that are read again. The parser takes no seed for each of several documents, so their shapes wait here.
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

/// Deserializes every scalar as its source text. Serde does not say whether a node is a scalar before it resolves the type, so the value
/// from the first parse says it.
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
