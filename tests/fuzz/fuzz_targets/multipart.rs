//! A multipart body in two portions gives the same facts as in one, and lets the same pass, without a panic.
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
        passed.bytes += more.bytes;
        passed.tokens += more.tokens;
    }
    (body, passed)
}

fuzz_target!(|input: (u16, bool, bool, &[u8])| {
    let (cut, model_known, sized, body) = input;
    for path in ["/v1/audio/transcriptions", "/v1/images/edits"] {
        let results = |portions: &[&[u8]]| {
            let endpoint = Endpoint::of_path(path.as_bytes()).expect("the path is known");
            let scanner = endpoint.request_scanner(Limits::default());
            let mut scanner = scanner.expect("its bodies are read");
            scanner.set_headers(&BodyHeaders {
                content_type: b"multipart/form-data; boundary=b",
                content_length: sized.then_some(body.len() as u64),
                model_known,
                ..BodyHeaders::default()
            });
            scan(scanner, portions)
        };
        let (head, tail) = body.split_at(usize::from(cut).min(body.len()));
        assert_eq!(results(&[head, tail]), results(&[body]));
    }
});
