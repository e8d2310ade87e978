//! Paths, headers and bodies → facts.

use headgate_contract::DefaultMaxTokens;
use headgate_core::endpoint::{Class, PathNames, ServedApis, classify};
use headgate_core::facts::Facts;
use headgate_core::headers::{Headers, Pair};
use headgate_dialect::{Body, Endpoint, models_path, operations};

/// The class of a request, and the names in its path.
fn classified(
    method: &str,
    path: &str,
    preflight: bool,
    served: &ServedApis,
) -> (Class, PathNames) {
    let mut pairs = vec![(":method", method), (":path", path)];
    if preflight {
        pairs.push(("access-control-request-method", "POST"));
    }
    classify(&Headers::from_pairs(&pairs), served)
}

fn class(method: &str, path: &str) -> Class {
    classified(method, path, false, &ServedApis::default()).0
}

/// The operation with this name.
fn operation(name: &str) -> Class {
    let mut all = operations();
    Class::Call(all.find(|operation| operation.name == name).expect(name))
}

#[test]
fn a_path_determines_the_operation() {
    let chat = operation("openai.chat");
    let completions = operation("openai.completions");
    let embeddings = operation("openai.embeddings");
    let infer = operation("infer");
    let unknown = Class::Unknown { reads: false };
    let reads = Class::Unknown { reads: true };
    let models = Class::Models(models_path(b"/v1/models").unwrap().0);
    let post = Class::WrongMethod { allow: "POST" };
    let get = Class::WrongMethod { allow: "GET, HEAD" };
    let rows = [
        ("POST", "/v1/chat/completions", chat),
        ("POST", "/v1/chat/completions?x=1", chat),
        ("POST", "/v1/chat/completions/", chat),
        ("POST", "//v1//chat/completions", chat),
        ("POST", "/v1/chat/%63ompletions", chat),
        ("POST", "/v1/./chat/x/../completions", chat),
        ("POST", "/x/..%2fv1/chat/completions", chat),
        ("POST", "/v1\\chat\\completions", chat),
        ("POST", "/v1/chat%2Fcompletions#x", chat),
        ("POST", "/openai/v1/chat/completions", chat),
        ("POST", "/v1/completions", completions),
        ("POST", "/v1/completions/", completions),
        (
            "POST",
            "/v1/completions?x=/v1/chat/completions",
            completions,
        ),
        ("PUT", "/v1/chat/completions", post),
        ("DELETE", "/v1/completions", post),
        ("OPTIONS", "/v1/chat/completions", post),
        ("GET", "/v1/embeddings", post),
        ("POST", "/v1/embeddings", embeddings),
        ("POST", "/v1/embeddings/?x", embeddings),
        ("POST", "/infer", infer),
        ("GET", "/v1/modelsx", reads),
        ("HEAD", "/openai/x", reads),
        ("POST", "/v1/chat/completionsx", unknown),
        ("POST", "/v1/chat", unknown),
        ("POST", "/v1", unknown),
        ("POST", "/v1/completions/chat", unknown),
        ("POST", "/v1/completions%", unknown),
        ("GET", "/v1/models", models),
        ("GET", "/v1/models/", models),
        ("GET", "/v1/models?limit=2", models),
        ("HEAD", "/v1/models", models),
        ("GET", "/v1/models/m", models),
        ("HEAD", "/v1/models/Org%2FM", models),
        ("GET", "//v1/models/Org/M", models),
        ("POST", "/v1/models", get),
        ("GET", "/health", Class::Health),
        ("HEAD", "/healthz", Class::Health),
        ("GET", "/healthz/", Class::Other),
        ("GET", "/ping?x=1", Class::Health),
        ("POST", "/health", get),
        ("GET", "/healthy", Class::Other),
        ("POST", "/v1chat/completions", Class::Other),
        ("POST", "/V1/completions", Class::Other),
        ("POST", "/generate", Class::Other),
        ("POST", "/api/chat", Class::Other),
        ("POST", "/inference", Class::Other),
        ("GET", "/", Class::Other),
        ("GET", "", Class::Other),
    ];
    let served = ServedApis::default();
    for (method, path, expected) in rows {
        assert_eq!(class(method, path), expected, "{method} {path}");
        let (preflight, _) = classified(method, path, true, &served);
        match (method, expected) {
            ("OPTIONS", _) => assert_eq!(preflight, Class::Preflight, "{path}"),
            _ => assert_eq!(preflight, expected, "{method} {path}"),
        }
    }
    for path in ["/v1/chat/completions", "/v1/models", "/health", "/v1/x"] {
        let (preflight, _) = classified("OPTIONS", path, true, &served);
        assert_eq!(preflight, Class::Preflight, "{path}");
    }
    assert_eq!(class("OPTIONS", "/else"), Class::Other);
}

#[test]
fn a_prefix_of_a_policy_stands_for_v1() {
    let apis = r#"{"prefixes": ["/api/v3"]}"#;
    let served = ServedApis::new(&headgate_contract::parse_json(apis.as_bytes()).unwrap());
    let (found, names) = classified("POST", "/api/v3/chat/completions?x", false, &served);
    assert_eq!(
        (found, names),
        (operation("openai.chat"), PathNames::default())
    );
    let (other, _) = classified("POST", "/api/v33/chat/completions", false, &served);
    assert_eq!(other, Class::Other);
    let (unknown, _) = classified("POST", "/api/v3/x", false, &served);
    assert_eq!(unknown, Class::Unknown { reads: false });
}

#[test]
fn every_operation_lies_under_a_serving_prefix_and_has_a_name_of_its_api() {
    let all = r#"{"dialects": ["ollama", "tgi", "llamacpp", "sglang", "vllm"]}"#;
    let all = ServedApis::new(&headgate_contract::parse_json(all.as_bytes()).unwrap());
    for operation in operations() {
        let method = match operation.method {
            "*" => "POST",
            method => method,
        };
        let (found, _) = classified(method, operation.pattern, false, &all);
        assert_ne!(found, Class::Other, "{}", operation.pattern);
        assert!(
            !matches!(found, Class::Unknown { .. } | Class::WrongMethod { .. }),
            "{method} {}: {found:?}",
            operation.pattern
        );
    }
}

#[test]
fn no_path_traps() {
    for path in [
        &b"%"[..],
        b"%z",
        b"%2",
        b"%%%",
        b"\xff\xfe/%ff",
        b"/..",
        b"/../..",
        b"?",
        b"#",
    ] {
        let bytes = [&b":methodPOST:path"[..], path].concat();
        let pair = |name, value| Pair { name, value };
        let len = u32::try_from(path.len()).unwrap();
        let pairs = vec![pair((0, 7), (7, 4)), pair((11, 5), (16, len))];
        let headers = Headers::new(bytes, pairs);
        let (class, _) = classify(&headers, &ServedApis::default());
        assert!(!matches!(class, Class::Models(_)));
    }
}

fn read<'a>(headers: &[(&str, &str)], body: Option<&'a Body>) -> Result<Facts<'a>, String> {
    // Facts borrow from the headers, so the test leaks them.
    let headers = Box::leak(Box::new(Headers::from_pairs(headers)));
    let chat = Endpoint::of_path(b"/v1/chat/completions").unwrap();
    let names = Box::leak(Box::default());
    Facts::read(chat, headers, body, names).map_err(|r| {
        let reply = r.reply(chat.dialect(), false);
        format!("{} {}", reply.status, reply.message)
    })
}

#[test]
fn headers_alone_make_facts_with_the_defaults() {
    let facts = read(&[("x-model", "m")], None).unwrap();
    assert_eq!(facts.model(), Some("m"));
    assert_eq!(
        (output(&facts), facts.n, facts.temperature),
        (512, 1, 1_000_000)
    );
    let given = [
        ("x-model", "m"),
        ("x-max-tokens", "1000"),
        ("x-temperature", "1.7"),
    ];
    let facts = read(&given, None).unwrap();
    assert_eq!((output(&facts), facts.temperature), (1000, 1_700_000));
}

/// With the default of 512.
fn output(facts: &Facts<'_>) -> u64 {
    facts.output(DefaultMaxTokens::default()).tokens
}

#[test]
fn each_field_of_the_body_precedes_its_header() {
    let headers = [
        ("x-model", "h"),
        ("x-max-tokens", "64"),
        ("x-temperature", "1.7"),
    ];
    let body = Body {
        model: Some("b".into()),
        max_tokens: Some(8),
        n: Some(3),
        ..Body::default()
    };
    let facts = read(&headers, Some(&body)).unwrap();
    assert_eq!(facts.model(), Some("b"));
    assert_eq!(
        (output(&facts), facts.n, facts.temperature),
        (8, 3, 1_700_000)
    );
    let silent = Body::default();
    let facts = read(&headers, Some(&silent)).unwrap();
    assert_eq!(facts.model(), Some("h"));
}

#[test]
fn a_header_raises_what_is_reserved_and_never_lowers_it() {
    // The upstream reads only the body and generates up to its own default.
    let silent = Body::default();
    let limited = Body {
        max_tokens: Some(100),
        ..Body::default()
    };
    let context = DefaultMaxTokens::Context(2048);
    for (header, body, expected, with_context) in [
        ("1", Some(&silent), 512, 2048),
        ("512", Some(&silent), 512, 2048),
        ("4096", Some(&silent), 4096, 4096),
        ("", Some(&silent), 512, 2048),
        ("1", Some(&limited), 100, 100),
        ("4096", Some(&limited), 100, 100),
        ("1", None, 512, 2048),
        ("4096", None, 4096, 4096),
        ("", None, 512, 2048),
    ] {
        let facts = read(&[("x-max-tokens", header)], body).unwrap();
        assert_eq!(output(&facts), expected, "{header:?} {body:?}");
        let capped = facts.output(context);
        assert_eq!(capped.tokens, with_context, "{header:?} {body:?}");
        assert_eq!(capped.at_most_capacity, with_context == 2048);
    }
    let warm = Body {
        temperature: Some(200_000),
        ..Body::default()
    };
    for (header, body, expected) in [
        ("0.2", None, 1_000_000),
        ("0.2", Some(&silent), 1_000_000),
        ("1.5", None, 1_500_000),
        ("1.5", Some(&silent), 1_500_000),
        ("1.5", Some(&warm), 200_000),
    ] {
        let facts = read(&[("x-temperature", header)], body).unwrap();
        assert_eq!(facts.temperature, expected, "{header:?} {body:?}");
    }
}

#[test]
fn header_numbers_have_the_bounds_of_the_body() {
    let whole = "400 the header `x-max-tokens` must be a whole number between 1 and 10000000";
    for bad in [
        "0",
        "-1",
        "1.5",
        "1e3",
        "10000001",
        "99999999999999999999",
        "x",
        " 5",
        "0x10",
    ] {
        assert_eq!(
            read(&[("x-max-tokens", bad)], None).unwrap_err(),
            whole,
            "{bad:?}"
        );
    }
    let number = "400 the header `x-temperature` must be a number between 0 and 10";
    for bad in [
        "-0.1",
        "10.000001",
        "11",
        ".",
        "1.",
        ".5",
        "nan",
        "1e1",
        "1.x",
        "0,5",
    ] {
        assert_eq!(
            read(&[("x-temperature", bad)], None).unwrap_err(),
            number,
            "{bad:?}"
        );
    }
    for (valid, millionths) in [
        ("0", 0),
        ("10", 10_000_000),
        ("10.0000", 10_000_000),
        ("1.25", 1_250_000),
        ("0.0000004", 0),
        ("1.0000004", 1_000_000),
        ("1.0000005", 1_000_001),
        ("1.99999999999999999999", 2_000_000),
    ] {
        let facts = read(&[("x-temperature", valid)], None).unwrap();
        assert_eq!(facts.temperature, millionths.max(1_000_000), "{valid}");
    }
}

#[test]
fn a_header_given_twice_must_agree() {
    for name in ["x-model", "x-max-tokens", "x-temperature"] {
        assert!(read(&[(name, "1"), (name, "1")], None).is_ok());
        assert_eq!(
            read(&[(name, "1"), (name, "2")], None).unwrap_err(),
            format!(
                "400 the header `{name}` is given more than once with different values; give it once"
            )
        );
    }
}

#[test]
fn an_empty_header_counts_as_missing() {
    let facts = read(&[("x-model", ""), ("x-max-tokens", "")], None).unwrap();
    assert_eq!((facts.model(), output(&facts)), (None, 512));
}

#[test]
fn a_header_is_found_at_any_position_among_any_number() {
    let names: Vec<String> = (0..700).map(|i| format!("x-{}", i % 350)).collect();
    let values: Vec<String> = (0..700).map(|i| i.to_string()).collect();
    let pairs = names.iter().zip(&values);
    let pairs: Vec<_> = pairs.map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let headers = Headers::from_pairs(&pairs);
    for i in 0..350 {
        let found: Vec<_> = headers.get_all(&names[i]).collect();
        let expected = [values[i].as_bytes(), values[i + 350].as_bytes()];
        assert_eq!(found, expected, "{}", names[i]);
    }
    let once = Headers::from_pairs(&pairs[..350]);
    for (name, value) in &pairs[..350] {
        assert_eq!(once.get_all(name).collect::<Vec<_>>(), [value.as_bytes()]);
    }
    assert_eq!(headers.get("x-350"), None);
    let odd = Headers::from_pairs(&[("a", "1"), ("b", ""), ("", "x"), ("a", "2")]);
    assert_eq!(odd.get(""), Some(&b"x"[..]));
    assert_eq!(odd.get("b"), Some(&b""[..]));
    assert_eq!(odd.get_all("a").count(), 2);
}

#[test]
fn headers_outside_of_their_bytes_are_empty() {
    let pair = |name, value| Pair { name, value };
    let headers = vec![pair((0, 1), (1, 9)), pair((u32::MAX, u32::MAX), (0, 1))];
    let headers = Headers::new(b"ab".to_vec(), headers);
    assert_eq!(headers.get("a"), Some(&b""[..]));
    assert_eq!(headers.iter().nth(1), Some((&b""[..], &b"a"[..])));
}
