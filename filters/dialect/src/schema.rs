//! JSON schemas of request bodies.
//!
//! A body is checked by a pass of its own, once its model is known, because the model decides which schema applies.
//!
//! Invariants: the first violation in the order of the bytes is reported, however they are cut; what a container as a whole lacks is
//! reported at its end. Memory is bounded by the schema: one entry for each of its open containers, and 256 bytes of the current string.

mod check;
mod reader;
mod violation;

pub use check::{SchemaCheck, SchemaError};
pub use violation::Violation;

use crate::json::Decimal;

/// A set of JSON types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Types(u8);

impl Types {
    /// `null`.
    pub const NULL: Self = Self(1);
    /// `true` and `false`.
    pub const BOOLEAN: Self = Self(1 << 1);
    /// Numbers without a fraction, however they are written.
    pub const INTEGER: Self = Self(1 << 2);
    /// All numbers.
    pub const NUMBER: Self = Self(1 << 3 | 1 << 2);
    /// Text.
    pub const STRING: Self = Self(1 << 4);
    /// Lists.
    pub const ARRAY: Self = Self(1 << 5);
    /// Objects.
    pub const OBJECT: Self = Self(1 << 6);
    /// Every value.
    pub const ANY: Self = Self(u8::MAX);
    /// No value.
    pub const NONE: Self = Self(0);

    /// The names, for messages.
    const NAMES: [(Self, &'static str); 7] = [
        (Self::STRING, "a string"),
        (Self::NUMBER, "a number"),
        (Self::INTEGER, "an integer"),
        (Self::BOOLEAN, "true or false"),
        (Self::ARRAY, "an array"),
        (Self::OBJECT, "an object"),
        (Self::NULL, "null"),
    ];

    /// Both sets.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of the other set belongs to it.
    fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A value that a schema names. Lists and objects are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Constant {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number of at most 19 digits, equal however it is written.
    Number(Decimal),
    /// Text of at most 256 bytes.
    Text(String),
}

/// What a value must be. A rule for one type says nothing about values of other types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodySchema {
    /// Its types.
    pub types: Types,
    /// The only values; `None`: any.
    pub allowed: Option<Vec<Constant>>,
    /// What a number must be at least, at most, greater than, less than. Each has at most 19 digits.
    pub number_limits: [Option<Decimal>; 4],
    /// Fewest and most characters (code points) of a text, fewest and most elements of a list.
    pub count_limits: [Option<u32>; 4],
    /// The schema of each element of a list; `None`: any.
    pub items: Option<Box<BodySchema>>,
    /// The members of an object that it names, sorted by name.
    pub members: Vec<Member>,
    /// Whether an object may have no other members than those with a schema.
    pub closed: bool,
}

/// A member of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name: 1–64 bytes.
    pub name: String,
    /// Its schema. `None`: the object is closed, and the member is required but not allowed.
    pub schema: Option<BodySchema>,
    /// It is required. Of several that are missing, the one with the least number is reported: 0–63, each once in an object.
    pub required: Option<u8>,
}

impl Default for BodySchema {
    /// A schema that every value meets.
    fn default() -> Self {
        Self {
            types: Types::ANY,
            allowed: None,
            number_limits: [None; 4],
            count_limits: [None; 4],
            items: None,
            members: Vec::new(),
            closed: false,
        }
    }
}
