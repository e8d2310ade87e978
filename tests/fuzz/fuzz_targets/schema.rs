//! A schema from any bytes, a body of any bytes and the fields of it: in two portions they give the same result as in one, without a panic.
#![no_main]

use std::rc::Rc;

use headgate_contract::{OperationSchema, parse_json};
use headgate_core::schemas::compiled;
use headgate_dialect::{BodySchema, Capture, FieldPath, FieldStep, SchemaCheck, SchemaError};
use libfuzzer_sys::fuzz_target;

/// A schema with every keyword, for inputs whose own schema is not valid.
const SCHEMA: &str = r#"{"type":"object","required":["model","messages"],"properties":{
    "messages":{"type":"array","minItems":1,"maxItems":3,"items":{"required":["role"],"properties":{
        "role":{"enum":["user","system",1,null,true]},"content":{"type":["string","null","array"],"minLength":1,"maxLength":4}}}},
    "temperature":{"minimum":-0.5,"exclusiveMaximum":2},"n":{"type":"integer","exclusiveMinimum":0,"maximum":9223372036854775807},
    "stream":{"const":true},"metadata":{"additionalProperties":false,"properties":{"a":{}}}}}"#;

fn read(schema: &[u8]) -> Option<BodySchema> {
    let json = [br#"{"operations":["openai.chat"],"schema":"#, schema, b"}"].concat();
    let parsed: OperationSchema = parse_json(&json).ok()?;
    Some(compiled(parsed.schema))
}

fn check(schema: &BodySchema, portions: &[&[u8]]) -> Result<(), SchemaError> {
    let mut check = SchemaCheck::new(schema);
    for portion in portions {
        check.push(portion);
    }
    check.finish()
}

fn captured(portions: &[&[u8]]) -> Vec<Option<String>> {
    let key = |key: &str| FieldStep::Key(key.to_owned());
    let paths: [FieldPath; 3] = [
        vec![key("model")],
        vec![key("messages"), FieldStep::Index(1), key("content")],
        vec![key("metadata"), key("a"), FieldStep::Index(0)],
    ];
    let mut capture = Capture::new(&Rc::from(paths));
    for portion in portions {
        capture.push(portion);
    }
    capture.values()
}

fuzz_target!(|input: (u16, &[u8], &[u8])| {
    let (cut, schema, body) = input;
    let schema = read(schema).or_else(|| read(SCHEMA.as_bytes()));
    let schema = schema.expect("a valid schema");
    let (head, tail) = body.split_at(usize::from(cut).min(body.len()));
    assert_eq!(check(&schema, &[head, tail]), check(&schema, &[body]));
    assert_eq!(captured(&[head, tail]), captured(&[body]));
});
