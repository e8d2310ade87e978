//! `bodies: never`: a filter that only tags, by headers, and never holds a request.

use headgate_core::effects::{Effect, Flow, Step};
use headgate_core::headers::Headers;
use headgate_core::stream::Stream;

use crate::proxy::{
    Proxy, counted, one_model, removed, reply, request_header, response_header, tokens,
};

fn proxy(role: &str) -> Proxy {
    let bucket = tokens(10, "0.001", "");
    let head = format!("{{\"role\":\"{role}\",\"bodies\":\"never\",");
    Proxy::new(&one_model(&bucket).replacen('{', &head, 1))
}

/// The headers of a chat request whose body follows.
fn chat(proxy: &mut Proxy, headers: &[(&str, &str)]) -> (Stream, Step) {
    let mut all = vec![
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        ("content-length", "99999999"),
        ("content-encoding", "gzip"),
    ];
    all.extend_from_slice(headers);
    let headers = Headers::from_pairs(&all);
    proxy.host.headers_size.set(headers.size());
    let mut stream = Stream::new();
    let step = stream.request_headers(&mut proxy.vm, &proxy.host, headers, false);
    (stream, step)
}

#[test]
fn a_request_is_tagged_by_its_headers_and_its_answer_by_the_version_that_served() {
    let mut proxy = proxy("decide");
    let headers = [
        ("x-model", "Org/M"),
        ("x-tenant-id", "acme"),
        ("x-headgate-tenant", "forged"),
    ];
    let (mut stream, step) = chat(&mut proxy, &headers);
    assert_eq!(step.flow, Flow::Continue);
    assert_eq!(request_header(&step, "x-model"), Some("m"));
    assert_eq!(request_header(&step, "x-model-version"), Some("v1"));
    assert_eq!(request_header(&step, "x-headgate-tenant"), Some("acme"));
    assert!(!stream.wants_request_body());
    let headers = [(":status", "200"), ("content-type", "application/json")];
    let step = proxy.answer(&mut stream, &headers, r#"{"usage":{"total_tokens":9}}"#);
    assert_eq!(response_header(&step, "x-model-version"), Some("v1"));
    assert!(!stream.wants_response_body());
    assert!(proxy.end(&mut stream).is_empty(), "nothing was charged");
}

#[test]
fn a_request_whose_model_only_its_body_names_passes_without_tags() {
    for headers in [
        &[("x-headgate-tenant", "forged")][..],
        &[("x-model", ""), ("x-headgate-tenant", "forged")],
    ] {
        let mut proxy = proxy("decide");
        let (stream, step) = chat(&mut proxy, headers);
        assert_eq!(step.flow, Flow::Continue);
        assert!(removed(&step, "x-headgate-tenant"));
        assert_eq!(request_header(&step, "x-headgate-tenant"), None);
        assert!(!stream.wants_request_body() && !stream.wants_response());
        let metric = "model_namespace=.=;.;model=.=unknown;.;version=.=;.;lane=.=;.;outcome=.=unmetered;.;headgate_requests_total";
        assert_eq!(counted(&step.effects, metric), 1);
    }
}

#[test]
fn names_in_headers_are_checked_as_ever() {
    for (headers, status) in [
        (&[("x-model", "nobody")][..], 404),
        (&[("x-model", "m"), ("x-model-version", "v9")], 404),
    ] {
        let (_, step) = chat(&mut proxy("decide"), headers);
        assert_eq!(reply(&step).status, status, "{headers:?}");
    }
}

#[test]
fn a_hop_that_follows_touches_no_header() {
    let headers = [("x-model", "m"), ("x-headgate-lane", "base")];
    let (_, step) = chat(&mut proxy("follow"), &headers);
    assert_eq!(step.flow, Flow::Continue);
    let own = |e: &Effect| matches!(e, Effect::Count(..) | Effect::SetState(..));
    assert!(step.effects.iter().all(own), "{:?}", step.effects);
}
