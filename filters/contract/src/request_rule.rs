//! Tag rules: conditions over attributes of a request, and the tags and the version of requests that satisfy them.

mod network;
mod pattern;
mod predicate;
mod template;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use network::Network;
pub use pattern::{MAX_MATCHED, Pattern};
pub use predicate::{Predicate, Test};
pub use template::{Piece, Template};

use crate::ids::{RuleName, Version};
use crate::tag_text::tag_name;
use crate::{Attribute, HeaderName};

/// Most rules of a policy.
pub(crate) const MAX_RULES: usize = 256;
/// Most conditions of a rule.
pub(crate) const MAX_CONDITIONS: usize = 32;
/// Most levels of `all` and `any` in a rule, with that of `when`.
pub(crate) const MAX_LEVELS: usize = 4;
/// Most tags of a rule.
const MAX_TAGS: usize = 32;

/// A rule: conditions for a request, and its tags and version. Only the first rule that matches a request applies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "Raw"))]
pub struct RequestRule {
    /// Its name, unique in the policy. It salts the percentages, so that those of two rules are independent.
    pub name: RuleName,
    /// The conditions: [`Predicate::All`] or [`Predicate::Any`].
    pub when: Predicate,
    /// Tags of the request. They replace own tags of the same name.
    pub tags: BTreeMap<HeaderName, Template>,
    /// The version of the request, unless its client names one.
    pub version: Option<Version>,
}

/// A rule: conditions for a request, and its tags and version.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "RequestRule"))]
#[cfg_attr(feature = "schema", schemars(extend("anyOf" = [{ "required": ["tags"] }, { "required": ["version"] }])))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    /// Its name, unique in the policy.
    name: RuleName,
    /// The conditions: `all` of these conditions, or `any` of them. A condition is an `attribute` with one of `equal`, `notEqual`,
    /// `prefix`, `in`, `notIn`, `regex`, `atLeast`, `atMost` and `percentage`, or a nested `all` or `any`; at most 32 conditions and four
    /// levels. An attribute that a request does not have satisfies `notEqual` and `notIn`, and nothing else. `percentage` takes that share of
    /// the sessions, or of the values of an attribute. `regex` is not anchored.
    #[cfg_attr(feature = "schema", schemars(schema_with = "predicate::when_schema"))]
    when: Predicate,
    /// Tags of the request, by name: 1–32. A value may contain `$1` or `${name}`, the groups of the rule's `regex`, and `$$`. A value that
    /// is then not a valid tag is left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "tags_schema"))]
    tags: BTreeMap<HeaderName, Template>,
    /// The version of the request, unless its client names one. While it has no ready endpoint, weights decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<Version>,
}

#[cfg(feature = "schema")]
fn tags_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": MAX_TAGS,
        "additionalProperties": { "type": "string", "pattern": "^[!#-+\\--:<-~]{1,128}$" }
    })
}

/// Checks that there are not too many rules, and that each has its own name.
pub(crate) fn check(rules: &[RequestRule]) -> Result<(), String> {
    if rules.len() > MAX_RULES {
        return Err(format!(
            "`rules` has {} entries: give at most {MAX_RULES}",
            rules.len()
        ));
    }
    for (i, rule) in rules.iter().enumerate() {
        if rules[..i].iter().any(|before| before.name == rule.name) {
            let name = rule.name.as_str();
            return Err(format!("rule {name:?} is given twice: rename `rules[{i}]`"));
        }
    }
    Ok(())
}

impl TryFrom<Raw> for RequestRule {
    type Error = String;
    fn try_from(raw: Raw) -> Result<Self, String> {
        let name = raw.name.as_str();
        let error = |problem: String| Err(format!("rule {name:?}: {problem}"));
        if !matches!(raw.when, Predicate::All(_) | Predicate::Any(_)) {
            return error("`when` needs `all` or `any`".into());
        }
        let conditions = raw.when.conditions();
        if conditions > MAX_CONDITIONS {
            return error(format!(
                "it has {conditions} conditions: give at most {MAX_CONDITIONS}"
            ));
        }
        let levels = raw.when.levels();
        if levels > MAX_LEVELS {
            return error(format!(
                "`when` has {levels} levels of `all` and `any`: give at most {MAX_LEVELS}"
            ));
        }
        if raw.tags.is_empty() && raw.version.is_none() {
            return error("it needs `tags` or `version`".into());
        }
        if raw.tags.len() > MAX_TAGS {
            return error(format!(
                "`tags` has {} entries: give at most {MAX_TAGS}",
                raw.tags.len()
            ));
        }
        let mut groups = Vec::new();
        raw.when.each(&mut |_, test| {
            if let Test::Regex(pattern) = test {
                groups.extend(pattern.groups());
            }
        });
        for (tag, template) in &raw.tags {
            if let Err(problem) = tag_name(tag.as_str()) {
                return error(problem);
            }
            if let Some(group) = template.groups().find(|g| !groups.iter().any(|k| k == g)) {
                return error(format!(
                    "tag {:?} names the group {group:?}, which no `regex` of the rule has",
                    tag.as_str()
                ));
            }
        }
        Ok(Self {
            name: raw.name,
            when: raw.when,
            tags: raw.tags,
            version: raw.version,
        })
    }
}

impl From<RequestRule> for Raw {
    fn from(rule: RequestRule) -> Self {
        Self {
            name: rule.name,
            when: rule.when,
            tags: rule.tags,
            version: rule.version,
        }
    }
}

impl RequestRule {
    /// The attributes that it looks at. One may appear more than once.
    #[must_use]
    pub fn attributes(&self) -> Vec<&Attribute> {
        let mut attributes = Vec::new();
        self.when
            .each_attribute(&mut |attribute| attributes.push(attribute));
        attributes
    }
}
