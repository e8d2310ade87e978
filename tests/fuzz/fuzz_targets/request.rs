//! A request body in two portions gives the same result as in one, without a panic.
#![no_main]

use headgate_dialect::{Body, BodyError, Endpoint, Limits, endpoints};
use libfuzzer_sys::fuzz_target;

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
    for (_, endpoint) in endpoints() {
        assert_eq!(scan(endpoint, &[head, tail]), scan(endpoint, &[body]));
    }
});
