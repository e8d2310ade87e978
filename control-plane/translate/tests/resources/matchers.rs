//! Generic matchers in short form. A route table consists of little else, and in full it hides its few decisions.
//!
//! - A list of matchers is `first_of: [{if, then}]` with `else`.
//! - A tree is `by <header>: {value: branch}` with `else`.
//! - A predicate is one line: `:path begins with /v1/`; several lines are alternatives.
//! - A branch is its matcher, or the action of its route.

use crate::debug::Value;
use crate::yaml::{Yaml, bytes, decode_any, quoted, set};

type Fields = [(String, Value)];

/// A message of a generic matcher in short form; `None` for other messages.
pub(crate) fn short(name: &str, fields: &Fields) -> Option<Yaml> {
    match name {
        "Matcher" => Some(matcher(fields)),
        "OnMatch" => Some(branch(fields)),
        "Predicate" => Some(predicate(fields)),
        _ => None,
    }
}

fn matcher(fields: &Fields) -> Yaml {
    let mut entries = Vec::new();
    if let Some((variant, inner)) = variant(fields, "matcher_type") {
        let inner = message(inner);
        if variant == "MatcherList" {
            let Some(Value::List(matchers)) = field(inner, "matchers") else {
                panic!("{inner:?}");
            };
            let matchers = matchers.iter().map(|matcher| {
                let matcher = message(matcher);
                Yaml::Map(vec![
                    ("if".to_owned(), set(field(matcher, "predicate").unwrap())),
                    ("then".to_owned(), set(field(matcher, "on_match").unwrap())),
                ])
            });
            entries.push(("first_of".to_owned(), Yaml::List(matchers.collect())));
        } else {
            let (_, map) = self::variant(inner, "tree_type").unwrap();
            let branches = set(field(message(map), "map").unwrap());
            let header = header(field(inner, "input").unwrap());
            entries.push((format!("by {header}"), branches));
        }
    }
    if let Some(otherwise) = field(fields, "on_no_match") {
        entries.push(("else".to_owned(), set(otherwise)));
    }
    Yaml::Map(entries)
}

/// The matcher of a branch, or the action of its route.
fn branch(fields: &Fields) -> Yaml {
    let (variant, inner) = variant(fields, "on_match").unwrap();
    if variant == "Matcher" {
        return set(inner);
    }
    let route = any(field(message(inner), "typed_config").unwrap());
    // Every route matches every path; the matchers above it decide.
    let rest = message(&route).iter().filter(|(name, _)| name != "match");
    let rest = rest.cloned().collect();
    set(&Value::Message("Route".to_owned(), rest))
}

fn predicate(fields: &Fields) -> Yaml {
    let (variant, inner) = variant(fields, "match_type").unwrap();
    let inner = message(inner);
    if variant == "OrMatcher" {
        return set(field(inner, "predicate").unwrap());
    }
    let header = header(field(inner, "input").unwrap());
    let (_, value) = self::variant(inner, "matcher").unwrap();
    let (pattern, value) = self::variant(message(value), "match_pattern").unwrap();
    let condition = match (pattern, value) {
        ("Exact", Value::Text(text)) => format!("is {text}"),
        ("Prefix", Value::Text(text)) => format!("begins with {text}"),
        ("SafeRegex", regex) => match field(message(regex), "regex") {
            Some(Value::Text(regex)) => format!("matches {regex}"),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    Yaml::Scalar(quoted(&format!("{header} {condition}")))
}

/// The name of the header in an `HttpRequestHeaderMatchInput`.
fn header(input: &Value) -> String {
    let input = any(field(message(input), "typed_config").unwrap());
    match field(message(&input), "header_name") {
        Some(Value::Text(name)) => name.clone(),
        other => panic!("{other:?}"),
    }
}

fn any(value: &Value) -> Value {
    let fields = message(value);
    match field(fields, "type_url") {
        Some(Value::Text(url)) => decode_any(url, &bytes(field(fields, "value").unwrap())),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn message(value: &Value) -> &Fields {
    match value {
        Value::Message(_, fields) => fields,
        other => panic!("a message: {other:?}"),
    }
}

/// The value of a field; `None` if it is not set.
fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a Value> {
    let (_, value) = fields.iter().find(|(field, _)| field == name)?;
    match value {
        Value::Word(none) if none == "None" => None,
        Value::Tuple(some, inner) if some == "Some" => inner.first(),
        value => Some(value),
    }
}

/// The variant of a `oneof`, with its value.
fn variant<'a>(fields: &'a Fields, oneof: &str) -> Option<(&'a str, &'a Value)> {
    match field(fields, oneof)? {
        Value::Tuple(variant, inner) => Some((variant, inner.first()?)),
        other => panic!("{other:?}"),
    }
}
