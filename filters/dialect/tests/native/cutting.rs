//! Answers that end too early or never: the part that was read counts, in bounded memory.

use crate::golden::{self, Results, chat};
use crate::passing::borders;
use headgate_dialect::Label;
use serde_json::json;
use std::collections::HashSet;

#[test]
fn a_stream_cut_after_any_event_counts_the_text_so_far() {
    for case in golden::answers() {
        let mut scanner = golden::scanner_of(&case, false);
        let (mut from, mut before) = (0, 0);
        for to in borders(case.answer) {
            let cut = golden::scanner_of(&case, false);
            let (results, _) = golden::read(cut, [&case.answer[..to]]);
            scanner.push(&case.answer[from..to], false);
            assert_eq!(results, Results::of(&scanner), "{} at {to}", case.name);
            let text = results.observed.text_bytes;
            assert!(text >= before, "{} at {to}", case.name);
            // A stream is not done before its end, whatever it reports.
            assert!(case.done || !results.done, "{} at {to}", case.name);
            (from, before) = (to, text);
        }
        assert_eq!(before, case.text_bytes, "{}", case.name);
    }
}

/// Reads a stream of chunks, each repeated `times`, and returns the counted text.
fn long(times: usize, chunk: impl Fn(usize) -> serde_json::Value) -> u64 {
    let mut scanner = chat().usage_scanner(Label::Events, 1);
    for at in 0..times {
        scanner.push(format!("data: {}\n\n", chunk(at)).as_bytes(), false);
    }
    scanner.observed().text_bytes
}

#[test]
fn text_counts_also_beyond_the_limits_of_the_scanner() {
    // More choices than lanes.
    let text = long(
        2000,
        |at| json!({"choices": [{"index": at % 1000, "delta": {"content": "word "}}]}),
    );
    assert_eq!(text, 10_000);
    // More texts in one choice than pieces.
    let calls: Vec<_> = (0..500)
        .map(|at| json!({"index": at, "function": {"name": "f", "arguments": "{}"}}))
        .collect();
    let text = long(
        1,
        |_| json!({"choices": [{"delta": {"tool_calls": calls}}]}),
    );
    assert_eq!(text, 1500);
    // The same, and again in the last message of the stream.
    let text = long(2, |at| {
        let place = if at == 0 { "delta" } else { "message" };
        json!({"choices": [{place: {"tool_calls": calls}}]})
    });
    assert_eq!(text, 1500);
    // Nested blocks, deeper than the scanner reads.
    let blocks = (0..50).fold(json!("deep"), |inner, _| json!([{"text": inner}]));
    let text = long(
        3,
        |_| json!({"choices": [{"delta": {"content": blocks}}, {"delta": {"content": "on"}}]}),
    );
    assert_eq!(text, 6);
}

#[test]
fn cumulative_text_of_any_length_counts_once() {
    let words: Vec<String> = (0..400).map(|at| format!("word{at} ")).collect();
    let text = long(
        400,
        |at| json!({"choices": [{"delta": {"content": words[..=at].concat(), "reasoning": words[..=at].concat()}}]}),
    );
    assert_eq!(text, 2 * words.concat().len() as u64);
    // Once a delta is not cumulative, each delta counts.
    let text = long(5, |at| match at {
        4 => json!({"choices": [{"delta": {"content": "other"}}]}),
        _ => json!({"choices": [{"delta": {"content": words[..=at].concat()}}]}),
    });
    assert_eq!(text, 6 + 12 + 18 + 24 + 5);
}

#[test]
fn cumulative_fields_count_once_although_one_waits_for_the_other() {
    let words = |count: usize| "abc ".repeat(count);
    let text = long(80, |at| {
        json!({"choices": [{"delta": {
            "reasoning": words(at.min(39) + 1),
            "content": words((at + 1).saturating_sub(40)),
        }}]})
    });
    assert_eq!(text, 320);
}

#[test]
fn a_tool_name_in_every_chunk_counts_once() {
    let cumulative = long(60, |at| {
        json!({"choices": [{"delta": {"tool_calls": [
            {"index": 0, "function": {"name": "look_up", "arguments": "x".repeat(at + 1)}},
        ]}}]})
    });
    assert_eq!(cumulative, 7 + 60);
    let call = |at: usize| json!({"name": "look_up", "arguments": format!("{at:02}|")});
    let by_parts = long(
        60,
        |at| json!({"choices": [{"delta": {"function_call": call(at)}}]}),
    );
    assert_eq!(by_parts, 7 + 60 * 3);
}

#[test]
fn repeated_tokens_are_not_cumulative_text() {
    let text = long(1000, |_| json!({"choices": [{"delta": {"content": "0"}}]}));
    assert_eq!(text, 1000);
    let text = long(
        1000,
        |at| json!({"choices": [{"delta": {"content": if at < 2 { "0" } else { "00" }}}]}),
    );
    assert_eq!(text, 2 + 998 * 2);
}

#[test]
fn the_corpus_has_the_shapes_of_many_hosts() {
    let cases = golden::corpus::cases();
    let hosts: HashSet<_> = cases
        .iter()
        .map(|case| case.name.split('-').next())
        .collect();
    assert!(cases.len() >= 60 && hosts.len() >= 15, "{hosts:?}");
}

#[test]
fn an_invalid_event_affects_no_other_event() {
    let valid = "data: {\"choices\":[{\"delta\":{\"content\":\"good\"}}]}\n\n";
    let bad = "{\"choices\":[{\"delta\":{\"content\":\"lost\",\"logprob\":-Infinity}}]}";
    let stream = format!("{valid}data: {bad}\n\n{valid}");
    let (results, _) = golden::read(golden::scanner(Label::Events, false), [stream.as_bytes()]);
    assert_eq!(results.observed.text_bytes, 8);
    assert_eq!(results.observed.unread_bytes, bad.len() as u64);
}
