//! Deserializer of every type of the contract, with errors that name the path of the value at fault.
//!
//! A document is read into a tree once, then each type is read from its part of the tree. An error collects its path on the way
//! out. One reader without type parameters keeps the modules small: they carry this code in every VM.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::ConfigError;
use crate::error::join;
use crate::json::{self, Node};

/// Parses any type of the contract from JSON.
///
/// # Errors
/// [`ConfigError`] with the path of the first value that is malformed, unknown, missing, given twice or out of range.
pub fn parse_json<T: DeserializeOwned>(json: &[u8]) -> Result<T, ConfigError> {
    let tree = json::read(json).map_err(|error| ConfigError::new(".", error))?;
    T::deserialize(&tree).map_err(|ReadError(problem)| {
        let Problem { path, message } = *problem;
        let path = if path.is_empty() {
            ".".to_owned()
        } else {
            path
        };
        ConfigError::new(path, message)
    })
}

/// An error, and the path to it as far as the error has been passed up. Boxed, so that results stay small.
#[derive(Debug)]
pub(crate) struct ReadError(Box<Problem>);

#[derive(Debug)]
struct Problem {
    path: String,
    message: String,
}

impl ReadError {
    /// The same error for the container of the value: `parent` is the key of the value, or its `[index]`.
    #[inline(never)]
    fn under(mut self, parent: &str) -> Self {
        self.0.path = join(parent, &self.0.path);
        self
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(Box::new(Problem {
            path: String::new(),
            message: message.to_string(),
        }))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let message = format!("is {}: write {expected}", kind(&unexpected));
        de::Error::custom(message)
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }
}

/// The kind of a value, in words. The value is not printed: printing a float needs much code.
fn kind(unexpected: &Unexpected<'_>) -> &'static str {
    match unexpected {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
        Unexpected::Float(_) => "a number with a fraction",
        Unexpected::Char(_) | Unexpected::Str(_) => "text",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "a list",
        Unexpected::Map => "an object",
        _ => "something else",
    }
}

impl Node {
    fn refuse<'de, V: Visitor<'de>>(&'de self, visitor: &V) -> ReadError {
        let unexpected = match self {
            Node::Null => Unexpected::Unit,
            Node::Bool(value) => Unexpected::Bool(*value),
            Node::Unsigned(value) => Unexpected::Unsigned(*value),
            Node::Signed(value) => Unexpected::Signed(*value),
            Node::Float(value) => Unexpected::Float(*value),
            Node::Text(value) => Unexpected::Str(value),
            Node::List(_) => Unexpected::Seq,
            Node::Map(_) => Unexpected::Map,
        };
        de::Error::invalid_type(unexpected, visitor)
    }

    fn number<'de, V: Visitor<'de>>(&'de self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Node::Unsigned(value) => visitor.visit_u64(*value),
            Node::Signed(value) => visitor.visit_i64(*value),
            Node::Float(value) => visitor.visit_f64(*value),
            _ => Err(self.refuse(&visitor)),
        }
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            self.number(visitor)
        }
    )*};
}

/// Each type requests the form that it has, so there is code for no other form.
impl<'de> Deserializer<'de> for &'de Node {
    type Error = ReadError;

    /// The contract has only two types with several forms: [`Decimal`](crate::Decimal), a number, and values that are a number or text.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Node::Text(value) => visitor.visit_borrowed_str(value),
            _ => self.number(visitor),
        }
    }

    numbers! { deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Node::Bool(value) => visitor.visit_bool(*value),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Node::Text(value) => visitor.visit_borrowed_str(value),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Node::List(items) => visitor.visit_seq(Items { items, index: 0 }),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Node::Map(fields) => visitor.visit_map(Fields {
                fields: fields.iter(),
                known: None,
                next: None,
            }),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self {
            Node::Map(fields) => visitor.visit_map(Fields {
                fields: fields.iter(),
                known: Some(known),
                next: None,
            }),
            _ => Err(self.refuse(&visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Node::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self {
            Node::Text(name) => visitor.visit_enum(UnitVariant(name)),
            _ => Err(de::Error::custom(format!(
                "write one of {}",
                variants.join(", ")
            ))),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u128 f32 f64 char bytes byte_buf unit unit_struct newtype_struct tuple
        tuple_struct identifier ignored_any
    }
}

struct Items<'de> {
    items: &'de [Node],
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some(item) = self.items.get(self.index) else {
            return Ok(None);
        };
        let index = self.index;
        self.index += 1;
        seed.deserialize(item)
            .map(Some)
            .map_err(|e| e.under(&format!("[{index}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Fields<'de> {
    fields: std::slice::Iter<'de, (String, Node)>,
    /// The fields of the type; `None` for a map, which may have any.
    known: Option<&'static [&'static str]>,
    next: Option<(&'de str, &'de Node)>,
}

impl<'de> Fields<'de> {
    /// The next field. As in Kubernetes, a field that is null is absent; an unknown one is refused even so.
    #[inline(never)]
    fn next_field(&mut self) -> Option<&'de (String, Node)> {
        let known = self.known;
        self.fields.find(|(key, value)| {
            !matches!(value, Node::Null) || known.is_some_and(|k| !k.contains(&key.as_str()))
        })
    }
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        let Some((key, value)) = self.next_field() else {
            return Ok(None);
        };
        self.next = Some((key, value));
        let key: StrDeserializer<'_, ReadError> = key.as_str().into_deserializer();
        seed.deserialize(key)
            .map(Some)
            .map_err(|e| match self.next {
                Some((key, _)) => e.under(key),
                None => e,
            })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some((key, value)) = self.next.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        seed.deserialize(value).map_err(|e| e.under(key))
    }
}

/// A variant without content.
struct UnitVariant<'de>(&'de str);

impl<'de> EnumAccess<'de> for UnitVariant<'de> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        let name: StrDeserializer<'_, ReadError> = self.0.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for UnitVariant<'de> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        Ok(())
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, ReadError> {
        Err(only_unit_variants())
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, ReadError> {
        Err(only_unit_variants())
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, ReadError> {
        Err(only_unit_variants())
    }
}

fn only_unit_variants() -> ReadError {
    de::Error::custom("the contract's choices are words without content")
}
