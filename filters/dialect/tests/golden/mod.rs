//! Tables of what must come out of what goes in, shared by the native and the wasm test runs.

pub(crate) mod answers;
pub(crate) mod bad;
pub(crate) mod corpus;
pub(crate) mod requests;

use headgate_dialect::{Body, BodyError, Endpoint, Label, Limits, Observed, RequestScanner};
use headgate_dialect::{Output, Usage, UsageScanner};

/// The facts of a body pushed in portions of `portion` bytes.
pub(crate) fn scan(endpoint: Endpoint, body: &[u8], portion: usize) -> Result<Body, BodyError> {
    let mut scanner = RequestScanner::new(endpoint, Limits::default());
    for chunk in body.chunks(portion) {
        scanner.push(chunk);
    }
    scanner.finish()
}

/// Everything an answer gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) usage: Option<Usage>,
    pub(crate) observed: Observed,
    pub(crate) done: bool,
    pub(crate) error_only: bool,
    pub(crate) stale: bool,
}

impl Seen {
    pub(crate) fn of(scanner: &UsageScanner) -> Self {
        Self {
            usage: scanner.usage(),
            observed: scanner.observed(),
            done: scanner.done(),
            error_only: scanner.error_only(),
            stale: scanner.usage_is_stale(),
        }
    }
}

/// What an answer gives and what of it passes, pushed in these pieces.
pub(crate) fn read<'a>(
    mut scanner: UsageScanner,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Seen, Vec<u8>) {
    let mut passed = Vec::new();
    for piece in pieces {
        match scanner.push(piece, false) {
            Output::Unchanged => passed.extend_from_slice(piece),
            Output::Replaced(bytes) => passed.extend_from_slice(&bytes),
        }
    }
    let seen = Seen::of(&scanner);
    if let Output::Replaced(bytes) = scanner.push(&[], true) {
        passed.extend_from_slice(&bytes);
    }
    (seen, passed)
}

/// A scanner for an answer of this label.
pub(crate) fn scanner(label: Label, sequences: u64, taking_out: bool) -> UsageScanner {
    let scanner = UsageScanner::new(label, sequences);
    match taking_out {
        true => scanner.taking_out_usage(),
        false => scanner,
    }
}

/// Checks every table with every portion; the panic names the cases.
pub(crate) fn check_all() {
    let mut wrong = Vec::new();
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
            let expected = Seen {
                usage: case.usage,
                observed: Observed {
                    text_bytes: case.text_bytes,
                    unread_bytes: case.unread_bytes,
                    bytes: case.answer.len() as u64,
                },
                done: case.done,
                error_only: case.error_only,
                stale: case.stale,
            };
            for taking_out in [false, true] {
                let scanner = scanner(case.label, case.sequences, taking_out);
                let (seen, passed) = read(scanner, case.answer.chunks(portion));
                if seen != expected {
                    wrong.push(format!(
                        "{} by {portion}: {seen:?}, not {expected:?}",
                        case.name
                    ));
                }
                if !taking_out && passed != case.answer {
                    wrong.push(format!("{} by {portion} does not pass", case.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
