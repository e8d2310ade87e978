//! Values in a schema: numbers, and what `enum` and `const` list.

use serde::{Serialize, Serializer};

use crate::json::Node;

/// Longest text in `enum` or `const`, in bytes.
const MAX_TEXT: usize = 256;
/// A number is less than this, without its point: at most 19 digits.
const TOO_LONG: u64 = 10_000_000_000_000_000_000;
/// A number with a fraction is less than this: a double then holds its 15 digits.
const LARGEST_WITH_FRACTION: f64 = 1e9;
/// A double holds every whole number up to this one: 2^53.
const LARGEST_WHOLE: f64 = 9_007_199_254_740_992.0;

/// A number, exactly: ± digits · 10^−places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaNumber {
    /// Below zero.
    pub negative: bool,
    /// Its digits, without the point: at most 19.
    pub digits: u64,
    /// Digits after the point: 0–6, and the last one is not 0.
    pub places: u8,
}

impl SchemaNumber {
    /// The number that a value is; `None` if it is something else.
    pub(super) fn of(node: &Node) -> Option<Result<Self, &'static str>> {
        Some(match node {
            Node::Unsigned(n) => Self::whole(false, *n),
            Node::Signed(n) => Self::whole(true, n.unsigned_abs()),
            Node::Float(x) => Self::from_f64(*x),
            _ => return None,
        })
    }

    fn whole(negative: bool, digits: u64) -> Result<Self, &'static str> {
        if digits >= TOO_LONG {
            return Err("is too large: write a number of at most 19 digits");
        }
        Ok(Self {
            negative: negative && digits > 0,
            digits,
            places: 0,
        })
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        clippy::float_cmp
    )]
    fn from_f64(x: f64) -> Result<Self, &'static str> {
        let (negative, size) = (x < 0.0, x.abs());
        let whole = size as u64;
        if whole as f64 == size && size <= LARGEST_WHOLE {
            return Self::whole(negative, whole);
        }
        if size > LARGEST_WITH_FRACTION {
            return Err(
                "is too large: write at most 19 digits without an exponent, and a fraction only below 1000000000",
            );
        }
        let mut digits = (size * 1e6 + 0.5) as u64;
        if digits as f64 / 1e6 != size {
            return Err("must have at most six digits after the decimal point: round it");
        }
        let mut places = 6;
        while digits.is_multiple_of(10) && places > 0 {
            digits /= 10;
            places -= 1;
        }
        Ok(Self {
            negative,
            digits,
            places,
        })
    }
}

impl Serialize for SchemaNumber {
    #[allow(clippy::cast_precision_loss)]
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if self.places == 0 {
            return match 0_i64.checked_sub_unsigned(self.digits) {
                Some(below) if self.negative => s.serialize_i64(below),
                _ => s.serialize_u64(self.digits),
            };
        }
        let size = self.digits as f64 / 10_f64.powi(self.places.into());
        s.serialize_f64(if self.negative { -size } else { size })
    }
}

/// A value that `enum` or `const` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, equal however it is written.
    Number(SchemaNumber),
    /// Text of at most 256 bytes.
    Text(String),
}

impl Literal {
    /// The value; `None` for a list or an object.
    pub(super) fn of(node: Node) -> Option<Result<Self, &'static str>> {
        Some(Ok(match node {
            Node::Null => Self::Null,
            Node::Bool(value) => Self::Bool(value),
            Node::Text(text) if text.len() > MAX_TEXT => {
                return Some(Err("is too long: write text of at most 256 bytes"));
            }
            Node::Text(text) => Self::Text(text),
            number => return SchemaNumber::of(&number).map(|number| number.map(Self::Number)),
        }))
    }
}

impl Serialize for Literal {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => s.serialize_unit(),
            Self::Bool(value) => s.serialize_bool(*value),
            Self::Number(number) => number.serialize(s),
            Self::Text(text) => s.serialize_str(text),
        }
    }
}
