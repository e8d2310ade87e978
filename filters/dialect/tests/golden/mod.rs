//! Tables of what must come out of what goes in, shared by the native and the wasm test runs.

pub(crate) mod answers;
pub(crate) mod bad;
pub(crate) mod requests;

use headgate_dialect::{Body, BodyError, Endpoint, Limits, Observed, RequestScanner};
use headgate_dialect::{Usage, UsageScanner};

/// The facts of a body pushed in portions of `portion` bytes.
pub(crate) fn scan(endpoint: Endpoint, body: &[u8], portion: usize) -> Result<Body, BodyError> {
    let mut scanner = RequestScanner::new(endpoint, Limits::default());
    for chunk in body.chunks(portion) {
        scanner.push(chunk);
    }
    scanner.finish()
}

/// Everything an answer gives, pushed in portions of `portion` bytes.
pub(crate) fn settle(
    mut scanner: UsageScanner,
    answer: &[u8],
    portion: usize,
) -> (Option<Usage>, Observed, bool) {
    for chunk in answer.chunks(portion) {
        scanner.push(chunk);
    }
    (scanner.usage(), scanner.observed(), scanner.done())
}

/// Checks every table with every portion; the name of the case is in the panic.
pub(crate) fn check_all() {
    for portion in [1, 2, 3, 7, 64, usize::MAX] {
        for case in requests::cases() {
            let body = scan(case.endpoint, case.body, portion);
            assert_eq!(body, Ok(case.facts), "{} by {portion}", case.name);
        }
        for case in bad::cases() {
            let error = scan(case.endpoint, case.body, portion).err();
            assert_eq!(
                error.as_ref(),
                Some(&case.error),
                "{} by {portion}",
                case.name()
            );
        }
        for case in answers::cases() {
            let seen = settle((case.scanner)(), case.answer, portion);
            let bytes = case.answer.len() as u64;
            let observed = Observed {
                deltas: case.deltas,
                text_bytes: case.text_bytes,
                bytes,
            };
            let expected = (case.usage, observed, case.done);
            assert_eq!(seen, expected, "{} by {portion}", case.name);
        }
    }
}
