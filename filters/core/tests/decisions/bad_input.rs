//! Bad input: every error has its own answer, which names the field. It never causes a trap or a bypass.

use headgate_core::effects::Flow;
use headgate_core::headers::Headers;
use headgate_core::stream::Stream;

use crate::proxy::{Proxy, counted, one_model, reply, reply_header, text};

fn proxy() -> Proxy {
    Proxy::new(&one_model(""))
}

const POST: [(&str, &str); 2] = [(":method", "POST"), (":path", "/v1/chat/completions")];

#[test]
fn a_bad_body_is_refused_with_the_field() {
    let rows = [
        ("", 400, "null", "invalid_json", "not valid JSON at byte 0"),
        ("{", 400, "null", "invalid_json", "not valid JSON at byte 1"),
        (
            "nonsense",
            400,
            "null",
            "invalid_json",
            "not valid JSON at byte",
        ),
        ("[]", 400, "null", "invalid_json", "must be a JSON object"),
        (
            "{}",
            400,
            "\"model\"",
            "missing_required_parameter",
            "`model` is missing",
        ),
        // A name of no model, like any other unknown name.
        (
            r#"{"model":""}"#,
            404,
            "\"model\"",
            "model_not_found",
            "the model `` does not exist",
        ),
        (
            r#"{"model":7}"#,
            400,
            "\"model\"",
            "invalid_type",
            "`model` must be a string",
        ),
        (
            r#"{"model":"m","max_tokens":-2}"#,
            400,
            "\"max_tokens\"",
            "invalid_value",
            "between 1 and 10000000",
        ),
        (
            r#"{"model":"m","max_tokens":1e99}"#,
            400,
            "\"max_tokens\"",
            "invalid_value",
            "between 1 and 10000000",
        ),
        (
            r#"{"model":"m","temperature":"hot"}"#,
            400,
            "\"temperature\"",
            "invalid_type",
            "`temperature` must be a number",
        ),
        (
            r#"{"model":"m","model":"n"}"#,
            400,
            "\"model\"",
            "duplicate_parameter",
            "more than once with different values",
        ),
        (
            r#"{"model":"m","max_tokens":1,"max_completion_tokens":2}"#,
            400,
            "\"max_completion_tokens\"",
            "duplicate_parameter",
            "are both given and differ",
        ),
    ];
    for (body, status, param, code, words) in rows {
        let (_, step) = proxy().chat(&[], body);
        let reply = reply(&step);
        let text = text(reply);
        assert_eq!(reply.status, status, "{body}: {text}");
        assert!(
            text.contains(&format!("\"param\":{param}")),
            "{body}: {text}"
        );
        assert!(
            text.contains(&format!("\"code\":\"{code}\"")),
            "{body}: {text}"
        );
        assert!(text.contains(words), "{body}: {text}");
        let named = |model| {
            format!(
                "model_namespace=.=default;.;model=.={model};.;version=.=;.;lane=.=;.;outcome=.={code};.;headgate_requests_total"
            )
        };
        let outcome = match counted(&step.effects, &named("m")) {
            0 => named("unknown"),
            _ => named("m"),
        };
        assert_eq!(counted(&step.effects, &outcome), 1, "{:?}", step.effects);
    }
}

#[test]
fn a_body_over_the_limit_is_413_whether_announced_or_not() {
    let long = format!(r#"{{"model":"m","x":"{}"}}"#, "y".repeat(5000));
    let (_, step) = proxy().chat(&[], &long);
    assert_eq!(
        text(reply(&step)),
        r#"{"error":{"message":"the request body is larger than 4096 bytes (`maxBodyBytes`); send less","type":"invalid_request_error","param":null,"code":"request_too_large"}}"#
    );
    assert_eq!(reply(&step).status, 413);

    let mut proxy = proxy();
    let mut stream = Stream::new();
    let headers = Headers::from_pairs(&[POST[0], POST[1], ("content-length", "4097")]);
    let step = stream.request_headers(&mut proxy.vm, &proxy.host, headers, false);
    assert_eq!(reply(&step).status, 413, "before a byte of it was read");
}

#[test]
fn a_body_of_exactly_the_limit_passes() {
    let frame = r#"{"model":"m","x":""}"#.len();
    let body = format!(r#"{{"model":"m","x":"{}"}}"#, "y".repeat(4096 - frame));
    assert_eq!(body.len(), 4096);
    assert_eq!(proxy().chat(&[], &body).1.flow, Flow::Continue);
}

#[test]
fn a_compressed_body_is_415_naming_the_header() {
    for encoding in ["gzip", "br", "GZIP", "identity, gzip"] {
        let (_, step) = proxy().chat(&[("content-encoding", encoding)], r#"{"model":"m"}"#);
        assert_eq!(reply(&step).status, 415);
        assert!(text(reply(&step)).contains(r#""param":"content-encoding""#));
    }
    for encoding in ["identity", ""] {
        let (_, step) = proxy().chat(&[("content-encoding", encoding)], r#"{"model":"m"}"#);
        assert_eq!(step.flow, Flow::Continue);
    }
}

#[test]
fn the_content_type_does_not_hide_a_body() {
    for kind in [
        "text/plain",
        "application/octet-stream",
        "multipart/form-data",
    ] {
        let (_, step) = proxy().chat(&[("content-type", kind)], r#"{"model":"nobody"}"#);
        assert_eq!(reply(&step).status, 404, "{kind}");
    }
}

#[test]
fn contradictory_headers_are_400_also_with_a_body() {
    let twice = [("x-model", "m"), ("x-model", "n")];
    let (_, step) = proxy().chat(&twice, r#"{"model":"m"}"#);
    assert_eq!(reply(&step).status, 400);
    assert!(text(reply(&step)).contains(r#""param":"x-model","code":"duplicate_header""#));
    let pins = [("x-model-version", "v1"), ("x-model-version", "v2")];
    let (_, step) = proxy().chat(&pins, r#"{"model":"m"}"#);
    assert_eq!(reply(&step).status, 400);
    let tenants = [("x-tenant-id", "a"), ("x-tenant-id", "b")];
    let (_, step) = proxy().chat(&tenants, r#"{"model":"m"}"#);
    assert_eq!(reply(&step).status, 400);
}

#[test]
fn a_post_without_a_body_is_refused() {
    let (_, step) = proxy().send(&POST, None);
    assert_eq!(reply(&step).status, 400);
    assert!(text(reply(&step)).contains("it is empty"));
}

#[test]
fn a_body_ended_by_trailers_is_decided() {
    let mut proxy = proxy();
    let mut stream = Stream::new();
    let headers = Headers::from_pairs(&POST);
    let step = stream.request_headers(&mut proxy.vm, &proxy.host, headers, false);
    assert_eq!(step.flow, Flow::Pause);
    let step = stream.request_body(&mut proxy.vm, &proxy.host, br#"{"model":"m"}"#, false);
    assert_eq!(step.flow, Flow::Pause);
    assert!(stream.wants_request_body());
    let step = stream.request_trailers(&mut proxy.vm, &proxy.host);
    assert_eq!(step.flow, Flow::Continue);
    assert!(!stream.wants_request_body());
}

#[test]
fn a_serving_path_without_a_model_is_refused() {
    let (_, step) = proxy().send(&[(":method", "POST"), (":path", "/infer")], None);
    assert_eq!(reply(&step).status, 400);
    assert!(text(reply(&step)).contains("name it in the header `x-model`"));
}

#[test]
fn a_grpc_request_gets_a_grpc_status() {
    let headers = [
        (":method", "POST"),
        (":path", "/inference.GRPCInferenceService/ModelReady"),
        ("content-type", "application/grpc"),
        ("x-model", "nobody"),
    ];
    let (_, step) = proxy().send(&headers, None);
    let reply = reply(&step);
    assert_eq!((reply.grpc, reply.status), (Some(5), 404));
    assert!(reply.body.is_empty() && reply.message.contains("nobody"));
}

#[test]
fn a_tenant_that_is_not_a_header_value_is_encoded_or_refused() {
    let long = "x".repeat(129);
    let (_, step) = proxy().chat(&[("x-tenant-id", &long)], r#"{"model":"m"}"#);
    assert_eq!(reply(&step).status, 400);
    assert!(text(reply(&step)).contains("`x-tenant-id` must be at most 128 bytes"));
}

#[test]
fn a_vm_without_configuration_answers_503() {
    let mut vm = headgate_core::vm::Vm::new(crate::proxy::BOTH);
    let host = crate::proxy::MemoryHost::new();
    for path in ["/v1/chat/completions", "/other"] {
        let headers = Headers::from_pairs(&[(":method", "POST"), (":path", path)]);
        let step = Stream::new().request_headers(&mut vm, &host, headers, false);
        assert_eq!(reply(&step).status, 503);
    }
}

#[test]
fn a_bad_configuration_leaves_the_old_one_serving() {
    let mut proxy = proxy();
    for bad in [
        "",
        "{",
        r#"{"namespaces":{"a":{"models":{"m":{"base":[{}]}}}}}"#,
    ] {
        let error = proxy.vm.configure(bad.as_bytes(), &proxy.host).unwrap_err();
        assert!(!error.message.is_empty());
    }
    assert_eq!(proxy.chat(&[], r#"{"model":"m"}"#).1.flow, Flow::Continue);
}

#[test]
fn unreadable_headers_do_not_bypass_the_filter() {
    let (_, step) = proxy().send(&[], None);
    assert_eq!(reply(&step).status, 503);
    assert_eq!(reply_header(reply(&step), "retry-after"), Some("1"));
}

#[test]
fn a_refused_request_never_continues_even_if_its_answer_was_not_sent() {
    let mut proxy = proxy();
    let (mut stream, step) = proxy.chat(&[], "{}");
    assert_eq!(reply(&step).status, 400);
    assert!(stream.answered() && !stream.wants_request_body());
    for end in [false, true] {
        let step = stream.request_body(&mut proxy.vm, &proxy.host, b"{}", end);
        assert_eq!(step.flow, Flow::Pause);
    }
    let step = stream.request_trailers(&mut proxy.vm, &proxy.host);
    assert_eq!(step.flow, Flow::Pause);
    assert!(proxy.end(&mut stream).is_empty());
}
