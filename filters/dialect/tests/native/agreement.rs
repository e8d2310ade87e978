//! Property: the scanners agree with serde_json on the syntax of JSON and on the content of a document.

use crate::golden::{EMBEDDINGS, chat as chat_endpoint, endpoint};
use headgate_dialect::{Body, Endpoint, Label, Limits, Usage};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

fn scan(endpoint: &Endpoint, body: &[u8]) -> Result<Body, headgate_dialect::BodyError> {
    let mut scanner = endpoint.request_scanner(Limits::default()).unwrap();
    scanner.push(body);
    scanner.finish()
}

/// Any value, for fields that are not read.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn content() -> impl Strategy<Value = Value> {
    let part = prop_oneof![
        any::<String>().prop_map(|text| json!({"type": "text", "text": text})),
        value().prop_map(|url| json!({"image_url": url, "type": "image_url"})),
    ];
    prop_oneof![
        Just(Value::Null),
        any::<String>().prop_map(Value::from),
        vec(part, 0..4).prop_map(Value::from),
    ]
}

fn message() -> impl Strategy<Value = Value> {
    let role = select(vec!["system", "user", "assistant", "tool"]);
    let priced = (value(), value(), option::of(any::<String>()));
    (role, content(), value(), any::<bool>(), priced).prop_map(
        |(role, content, extra, early, (calls, refusal, name))| {
            let mut message = json!({"role": role, "content": content, "extra": extra,
                "tool_calls": calls, "refusal": refusal, "name": name});
            if early {
                message["a"] = "sorted before content".into();
            }
            message
        },
    )
}

fn chat() -> impl Strategy<Value = Value> {
    (
        vec(message(), 0..5),
        option::of(any::<String>()),
        option::of(1..=10_000_000u64),
        option::of(1..=1024u64),
        option::of(0..=10_000_000u64),
        option::of(any::<bool>()),
        option::of(any::<String>()),
        btree_map("[^mnstu].*", value(), 0..4),
        (value(), value()),
    )
        .prop_map(
            |(
                messages,
                model,
                max_tokens,
                n,
                millionths,
                stream,
                user,
                others,
                (tools, format),
            )| {
                let mut body: Map<String, Value> = others.into_iter().collect();
                body.insert("tools".into(), tools);
                body.insert("response_format".into(), format);
                // Exact decimals: six digits of a number up to 10 survive serde_json's f64.
                let temperature = millionths.map(|millionths| millionths as f64 / 1e6);
                body.insert("messages".into(), messages.into());
                body.insert("model".into(), model.into());
                body.insert("max_tokens".into(), max_tokens.into());
                body.insert("n".into(), n.into());
                body.insert("temperature".into(), temperature.into());
                body.insert("stream".into(), stream.into());
                body.insert("user".into(), user.into());
                Value::Object(body)
            },
        )
}

/// The text of a message's content, as serde_json reads it.
fn text(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect(),
        _ => String::new(),
    }
}

/// The cost of a value other than text, as serde_json writes it: the characters of a string, or the bytes of an array
/// or object, at this level of indentation.
fn priced(value: &Value, indent: Option<usize>) -> u64 {
    let bytes = match (value, indent) {
        (Value::String(text), _) => text.len(),
        (Value::Array(_) | Value::Object(_), None) => value.to_string().len(),
        (Value::Array(_) | Value::Object(_), Some(levels)) => {
            let alone = serde_json::to_string_pretty(value).unwrap();
            alone.len() + 2 * levels * alone.matches('\n').count()
        }
        _ => 0,
    };
    bytes as u64
}

/// The parts of a message with a picture.
fn pictures(message: &Value) -> u64 {
    let parts = message["content"].as_array().into_iter().flatten();
    let shown = |url: &Value| url.is_string() || url.is_array() || url.is_object();
    parts.filter(|part| shown(&part["image_url"])).count() as u64
}

/// The identities of its pictures: their URLs, ids or data.
fn shown(message: &Value) -> String {
    const KEYS: [&str; 4] = ["url", "data", "file_data", "file_id"];
    let parts = message["content"].as_array().into_iter().flatten();
    let urls = parts.map(|part| match &part["image_url"] {
        Value::String(url) => url.clone(),
        Value::Object(fields) => {
            let known = fields
                .iter()
                .filter(|(key, _)| KEYS.contains(&key.as_str()));
            known.filter_map(|(_, value)| value.as_str()).collect()
        }
        _ => String::new(),
    });
    urls.collect()
}

/// The fingerprint of a text or of the identity of a picture.
fn fingerprint(text: &str) -> Option<u64> {
    let body = json!({"messages": [{"role": "user", "content": text}]}).to_string();
    scan(chat_endpoint(), body.as_bytes())
        .unwrap()
        .first_user_message
}

/// `input` of embeddings in each form, with its bytes of text and its number of token ids.
fn input() -> impl Strategy<Value = (Value, u64, u64)> {
    let ids = || vec(any::<u32>(), 0..6);
    let len = |texts: &[String]| texts.iter().map(|text| text.len() as u64).sum();
    prop_oneof![
        any::<String>().prop_map(|text| (json!(text), text.len() as u64, 0)),
        vec(any::<String>(), 0..5).prop_map(move |texts| (json!(texts), len(&texts), 0)),
        ids().prop_map(|ids| (json!(ids), 0, ids.len() as u64)),
        vec(ids(), 0..5).prop_map(|lists| {
            let count = lists.iter().map(|ids| ids.len() as u64).sum();
            (json!(lists), 0, count)
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn inputs_of_embeddings_agree_with_serde_json(
        (input, bytes, ids) in input(),
        others in btree_map("[^cimu].*", value(), 0..4),
        pretty in any::<bool>(),
    ) {
        let mut body: Map<String, Value> = others.into_iter().collect();
        body.insert("input".into(), input);
        body.insert("model".into(), "m".into());
        let body = match pretty {
            true => serde_json::to_vec_pretty(&body),
            false => serde_json::to_vec(&body),
        };
        let facts = scan(endpoint(EMBEDDINGS), &body.unwrap()).unwrap();
        prop_assert_eq!(facts.model.as_deref(), Some("m"));
        prop_assert_eq!((facts.prompt_bytes, facts.prompt_tokens), (bytes, ids));
        prop_assert_eq!((facts.max_tokens, facts.n, facts.stream), (None, None, None));
    }

    #[test]
    fn usage_of_embeddings_agrees_with_serde_json(
        vectors in vec(vec(any::<f32>().prop_filter("JSON has no infinity", |f| f.is_finite()), 0..9), 0..4),
        usage in option::of((option::of(1..=10_000_000u64), option::of(1..=10_000_000u64))),
        before in any::<bool>(),
    ) {
        let data: Vec<_> = vectors.iter().map(|vector| json!({"embedding": vector})).collect();
        let data = json!(data).to_string();
        let report = usage.map(|(prompt, total)| json!({"prompt_tokens": prompt, "total_tokens": total}));
        let report = json!(report).to_string();
        let answer = match before {
            true => format!("{{\"usage\":{report},\"data\":{data}}}"),
            false => format!("{{\"data\":{data},\"usage\":{report}}}"),
        };
        let mut scanner = endpoint(EMBEDDINGS).usage_scanner(Label::Json, 1);
        scanner.push(answer.as_bytes(), true);
        let input = usage.and_then(|(prompt, total)| prompt.max(total));
        let reported = scanner.usage().map(|usage| (usage.input, usage.output, usage.total));
        prop_assert_eq!(reported, input.map(|input| (Some(input), 0, Some(input))));
        prop_assert_eq!(scanner.observed().text_bytes + scanner.observed().unread_bytes, 0);
    }

    #[test]
    fn facts_agree_with_serde_json(body in chat(), pretty in any::<bool>()) {
        let bytes = if pretty {
            serde_json::to_vec_pretty(&body).unwrap()
        } else {
            serde_json::to_vec(&body).unwrap()
        };
        let facts = scan(chat_endpoint(), &bytes).unwrap();
        let messages = body["messages"].as_array().unwrap();
        let first = messages
            .iter()
            .find(|message| {
                let has_content = !text(message).is_empty() || !shown(message).is_empty();
                message["role"] == "user" && has_content
            });
        prop_assert_eq!(facts.model.as_deref(), body["model"].as_str());
        prop_assert_eq!(facts.max_tokens, body["max_tokens"].as_u64());
        prop_assert_eq!(facts.n, body["n"].as_u64());
        let millionths = body["temperature"].as_f64().map(|it| (it * 1e6).round() as u64);
        prop_assert_eq!(facts.temperature, millionths);
        prop_assert_eq!(facts.stream, body["stream"].as_bool());
        prop_assert_eq!(facts.session.user.as_deref(), body["user"].as_str());
        let other_parts = |message: &Value| -> u64 {
            let keys = ["tool_calls", "refusal", "name"];
            keys.iter().map(|key| priced(&message[key], pretty.then_some(3))).sum()
        };
        let in_messages: u64 =
            messages.iter().map(|message| text(message).len() as u64 + other_parts(message)).sum();
        let at_top = ["tools", "response_format"].map(|key| priced(&body[key], pretty.then_some(1)));
        prop_assert_eq!(facts.prompt_bytes, in_messages + at_top.iter().sum::<u64>());
        prop_assert_eq!(facts.prompt_tokens, 765 * messages.iter().map(pictures).sum::<u64>());
        prop_assert_eq!(facts.first_user_message, first.and_then(|it| {
            match text(it) {
                text if text.is_empty() => fingerprint(&shown(it)),
                text => fingerprint(&text),
            }
        }));
    }

    #[test]
    fn the_same_documents_are_json_to_both(
        value in value(),
        edit in option::of((any::<prop::sample::Index>(), "[\\[\\]{}\",:0-9a-z\\\\.+ \u{1}-]{0,2}")),
    ) {
        // In a field that is not read, so that only syntax counts.
        let mut text: Vec<char> = json!({"x": value}).to_string().chars().collect();
        if let Some((at, with)) = edit {
            let at = at.index(text.len() - 4) + 4;
            text.splice(at..at + 1, with.chars());
        }
        let text: String = text.into_iter().collect();
        let ours = scan(chat_endpoint(), text.as_bytes());
        match serde_json::from_str::<Value>(&text) {
            Ok(_) => {
                // An edit can create a key that is read; then a type error is correct.
                let syntax = matches!(ours, Err(headgate_dialect::BodyError::Malformed { .. }));
                prop_assert!(!syntax, "{ours:?} {text}");
            }
            // serde_json also refuses numbers beyond f64, which is a limit and not syntax.
            Err(error) if error.to_string().starts_with("number out of range") => {}
            Err(error) => prop_assert!(ours.is_err(), "{error} {text}"),
        }
    }

    #[test]
    fn differently_escaped_strings_are_equal(text in "\\PC{0,60}", ways in vec(0..3u8, 60)) {
        let mut body = String::from("{\"messages\":[{\"role\":\"user\",\"content\":\"");
        for (character, way) in text.chars().zip(ways) {
            if way == 0 {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    body.push_str(&format!("\\u{unit:04X}"));
                }
            } else {
                let quoted = serde_json::to_string(&character).unwrap();
                body.push_str(&quoted[1..quoted.len() - 1]);
            }
        }
        body.push_str("\"}]}");
        let facts = scan(chat_endpoint(), body.as_bytes()).unwrap();
        prop_assert_eq!(facts.prompt_bytes, text.chars().take(60).collect::<String>().len() as u64);
        prop_assert_eq!(facts.first_user_message, fingerprint(&text));
    }

    #[test]
    fn temperature_is_exact_to_the_millionth(
        millionths in 0..=10_000_000u64,
        shift in -40..40i32,
        zeros in 0..30usize,
    ) {
        // The same number with an exponent and trailing zeros.
        let digits = format!("{millionths:060}");
        let point = (54 + shift) as usize;
        let (before, after) = digits.split_at(point.min(59));
        let exponent = 54 - point.min(59) as i32;
        let whole = before.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        let tail = "0".repeat(zeros);
        let body = format!("{{\"temperature\":{whole}.{after}{tail}e{exponent}}}");
        let facts = scan(chat_endpoint(), body.as_bytes());
        prop_assert_eq!(facts.unwrap().temperature, Some(millionths), "{}", body);
    }

    #[test]
    fn usage_agrees_with_serde_json(
        chunks in vec((vec(content(), 0..3), option::of((1..=10_000_000u64, 1..=10_000_000u64, 0..99u64))), 0..6),
    ) {
        let mut stream = String::new();
        let (mut pieces, mut text_bytes, mut last) = (0, 0, None);
        for (contents, usage) in chunks {
            // No text starts like an earlier one, so that each one counts.
            let mut marked = |text: &str| {
                pieces += 1;
                let text = format!("{pieces}|{text}");
                text_bytes += text.len() as u64;
                text
            };
            let choices: Vec<Value> = contents
                .iter()
                .map(|content| match content {
                    Value::String(text) => marked(text).into(),
                    Value::Array(_) => json!([{"type": "text", "text": marked(&text(&json!({"content": content})))}]),
                    other => other.clone(),
                })
                .map(|content| json!({"index": 0, "delta": {"content": content}}))
                .collect();
            let report = usage.map(|(input, output, cached)| json!({"completion_tokens": output,
                "prompt_tokens": input, "prompt_tokens_details": {"cached_tokens": cached}}));
            let chunk = json!({"choices": choices, "usage": report});
            stream.push_str(&format!("data: {chunk}\n\n"));
            last = usage.or(last);
        }
        let mut scanner = chat_endpoint().usage_scanner(Label::Events, 1);
        scanner.push(stream.as_bytes(), true);
        let expected = last.map(|(input, output, cached)| Usage {
            input: Some(input),
            cached: cached.min(input),
            output,
            ..Usage::default()
        });
        prop_assert_eq!(scanner.usage(), expected);
        prop_assert_eq!(scanner.observed().text_bytes, text_bytes);
        prop_assert_eq!(scanner.observed().unread_bytes, 0);
    }
}
