//! A schema agrees with the crate `jsonschema` about every document, and with itself however the document is cut.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_contract::{OperationSchema, RequestSchema, parse_json};
use headgate_core::schemas::compiled;
use headgate_dialect::{BodySchema, SchemaCheck, SchemaError};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// The names of members: few, so that schemas and documents share some.
const NAMES: [&str; 6] = ["a", "b", "é", "a.b", "a\"", "b\u{1F600}"];
/// Texts, with characters of every length.
const TEXTS: [&str; 8] = [
    "",
    "a",
    "é",
    "ab",
    "\u{1F600}",
    "a\n\"",
    "東京タワー",
    "abcdef",
];
/// Numbers that documents and schemas share.
const NUMBERS: [&str; 16] = [
    "0",
    "-0.0",
    "1",
    "1.0",
    "1.5",
    "-1.5",
    "2",
    "10",
    "1e1",
    "-3",
    "0.1",
    "15e-1",
    "3.000001",
    "1e15",
    "-9007199254740991",
    "1e-7",
];
/// Numbers that a schema can name.
const BOUNDS: usize = 14;

const TYPES: [&str; 7] = [
    "null", "boolean", "integer", "number", "string", "array", "object",
];
const LIMITS: [&str; 4] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];
const COUNTS: [&str; 4] = ["minLength", "maxLength", "minItems", "maxItems"];

fn number(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn text() -> impl Strategy<Value = Value> {
    prop::sample::select(&TEXTS[..]).prop_map(Value::from)
}

fn scalar(numbers: usize) -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop::sample::select(&NUMBERS[..numbers]).prop_map(number),
        text(),
    ]
}

fn document() -> impl Strategy<Value = Value> {
    scalar(NUMBERS.len()).prop_recursive(4, 24, 4, |inner| {
        let name = prop::sample::select(&NAMES[..]).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..4)
                .prop_map(|members| Value::from(Map::from_iter(members))),
        ]
    })
}

fn types() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::sample::select(&TYPES[..]).prop_map(Value::from),
        prop::sample::subsequence(TYPES.to_vec(), 1..5).prop_map(Value::from),
    ]
}

/// A keyword for a schema without inner schemas, with its value.
fn keyword() -> impl Strategy<Value = (&'static str, Value)> {
    let name = || prop::sample::select(&NAMES[..]);
    prop_oneof![
        types().prop_map(|types| ("type", types)),
        prop::collection::vec(scalar(BOUNDS), 1..6).prop_map(|values| ("enum", values.into())),
        (
            prop::sample::select(&LIMITS[..]),
            prop::sample::select(&NUMBERS[..BOUNDS])
        )
            .prop_map(|(keyword, text)| (keyword, number(text))),
        (prop::sample::select(&COUNTS[..]), 0..4_u32).prop_map(|(k, n)| (k, n.into())),
        prop::collection::btree_set(name(), 0..3)
            .prop_map(|names| ("required", Vec::from_iter(names).into())),
        Just(("additionalProperties", false.into())),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    let keywords = || prop::collection::vec(keyword(), 0..3);
    let leaf = keywords().prop_map(|keywords| {
        let entries = keywords.into_iter().map(|(k, v)| (k.to_owned(), v));
        Value::from(Map::from_iter(entries))
    });
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let name = prop::sample::select(&NAMES[..]).prop_map(str::to_owned);
        let properties = prop::collection::btree_map(name, inner.clone(), 0..4);
        (properties, prop::option::of(inner), keywords()).prop_map(
            |(properties, items, keywords)| {
                let mut schema = json!({ "properties": properties });
                if let Some(items) = items {
                    schema["items"] = items;
                }
                for (keyword, value) in keywords {
                    schema[keyword] = value;
                }
                schema
            },
        )
    })
}

fn check(schema: &BodySchema, pieces: &[&[u8]]) -> Result<(), SchemaError> {
    let mut check = SchemaCheck::new(schema);
    for piece in pieces {
        check.push(piece);
    }
    check.finish()
}

fn read(schema: &Value) -> RequestSchema {
    let text = json!({ "operations": ["openai.chat"], "schema": schema }).to_string();
    let parsed = parse_json::<OperationSchema>(text.as_bytes());
    parsed
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .schema
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_verdict_is_that_of_another_implementation(schema in schema(), documents in prop::collection::vec(document(), 8)) {
        let other = jsonschema::draft202012::new(&schema).unwrap();
        let ours = compiled(read(&schema));
        for document in documents {
            let body = document.to_string();
            let verdict = check(&ours, &[body.as_bytes()]);
            prop_assert_eq!(
                verdict.is_ok(),
                other.is_valid(&document),
                "{} against {}: {:?}", body, schema, verdict
            );
            if let Err(error) = &verdict {
                prop_assert!(matches!(error, SchemaError::Violation(_)), "{:?}", error);
            }
            for at in 0..=body.len() {
                let (head, tail) = body.as_bytes().split_at(at);
                prop_assert_eq!(&check(&ours, &[head, tail]), &verdict, "cut at {}", at);
            }
        }
    }

    #[test]
    fn what_is_written_is_read_again(schema in schema()) {
        let read_once = read(&schema);
        let written = serde_json::to_value(&read_once).unwrap();
        prop_assert_eq!(read(&written), read_once);
    }
}
