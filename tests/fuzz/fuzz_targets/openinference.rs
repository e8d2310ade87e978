//! An inference request in two portions gives the same facts as in one, and lets the same pass, without a panic: JSON with binary tensors,
//! and messages of gRPC.
#![no_main]

use headgate_dialect::{Body, BodyError, BodyHeaders, BodyScanner, Endpoint, Limits, Passed};
use libfuzzer_sys::fuzz_target;

fn scan(mut scanner: BodyScanner, portions: &[&[u8]]) -> (Result<Body, BodyError>, Passed) {
    let mut portions = portions.iter();
    while !scanner.decided() && scanner.error().is_none() {
        let Some(portion) = portions.next() else {
            break;
        };
        scanner.push(portion);
    }
    let body = scanner.finish();
    if body.is_err() {
        return (body, Passed::default());
    }
    let mut passed = scanner.pass(b"");
    for portion in portions {
        let more = scanner.pass(portion);
        passed.bytes = passed.bytes.saturating_add(more.bytes);
        passed.messages += more.messages;
    }
    (body, passed)
}

fuzz_target!(|input: (u16, Option<u16>, bool, &[u8])| {
    let (cut, json, sized, body) = input;
    let length = json.map(|length| length.to_string()).unwrap_or_default();
    let check = |path: &str, body: &[u8]| {
        let results = |portions: &[&[u8]]| {
            let endpoint = Endpoint::of_path(path.as_bytes()).expect("the path is known");
            let scanner = endpoint.request_scanner(Limits::default());
            let mut scanner = scanner.expect("its bodies are read");
            scanner.set_headers(&BodyHeaders {
                json_length: length.as_bytes(),
                content_length: sized.then_some(body.len() as u64),
                ..BodyHeaders::default()
            });
            scan(scanner, portions)
        };
        let (head, tail) = body.split_at(usize::from(cut).min(body.len()));
        assert_eq!(results(&[head, tail]), results(&[body]));
    };
    check("/v2/models/m/infer", body);
    check("/inference.GRPCInferenceService/ModelStreamInfer", body);
    let framed = [&[0][..], &(body.len() as u32).to_be_bytes(), body].concat();
    check("/inference.GRPCInferenceService/ModelInfer", &framed);
});
