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
        let Problem { path, message, .. } = *problem;
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
    /// The number of values that a list has, if they are too few.
    length: Option<usize>,
}

impl ReadError {
    /// The same error for the container of the value: `parent` is the key of the value, or its `[index]`.
    #[inline(never)]
    fn under(mut self, parent: &str) -> Self {
        self.0.path = join(parent, &self.0.path);
        self
    }

    /// The same error for a struct, whose values are read as a list: the value that is missing has a name.
    #[inline(never)]
    fn of_struct(self, fields: &[&str]) -> Self {
        let missing = self.0.length.filter(|_| self.0.path.is_empty());
        match missing.and_then(|index| fields.get(index)) {
            Some(name) => de::Error::custom(format!("missing field `{name}`")),
            None => self,
        }
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
            length: None,
        }))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let message = format!("is {}: write {expected}", kind(&unexpected));
        de::Error::custom(message)
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        let mut error: Self = de::Error::custom(format!("has {length} values: write {expected}"));
        error.0.length = Some(length);
        error
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
        de::Error::invalid_type(self.unexpected(), visitor)
    }

    fn unexpected(&self) -> Unexpected<'_> {
        match self {
            Node::Null => Unexpected::Unit,
            Node::Bool(value) => Unexpected::Bool(*value),
            Node::Unsigned(value) => Unexpected::Unsigned(*value),
            Node::Signed(value) => Unexpected::Signed(*value),
            Node::Float(value) => Unexpected::Float(*value),
            Node::Text(value) => Unexpected::Str(value),
            Node::List(_) => Unexpected::Seq,
            Node::Map(_) => Unexpected::Map,
        }
    }

    /// The kind of the value, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        kind(&self.unexpected())
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

    /// Few types have several forms: [`Decimal`](crate::Decimal), a number, values that are a number or text, and a tree, in which null is a
    /// value.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Node::Null => visitor.visit_unit(),
            Node::Bool(value) => visitor.visit_bool(*value),
            Node::Text(value) => visitor.visit_borrowed_str(value),
            Node::List(items) => visitor.visit_seq(Items { items, index: 0 }),
            Node::Map(fields) => visitor.visit_map(Fields {
                fields: fields.iter(),
                nulls: Nulls::Values,
                next: None,
            }),
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
                nulls: Nulls::Absent,
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
            Node::Map(fields) => {
                let members = Members::new(fields, known)?;
                let value = visitor.visit_seq(members);
                value.map_err(|error| error.of_struct(known))
            }
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

/// A value of any form, for types that are read from their tree.
impl<'de> de::Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Tree)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Unsigned(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(match u64::try_from(value) {
            Ok(value) => Node::Unsigned(value),
            Err(_) => Node::Signed(value),
        })
    }
    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }
    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map: Vec<(String, Node)> = Vec::new();
        while let Some((key, value)) = entries.next_entry::<String, Node>()? {
            let at = map.partition_point(|(before, _)| *before < key);
            map.insert(at, (key, value));
        }
        Ok(Node::Map(map))
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

/// The fields of a struct, in the order of their declaration. Read as a list: the code that serde derives for a list has no
/// comparison of names and no check for duplicates, which the tree has made. An optional field needs `serde(default)`.
struct Members<'de> {
    fields: &'de [(String, Node)],
    known: std::slice::Iter<'static, &'static str>,
}

impl<'de> Members<'de> {
    /// Refuses a field that the struct does not have, even if it is null.
    #[inline(never)]
    fn new(
        fields: &'de [(String, Node)],
        known: &'static [&'static str],
    ) -> Result<Self, ReadError> {
        let stranger = |(name, _): &&(String, Node)| !known.contains(&name.as_str());
        match fields.iter().find(stranger) {
            Some((name, _)) => {
                let error: ReadError = de::Error::unknown_field(name, known);
                Err(error.under(name))
            }
            None => Ok(Self {
                fields,
                known: known.iter(),
            }),
        }
    }

    /// The next field that is known, and its value. As in Kubernetes, null is as absent.
    #[inline(never)]
    fn next(&mut self) -> Option<(&'static str, &'de Node)> {
        let name = self.known.next()?;
        let found = self.fields.iter().find(|(field, _)| field == name);
        let (_, value) = found.filter(|(_, value)| *value != Node::Null)?;
        Some((name, value))
    }
}

impl<'de> SeqAccess<'de> for Members<'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        match self.next() {
            Some((name, value)) => match seed.deserialize(value) {
                Ok(value) => Ok(Some(value)),
                Err(error) => Err(error.under(name)),
            },
            None => Ok(None),
        }
    }
}

struct Fields<'de> {
    fields: std::slice::Iter<'de, (String, Node)>,
    nulls: Nulls,
    next: Option<(&'de str, &'de Node)>,
}

/// Whether a field that is null is absent.
#[derive(Clone, Copy)]
enum Nulls {
    /// It is absent, as in Kubernetes. The map may have any field.
    Absent,
    /// Null is a value.
    Values,
}

impl<'de> Fields<'de> {
    #[inline(never)]
    fn next_field(&mut self) -> Option<&'de (String, Node)> {
        let nulls = self.nulls;
        self.fields
            .find(|(_, value)| *value != Node::Null || matches!(nulls, Nulls::Values))
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
