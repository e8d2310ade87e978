//! An answer in two portions gives what it gives in one, passes what it passes in one, and never a panic.
#![no_main]

use headgate_dialect::{Label, Output, UsageScanner};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, answer) = input;
    let (head, tail) = answer.split_at(usize::from(cut).min(answer.len()));
    for label in [Label::Json, Label::Events, Label::Other] {
        let seen = |portions: &[&[u8]], taking_out: bool| {
            let mut scanner = UsageScanner::new(label, 1);
            if taking_out {
                scanner = scanner.taking_out_usage();
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
        for taking_out in [false, true] {
            let whole = seen(&[answer], taking_out);
            assert!(taking_out || whole.2.2 == answer);
            assert_eq!(seen(&[head, tail], taking_out), whole);
        }
    }
});
