//! CEL rules for the API server: checks that a JSON schema cannot express, each equal to a check in Rust. A test compares both on a
//! real API server.

use serde_json::{Value, json};

/// `x-kubernetes-validations` of rules with their messages.
pub(crate) fn of(rules: &[(&str, &str)]) -> Value {
    let rule = |(rule, message): &(&str, &str)| json!({ "rule": rule, "message": message });
    rules.iter().map(rule).collect()
}

/// [`crate::ids::not_a_tag`].
pub(crate) const NOT_A_TAG: (&str, &str) = (
    "!self.startsWith('x-headgate-')",
    "a tag's own header, and its value from a client is ignored: name the header that clients send",
);

/// The same for `header:NAME`.
pub(crate) const NOT_A_TAG_SOURCE: (&str, &str) = (
    "!self.startsWith('header:x-headgate-')",
    "a tag's own header, and its value from a client is ignored: name the header that clients send",
);

/// For a list: no element twice.
pub(crate) const EACH_ONCE: (&str, &str) = (
    "self.all(a, self.exists_one(b, a == b))",
    "an element is given twice: remove one",
);

/// The check of [`crate::Decimal`]: the value is the double nearest to a number of millionths.
pub(crate) const SIX_DIGITS: (&str, &str) = (
    "double(int(self * 1000000.0 + 0.5)) / 1000000.0 == self",
    "must have at most six digits after the decimal point: round it",
);

/// For a duration of at most a day.
pub(crate) const UP_TO_A_DAY: (&str, &str) =
    ("duration(self) <= duration('24h')", "write 0s to 24h");

/// For a decimal above 0.
pub(crate) fn positive() -> Value {
    of(&[SIX_DIGITS, POSITIVE])
}

/// A number with a smallest value below 1. (The API server's schema compares a whole number with the whole part of a
/// `minimum`, so that 0 would pass.)
const POSITIVE: (&str, &str) = ("self > 0.0", "must be greater than 0");
