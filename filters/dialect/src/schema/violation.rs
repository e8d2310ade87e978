//! The violation of a schema by a body, in words.

use std::fmt;

use super::{BodySchema, Constant, Types};

/// Most values of `enum` in a message.
const MAX_LISTED: usize = 8;

/// The first value of a body that does not meet its schema. `Display` names the field, the rule and the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field, such as `messages[3].content`; empty for the whole body.
    pub path: String,
    /// The keyword of the schema.
    pub keyword: &'static str,
    /// What the field must be.
    rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (quote, path) = match self.path.as_str() {
            "" => ("", "the request body"),
            path => ("`", path),
        };
        let parts = [
            quote,
            path,
            quote,
            " ",
            &self.rule,
            " (`",
            self.keyword,
            "`)",
        ];
        parts.iter().try_for_each(|part| f.write_str(part))
    }
}

/// A rule: its keyword, and the words before and after its limit.
pub(super) struct Rule(&'static str, &'static str, &'static str);

impl Rule {
    /// The rules of [`BodySchema::number_limits`].
    pub(super) const OF_NUMBERS: [Self; 4] = [
        Self("minimum", "must be at least ", ""),
        Self("maximum", "must be at most ", ""),
        Self("exclusiveMinimum", "must be greater than ", ""),
        Self("exclusiveMaximum", "must be less than ", ""),
    ];
    pub(super) const MIN_LENGTH: Self = Self("minLength", "must have at least ", " characters");
    pub(super) const MAX_LENGTH: Self = Self("maxLength", "must have at most ", " characters");
    pub(super) const MIN_ITEMS: Self = Self("minItems", "must have at least ", " elements");
    pub(super) const MAX_ITEMS: Self = Self("maxItems", "must have at most ", " elements");
    pub(super) const REQUIRED: Self = Self("required", "is missing", "");
    pub(super) const CLOSED: Self = Self("additionalProperties", "is not allowed", "");

    #[cold]
    pub(super) fn violated(&self, path: String, limit: &str) -> Violation {
        let Self(keyword, before, after) = self;
        Violation {
            path,
            keyword,
            rule: [before, limit, after].concat(),
        }
    }
}

/// The value has a type that the schema does not allow.
#[cold]
pub(super) fn wrong_type(path: String, types: Types) -> Violation {
    let mut words = String::new();
    for (one, name) in Types::NAMES {
        // Integers are numbers.
        let known = one == Types::INTEGER && types.has(Types::NUMBER);
        if types.has(one) && !known {
            add(&mut words, " or ", name);
        }
    }
    Rule("type", "must be ", "").violated(path, &words)
}

/// The value is none of those that the schema allows.
#[cold]
pub(super) fn not_allowed(path: String, schema: &BodySchema) -> Violation {
    let values = schema.allowed.as_deref().unwrap_or_default();
    let mut words = String::new();
    for value in values.iter().take(MAX_LISTED) {
        add(&mut words, ", ", "");
        match value {
            Constant::Null => words.push_str("null"),
            Constant::Bool(true) => words.push_str("true"),
            Constant::Bool(false) => words.push_str("false"),
            Constant::Number(number) => words.push_str(&number.text().unwrap_or_default()),
            Constant::Text(text) => {
                words.push('"');
                words.push_str(text);
                words.push('"');
            }
        }
    }
    if values.len() > MAX_LISTED {
        words.push_str(", …");
    }
    let rule = match values.len() {
        1 => Rule("const", "must be ", ""),
        _ => Rule("enum", "must be one of ", ""),
    };
    rule.violated(path, &words)
}

/// Adds a text, with a separator unless it is the first.
pub(super) fn add(words: &mut String, separator: &str, text: &str) {
    if !words.is_empty() {
        words.push_str(separator);
    }
    words.push_str(text);
}
