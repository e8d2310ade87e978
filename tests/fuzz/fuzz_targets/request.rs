//! A request body in two portions gives what it gives in one, and never a panic.
#![no_main]

use headgate_dialect::{Body, BodyError, Endpoint, Limits};
use libfuzzer_sys::fuzz_target;

const PATHS: [&str; 3] = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"];

fn scan(endpoint: &Endpoint, portions: &[&[u8]]) -> Option<Result<Body, BodyError>> {
    let mut scanner = endpoint.request_scanner(Limits::default())?;
    for portion in portions {
        scanner.push(portion);
    }
    Some(scanner.finish())
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, body) = input;
    let (head, tail) = body.split_at(usize::from(cut).min(body.len()));
    for endpoint in PATHS.iter().filter_map(|path| Endpoint::of_path(path.as_bytes())) {
        assert_eq!(scan(endpoint, &[head, tail]), scan(endpoint, &[body]));
    }
});
