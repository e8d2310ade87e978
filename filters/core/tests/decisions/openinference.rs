//! Open Inference Protocol: how bodies are cut changes neither the decision nor the charge, and what passes may be longer than what is held.

use headgate_core::effects::{Flow, Step};
use headgate_core::headers::Headers;
use headgate_core::stream::Stream;

use crate::apis::{GRPC, JSON, charged, counted_debits, message, post, proxy};
use crate::proxy::{Proxy, one_model, reply, reply_header, tokens};

const INFER: [(&str, &str); 2] = [(":method", "POST"), (":path", "/v2/models/m/infer")];
/// Longer than `maxBodyBytes`.
const LONG: usize = 100_000;

/// A request with its body in these pieces, the last of which ends it. Returns the steps.
fn send(proxy: &mut Proxy, headers: &[(&str, &str)], pieces: &[&[u8]]) -> (Stream, Vec<Step>) {
    let mut stream = Stream::new();
    let headers = Headers::from_pairs(headers);
    let mut steps = vec![stream.request_headers(&mut proxy.vm, &proxy.host, headers, false)];
    for (at, piece) in pieces.iter().enumerate() {
        let end = at + 1 == pieces.len();
        steps.push(stream.request_body(&mut proxy.vm, &proxy.host, piece, end));
    }
    (stream, steps)
}

/// The charge of a request whose body arrives in portions of this length.
fn charge(headers: &[(&str, &str)], body: &[u8], portion: usize) -> u64 {
    let mut proxy = proxy("{}");
    let pieces: Vec<&[u8]> = body.chunks(portion).collect();
    let (mut stream, steps) = send(&mut proxy, headers, &pieces);
    let decided = steps.iter().filter(|step| step.flow == Flow::Continue);
    assert!(decided.count() >= 1, "{:?}", steps.last());
    assert!(!stream.answered());
    if headers.len() > 2 && headers[2].1 == "application/grpc" {
        let ok = Headers::from_pairs(&[(":status", "200"), ("grpc-status", "0")]);
        stream.response_headers(&mut proxy.vm, &proxy.host, &ok, true);
    } else {
        proxy.answer(&mut stream, &JSON, r#"{"outputs":[]}"#);
    }
    charged(&mut proxy, stream)
}

/// The JSON of a request with one binary tensor of so many bytes.
fn announcing(bytes: usize) -> String {
    format!(
        r#"{{"inputs":[{{"name":"x","datatype":"UINT8","shape":[{bytes}],"parameters":{{"binary_data_size":{bytes}}}}}]}}"#
    )
}

#[test]
fn binary_tensors_may_be_longer_than_what_is_held() {
    let json = announcing(LONG);
    let body = [json.as_bytes(), &vec![1; LONG]].concat();
    let (json_length, length) = (json.len().to_string(), body.len().to_string());
    let mut headers = INFER.to_vec();
    headers.push(("inference-header-content-length", &json_length));
    for sized in [false, true] {
        if sized {
            headers.push(("content-length", &length));
        }
        for portion in [7, 1000, 64 << 10, usize::MAX] {
            let charge = charge(&headers, &body, portion);
            assert_eq!(charge, LONG as u64 / 4, "{sized} by {portion}");
        }
    }
    // The JSON is held.
    let json = format!("{{\"id\":\"{}\"}}", "x".repeat(LONG));
    let length = json.len().to_string();
    for header in ["inference-header-content-length", "content-length"] {
        let (_, step) = post(&mut proxy("{}"), INFER[1].1, &[(header, &length)], &json);
        assert_eq!(reply(&step).status, 413, "{header}");
    }
}

#[test]
fn tensors_that_were_not_announced_cost_the_same_in_any_pieces() {
    let json = announcing(40);
    let body = [json.as_bytes(), &vec![1; 4000]].concat();
    let json_length = json.len().to_string();
    let mut headers = INFER.to_vec();
    headers.push(("inference-header-content-length", &json_length));
    for portion in [1, 100, 1000, usize::MAX] {
        assert_eq!(charge(&headers, &body, portion), 1000, "by {portion}");
    }
    // No JSON at all: decided by the headers.
    headers[2].1 = "0";
    let body = [7; 4000];
    assert_eq!(charge(&headers, &body, 100), 1000);
    headers.push(("content-length", "4000"));
    assert_eq!(charge(&headers, &body, usize::MAX), 1000);
    let (_, steps) = send(&mut proxy("{}"), &headers, &[]);
    assert_eq!(steps.last().map(|step| &step.flow), Some(&Flow::Continue));
}

/// `ModelInferRequest` for `m` with this many bytes of raw tensors, at most 127.
fn infer(raw: u8) -> Vec<u8> {
    let tensor = vec![7; usize::from(raw)];
    message(0, &[&[0x0A, 1, b'm', 0x3A, raw][..], &tensor].concat())
}

#[test]
fn messages_cost_the_same_together_and_apart() {
    let body = [infer(40), infer(80), message(1, &[9; 100]), infer(12)].concat();
    for portion in [1, 2, 5, 50, 51, 100, usize::MAX] {
        let charge = charge(&GRPC, &body, portion);
        assert_eq!(charge, 10 + 20 + 25 + 3, "by {portion}");
    }
}

#[test]
fn only_the_first_message_has_to_be_affordable() {
    let body = [infer(40), infer(120), infer(120)].concat();
    for portion in [1, 60, usize::MAX] {
        let mut proxy = Proxy::new(&one_model(&tokens(12, "0.001", "")));
        let pieces: Vec<&[u8]> = body.chunks(portion).collect();
        let (stream, steps) = send(&mut proxy, &GRPC, &pieces);
        assert!(!stream.answered(), "by {portion}");
        let debited: u64 = steps.iter().map(counted_debits).sum();
        assert_eq!(debited, 60, "by {portion}");
        // The rest was taken as debt.
        let (stream, steps) = send(&mut proxy, &GRPC, &[&infer(40)]);
        assert!(stream.answered(), "by {portion}");
        assert_eq!(reply(steps.last().unwrap()).grpc, Some(8));
    }
}

#[test]
fn a_bad_first_message_is_refused_and_a_bad_further_one_is_the_upstreams() {
    let mut proxy = proxy("{}");
    let bad = message(0, &[0x0A, 1, b'm', 0x2A, 5, 0x12, 3, b'F', b'P', b'8']);
    let (_, steps) = send(&mut proxy, &GRPC, &[&bad]);
    let refused = reply(steps.last().unwrap());
    assert_eq!(refused.grpc, Some(3));
    assert!(refused.message.contains("`inputs[].datatype` must be"));
    assert!(reply_header(refused, "grpc-status-details-bin").is_some());
    let (_, steps) = send(&mut proxy, &GRPC, &[b"{\"inputs\":[]}"]);
    assert_eq!(reply(steps.last().unwrap()).grpc, Some(3));
    let body = [infer(40), bad, infer(8)].concat();
    for portion in [1, 3, usize::MAX] {
        assert_eq!(charge(&GRPC, &body, portion), 10 + 3 + 2, "by {portion}");
    }
    // A first message that is never complete.
    let (_, steps) = send(&mut proxy, &GRPC, &[&infer(40)[..20]]);
    assert_eq!(reply(steps.last().unwrap()).grpc, Some(3));
    let long = message(0, &vec![0x7A; LONG]);
    let (_, steps) = send(&mut proxy, &GRPC, &[&long[..LONG]]);
    let refused = reply(steps.last().unwrap());
    assert_eq!((refused.grpc, refused.status), (Some(3), 413));
}

#[test]
fn a_compressed_message_needs_the_model_in_a_header() {
    let body = message(1, &[9; 100]);
    let mut headers = GRPC.to_vec();
    headers.push(("x-model", "m"));
    assert_eq!(charge(&headers, &body, 1), 25);
    headers[3].1 = "other";
    let (stream, _) = send(&mut proxy("{}"), &headers, &[&infer(4)]);
    assert!(stream.answered());
}
