//! Schemas of request bodies: what is accepted, and how the rest is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_contract::{
    JSON_OPERATIONS, JSON_TYPES, Literal, OperationSchema, RequestSchema, SchemaNumber, Tagging,
    TrafficTagPolicySpec, parse_json,
};

fn schema(json: &str) -> Result<RequestSchema, String> {
    let json = format!(r#"{{"operations":["openai.chat"],"schema":{json}}}"#);
    let parsed = parse_json::<OperationSchema>(json.as_bytes());
    parsed
        .map(|one| one.schema)
        .map_err(|error| error.to_string())
}

fn policy(schemas: &str) -> Result<TrafficTagPolicySpec, String> {
    let json = format!(r#"{{"models":["m"],"schemas":{schemas}}}"#);
    parse_json(json.as_bytes()).map_err(|error| error.to_string())
}

const CHAT: &str = r#"{"type":"object","required":["messages","messages"],"properties":{
    "messages":{"type":"array","minItems":1,"maxItems":100,"items":{"type":"object","required":["role"],"properties":{
        "role":{"enum":["system","user"]},"content":{"type":["string","array","null"],"maxLength":4096}}}},
    "temperature":{"type":"number","minimum":0,"exclusiveMaximum":1.5,"description":"how varied","default":{"a":[null]}},
    "n":{"const":1},"seed":{"minimum":-9223372036854775808,"maximum":9223372036854775807},
    "user":{},"none":{"const":null}},
    "additionalProperties":false,"title":"chat","examples":[{}],"$schema":"https://json-schema.org/draft/2020-12/schema","$comment":"x"}"#;

fn number(negative: bool, digits: u64, places: u8) -> SchemaNumber {
    SchemaNumber {
        negative,
        digits,
        places,
    }
}

#[test]
fn a_schema_is_read_and_written_without_its_annotations() {
    let chat = schema(CHAT).unwrap();
    assert_eq!(chat.required, ["messages"]);
    assert!(chat.closed);
    let property = |schema: &RequestSchema, name: &str| {
        let mut properties = schema.properties.iter();
        properties.find(|(n, _)| n == name).unwrap().1.clone()
    };
    let messages = property(&chat, "messages");
    assert_eq!(messages.count_limits, [None, None, Some(1), Some(100)]);
    let content = property(messages.items.as_ref().unwrap(), "content");
    let types = ["null", "string", "array"].map(|name| {
        let bit = JSON_TYPES.iter().position(|known| *known == name);
        1 << bit.unwrap()
    });
    assert_eq!(content.types, types.iter().sum::<u8>());
    let limits = property(&chat, "temperature").number_limits;
    let (zero, most) = (number(false, 0, 0), number(false, 15, 1));
    assert_eq!(limits, [Some(zero), None, None, Some(most)]);
    let limits = property(&chat, "seed").number_limits;
    let (least, most) = (number(true, 1 << 63, 0), number(false, (1 << 63) - 1, 0));
    assert_eq!(limits, [Some(least), Some(most), None, None]);
    assert_eq!(property(&chat, "none").allowed, Some(vec![Literal::Null]));
    assert_eq!(property(&chat, "user"), RequestSchema::default());

    let tagging = Tagging {
        schemas: vec![OperationSchema {
            operations: vec!["openai.chat".into(), "anthropic.messages".into()],
            schema: chat,
        }],
        ..Tagging::default()
    };
    let json = serde_json::to_string(&tagging).unwrap();
    assert!(!json.contains("how varied"), "{json}");
    assert_eq!(parse_json::<Tagging>(json.as_bytes()).unwrap(), tagging);
    let spec = policy(&serde_json::to_string(&tagging.schemas).unwrap()).unwrap();
    assert_eq!(spec.tagging, tagging);
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(
        parse_json::<TrafficTagPolicySpec>(json.as_bytes()).unwrap(),
        spec
    );
}

#[test]
fn numbers_are_exact() {
    for (json, expected) in [
        ("0", number(false, 0, 0)),
        ("-0", number(false, 0, 0)),
        ("-0.0", number(false, 0, 0)),
        ("2.0", number(false, 2, 0)),
        ("-2.0", number(true, 2, 0)),
        ("-2", number(true, 2, 0)),
        ("0.1", number(false, 1, 1)),
        ("-0.30", number(true, 3, 1)),
        ("1e3", number(false, 1000, 0)),
        ("25e-3", number(false, 25, 3)),
        ("999999999.999999", number(false, 999_999_999_999_999, 6)),
        (
            "9999999999999999999",
            number(false, 9_999_999_999_999_999_999, 0),
        ),
        ("-9e15", number(true, 9_000_000_000_000_000, 0)),
    ] {
        let limits = |json: &str| schema(&format!(r#"{{"minimum":{json}}}"#)).unwrap();
        let read = limits(json);
        assert_eq!(read.number_limits[0], Some(expected), "{json}");
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(schema(&written).unwrap(), read, "{json} as {written}");
    }
    for json in [
        "10000000000000000000",
        "18446744073709551615",
        "1e18",
        "1e300",
        "-9223372036854775809",
        "-1e19",
        "1000000000.5",
        "0.0000001",
        "1e-9",
    ] {
        let read = schema(&format!(r#"{{"minimum":{json}}}"#));
        assert!(read.is_err(), "{json}: {read:?}");
    }
}

#[test]
fn what_is_not_checked_is_refused_with_its_path() {
    let unknown = "is no keyword that is checked: remove it. Known are type, enum";
    for (json, path, problem) in [
        (
            r#"{"properties":{"a":{"items":{"pattern":"x"}}}}"#,
            "properties.a.items.pattern",
            unknown,
        ),
        (r#"{"$ref":"x"}"#, "$ref", unknown),
        (r#"{"anyOf":[]}"#, "anyOf", unknown),
        (r#"{"format":null}"#, "format", unknown),
        (r#"{"nullable":true}"#, "nullable", unknown),
        (r#"{"type":"text"}"#, "type", "must be one of null, boolean"),
        (r#"{"type":[]}"#, "type", "has 0 entries: give 1 to 7"),
        (r#"{"type":["string","nil"]}"#, "type[1]", "must be one of"),
        (r#"{"type":null}"#, "type", "is null: write a type"),
        (r#"{"enum":[]}"#, "enum", "has 0 entries: give 1 to 256"),
        (
            r#"{"enum":[1,[2]]}"#,
            "enum[1]",
            "is a list: write text, a number, true, false or null",
        ),
        (r#"{"const":{}}"#, "const", "is an object: write text"),
        (r#"{"const":1,"enum":[1]}"#, "enum", "excludes `const`"),
        (r#"{"minimum":"1"}"#, "minimum", "is text: write a number"),
        (
            r#"{"exclusiveMinimum":true}"#,
            "exclusiveMinimum",
            "is a boolean: write a number",
        ),
        (r#"{"maxLength":-1}"#, "maxLength", "must be a whole number"),
        (r#"{"maxItems":4294967296}"#, "maxItems", "must be a whole"),
        (
            r#"{"additionalProperties":{}}"#,
            "additionalProperties",
            "is an object: write true or false",
        ),
        (r#"{"items":[{}]}"#, "items", "is a list: write a schema"),
        (r#"{"items":true}"#, "items", "is a boolean: write a schema"),
        (
            r#"{"properties":{"a":null}}"#,
            "properties.a",
            "is null: write a schema",
        ),
        (r#"{"properties":[]}"#, "properties", "is a list"),
        (
            r#"{"properties":{"":{}}}"#,
            "properties",
            "has a name that is empty",
        ),
        (
            r#"{"required":["a",""]}"#,
            "required[1]",
            "must be a name of 1 to 64 bytes",
        ),
        (r#"{"required":"a"}"#, "required", "is text: write a list"),
    ] {
        let schemas = format!(r#"[{{"operations":["openai.chat"],"schema":{json}}}]"#);
        let error = policy(&schemas).unwrap_err();
        let expected = format!("schemas[0]: `schema.{path}` {problem}");
        assert!(error.starts_with(&expected), "{json}: {error}");
    }
    let error = schema("true").unwrap_err();
    let expected = ".: `schema` is a boolean: write a schema";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn sizes_are_limited() {
    let list = |count: usize, item: fn(usize) -> String| {
        let items: Vec<_> = (0..count).map(item).collect();
        items.join(",")
    };
    let properties = |count| {
        let members = list(count, |i| format!(r#""p{i}":{{}}"#));
        format!(r#"{{"properties":{{{members}}}}}"#)
    };
    let levels = |count: usize| {
        let within = |inner: String, _| format!(r#"{{"items":{inner}}}"#);
        (1..count).fold("{}".to_owned(), within)
    };
    let values = |count| format!(r#"{{"enum":[{}]}}"#, list(count, |i| i.to_string()));
    let required = |count| {
        let names = list(count, |i| format!("\"p{i}\""));
        format!(r#"{{"required":[{names}]}}"#)
    };
    let text = |length| format!(r#"{{"const":"{}"}}"#, "x".repeat(length));
    let member = |length| format!(r#"{{"properties":{{"{}":{{}}}}}}"#, "x".repeat(length));
    let of = |schema: &str| {
        policy(&format!(
            r#"[{{"operations":["openai.chat"],"schema":{schema}}}]"#
        ))
    };
    for (largest, too_large, path) in [
        (properties(511), properties(512), "schemas[0]"),
        (levels(16), levels(17), "schemas[0]"),
        (values(256), values(257), "schemas[0]"),
        (required(64), required(65), "schemas[0]"),
        (text(256), text(257), "schemas[0]"),
        (member(64), member(65), "schemas[0]"),
    ] {
        of(&largest).unwrap();
        let error = of(&too_large).unwrap_err();
        assert!(error.starts_with(&format!("{path}: ")), "{error}");
    }
}

#[test]
fn each_operation_has_json_and_one_schema() {
    for (schemas, problem) in [
        (
            r#"[{"operations":[],"schema":{}}]"#,
            "`operations` has 0 entries: give 1 to",
        ),
        (
            r#"[{"operations":["openai.chat"]}]"#,
            "schemas[0]: needs `operations` and `schema`",
        ),
        (r#"[{"schema":{}}]"#, "needs `operations` and `schema`"),
        (r#"[[]]"#, "schemas[0]: is a list: write `operations` and"),
        (
            r#"[{"operations":["openai.chat"],"schema":{},"model":"m"}]"#,
            "`model` is no field",
        ),
        (
            r#"[{"operations":["openai.files"],"schema":{}}]"#,
            "whose body is JSON",
        ),
        (
            r#"[{"operations":["openai.chat","openai.chat"],"schema":{}}]"#,
            "schemas[0]: `operations[1]` is given twice",
        ),
        (
            r#"[{"operations":["openai.chat"],"schema":{}},{"operations":["azure.chat","openai.chat"],"schema":{}}]"#,
            "operation \"openai.chat\" has two schemas: remove it from `schemas[1].operations`",
        ),
    ] {
        let error = policy(schemas).unwrap_err();
        assert!(error.contains(problem), "{schemas}: {error}");
    }
    let all = JSON_OPERATIONS.iter();
    let all: Vec<_> = all
        .map(|name| format!(r#"{{"operations":["{name}"],"schema":{{}}}}"#))
        .collect();
    policy(&format!("[{}]", all[..16].join(","))).unwrap();
    let error = policy(&format!("[{}]", all[..17].join(","))).unwrap_err();
    let expected = "`schemas` has 17 entries: give at most 16";
    assert!(error.contains(expected), "{error}");
}
