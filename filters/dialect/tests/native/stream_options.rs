//! Requests that are amended to request usage, limits that mean "none", and conversations that start with a picture.

use crate::golden::{EMBEDDINGS, chat, completions, endpoint};
use headgate_dialect::{Body, BodyScanner, Endpoint, Limits, Splice};
use serde_json::Value;

fn scan(endpoint: &Endpoint, body: &str, portion: usize) -> (Body, BodyScanner) {
    let mut scanner = endpoint.request_scanner(Limits::default()).unwrap();
    for chunk in body.as_bytes().chunks(portion) {
        scanner.push(chunk);
    }
    let facts = scanner.finish().unwrap_or_else(|e| panic!("{body}: {e}"));
    (facts, scanner)
}

/// The body as it is sent on; `None` if it is unchanged.
fn amended(body: &str) -> Option<String> {
    let splice = |portion| scan(chat(), body, portion).1.usage_option();
    let splices = [1, 2, 3, 7, usize::MAX].map(splice);
    assert!(splices.iter().all(|s| *s == splices[0]), "{body}");
    let body = Splice::apply_all(&[splices[0].clone()?], body.as_bytes()).unwrap();
    Some(String::from_utf8(body).unwrap())
}

#[test]
fn a_streamed_request_without_the_usage_option_gets_it_by_one_splice() {
    for (body, expected) in [
        (
            r#"{"model":"m","stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#,
        ),
        (
            " \n{ \"stream\" : true }\n",
            " \n{\"stream_options\":{\"include_usage\":true}, \"stream\" : true }\n",
        ),
        (
            r#"{"stream":true,"stream_options":null}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream_options":{},"stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"stream":true}"#,
        ),
        (
            r#"{"stream_options":{"include_obfuscation":false},"stream":true}"#,
            r#"{"stream_options":{"include_usage":true,"include_obfuscation":false},"stream":true}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{ "include_usage" : false }}"#,
            r#"{"stream":true,"stream_options":{ "include_usage" : true }}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{"x":{"include_usage":1},"include_usage":null}}"#,
            r#"{"stream":true,"stream_options":{"x":{"include_usage":1},"include_usage":true}}"#,
        ),
    ] {
        assert_eq!(amended(body).as_deref(), Some(expected));
        let value: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(value["stream_options"]["include_usage"], true);
    }
}

#[test]
fn a_request_with_another_usage_option_is_unchanged() {
    for body in [
        r#"{"model":"m"}"#,
        r#"{"stream":false}"#,
        r#"{"stream":null}"#,
        r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        r#"{"stream":true,"stream_options":{"continuous_usage_stats":true}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":false,"continuous_usage_stats":true}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":false},"stream_options":{}}"#,
        r#"{"stream":true,"stream_options":null,"stream_options":null}"#,
        r#"{"stream":true,"stream_options":{"include_usage":false,"include_usage":false}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":"yes"}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":[]}}"#,
        r#"{"stream":true,"stream_options":[]}"#,
        r#"{"stream":true,"stream_options":"no"}"#,
        r#"{"stream":true,"stream_options":1}"#,
    ] {
        assert_eq!(amended(body), None, "{body}");
    }
}

#[test]
fn embeddings_are_never_amended() {
    for body in [
        r#"{"input":"a","stream":true}"#,
        r#"{"input":"a","stream":true,"stream_options":{"include_usage":false}}"#,
    ] {
        let (_, scanner) = scan(endpoint(EMBEDDINGS), body, usize::MAX);
        assert_eq!(scanner.usage_option(), None, "{body}");
    }
}

#[test]
fn max_tokens_of_minus_one_is_no_limit_and_of_zero_is_valid_for_completions() {
    let max_tokens = |endpoint, body| scan(endpoint, body, usize::MAX).0.max_tokens;
    for body in [
        r#"{"max_tokens":-1}"#,
        r#"{"max_tokens":-1.0}"#,
        r#"{"max_completion_tokens":-1,"max_tokens":-1}"#,
    ] {
        assert_eq!(max_tokens(chat(), body), None, "{body}");
        assert_eq!(max_tokens(completions(), body), None, "{body}");
    }
    let zero = r#"{"prompt":"a","max_tokens":0}"#;
    assert_eq!(max_tokens(completions(), zero), Some(0));
    let both = r#"{"max_completion_tokens":7,"max_tokens":-1}"#;
    assert_eq!(max_tokens(chat(), both), Some(7));
}

#[test]
fn a_first_message_with_only_a_picture_has_a_fingerprint() {
    let of = |content: &str| {
        let body = format!(r#"{{"messages":[{{"role":"user","content":{content}}}]}}"#);
        let [one, whole] = [1, usize::MAX].map(|p| scan(chat(), &body, p).0.first_user_message);
        assert_eq!(one, whole, "{content}");
        whole
    };
    let url = |url: &str| format!(r#"[{{"type":"image_url","image_url":{{"url":"{url}"}}}}]"#);
    let a = of(&url("https://a.example/1.png"));
    assert!(a.is_some());
    assert_eq!(a, of(&url("https://a.example/1.png")));
    assert_ne!(a, of(&url("https://a.example/2.png")));
    // Data: its length and its first 16 KiB.
    let data = |n: usize, end: &str| {
        of(&url(&format!(
            "data:image/png;base64,{}{end}",
            "A".repeat(n)
        )))
    };
    assert_eq!(data(20_000, "x"), data(20_000, "y"));
    assert_ne!(data(20_000, ""), data(20_001, ""));
    assert_ne!(data(9_000, "x"), data(9_000, "y"));
    for other in [
        r#"[{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}]"#,
        r#"[{"type":"file","file":{"file_id":"f1"}}]"#,
        r#"[{"type":"image_url","image_url":"https://a.example/3.png"}]"#,
        r#"[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]"#,
        r#"[{"type":"image","source":{"type":"url","url":"https://a.example/4.png"}}]"#,
        r#"[{"type":"image","image":"data:image/png;base64,AAAA"}]"#,
    ] {
        assert!(of(other).is_some(), "{other}");
    }
    // If there is text, only the text counts, so that existing sessions keep their version.
    let text = of(r#""what is this?""#);
    let with = |image: &str| {
        of(&format!(
            r#"[{{"type":"text","text":"what is this?"}},{{"type":"image_url","image_url":{{"url":"{image}"}}}}]"#
        ))
    };
    assert_eq!(text, with("https://a.example/1.png"));
    assert_eq!(text, with("https://a.example/2.png"));
    assert_eq!(
        of(r#"[{"type":"image_url","image_url":{"detail":"low"}}]"#),
        None
    );
}
