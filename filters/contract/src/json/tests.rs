//! The reader against `serde_json`.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use serde_json::Value;

use super::{Node, read};

/// The tree that `serde_json` reads from a document.
fn tree(value: &Value) -> Node {
    match value {
        Value::Null => Node::Null,
        Value::Bool(value) => Node::Bool(*value),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(value), _, _) => Node::Unsigned(value),
            (_, Some(value), _) => Node::Signed(value),
            (_, _, value) => super::float(value.unwrap()),
        },
        Value::String(text) => Node::Text(text.clone()),
        Value::Array(items) => Node::List(items.iter().map(tree).collect()),
        // Sorted, as its map is.
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().map(|(k, v)| (k.clone(), tree(v))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Node::Map(fields)
        }
    }
}

fn twice(json: &[u8]) -> bool {
    read(json).is_err_and(|error| error.contains("given twice"))
}

#[track_caller]
fn agree(json: &[u8]) {
    let theirs = serde_json::from_slice::<Value>(json);
    match (read(json), &theirs) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours, tree(theirs)),
        (Err(_), Err(_)) => {}
        // Of a key that is given twice, `serde_json` keeps the last.
        (Err(_), Ok(_)) => assert!(twice(json), "{}", String::from_utf8_lossy(json)),
        (ours, theirs) => panic!("{ours:?} {theirs:?} {}", String::from_utf8_lossy(json)),
    }
}

#[test]
fn documents_are_read_as_serde_json_reads_them() {
    for json in [
        "",
        " ",
        "nul",
        "null",
        "true",
        "[true,false , null]\n",
        "{}",
        "{ }",
        "[]",
        "[ ]",
        "[,]",
        "[1,]",
        "{,}",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{a:1}",
        "[1 2]",
        "1 2",
        "\"",
        "\"a",
        "\"a\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u00e9\\n\\/\\b\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\ud83d\\u0041\"",
        "\"\\ude00\"",
        "\"\\ud83dx\"",
        "\"\u{1}\"",
        "\"é😀\"",
        "0",
        "-0",
        "01",
        "-",
        "-1",
        "1.",
        ".5",
        "1.5",
        "-2.25",
        "1e3",
        "1E+3",
        "1e-3",
        "1e",
        "1e+",
        "1.0",
        "-1.0",
        "1e400",
        "-1e400",
        "0e400",
        "1e-400",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
        "0.3",
        "0.000001",
        "3999999999.999999",
        "123456789012345678901234567890",
        "0.1e1",
        "100e-2",
        "{\"a\":1,\"b\":{\"c\":[1,{}]}}",
        "{\"b\":1,\"a\":2}",
        "\u{feff}1",
    ] {
        agree(json.as_bytes());
    }
    agree(b"\"\xff\"");
    for depth in [127, 128, 129] {
        let json = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        agree(json.as_bytes());
    }
    assert!(twice(br#"{"a":1,"b":2,"a":1}"#));
}

#[test]
fn an_error_has_line_and_column() {
    let error = read(b"{\n  \"a\": 1,\n  \"b\" 2\n}").unwrap_err();
    assert_eq!(error, "expected `:` at line 3 column 7");
    assert_eq!(
        read(b"[1").unwrap_err(),
        "unexpected end at line 1 column 3"
    );
}

proptest! {
    #[test]
    fn any_text_is_read_as_serde_json_reads_it(json in r#"[\[\]{},:"\\ 0-9.eE+\-a-ftnu]{0,40}"#) {
        // Beyond 15 digits the last bit may differ, and no number of a configuration has so many.
        prop_assume!(!json.split(|c: char| !c.is_ascii_digit() && c != '.').any(|n| n.len() > 15));
        prop_assume!(!json.split(['e', 'E']).skip(1).any(|e| e.trim_start_matches(['+', '-']).chars().take_while(char::is_ascii_digit).count() > 1));
        agree(json.as_bytes());
    }

    /// `serde_json` is one bit off for some of these: it rounds twice.
    #[test]
    fn any_decimal_is_the_nearest_double(whole in 0_u64..9_000_000_000, millionths in 0_u64..1_000_000) {
        for text in [format!("{whole}.{millionths:06}"), format!("{whole}.{millionths:06}0")] {
            let nearest = super::float(text.parse().unwrap());
            assert_eq!(read(text.as_bytes()), Ok(nearest), "{text}");
        }
    }
}
