//! An answer in two portions gives the same result and passes the same bytes as in one, without a panic.
#![no_main]

use headgate_dialect::{Label, Output, endpoints};
use libfuzzer_sys::fuzz_target;

const LABELS: [Label; 3] = [Label::Json, Label::Events, Label::Other];

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, answer) = input;
    let (head, tail) = answer.split_at(usize::from(cut).min(answer.len()));
    for (_, endpoint) in endpoints().filter(|(_, endpoint)| endpoint.reads_body()) {
        for label in LABELS {
            let results = |portions: &[&[u8]], removes_usage: bool| {
                let mut scanner = endpoint.usage_scanner(label, 1);
                if removes_usage {
                    scanner = scanner.removing_usage();
                }
                let mut passed = Vec::new();
                for (at, portion) in portions.iter().enumerate() {
                    match scanner.push(portion, at + 1 == portions.len()) {
                        Output::Unchanged => passed.extend_from_slice(portion),
                        Output::Replaced(bytes) => passed.extend(bytes),
                    }
                }
                (
                    scanner.usage(),
                    scanner.observed(),
                    (scanner.done(), scanner.error_only(), passed),
                )
            };
            for removes_usage in [false, true] {
                let whole = results(&[answer], removes_usage);
                assert!(removes_usage || whole.2.2 == answer);
                assert_eq!(results(&[head, tail], removes_usage), whole);
            }
        }
    }
});
