//! JSON Schema for request bodies: the part of the language that the filters check while they read a body.
//!
//! A keyword has the meaning of draft 2020-12. Annotations are dropped. Any other keyword is refused, because a schema that is
//! checked only in part would admit what it forbids.

mod operation;
mod read;
mod value;
mod write;

pub(crate) use operation::check;
pub use operation::{JSON_OPERATIONS, OperationSchema};
#[cfg(feature = "schema")]
pub(crate) use operation::{MAX_SCHEMAS, ONE_SCHEMA};
pub use value::{Literal, SchemaNumber};

/// The names of the JSON types. An integer is a number without a fraction, however it is written: `1.0` is one.
pub const JSON_TYPES: [&str; 7] = [
    "null", "boolean", "integer", "number", "string", "array", "object",
];
/// The keywords that limit numbers.
pub const NUMBER_LIMITS: [&str; 4] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];
/// The keywords that limit the characters (code points) of text, and the elements of lists.
pub const COUNT_LIMITS: [&str; 4] = ["minLength", "maxLength", "minItems", "maxItems"];

/// Most schemas within a schema, itself included.
const MAX_NODES: usize = 512;
/// Most schemas within one another, from the outermost to the innermost.
const MAX_LEVELS: usize = 16;

/// What a value must be. A rule for one type says nothing about values of other types.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestSchema {
    /// The types, as a bit for each of [`JSON_TYPES`], the first one lowest; 0: any.
    pub types: u8,
    /// `enum` or `const`: the only values; `None`: any. Not empty.
    pub allowed: Option<Vec<Literal>>,
    /// The values of [`NUMBER_LIMITS`].
    pub number_limits: [Option<SchemaNumber>; 4],
    /// The values of [`COUNT_LIMITS`].
    pub count_limits: [Option<u32>; 4],
    /// The schema of each element of a list; `None`: any.
    pub items: Option<Box<RequestSchema>>,
    /// The schemas of the members of an object, sorted by name. A name has 1–64 bytes.
    pub properties: Vec<(String, RequestSchema)>,
    /// The members that an object must have: at most 64, each once.
    pub required: Vec<String>,
    /// Whether an object may have no other members than `properties`: `additionalProperties: false`.
    pub closed: bool,
}

impl RequestSchema {
    /// The number of schemas, and of levels, with itself.
    fn size(&self) -> (usize, usize) {
        let properties = self.properties.iter().map(|(_, schema)| schema);
        let inner = properties.chain(self.items.as_deref());
        inner.fold((1, 1), |(nodes, levels), schema| {
            let (more, below) = schema.size();
            (nodes + more, levels.max(below + 1))
        })
    }

    /// Checks the size of a whole schema.
    fn check_size(&self) -> Result<(), String> {
        let (nodes, levels) = self.size();
        if nodes > MAX_NODES || levels > MAX_LEVELS {
            return Err(format!(
                "has {nodes} schemas in {levels} levels of `properties` and `items`: give at most {MAX_NODES} in {MAX_LEVELS}"
            ));
        }
        Ok(())
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for RequestSchema {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RequestSchema".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "description": "a JSON schema",
            "x-kubernetes-preserve-unknown-fields": true
        })
    }
}
