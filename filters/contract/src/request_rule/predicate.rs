//! Conditions of a rule.

use serde::{Deserialize, Serialize};

use super::{Network, Pattern};
use crate::{Attribute, Decimal};

/// Longest value that an attribute is compared with, in bytes.
const MAX_VALUE: usize = 256;
/// Most values in a list.
const MAX_VALUES: usize = 256;

/// A condition, or several of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub enum Predicate {
    /// Each of them is true. Not empty.
    All(Vec<Self>),
    /// One of them is true. Not empty.
    Any(Vec<Self>),
    /// An attribute passes a test.
    Attribute(Attribute, Test),
    /// The hash of the session, or of an attribute's value, falls into the first so many percent of all hashes.
    Percentage(Option<Attribute>, Decimal),
}

/// A test of an attribute's value. An absent attribute passes `NotEqual` and `NotIn` alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// It is this text. For [`Attribute::SourceIp`]: it is in this network.
    Equal(String),
    /// It is not this text.
    NotEqual(String),
    /// It starts with this text.
    Prefix(String),
    /// It is one of these texts, or in one of these networks.
    In(Vec<String>),
    /// It is none of them.
    NotIn(Vec<String>),
    /// The pattern matches a part of it.
    Regex(Pattern),
    /// It is a number that is not smaller.
    AtLeast(Decimal),
    /// It is a number that is not greater.
    AtMost(Decimal),
}

impl Predicate {
    /// The number of conditions in it.
    pub(super) fn conditions(&self) -> usize {
        match self {
            Self::All(inner) | Self::Any(inner) => inner.iter().map(Self::conditions).sum(),
            Self::Attribute(..) | Self::Percentage(..) => 1,
        }
    }

    /// The levels of `all` and `any`.
    pub(super) fn levels(&self) -> usize {
        match self {
            Self::All(inner) | Self::Any(inner) => {
                1 + inner.iter().map(Self::levels).max().unwrap_or(0)
            }
            Self::Attribute(..) | Self::Percentage(..) => 0,
        }
    }

    /// Calls for each test, in order.
    pub(super) fn each<'a>(&'a self, call: &mut dyn FnMut(&'a Attribute, &'a Test)) {
        match self {
            Self::All(inner) | Self::Any(inner) => inner.iter().for_each(|p| p.each(call)),
            Self::Attribute(attribute, test) => call(attribute, test),
            Self::Percentage(..) => {}
        }
    }

    /// Calls for each attribute, in order.
    pub(super) fn each_attribute<'a>(&'a self, call: &mut dyn FnMut(&'a Attribute)) {
        match self {
            Self::All(inner) | Self::Any(inner) => {
                inner.iter().for_each(|p| p.each_attribute(call));
            }
            Self::Attribute(attribute, _) | Self::Percentage(Some(attribute), _) => call(attribute),
            Self::Percentage(None, _) => {}
        }
    }
}

/// A condition as written.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Raw {
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<Vec<Predicate>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    any: Option<Vec<Predicate>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attribute: Option<Attribute>,
    #[serde(skip_serializing_if = "Option::is_none")]
    equal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_equal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#in: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_in: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    regex: Option<Pattern>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percentage: Option<Decimal>,
}

const ONE_OF: &str = "a condition needs an `attribute` and one of `equal`, `notEqual`, `prefix`, `in`, `notIn`, `regex`, `atLeast`, `atMost` and `percentage`; or `percentage`, `all` or `any` alone";

impl TryFrom<Raw> for Predicate {
    type Error = String;
    fn try_from(raw: Raw) -> Result<Self, String> {
        let tests = [
            raw.equal.map(Test::Equal),
            raw.not_equal.map(Test::NotEqual),
            raw.prefix.map(Test::Prefix),
            raw.r#in.map(Test::In),
            raw.not_in.map(Test::NotIn),
            raw.regex.map(Test::Regex),
            raw.at_least.map(Test::AtLeast),
            raw.at_most.map(Test::AtMost),
        ];
        let mut tests = tests.into_iter().flatten();
        let several = |inner: Vec<Self>, name: &str| match inner.len() {
            1..=super::MAX_CONDITIONS => Ok(inner),
            len => Err(format!(
                "`{name}` has {len} conditions: give 1 to {}",
                super::MAX_CONDITIONS
            )),
        };
        let written = (
            raw.all,
            raw.any,
            raw.attribute,
            tests.next(),
            raw.percentage,
        );
        let predicate = match written {
            (Some(all), None, None, None, None) => Self::All(several(all, "all")?),
            (None, Some(any), None, None, None) => Self::Any(several(any, "any")?),
            (None, None, attribute, None, Some(percent)) => {
                if percent.millionths() > 100 * Decimal::UNIT {
                    return Err(format!("`percentage` is {percent}: write 0 to 100"));
                }
                Self::Percentage(attribute, percent)
            }
            (None, None, Some(attribute), Some(test), None) => {
                test.check(&attribute)?;
                Self::Attribute(attribute, test)
            }
            _ => return Err(ONE_OF.into()),
        };
        if tests.next().is_some() {
            return Err(ONE_OF.into());
        }
        if let Self::Attribute(attribute, _) | Self::Percentage(Some(attribute), _) = &predicate {
            known_before_pick(attribute)?;
        }
        Ok(predicate)
    }
}

/// Checks that a rule may look at this attribute.
fn known_before_pick(attribute: &Attribute) -> Result<(), String> {
    match attribute {
        Attribute::Version => Err(
            "`attribute` is version, which is picked after the rules: use header:x-model-version for what the client asks for"
                .into(),
        ),
        Attribute::Header(name) => {
            crate::ids::not_a_tag(name.clone()).map_err(|e| format!("`attribute`: {e}"))?;
            Ok(())
        }
        _ => Ok(()),
    }
}

impl Test {
    fn check(&self, attribute: &Attribute) -> Result<(), String> {
        let sound = |name: &str, value: &String| match value.len() {
            1..=MAX_VALUE => match attribute {
                Attribute::SourceIp if name != "prefix" => {
                    Network::parse(value).map_err(|e| format!("`{name}`: {e}"))?;
                    Ok(())
                }
                _ => Ok(()),
            },
            len => Err(format!(
                "`{name}` has a value of {len} bytes: write 1 to {MAX_VALUE}"
            )),
        };
        let list = |name: &str, values: &Vec<String>| match values.len() {
            1..=MAX_VALUES => values.iter().try_for_each(|value| sound(name, value)),
            len => Err(format!("`{name}` has {len} values: give 1 to {MAX_VALUES}")),
        };
        match self {
            Self::Equal(value) => sound("equal", value),
            Self::NotEqual(value) => sound("notEqual", value),
            Self::Prefix(value) => sound("prefix", value),
            Self::In(values) => list("in", values),
            Self::NotIn(values) => list("notIn", values),
            Self::Regex(_) | Self::AtLeast(_) | Self::AtMost(_) => Ok(()),
        }
    }
}

impl From<Predicate> for Raw {
    fn from(predicate: Predicate) -> Self {
        let mut raw = Self::default();
        match predicate {
            Predicate::All(inner) => raw.all = Some(inner),
            Predicate::Any(inner) => raw.any = Some(inner),
            Predicate::Percentage(attribute, percent) => {
                raw.attribute = attribute;
                raw.percentage = Some(percent);
            }
            Predicate::Attribute(attribute, test) => {
                raw.attribute = Some(attribute);
                match test {
                    Test::Equal(value) => raw.equal = Some(value),
                    Test::NotEqual(value) => raw.not_equal = Some(value),
                    Test::Prefix(value) => raw.prefix = Some(value),
                    Test::In(values) => raw.r#in = Some(values),
                    Test::NotIn(values) => raw.not_in = Some(values),
                    Test::Regex(pattern) => raw.regex = Some(pattern),
                    Test::AtLeast(number) => raw.at_least = Some(number),
                    Test::AtMost(number) => raw.at_most = Some(number),
                }
            }
        }
        raw
    }
}

/// The schema of `when`. A schema for the API server cannot refer to itself: two levels are written out, and the parser alone checks the
/// further ones.
#[cfg(feature = "schema")]
pub(super) fn when_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let further =
        serde_json::json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let inner = with_groups(&further, condition());
    let when = serde_json::json!({ "type": "object", "additionalProperties": false });
    let mut when = with_groups(&inner, when);
    when["oneOf"] = serde_json::json!([{ "required": ["all"] }, { "required": ["any"] }]);
    when.try_into().unwrap_or_default()
}

/// The schema of one condition.
#[cfg(feature = "schema")]
fn condition() -> serde_json::Value {
    use serde_json::json;
    let value = json!({ "type": "string", "minLength": 1, "maxLength": MAX_VALUE });
    let values = json!({ "type": "array", "items": value, "minItems": 1, "maxItems": MAX_VALUES });
    let number = json!({ "type": "number", "minimum": 0 });
    let test = |name: &str| json!({ "required": ["attribute", name] });
    let tests = [
        "equal", "notEqual", "prefix", "in", "notIn", "regex", "atLeast", "atMost",
    ];
    let mut one_of: Vec<_> = tests.into_iter().map(test).collect();
    one_of.push(json!({ "required": ["percentage"] }));
    json!({
        "type": "object",
        "additionalProperties": false,
        "oneOf": one_of,
        "properties": {
            "attribute": crate::attribute::of_rules(),
            "equal": value,
            "notEqual": value,
            "prefix": value,
            "in": values,
            "notIn": values,
            "regex": { "type": "string", "minLength": 1, "maxLength": super::pattern::MAX_PATTERN },
            "atLeast": number,
            "atMost": number,
            "percentage": { "type": "number", "minimum": 0, "maximum": 100 }
        }
    })
}

/// The schema with lists of what is inside, `all` and `any`.
#[cfg(feature = "schema")]
fn with_groups(inner: &serde_json::Value, mut outer: serde_json::Value) -> serde_json::Value {
    let list = serde_json::json!({
        "type": "array", "items": inner, "minItems": 1, "maxItems": super::MAX_CONDITIONS
    });
    for name in ["all", "any"] {
        outer["properties"][name] = list.clone();
        if let Some(one_of) = outer["oneOf"].as_array_mut() {
            one_of.push(serde_json::json!({ "required": [name] }));
        }
    }
    outer
}
