//! Paths, headers and bodies → facts.

use headgate_core::endpoint::{Class, classify};
use headgate_core::facts::Facts;
use headgate_core::headers::{Headers, Pair};
use headgate_dialect::{Body, Endpoint};

#[test]
fn a_path_decides_what_decides() {
    let chat = Class::Body(Endpoint::ChatCompletions);
    let completions = Class::Body(Endpoint::Completions);
    let rows = [
        ("POST", "/v1/chat/completions", false, chat),
        ("POST", "/v1/chat/completions?x=1", false, chat),
        ("POST", "/v1/chat/completions/", false, chat),
        ("POST", "//v1//chat/completions", false, chat),
        ("POST", "/v1/chat/%63ompletions", false, chat),
        ("POST", "/v1/./chat/x/../completions", false, chat),
        ("POST", "/x/..%2fv1/chat/completions", false, chat),
        ("POST", "/v1\\chat\\completions", false, chat),
        ("PUT", "/v1/chat/completions", false, chat),
        ("GET", "/v1/chat/completions", false, chat),
        ("POST", "/v1/chat/completions", true, chat),
        ("GET", "/v1/chat/completions", true, Class::Other),
        ("OPTIONS", "/v1/chat/completions", true, Class::Other),
        ("POST", "/v1/completions", false, completions),
        ("POST", "/v1/embeddings", false, Class::Headers),
        ("POST", "/v1/messages", false, Class::Headers),
        ("GET", "/v1/files", true, Class::Headers),
        ("OPTIONS", "/v1/embeddings", true, Class::Other),
        ("GET", "/v1/models", true, Class::Models),
        ("GET", "/v1/models/", true, Class::Models),
        ("GET", "/v1/models?limit=2", true, Class::Models),
        ("HEAD", "/v1/models", true, Class::Models),
        ("GET", "/v1/models/m", true, Class::Models),
        ("HEAD", "/v1/models/Org%2FM", true, Class::Models),
        ("GET", "//v1/models/Org/M", true, Class::Models),
        ("GET", "/v1/modelsx", true, Class::Headers),
        ("POST", "/v1/models", false, Class::Headers),
        ("DELETE", "/v1/models/m", true, Class::Headers),
        ("POST", "/v1/chat%2Fcompletions#x", false, chat),
        (
            "POST",
            "/v1/completions?x=/v1/chat/completions",
            false,
            completions,
        ),
        ("POST", "/v1/completions/", false, completions),
        ("POST", "/v1/chat/completionsx", false, Class::Headers),
        ("POST", "/v1/chat", false, Class::Headers),
        ("POST", "/v1/completions/chat", false, Class::Headers),
        ("POST", "/v1/completions%", false, Class::Headers),
        ("POST", "/v1/chat/completions/x", false, Class::Headers),
        ("POST", "/v1chat/completions", false, Class::Other),
        ("POST", "/V1/completions", false, Class::Other),
        ("POST", "/v2/models/m/infer", false, Class::Headers),
        ("POST", "/v2/health", false, Class::Other),
        (
            "POST",
            "/inference.GRPCInferenceService/ModelInfer",
            false,
            Class::Headers,
        ),
        ("POST", "/infer", false, Class::Headers),
        ("POST", "/inference", false, Class::Other),
        ("GET", "/", true, Class::Other),
        ("GET", "", true, Class::Other),
    ];
    for (method, path, end, expected) in rows {
        let got = classify(method.as_bytes(), path.as_bytes(), end);
        assert_eq!(got, expected, "{method} {path}");
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
        assert_ne!(classify(b"POST", path, false), Class::Models);
    }
}

fn read<'a>(headers: &[(&str, &str)], body: Option<&'a Body>) -> Result<Facts<'a>, String> {
    // Facts borrow from headers, which a test needs until it ends.
    let headers = Box::leak(Box::new(Headers::from_pairs(headers)));
    Facts::read(headers, body).map_err(|r| {
        let reply = r.reply(false);
        format!("{} {}", reply.status, reply.message)
    })
}

#[test]
fn headers_alone_make_facts_with_the_defaults() {
    let facts = read(&[("x-model", "m")], None).unwrap();
    assert_eq!(facts.model, Some("m"));
    assert_eq!(
        (facts.max_tokens, facts.n, facts.temperature),
        (512, 1, 1_000_000)
    );
    let told = [
        ("x-model", "m"),
        ("x-max-tokens", "64"),
        ("x-temperature", "0.7"),
    ];
    let facts = read(&told, None).unwrap();
    assert_eq!((facts.max_tokens, facts.temperature), (64, 700_000));
}

#[test]
fn the_body_wins_field_by_field() {
    let headers = [
        ("x-model", "h"),
        ("x-max-tokens", "64"),
        ("x-temperature", "0.7"),
    ];
    let body = Body {
        model: Some("b".into()),
        max_tokens: Some(8),
        n: Some(3),
        ..Body::default()
    };
    let facts = read(&headers, Some(&body)).unwrap();
    assert_eq!(facts.model, Some("b"));
    assert_eq!(
        (facts.max_tokens, facts.n, facts.temperature),
        (8, 3, 700_000)
    );
    let silent = Body::default();
    let facts = read(&headers, Some(&silent)).unwrap();
    assert_eq!(facts.model, Some("h"));
}

#[test]
fn a_header_does_not_lower_what_a_body_without_max_tokens_may_generate() {
    // The upstream reads the body alone, and generates up to its own default.
    let max_tokens = |header: &str, body: Option<&Body>| {
        read(&[("x-max-tokens", header)], body).unwrap().max_tokens
    };
    let silent = Body::default();
    let told = Body {
        max_tokens: Some(100),
        ..Body::default()
    };
    for (header, body, expected) in [
        ("1", Some(&silent), 512),
        ("512", Some(&silent), 512),
        ("4096", Some(&silent), 4096),
        ("", Some(&silent), 512),
        ("1", Some(&told), 100),
        ("4096", Some(&told), 100),
        ("1", None, 1),
        ("4096", None, 4096),
        ("", None, 512),
    ] {
        assert_eq!(max_tokens(header, body), expected, "{header:?} {body:?}");
    }
}

#[test]
fn header_numbers_keep_the_bounds_of_the_body() {
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
    for (good, millionths) in [
        ("0", 0),
        ("10", 10_000_000),
        ("10.0000", 10_000_000),
        ("1.25", 1_250_000),
        ("0.0000004", 0),
        ("0.0000005", 1),
        ("0.99999999999999999999", 1_000_000),
    ] {
        let facts = read(&[("x-temperature", good)], None).unwrap();
        assert_eq!(facts.temperature, millionths, "{good}");
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
fn an_empty_header_says_nothing() {
    let facts = read(&[("x-model", ""), ("x-max-tokens", "")], None).unwrap();
    assert_eq!((facts.model, facts.max_tokens), (None, 512));
}

#[test]
fn a_header_is_found_wherever_it_stands_among_however_many() {
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
fn headers_that_stand_outside_of_their_bytes_are_empty() {
    let pair = |name, value| Pair { name, value };
    let headers = vec![pair((0, 1), (1, 9)), pair((u32::MAX, u32::MAX), (0, 1))];
    let headers = Headers::new(b"ab".to_vec(), headers);
    assert_eq!(headers.get("a"), Some(&b""[..]));
    assert_eq!(headers.iter().nth(1), Some((&b""[..], &b"a"[..])));
}
