//! Tag rules in the form in which requests are compared with them.

use std::rc::Rc;

use headgate_contract::{
    Attribute, Decimal, Network, Piece, Predicate, RequestRule, Template, Test, Version,
};

/// The rules of a policy.
#[derive(Debug)]
pub(crate) struct TagRules {
    /// The attributes of all conditions, each once. A condition refers to one by its index.
    pub(super) attributes: Vec<Attribute>,
    pub(super) rules: Vec<Rule>,
    /// The index: for each attribute, its values, sorted, each with a rule that requires it.
    pub(super) index: Vec<(usize, Values)>,
    /// The rules that the index does not cover.
    pub(super) unindexed: Vec<usize>,
}

/// A rule.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Makes the percentages of two rules independent.
    pub(super) salt: u64,
    pub(super) when: Condition,
    pub(super) tags: Vec<Tag>,
    /// Whether a tag has a group of a pattern in it.
    pub(super) needs_groups: bool,
    pub(crate) version: Option<Version>,
}

/// A tag that a rule writes.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) name: String,
    /// Its value, if there is no group in it.
    pub(super) fixed: Option<Rc<str>>,
    pub(super) template: Template,
}

/// A condition, or several of them.
#[derive(Debug)]
pub(super) enum Condition {
    All(Vec<Self>),
    Any(Vec<Self>),
    /// The index of an attribute, and the test of its value.
    Value(usize, Value),
    /// The index of an attribute (`None`: the session), and the hashes below which it is true, of 2^64.
    Percentage(Option<usize>, u128),
}

/// A test of a value.
#[derive(Debug)]
pub(super) struct Value {
    pub(super) compare: Compare,
    /// The opposite counts, and so does an absent value.
    pub(super) negated: bool,
}

/// A comparison of a value.
#[derive(Debug)]
pub(super) enum Compare {
    /// Sorted.
    OneOf(Vec<Box<str>>),
    Networks(Vec<Network>),
    Prefix(Box<str>),
    Regex(regex_lite::Regex),
    /// Millionths.
    AtLeast(u64),
    /// Millionths.
    AtMost(u64),
}

/// Values, sorted, each with the index of a rule.
pub(super) type Values = Vec<(Box<str>, usize)>;

/// For each attribute, the values of which a rule requires one.
type Needs = Vec<(usize, Box<str>)>;

impl TagRules {
    /// Prepares the rules of a policy; `None` if there are none.
    pub(crate) fn new(rules: &[RequestRule]) -> Option<Self> {
        if rules.is_empty() {
            return None;
        }
        let mut compiled = Self {
            attributes: Vec::new(),
            rules: Vec::with_capacity(rules.len()),
            index: Vec::new(),
            unindexed: Vec::new(),
        };
        for (place, rule) in rules.iter().enumerate() {
            let when = compiled.condition(&rule.when);
            match needs(&when) {
                Some(needs) => {
                    for (attribute, value) in needs {
                        compiled.add_to_index(attribute, value, place);
                    }
                }
                None => compiled.unindexed.push(place),
            }
            let tags: Vec<_> = rule.tags.iter().map(|(n, t)| Tag::new(n, t)).collect();
            compiled.rules.push(Rule {
                salt: super::salt(rule.name.as_str()),
                when,
                needs_groups: tags.iter().any(|tag| tag.fixed.is_none()),
                tags,
                version: rule.version.clone(),
            });
        }
        for (_, entries) in &mut compiled.index {
            entries.sort_unstable();
        }
        Some(compiled)
    }

    fn add_to_index(&mut self, attribute: usize, value: Box<str>, rule: usize) {
        let known = self.index.iter_mut().find(|(known, _)| *known == attribute);
        match known {
            Some((_, entries)) => entries.push((value, rule)),
            None => self.index.push((attribute, vec![(value, rule)])),
        }
    }

    /// The place of an attribute.
    fn place(&mut self, attribute: &Attribute) -> usize {
        let known = self.attributes.iter().position(|known| known == attribute);
        known.unwrap_or_else(|| {
            self.attributes.push(attribute.clone());
            self.attributes.len() - 1
        })
    }

    fn condition(&mut self, predicate: &Predicate) -> Condition {
        match predicate {
            Predicate::All(inner) => {
                Condition::All(inner.iter().map(|p| self.condition(p)).collect())
            }
            Predicate::Any(inner) => {
                Condition::Any(inner.iter().map(|p| self.condition(p)).collect())
            }
            Predicate::Percentage(attribute, percent) => {
                let share = u128::from(percent.millionths()) << 64;
                Condition::Percentage(
                    attribute.as_ref().map(|attribute| self.place(attribute)),
                    share / u128::from(100 * Decimal::UNIT),
                )
            }
            Predicate::Attribute(attribute, test) => {
                let value = Value::new(test, *attribute == Attribute::SourceIp);
                Condition::Value(self.place(attribute), value)
            }
        }
    }
}

impl Value {
    fn new(test: &Test, is_address: bool) -> Self {
        let one_of = |texts: &[String]| {
            if is_address {
                let networks = texts.iter().filter_map(|text| Network::parse(text).ok());
                return Compare::Networks(networks.collect());
            }
            let mut texts: Vec<Box<str>> = texts.iter().map(|text| text.as_str().into()).collect();
            texts.sort_unstable();
            texts.dedup();
            Compare::OneOf(texts)
        };
        let one = std::slice::from_ref;
        let (compare, negated) = match test {
            Test::Equal(text) => (one_of(one(text)), false),
            Test::NotEqual(text) => (one_of(one(text)), true),
            Test::In(texts) => (one_of(texts), false),
            Test::NotIn(texts) => (one_of(texts), true),
            Test::Prefix(prefix) => (Compare::Prefix(prefix.as_str().into()), false),
            Test::AtLeast(number) => (Compare::AtLeast(number.millionths()), false),
            Test::AtMost(number) => (Compare::AtMost(number.millionths()), false),
            Test::Regex(pattern) => match pattern.compiled() {
                Some(regex) => (Compare::Regex(regex), false),
                // A pattern that was parsed compiles.
                None => (Compare::OneOf(Vec::new()), false),
            },
        };
        Self { compare, negated }
    }
}

impl Tag {
    fn new(name: &headgate_contract::HeaderName, template: &Template) -> Self {
        let mut fixed = Some(String::new());
        for piece in template.pieces() {
            match (piece, &mut fixed) {
                (Piece::Text(text), Some(fixed)) => fixed.push_str(text),
                (Piece::Group(_), _) => fixed = None,
                (Piece::Text(_), None) => {}
            }
        }
        Self {
            name: name.as_str().to_owned(),
            fixed: fixed.map(Into::into),
            template: template.clone(),
        }
    }
}

/// The values of an attribute of which a request must have one to satisfy the condition; `None` if there are no such values.
fn needs(condition: &Condition) -> Option<Needs> {
    match condition {
        Condition::Value(
            attribute,
            Value {
                compare: Compare::OneOf(texts),
                negated: false,
            },
        ) => Some(
            texts
                .iter()
                .map(|text| (*attribute, text.clone()))
                .collect(),
        ),
        Condition::All(inner) => inner.iter().filter_map(needs).min_by_key(Vec::len),
        Condition::Any(inner) => {
            let mut all = Needs::new();
            for condition in inner {
                all.extend(needs(condition)?);
            }
            Some(all)
        }
        Condition::Value(..) | Condition::Percentage(..) => None,
    }
}
