//! Requests for embeddings: only the prompt is charged, whatever the answer is.

use headgate_core::effects::{Effect, Flow, Step};
use headgate_core::headers::Headers;
use headgate_core::stream::Stream;

use crate::proxy::{Proxy, counted, one_model, removed, reply, reply_header, text, tokens};

const JSON: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/json")];
/// 20 bytes of prompt: 5 tokens.
const BODY: &str = r#"{"model":"Org/M","input":["1234567890","1234567890"]}"#;
const VECTORS: &str = r#"{"object":"list","data":[{"embedding":[0.125,-1e-9]}],"usage":{"prompt_tokens":7,"total_tokens":7}}"#;
const CHARGED: &str = "rule=.=default/p/budget;.;model=.=m;.;version=.=v1;.;headgate_charged_milli";

fn proxy(more: &str) -> Proxy {
    Proxy::new(&one_model(&tokens(1000, "0.001", more)))
}

fn send(proxy: &mut Proxy, more: &[(&str, &str)], body: &str) -> (Stream, Step) {
    let mut headers = vec![(":method", "POST"), (":path", "/v1/embeddings")];
    headers.extend_from_slice(more);
    proxy.send(&headers, Some(body.as_bytes()))
}

/// The tokens that a request with this answer is charged.
fn charged(proxy: &mut Proxy, headers: &[(&str, &str)], answer: &str) -> u64 {
    let (mut stream, step) = send(proxy, &[], BODY);
    assert_eq!(step.flow, Flow::Continue);
    proxy.answer(&mut stream, headers, answer);
    counted(&proxy.end(&mut stream), CHARGED) / 1000
}

#[test]
fn the_charge_is_the_usage() {
    let mut proxy = proxy("");
    assert_eq!(charged(&mut proxy, &JSON, VECTORS), 7);
    let (mut stream, step) = send(&mut proxy, &[("accept-encoding", "gzip")], BODY);
    assert!(removed(&step, "accept-encoding"));
    proxy.answer(&mut stream, &JSON, VECTORS);
    let effects = proxy.end(&mut stream);
    let metric = |name: &str| {
        counted(
            &effects,
            &format!("model=.=m;.;version=.=v1;.;headgate_{name}"),
        )
    };
    assert_eq!(metric("input_tokens"), 7);
    let observed =
        |e: &Effect| matches!(e, Effect::Observe(m, _) if m.rendered().contains("output_tokens"));
    assert!(!effects.iter().any(observed), "there is no output");
}

#[test]
fn without_usage_the_charge_is_the_estimate_whatever_the_bytes_are() {
    let vectors = format!(r#"{{"data":[{{"embedding":"{}"}}]}}"#, "A".repeat(50_000));
    let binary = [
        (":status", "200"),
        ("content-type", "application/octet-stream"),
    ];
    let gzip = [JSON[0], JSON[1], ("content-encoding", "gzip")];
    for more in ["", r#","unreadable":"reservation""#] {
        let mut proxy = proxy(more);
        assert_eq!(charged(&mut proxy, &JSON, &vectors), 5, "no usage");
        assert_eq!(charged(&mut proxy, &JSON, "not JSON"), 5, "no JSON");
        assert_eq!(charged(&mut proxy, &JSON, ""), 5, "empty");
        assert_eq!(charged(&mut proxy, &binary, &"\u{1}".repeat(9000)), 5);
        assert_eq!(charged(&mut proxy, &gzip, &"\u{1}".repeat(9000)), 5);
    }
}

#[test]
fn failures_are_charged_as_for_other_requests() {
    let mut proxy = proxy("");
    let error = r#"{"error":{"message":"too long","type":"invalid_request_error"}}"#;
    for status in ["400", "429", "500"] {
        let headers = [(":status", status), JSON[1]];
        assert_eq!(charged(&mut proxy, &headers, error), 0, "{status}");
    }
    assert_eq!(
        charged(&mut proxy, &JSON, error),
        0,
        "200 with only an error"
    );
    let (mut stream, _) = send(&mut proxy, &[], BODY);
    proxy.host.ends("downstream_remote_disconnect", true);
    assert_eq!(counted(&proxy.end(&mut stream), CHARGED), 5000);
}

#[test]
fn token_ids_count_exactly_and_nothing_is_reserved_for_output() {
    for (input, tokens) in [
        (r#""12345678""#, 2),
        (r#"["1234","12345678"]"#, 3),
        ("[1,2,3,4,5]", 5),
        ("[[1,2,3],[4,5]]", 5),
        ("[[1,2,3],\"1234\"]", 4),
    ] {
        // A header raises only the default of an output limit, and embeddings have none.
        for headers in [&[][..], &[("x-max-tokens", "4096")]] {
            let mut proxy = proxy("");
            let body = format!(r#"{{"model":"m","input":{input}}}"#);
            let (mut stream, step) = send(&mut proxy, headers, &body);
            assert_eq!(step.flow, Flow::Continue);
            let answer = Headers::from_pairs(&JSON);
            let step = stream.response_headers(&mut proxy.vm, &proxy.host, &answer, true);
            let remaining = crate::proxy::response_header(&step, "x-ratelimit-remaining-tokens");
            let expected = (1000 - tokens).to_string();
            assert_eq!(remaining, Some(expected.as_str()), "{input}");
        }
    }
}

#[test]
fn a_request_is_never_amended_and_its_answer_passes_unchanged() {
    let body = r#"{"model":"m","input":"a","stream":true}"#;
    let mut proxy = proxy("");
    let (mut stream, step) = send(&mut proxy, &[], body);
    let amended = |e: &Effect| matches!(e, Effect::AmendRequestBody(..));
    assert!(!step.effects.iter().any(amended));
    let headers = Headers::from_pairs(&JSON);
    stream.response_headers(&mut proxy.vm, &proxy.host, &headers, false);
    for (i, byte) in VECTORS.as_bytes().iter().enumerate() {
        let end = i + 1 == VECTORS.len();
        let step = stream.response_body(&mut proxy.vm, &proxy.host, &[*byte], end);
        assert_eq!(step, Step::go_on());
    }
    assert_eq!(counted(&proxy.end(&mut stream), CHARGED), 7000);
}

#[test]
fn a_refusal_names_the_input_as_the_cost() {
    let mut proxy = proxy("");
    let long = format!(r#"{{"model":"m","input":"{}"}}"#, "x".repeat(4001));
    let (_, step) = send(&mut proxy, &[], &long);
    let refused = reply(&step);
    assert_eq!(refused.status, 400);
    assert_eq!(
        text(refused),
        concat!(
            r#"{"error":{"message":"the request costs 1001 tokens, more than bucket `budget` ever holds (1000); "#,
            r#"shorten `input`, or split it over several requests","type":"invalid_request_error","#,
            r#""param":"input","code":"cost_exceeds_capacity"}}"#
        )
    );
    let half = format!(r#"{{"model":"m","input":"{}"}}"#, "x".repeat(2400));
    assert_eq!(send(&mut proxy, &[], &half).1.flow, Flow::Continue);
    let (_, step) = send(&mut proxy, &[], &half);
    let refused = reply(&step);
    assert_eq!(refused.status, 429);
    assert!(text(refused).contains(r#""type":"tokens","param":null,"code":"rate_limit_exceeded""#));
    assert!(reply_header(refused, "retry-after").is_some());
}

#[test]
fn a_bad_body_is_refused_with_the_field_names_of_the_endpoint() {
    let mut proxy = proxy("");
    for (body, param, message) in [
        (
            r#"{"model":"m","input":[null]}"#,
            "input",
            "`input` must be a string, or an array of strings or token ids",
        ),
        (r#"{"input":"a"}"#, "model", "`model` is missing"),
        (r#"{"model":"none","input":"a"}"#, "model", "does not exist"),
    ] {
        let (_, step) = send(&mut proxy, &[], body);
        let words = text(reply(&step));
        assert!(words.contains(message), "{words}");
        assert!(words.contains(&format!("\"param\":\"{param}\"")), "{words}");
    }
}

#[test]
fn with_a_price_of_output_only_the_reservation_is_charged() {
    // One token of output is reserved, as for every request that generates nothing: 1/512 of a request.
    let bucket = r#"{"policy":"p","bucket":{"name":"budget","key":[],"profile":"semantic"}}"#;
    let mut proxy = Proxy::new(&one_model(bucket));
    for answer in [VECTORS, r#"{"data":[]}"#, ""] {
        let (mut stream, _) = send(&mut proxy, &[], BODY);
        proxy.answer(&mut stream, &JSON, answer);
        // Rounded to thousandths.
        assert_eq!(counted(&proxy.end(&mut stream), CHARGED), 2, "{answer}");
    }
}
