//! An answer in two portions gives what it gives in one, and never a panic.
#![no_main]

use headgate_dialect::UsageScanner;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, answer) = input;
    let (head, tail) = answer.split_at(usize::from(cut).min(answer.len()));
    for start in [UsageScanner::whole, UsageScanner::stream] {
        let seen = |portions: &[&[u8]]| {
            let mut scanner = start();
            for portion in portions {
                scanner.push(portion);
            }
            (
                scanner.usage(),
                scanner.observed(),
                (scanner.done(), scanner.foreign()),
            )
        };
        assert_eq!(seen(&[head, tail]), seen(&[answer]));
    }
});
