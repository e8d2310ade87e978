//! The wording of answers, the table of paths, and the fingerprint.

use crate::golden::{self, chat};
use headgate_dialect::{Body, Endpoint, Limits, Refusal, models_path};
use serde_json::{Value, json};

#[test]
fn a_refusal_is_an_openai_error_with_any_text() {
    for text in [
        "plain",
        "a \"quote\" \\ back",
        "lines\r\n\tand \u{1}\u{1f}\u{7f}",
        "naïve 東京 🙂",
    ] {
        for param in [None, Some("max_tokens"), Some(text)] {
            let body = chat().dialect().error_body(&Refusal {
                status: 429,
                code: text,
                message: text,
                param,
                unit: Some(text),
            });
            let expected =
                json!({"error": {"message": text, "type": text, "param": param, "code": text}});
            assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
        }
    }
}

#[test]
fn the_type_of_an_error_is_the_unit_of_the_budget_or_follows_from_the_status() {
    for (status, unit, kind) in [
        (429, Some("tokens"), "tokens"),
        (429, Some("requests"), "requests"),
        (429, None, "invalid_request_error"),
        (400, Some("tokens"), "invalid_request_error"),
        (404, None, "invalid_request_error"),
        (503, Some("tokens"), "server_error"),
        (503, None, "server_error"),
    ] {
        let body = chat().dialect().error_body(&Refusal {
            status,
            code: "c",
            message: "m",
            param: None,
            unit,
        });
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["type"], kind, "{status} {unit:?}");
    }
}

#[test]
fn models_are_listed_by_every_name_and_described_one_by_one() {
    let (dialect, model) = models_path(b"/v1/models").unwrap();
    assert_eq!(model, b"");
    let model =
        |id: &str| json!({"id": id, "object": "model", "created": 0, "owned_by": "headgate"});
    for names in [&[][..], &["m"], &["m", "Org/\"M\""]] {
        let body = dialect.model_list(&mut names.iter().copied());
        let data: Vec<_> = names.iter().map(|name| model(name)).collect();
        let expected = json!({"object": "list", "data": data});
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }
    let body = dialect.model("Org/\"M\"");
    let body = serde_json::from_slice::<Value>(&body).unwrap();
    assert_eq!(body, model("Org/\"M\""));
}

#[test]
fn a_path_is_an_endpoint_or_models_or_unknown() {
    for path in ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"] {
        let endpoint = Endpoint::of_path(path.as_bytes()).unwrap();
        assert!(endpoint.reads_body(), "{path}");
        assert_eq!(endpoint.generates(), path != "/v1/embeddings", "{path}");
        assert!(models_path(path.as_bytes()).is_none(), "{path}");
    }
    for path in ["/infer", "/infer/x"] {
        let endpoint = Endpoint::of_path(path.as_bytes()).unwrap();
        assert!(!endpoint.reads_body() && endpoint.generates(), "{path}");
        assert_eq!(endpoint, Endpoint::unknown());
    }
    for (path, model) in [
        ("/v1/models", ""),
        ("/v1/models/m", "m"),
        ("/v1/models/Org/M", "Org/M"),
    ] {
        assert!(Endpoint::of_path(path.as_bytes()).is_none(), "{path}");
        let (_, found) = models_path(path.as_bytes()).unwrap();
        assert_eq!(found, model.as_bytes(), "{path}");
    }
    for path in [
        "",
        "//",
        "/v1",
        "/v1/modelsx",
        "/v1/embeddings/x",
        "/v1/embedding",
        "/V1/embeddings",
    ] {
        assert!(Endpoint::of_path(path.as_bytes()).is_none(), "{path}");
        assert!(models_path(path.as_bytes()).is_none(), "{path}");
    }
}

#[test]
fn every_error_about_a_field_names_it() {
    for case in golden::bad::cases() {
        let words = case.error.to_string();
        match case.error.field() {
            Some(field) => assert!(words.contains(&format!("`{field}`")), "{words}"),
            None => assert!(words.starts_with("the request body "), "{words}"),
        }
    }
}

#[test]
fn errors_state_the_fix() {
    let words = |body: &[u8]| golden::scan(chat(), body, 9).unwrap_err().to_string();
    assert_eq!(
        words(br#"{"max_tokens":0}"#),
        "`max_tokens` must be between 1 and 10000000"
    );
    assert_eq!(
        words(br#"{"stream":"yes"}"#),
        "`stream` must be true or false"
    );
    assert_eq!(
        words(br#"{"max_tokens":5,"max_completion_tokens":6}"#),
        "`max_completion_tokens` and `max_tokens` are both given and differ; give only `max_completion_tokens`"
    );
    assert_eq!(
        words(b"{\"a\":1,}"),
        "the request body is not valid JSON at byte 7: expected a key in quotes"
    );
}

#[test]
fn a_bad_body_is_detected_before_its_end() {
    let mut scanner = chat().request_scanner(Limits::default()).unwrap();
    scanner.push(b"{\"n\":");
    assert_eq!(scanner.error(), None);
    scanner.push(b"\"");
    assert_eq!(scanner.error().and_then(|error| error.field()), Some("n"));
    scanner.push(b"1\"}");
    assert!(scanner.finish().is_err());
}

fn first_message(text: &str, limits: Limits) -> Option<u64> {
    let body = json!({"messages": [{"role": "user", "content": text}]}).to_string();
    let mut scanner = chat().request_scanner(limits).unwrap();
    scanner.push(body.as_bytes());
    scanner.finish().unwrap().first_user_message
}

#[test]
fn the_fingerprint_never_changes() {
    // A new value here moves every running session to another version.
    assert_eq!(
        first_message("Hello, world", Limits::default()),
        Some(12_383_564_514_804_074_583)
    );
}

#[test]
fn a_long_message_is_identified_by_its_start_and_its_length() {
    let long = "x".repeat(100_000);
    let fingerprint = |text: &str| first_message(text, Limits::default());
    assert_eq!(fingerprint(&long), fingerprint(&format!("{}y", &long[1..])));
    assert_ne!(fingerprint(&long), fingerprint(&long[1..]));
    assert_ne!(fingerprint(&long), fingerprint(&format!("y{}", &long[1..])));
}

#[test]
fn a_growing_conversation_keeps_its_fingerprint() {
    let mut messages = vec![json!({"role": "system", "content": "Be kind."})];
    let mut results = Vec::new();
    for turn in ["Where is Oslo?", "And Bergen?", "Thanks"] {
        messages.push(json!({"role": "user", "content": turn}));
        let body = json!({"messages": messages}).to_string();
        let facts: Body = golden::scan(chat(), body.as_bytes(), 64).unwrap();
        results.push(facts.first_user_message);
        messages.push(json!({"role": "assistant", "content": format!("About {turn}")}));
    }
    assert!(results[0].is_some());
    assert_eq!(results, [results[0]; 3]);
}

#[test]
fn a_role_of_any_length_is_accepted_as_another_role() {
    let role = "user".repeat(1000);
    let body = json!({
        "messages": [{"role": role, "content": "a"}, {"role": "user", "content": "b"}],
        "model": "m",
    });
    let facts = golden::scan(chat(), body.to_string().as_bytes(), 64).unwrap();
    assert_eq!(facts.model.as_deref(), Some("m"));
    assert_eq!(facts.prompt_bytes, 2);
    assert_eq!(
        facts.first_user_message,
        first_message("b", Limits::default())
    );
}
