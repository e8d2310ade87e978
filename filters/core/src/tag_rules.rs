//! Tag rules, prepared for many of them: an index leads from the value of an attribute to the rules that need this value.
//!
//! A rule with `equal` or `in` is evaluated only if the request has one of its values. So a request costs one search for each indexed
//! attribute, and the evaluation of the rules that remain.
//!
//! Invariant: the index never decides. The first rule whose conditions are all true applies, with or without the index.

mod compiled;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::hash::Hasher;
use std::net::IpAddr;

use headgate_contract::{HeaderName, MAX_MATCHED, RequestRule};
use siphasher::sip::SipHasher13;

use crate::attributes::Attributes;
use crate::effects::Text;
use crate::facts::millionths;
use crate::refusal::Refusal;

use compiled::{Compare, Condition, Value};
pub(crate) use compiled::{Rule, TagRules};

/// Key of the hash of percentages: the bytes of `headgate` and `percents`, little-endian. Fixed, so that every proxy agrees.
const KEY: (u64, u64) = (
    u64::from_le_bytes(*b"headgate"),
    u64::from_le_bytes(*b"percents"),
);

/// The rule of a request, and the matches of its pattern's groups.
#[derive(Debug)]
pub(crate) struct Matched<'r> {
    pub(crate) rule: &'r Rule,
    groups: Option<Groups<'r>>,
}

/// The matches of a pattern's groups.
#[derive(Debug)]
struct Groups<'r> {
    regex: &'r regex_lite::Regex,
    /// By number; empty for a group that took no part.
    texts: Vec<String>,
}

/// A request, with each attribute read at most once.
struct Reading<'r, 'a> {
    rules: &'r TagRules,
    attributes: &'a Attributes<'a>,
    values: Vec<OnceCell<Option<Cow<'a, str>>>>,
    address: OnceCell<Option<IpAddr>>,
    session: &'a dyn Fn() -> u64,
}

impl TagRules {
    /// The first rule that matches. `session`: the key of the session.
    ///
    /// # Errors
    /// That of [`Attributes::value`].
    pub(crate) fn find<'r>(
        &'r self,
        attributes: &Attributes<'_>,
        session: &dyn Fn() -> u64,
    ) -> Result<Option<Matched<'r>>, Box<Refusal>> {
        let reading = Reading {
            rules: self,
            attributes,
            values: self.attributes.iter().map(|_| OnceCell::new()).collect(),
            address: OnceCell::new(),
            session,
        };
        let mut candidates = self.unindexed.clone();
        for (attribute, entries) in &self.index {
            if let Some(value) = reading.value(*attribute)? {
                let from = entries.partition_point(|(known, _)| **known < *value);
                let equal = entries.get(from..).unwrap_or_default().iter();
                let equal = equal.take_while(|(known, _)| **known == *value);
                candidates.extend(equal.map(|(_, rule)| *rule));
            }
        }
        candidates.sort_unstable();
        candidates.dedup();
        for rule in candidates {
            let Some(rule) = self.rules.get(rule) else {
                continue;
            };
            let mut groups = None;
            if reading.satisfies(&rule.when, rule, &mut groups)? {
                return Ok(Some(Matched { rule, groups }));
            }
        }
        Ok(None)
    }
}

impl<'r> Reading<'r, '_> {
    /// The value of an attribute by its number.
    fn value(&self, number: usize) -> Result<Option<&str>, Box<Refusal>> {
        let (Some(cell), Some(attribute)) =
            (self.values.get(number), self.rules.attributes.get(number))
        else {
            return Ok(None);
        };
        if let Some(known) = cell.get() {
            return Ok(known.as_deref());
        }
        let value = self.attributes.value(attribute)?;
        Ok(cell.get_or_init(|| value).as_deref())
    }

    /// Whether a request satisfies a condition of a rule. Keeps the groups of the first pattern that matches, of the conditions that hold.
    fn satisfies(
        &self,
        condition: &'r Condition,
        rule: &'r Rule,
        groups: &mut Option<Groups<'r>>,
    ) -> Result<bool, Box<Refusal>> {
        match condition {
            Condition::All(inner) => {
                let had = groups.is_some();
                for condition in inner {
                    if !self.satisfies(condition, rule, groups)? {
                        if !had {
                            *groups = None;
                        }
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Condition::Any(inner) => {
                for condition in inner {
                    if self.satisfies(condition, rule, groups)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Condition::Value(attribute, value) => self.compares(*attribute, value, rule, groups),
            Condition::Percentage(attribute, share) => {
                let of = match attribute {
                    Some(attribute) => match self.value(*attribute)? {
                        Some(value) => hash(rule.salt, value.as_bytes()),
                        None => return Ok(false),
                    },
                    None => hash(rule.salt, &(self.session)().to_le_bytes()),
                };
                Ok(u128::from(of) < *share)
            }
        }
    }

    fn compares(
        &self,
        attribute: usize,
        test: &'r Value,
        rule: &'r Rule,
        groups: &mut Option<Groups<'r>>,
    ) -> Result<bool, Box<Refusal>> {
        let Some(value) = self.value(attribute)? else {
            return Ok(test.negated);
        };
        let number = || millionths(value.as_bytes());
        let holds = match &test.compare {
            Compare::OneOf(texts) => texts.binary_search_by(|text| (**text).cmp(value)).is_ok(),
            Compare::Networks(networks) => {
                let address = self.address.get_or_init(|| value.parse().ok());
                address.is_some_and(|address| networks.iter().any(|n| n.contains(address)))
            }
            Compare::Prefix(prefix) => value.starts_with(&**prefix),
            Compare::Regex(_) if value.len() > MAX_MATCHED => false,
            Compare::Regex(regex) if rule.needs_groups && groups.is_none() => {
                *groups = regex.captures(value).map(|captures| Groups {
                    regex,
                    texts: captures
                        .iter()
                        .map(|group| group.map_or_else(String::new, |g| g.as_str().to_owned()))
                        .collect(),
                });
                groups.is_some()
            }
            Compare::Regex(regex) => regex.is_match(value),
            Compare::AtLeast(least) => number().is_some_and(|n| n >= *least),
            Compare::AtMost(most) => number().is_some_and(|n| n <= *most),
        };
        Ok(holds != test.negated)
    }
}

impl<'r> Matched<'r> {
    /// The tags of the rule, each with its value; `None` for a value that is not valid.
    pub(crate) fn tags(&self) -> impl Iterator<Item = (&'r str, Option<Text>)> + '_ {
        let rule = self.rule;
        rule.tags.iter().map(|tag| {
            let value = match &tag.fixed {
                Some(fixed) => Some(fixed.into()),
                None => self.rendered(tag),
            };
            (tag.name.as_str(), value)
        })
    }

    fn rendered(&self, tag: &compiled::Tag) -> Option<Text> {
        use headgate_contract::Piece;
        let mut value = String::new();
        for piece in tag.template.pieces() {
            value.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Group(name) => self.group(name),
            });
        }
        headgate_contract::tag_value(value.as_bytes()).then(|| value.into())
    }

    /// The match of a group; empty if no pattern with this group matched.
    fn group(&self, name: &str) -> &str {
        let Some(groups) = &self.groups else {
            return "";
        };
        let by_name = || {
            let mut names = groups.regex.capture_names();
            names.position(|known| known == Some(name))
        };
        let number = name.parse().ok().or_else(by_name);
        let text = number.and_then(|number: usize| groups.texts.get(number));
        text.map_or("", String::as_str)
    }
}

/// The hash of a value with a rule's salt: uniform, and independent between rules.
fn hash(salt: u64, value: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(KEY.0, KEY.1);
    hasher.write_u64(salt);
    hasher.write(value);
    hasher.finish()
}

/// The salt of a rule with this name.
fn salt(name: &str) -> u64 {
    hash(name.len() as u64, name.as_bytes())
}

/// The names of the tags that these rules write.
pub(crate) fn tag_names(rules: &[RequestRule]) -> impl Iterator<Item = &str> {
    rules
        .iter()
        .flat_map(|rule| rule.tags.keys().map(HeaderName::as_str))
}
