//! Requests whose policy has a schema for them.

use headgate_contract::JSON_OPERATIONS;
use headgate_core::effects::{Flow, Step};
use headgate_core::headers::Headers;
use headgate_core::stream::Stream;
use headgate_dialect::{BodyError, Limits, operations};

use crate::proxy::{Proxy, counted, one_model, reply, reply_header, text, tokens};

const CHAT: &str = "/v1/chat/completions";
/// At most two messages; a role from a list; texts of at most four characters; `user` is required.
const SCHEMA: &str = r#"{"required":["user"],"properties":{"messages":{"maxItems":2,"items":{"properties":{
    "role":{"enum":["user","system"]},"content":{"type":["string","null"],"maxLength":4}}}}}}"#;
const VALID: &str = r#"{"model":"m","messages":[{"role":"user","content":"four"}],"user":"u"}"#;

fn operation(operations: &str, schema: &str) -> String {
    format!(r#"{{"operations":[{operations}],"schema":{schema}}}"#)
}

/// Models `m`, with these schemas, and `free`, without any; each request costs from a bucket.
fn configured(schemas: &str) -> String {
    let models = r#""models":{"free":{"base":[{"carrier":"deployment/f","weight":1,"versions":[{"version":"v1","endpoints":1}]}]},"m""#;
    let tagging = format!(
        r#""tagging":[{{"policy":"t","models":["m"],"tagging":{{"schemas":[{schemas}]}}}}],"buckets""#
    );
    one_model(&tokens(1_000_000, "1", ""))
        .replace(r#""models":{"m""#, models)
        .replace(r#""buckets""#, &tagging)
        .replace(r#""maxBodyBytes":4096"#, r#""maxBodyBytes":1048576"#)
}

fn proxy(schemas: &str) -> Proxy {
    Proxy::new(&configured(schemas))
}

fn post(proxy: &mut Proxy, path: &str, body: &str) -> Step {
    let headers = [(":method", "POST"), (":path", path)];
    proxy.send(&headers, Some(body.as_bytes())).1
}

/// The refusal of a chat: the field at fault and the message, without its beginning.
#[track_caller]
fn violation(step: &Step) -> (String, String) {
    let reply = reply(step);
    assert_eq!(
        (reply.status, reply.details),
        (400, "headgate_schema_violation")
    );
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    let error = &body["error"];
    assert_eq!(error["code"], "schema_violation");
    let message = error["message"].as_str().unwrap();
    let rule = message
        .strip_prefix("the schema for the model `m` refuses the request: ")
        .unwrap();
    let param = error["param"].as_str().unwrap_or("-");
    (param.to_owned(), rule.to_owned())
}

#[test]
fn the_first_violation_is_named_with_its_rule_and_limit() {
    let schema = r#"{"properties":{
        "messages":{"type":"array","minItems":1,"maxItems":2,"items":{"type":"object","required":["role","content"],"properties":{
            "role":{"enum":["user","system"]},"content":{"type":["string","null"],"minLength":2,"maxLength":4}}}},
        "temperature":{"minimum":0.1,"exclusiveMaximum":1.5},"seed":{"type":"integer","exclusiveMinimum":-5,"maximum":9},
        "n":{"const":1},"metadata":{"additionalProperties":false,"properties":{"a":{}}},"stop":{"items":{"type":"string"}},
        "modalities":{"items":{"enum":["a","b","c","d","e","f","g",1,null]}}},"additionalProperties":true,"required":["user"]}"#;
    let mut proxy = proxy(&operation("\"openai.chat\"", schema));
    let message = r#"{"role":"user","content":"four"}"#;
    for (body, param, rule) in [
        (
            r#""messages":[]"#.to_owned(),
            "messages",
            "must have at least 1 elements (`minItems`)",
        ),
        (
            format!(r#""messages":[{message},{message},{message}]"#),
            "messages",
            "must have at most 2 elements (`maxItems`)",
        ),
        (
            format!(r#""messages":[{message},{{"role":"user","content":"fives"}}]"#),
            "messages[1].content",
            "must have at most 4 characters (`maxLength`)",
        ),
        (
            r#""messages":[{"role":"user","content":"1"}]"#.into(),
            "messages[0].content",
            "must have at least 2 characters (`minLength`)",
        ),
        (
            r#""messages":[{"role":"user","content":[]}]"#.into(),
            "messages[0].content",
            "must be a string or null (`type`)",
        ),
        (
            r#""messages":[{"role":"tool","content":"1"}]"#.into(),
            "messages[0].role",
            "must be one of \"user\", \"system\" (`enum`)",
        ),
        (
            r#""messages":[{"content":null}]"#.into(),
            "messages[0].role",
            "is missing (`required`)",
        ),
        (
            r#""messages":[{}]"#.into(),
            "messages[0].role",
            "is missing (`required`)",
        ),
        (
            r#""temperature":0.09999"#.into(),
            "temperature",
            "must be at least 0.1 (`minimum`)",
        ),
        (
            r#""temperature":1.5"#.into(),
            "temperature",
            "must be less than 1.5 (`exclusiveMaximum`)",
        ),
        (
            r#""seed":1.5"#.into(),
            "seed",
            "must be an integer (`type`)",
        ),
        (
            r#""seed":-5.0"#.into(),
            "seed",
            "must be greater than -5 (`exclusiveMinimum`)",
        ),
        (
            r#""seed":1e300"#.into(),
            "seed",
            "must be at most 9 (`maximum`)",
        ),
        (r#""n":2"#.into(), "n", "must be 1 (`const`)"),
        (
            r#""metadata":{"b":1}"#.into(),
            "metadata.b",
            "is not allowed (`additionalProperties`)",
        ),
        (
            r#""stop":["a",7]"#.into(),
            "stop[1]",
            "must be a string (`type`)",
        ),
        (
            r#""modalities":["h"]"#.into(),
            "modalities[0]",
            "must be one of \"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", 1, … (`enum`)",
        ),
        (
            format!(r#""messages":[{message}]"#),
            "user",
            "is missing (`required`)",
        ),
    ] {
        let step = post(&mut proxy, CHAT, &format!(r#"{{"model":"m",{body}}}"#));
        assert_eq!(
            violation(&step),
            (param.to_owned(), format!("`{param}` {rule}")),
            "{body}"
        );
    }
    let valid = format!(
        r#"{{"messages":[{message}],"temperature":1.49,"seed":9.0,"n":1.0,"metadata":{{"a":[]}},"user":null,"model":"m"}}"#
    );
    assert_eq!(post(&mut proxy, CHAT, &valid).flow, Flow::Continue);
}

#[test]
fn a_refused_request_costs_nothing() {
    let config = configured(&operation("\"openai.chat\"", SCHEMA));
    let mut proxy = Proxy::new(&config.replace("\"capacity\":1000000", "\"capacity\":1500"));
    let body = |user: &str| format!(r#"{{"model":"m","max_tokens":1000{user}}}"#);
    for _ in 0..3 {
        let step = post(&mut proxy, CHAT, &body(""));
        assert_eq!(violation(&step).0, "user");
    }
    let step = post(&mut proxy, CHAT, &body(r#","user":"u""#));
    assert_eq!(step.flow, Flow::Continue);
    let step = post(&mut proxy, CHAT, &body(r#","user":"u""#));
    assert_eq!(reply(&step).status, 429);
}

#[test]
fn the_model_may_come_after_what_its_schema_constrains() {
    let mut proxy = proxy(&operation("\"openai.chat\"", SCHEMA));
    let messages = r#""user":"u","messages":[{"role":"user","content":"fives"}]"#;
    for body in [
        format!(r#"{{{messages},"model":"m"}}"#),
        format!(r#"{{"model":"m",{messages}}}"#),
        format!(r#"{{{messages},"mod\u0065l":"m"}}"#),
        // A name that clients use.
        format!(r#"{{{messages},"model":"Org/M"}}"#),
    ] {
        let step = post(&mut proxy, CHAT, &body);
        assert_eq!(violation(&step).0, "messages[0].content", "{body}");
    }
    let by_header = [(":method", "POST"), (":path", CHAT), ("x-model", "m")];
    let body = format!("{{{messages}}}");
    let step = proxy.send(&by_header, Some(body.as_bytes())).1;
    assert_eq!(violation(&step).0, "messages[0].content");
    // Another model has no schema.
    let body = format!(r#"{{{messages},"model":"free"}}"#);
    assert_eq!(post(&mut proxy, CHAT, &body).flow, Flow::Continue);
}

#[test]
fn a_schema_is_for_its_operations_only() {
    let mut proxy = proxy(&operation(
        "\"openai.completions\",\"anthropic.messages\"",
        SCHEMA,
    ));
    let body = r#"{"model":"m","max_tokens":5,"prompt":"x","messages":[{"role":"user","content":"fives"}]}"#;
    assert_eq!(post(&mut proxy, CHAT, body).flow, Flow::Continue);
    let step = post(&mut proxy, "/v1/completions", body);
    assert_eq!(violation(&step).0, "messages[0].content");
    let step = post(&mut proxy, "/v1/messages", body);
    let refused = text(reply(&step));
    assert_eq!(
        refused,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"the schema for the model `m` refuses the request: `messages[0].content` must have at most 4 characters (`maxLength`)"}}"#
    );
}

#[test]
fn keys_and_texts_are_compared_as_decoded() {
    let long = "k".repeat(64);
    let schema = format!(
        r#"{{"properties":{{"model":{{}},"é":{{"maxLength":1}},"{long}":{{"const":true}},"t":{{"enum":["a\"é","{}"]}}}},"additionalProperties":false}}"#,
        "x".repeat(256)
    );
    let mut proxy = proxy(&operation("\"openai.chat\"", &schema));
    let x = "x".repeat(255);
    for (member, expected) in [
        (r#""é":"😀""#.to_owned(), None),
        (r#""\u00e9":"\ud83d\ude00""#.into(), None),
        (r#""\u00e9":"\ud83d\ude00e""#.into(), Some("é")),
        (r#""é":"\n""#.into(), None),
        (format!(r#""{long}":true"#), None),
        (format!(r#""{long}":1"#), Some(&*long)),
        (
            format!(r#""{long}k":true"#),
            Some("(a name that is empty or above 64 bytes)"),
        ),
        (
            r#""":true"#.into(),
            Some("(a name that is empty or above 64 bytes)"),
        ),
        (r#""t":"\u0061\"\u00e9""#.into(), None),
        (r#""t":"a\"e""#.into(), Some("t")),
        (format!(r#""t":"\u0078{x}""#), None),
        (format!(r#""t":"{x}""#), Some("t")),
        (format!(r#""t":"xx{x}""#), Some("t")),
        (r#""T":1"#.into(), Some("T")),
    ] {
        let step = post(&mut proxy, CHAT, &format!(r#"{{"model":"m",{member}}}"#));
        match expected {
            None => assert_eq!(step.flow, Flow::Continue, "{member}"),
            Some(param) => assert_eq!(violation(&step).0, param, "{member}"),
        }
    }
}

#[test]
fn every_value_of_a_key_that_is_given_twice_is_checked() {
    let schema = r#"{"properties":{"metadata":{"required":["a"],"properties":{"a":{"type":"string"}}}},"required":["metadata"]}"#;
    let mut proxy = proxy(&operation("\"openai.chat\"", schema));
    for (members, expected) in [
        (r#""metadata":{"a":"x"},"metadata":{"a":"y"}"#, None),
        (r#""metadata":{"a":"x"},"metadata":{}"#, Some("metadata.a")),
        (r#""metadata":{},"metadata":{"a":"x"}"#, Some("metadata.a")),
        (r#""metadata":{"a":1,"a":"x"}"#, Some("metadata.a")),
        (r#""metadata":{"a":"x","a":1}"#, Some("metadata.a")),
    ] {
        let step = post(&mut proxy, CHAT, &format!(r#"{{"model":"m",{members}}}"#));
        match expected {
            None => assert_eq!(step.flow, Flow::Continue, "{members}"),
            Some(param) => assert_eq!(violation(&step).0, param, "{members}"),
        }
    }
}

#[test]
fn a_large_body_is_read_again_in_pieces_however_it_came() {
    let mut proxy = proxy(&operation("\"openai.chat\"", SCHEMA));
    let filler = format!("\"{}\"", "é".repeat(100_000));
    let body = |content: &str| {
        format!(
            r#"{{"x":{filler},"messages":[{{"role":"user","content":"{content}"}}],"user":"u","model":"m"}}"#
        )
    };
    for (content, fits) in [("four", true), ("fives", false)] {
        let body = body(content);
        *proxy.host.body.borrow_mut() = body.clone().into_bytes();
        for cut in [1, 65_535, 65_536, body.len() - 1] {
            let mut stream = Stream::new();
            let headers = Headers::from_pairs(&[(":method", "POST"), (":path", CHAT)]);
            stream.request_headers(&mut proxy.vm, &proxy.host, headers, false);
            let (head, tail) = body.as_bytes().split_at(cut);
            let step = stream.request_body(&mut proxy.vm, &proxy.host, head, false);
            assert_eq!(step, Step::pause());
            let step = stream.request_body(&mut proxy.vm, &proxy.host, tail, true);
            match fits {
                true => assert_eq!(step.flow, Flow::Continue, "cut at {cut}"),
                false => assert_eq!(violation(&step).0, "messages[0].content", "cut at {cut}"),
            }
        }
    }
}

#[test]
fn a_body_that_the_proxy_does_not_return_is_refused() {
    let mut proxy = proxy(&operation("\"openai.chat\"", SCHEMA));
    for held in ["", &VALID[..20]] {
        let mut stream = Stream::new();
        let headers = Headers::from_pairs(&[(":method", "POST"), (":path", CHAT)]);
        stream.request_headers(&mut proxy.vm, &proxy.host, headers, false);
        *proxy.host.body.borrow_mut() = held.into();
        let step = stream.request_body(&mut proxy.vm, &proxy.host, VALID.as_bytes(), true);
        assert_eq!(reply(&step).status, 400);
        assert!(text(reply(&step)).contains("invalid_json"));
    }
}

#[test]
fn only_the_hop_that_decides_checks() {
    let config = configured(&operation("\"openai.chat\"", SCHEMA));
    let body = r#"{"model":"m"}"#;
    let mut decides = Proxy::new(&config);
    assert_eq!(violation(&post(&mut decides, CHAT, body)).0, "user");
    let mut follows = Proxy::new(&config.replacen('{', "{\"role\":\"follow\",", 1));
    let headers = [(":method", "POST"), (":path", CHAT), ("x-model", "m")];
    let step = follows.send(&headers, Some(body.as_bytes())).1;
    assert_eq!(step.flow, Flow::Continue);
}

#[test]
fn tensors_after_the_json_are_not_checked() {
    let schema = r#"{"required":["id"],"properties":{"inputs":{"maxItems":1}}}"#;
    let mut proxy = proxy(&operation("\"openinference.infer\"", schema));
    let json = |id: &str| {
        format!(
            r#"{{{id}"inputs":[{{"name":"x","datatype":"FP32","shape":[1],"parameters":{{"binary_data_size":4}}}}]}}"#
        )
    };
    for (id, fits) in [(r#""id":"1","#, true), ("", false)] {
        let json = json(id);
        let length = json.len().to_string();
        let path = "/v2/models/m/infer";
        let headers = [
            (":method", "POST"),
            (":path", path),
            ("inference-header-content-length", &*length),
        ];
        let body = [json.as_bytes(), b"\0\0\x80\x3f"].concat();
        let step = proxy.send(&headers, Some(&body)).1;
        match fits {
            true => assert_eq!(step.flow, Flow::Continue),
            false => assert!(text(reply(&step)).contains("`id` is missing (`required`)")),
        }
    }
    // The header means nothing to other operations: it hides no part of a body.
    let mut proxy = self::proxy(&operation("\"openai.chat\"", SCHEMA));
    let headers = [
        (":method", "POST"),
        (":path", CHAT),
        ("inference-header-content-length", "2"),
    ];
    let step = proxy.send(&headers, Some(br#"{"model":"m"}"#)).1;
    assert_eq!(violation(&step).0, "user");
}

#[test]
fn a_refusal_is_counted_for_its_model() {
    let mut proxy = proxy(&operation("\"openai.chat\"", SCHEMA));
    let step = post(&mut proxy, CHAT, r#"{"model":"m"}"#);
    let counter = "model_namespace=.=default;.;model=.=m;.;version=.=;.;lane=.=;.;outcome=.=schema_violation;.;headgate_requests_total";
    assert_eq!(counted(&step.effects, counter), 1);
    assert_eq!(
        reply_header(reply(&step), "content-type"),
        Some("application/json")
    );
}

#[test]
fn the_contract_names_the_operations_with_json() {
    let is_json = |operation: &headgate_dialect::Operation| {
        let scanner = operation.endpoint.request_scanner(Limits::default());
        scanner.is_some_and(|mut scanner| {
            scanner.push(b"?");
            matches!(scanner.finish(), Err(BodyError::Malformed { .. }))
        })
    };
    let mut json: Vec<&str> = operations()
        .filter(|o| is_json(o))
        .map(|o| o.name)
        .collect();
    json.sort_unstable();
    json.dedup();
    assert_eq!(json, JSON_OPERATIONS);
    // An operation has one form on all of its paths.
    let other = operations().filter(|o| !is_json(o));
    let both = other.map(|o| o.name).filter(|name| json.contains(name));
    assert_eq!(both.count(), 0);
}
