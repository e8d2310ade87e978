//! Field pruning: keeps some fields of an object's JSON. The rest is skipped during parsing and never stored.
//!
//! Invariant: any well-formed JSON is read, whatever its types and depth. Otherwise one object could stall a list, and with it all
//! other objects.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Map, Value};

/// Names of fields, with the part of each that is kept.
pub type Fields = &'static [(&'static str, Keep)];

/// The part of a value that is kept. For a list, it applies to each element.
#[derive(Debug, Clone, Copy)]
pub enum Keep {
    /// Text, numbers and booleans; maps and lists become null.
    Scalar,
    /// Nested maps down to this depth; lists become null.
    Maps(u8),
    /// Any value down to this depth; maps and lists below become null.
    All(u8),
    /// These fields.
    Fields(Fields),
    /// The fields of both lists.
    Joined(Fields, Fields),
    /// The entries with this prefix of the key, if they are scalars.
    Prefixed(&'static str),
}

/// The fields of a kind that are kept.
pub trait Shape: Clone + Send + Sync + 'static {
    /// The fields that are kept.
    const KEEP: Keep;
}

/// The JSON of an object, pruned to the fields of a shape.
#[derive(Debug, Clone)]
pub struct Pruned<S> {
    /// The remaining JSON.
    pub value: Value,
    shape: PhantomData<S>,
}

impl<'de, S: Shape> Deserialize<'de> for Pruned<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self {
            value: Seed::new(S::KEEP).deserialize(deserializer)?,
            shape: PhantomData,
        })
    }
}

#[derive(Clone, Copy)]
struct Seed {
    keep: Keep,
    /// Whether the value is an element of a list. A list in a list is skipped, so the shape bounds the depth.
    listed: bool,
}

impl Seed {
    fn new(keep: Keep) -> Self {
        Self {
            keep,
            listed: false,
        }
    }
}

impl Keep {
    /// The part that is kept of the value at a key; `None`: nothing.
    fn under(self, key: &str) -> Option<Self> {
        match self {
            Self::Scalar | Self::Maps(0) | Self::All(0) => None,
            Self::Maps(depth) => Some(Self::Maps(depth - 1)),
            Self::All(depth) => Some(Self::All(depth - 1)),
            Self::Fields(fields) => Self::named(fields, key),
            Self::Joined(one, other) => Self::named(one, key).or_else(|| Self::named(other, key)),
            Self::Prefixed(prefix) => key.starts_with(prefix).then_some(Self::Scalar),
        }
    }

    fn named(fields: Fields, key: &str) -> Option<Self> {
        let mut fields = fields.iter();
        let found = fields.find(|(name, _)| *name == key);
        found.map(|(_, keep)| *keep)
    }
}

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let element = match self.keep {
            Keep::All(depth) if depth > 0 => Self::new(Keep::All(depth - 1)),
            Keep::Fields(_) | Keep::Joined(..) if !self.listed => Self {
                listed: true,
                ..self
            },
            _ => {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Value::Null);
            }
        };
        let mut kept = Vec::new();
        while let Some(value) = list.next_element_seed(element)? {
            kept.push(value);
        }
        Ok(kept.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            match self.keep.under(&key) {
                Some(keep) => {
                    kept.insert(key, map.next_value_seed(Seed::new(keep))?);
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(match self.keep {
            Keep::Scalar | Keep::Maps(0) | Keep::All(0) => Value::Null,
            _ => kept.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Clone)]
    struct Some2;
    impl Shape for Some2 {
        const KEEP: Keep = Keep::Fields(&[
            ("name", Keep::Scalar),
            ("notes", Keep::Prefixed("a/")),
            ("spec", Keep::Maps(2)),
            ("ports", Keep::Fields(&[("name", Keep::Scalar)])),
            (
                "both",
                Keep::Joined(&[("one", Keep::Scalar)], &[("other", Keep::Maps(1))]),
            ),
            ("all", Keep::All(2)),
        ]);
    }

    fn prune(text: &str) -> Value {
        serde_json::from_str::<Pruned<Some2>>(text).unwrap().value
    }

    #[test]
    fn named_fields_are_kept_and_others_are_not() {
        let object = json!({
            "name": "x", "uid": 1, "managed": [{"deep": [1]}],
            "notes": {"a/b": "1", "b/a": "2", "a/c": {"x": 1}},
            "spec": {"n": 3, "list": [1], "t": {"l": "v", "deeper": {"x": 1}}},
            "ports": [{"name": "http", "port": 1}, "no", [["no"]]],
            "both": {"one": 1, "other": {"x": 2}, "none": 3},
            "all": {"list": [1, null, [2], {"x": 1}], "map": {"n": 1.5, "deep": [1]}, "null": null},
        });
        assert_eq!(
            prune(&object.to_string()),
            json!({
                "name": "x",
                "notes": {"a/b": "1", "a/c": null},
                "spec": {"n": 3, "list": null, "t": {"l": "v", "deeper": null}},
                "ports": [{"name": "http"}, "no", null],
                "both": {"one": 1, "other": {"x": 2}},
                "all": {"list": [1, null, null, null], "map": {"n": 1.5, "deep": null}, "null": null},
            })
        );
    }

    #[test]
    fn any_depth_is_pruned_in_time() {
        for (open, close) in [("[", "]"), ("{\"spec\":", "}"), ("{\"x\":", "}")] {
            for field in ["spec", "ports", "both", "name", "notes", "all", "other"] {
                let deep = format!("{}1{}", open.repeat(5000), close.repeat(5000));
                prune(&format!("{{\"{field}\":{deep}}}"));
                prune(&format!("{{\"{field}\":[{deep}]}}"));
            }
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let key = prop::sample::select(vec![
            "name", "notes", "spec", "ports", "both", "all", "a/b", "x",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..5).prop_map(|all| all
                    .into_iter()
                    .map(|(k, v)| (k.to_owned(), v))
                    .collect::<Map<_, _>>()
                    .into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_pruned(value in json()) {
            prune(&value.to_string());
        }
    }
}
