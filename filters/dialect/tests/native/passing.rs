//! Property: all bytes of an answer pass without delay, except the event that only reports usage.

use crate::golden::{self, case::Case, chat};
use headgate_dialect::{Label, Output};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

/// The ends of the events of a stream, after their blank lines. Bytes before an event belong to it.
pub(crate) fn borders(stream: &[u8]) -> Vec<usize> {
    let mut borders = Vec::new();
    let (mut at, mut blank) = (0, true);
    while at < stream.len() {
        let line_end = match &stream[at..] {
            [b'\r', b'\n', ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            _ => 0,
        };
        at += line_end.max(1);
        if line_end > 0 && blank {
            borders.push(at);
        }
        blank = line_end > 0;
    }
    if borders.last() != Some(&stream.len()) {
        borders.push(stream.len());
    }
    borders
}

/// Whether an event only reports usage, as serde_json reads it.
fn reports_usage(event: &[u8]) -> bool {
    let text = String::from_utf8_lossy(event);
    let data: Vec<&str> = text
        .split(['\r', '\n'])
        .filter_map(|line| line.strip_prefix("data:"))
        .collect();
    let Ok(chunk) = serde_json::from_str::<Value>(&data.join("\n")) else {
        return false;
    };
    const METADATA: [&str; 6] = [
        "choices",
        "usage",
        "metrics",
        "time_info",
        "stats",
        "timings",
    ];
    let known = |key: &str| METADATA.contains(&key) || key.starts_with("x_");
    let Some(fields) = chunk.as_object() else {
        return false;
    };
    let wanted = |(key, value): (&String, &Value)| {
        !known(key) && (value.is_object() || value.is_array()) || key == "error" && !value.is_null()
    };
    chunk["choices"].as_array().is_some_and(Vec::is_empty)
        && chunk["usage"].is_object()
        && !fields.iter().any(wanted)
}

fn passing(pieces: &[&[u8]]) -> Vec<u8> {
    let scanner = chat().usage_scanner(Label::Events, 1).removing_usage();
    golden::read(scanner, pieces.iter().copied()).1
}

fn streams() -> impl Iterator<Item = Case> {
    let cases = golden::corpus::cases().into_iter();
    cases.filter(|case| case.label == Label::Events && !case.answer.starts_with(b"\n{"))
}

#[test]
fn every_recorded_stream_passes_except_its_usage_event() {
    let mut taken_out = 0;
    for case in streams() {
        let (mut from, mut expected) = (0, Vec::new());
        for to in borders(case.answer) {
            let event = &case.answer[from..to];
            match reports_usage(event) {
                true => taken_out += 1,
                false => expected.extend_from_slice(event),
            }
            from = to;
        }
        assert_eq!(passing(&[case.answer]), expected, "{}", case.name);
        let single: Vec<&[u8]> = case.answer.chunks(1).collect();
        assert_eq!(passing(&single), expected, "{} by bytes", case.name);
    }
    assert!(taken_out > 20, "{taken_out}");
}

#[test]
fn no_event_is_delayed() {
    for case in streams() {
        let mut scanner = chat().usage_scanner(Label::Events, 1).removing_usage();
        let mut from = 0;
        for to in borders(case.answer) {
            let event = &case.answer[from..to];
            let passed = match scanner.push(event, false) {
                Output::Unchanged => event.to_vec(),
                Output::Replaced(bytes) => bytes,
            };
            let ended = event.ends_with(b"\n\n") || event.ends_with(b"\r\r");
            if !reports_usage(event) && ended {
                assert_eq!(passed, event, "{}", case.name);
            }
            from = to;
        }
    }
}

#[test]
fn an_event_passes_as_soon_as_it_has_a_choice() {
    for event in [
        "data: {\"id\":\"c\",\"choices\":[{",
        "data: {\"id\":\"c\",\"usage\":{\"prompt_tokens\":1},\"choices\":[{",
        "data: {\"id\":\"c\",\"choices\":[],\"usage\":null",
        "data: {\"id\":\"c\",\"choices\":[],\"usage\":[",
        "data: {\"id\":\"c\",\"choices\":null",
        "data: {\"id\":\"c\",\"choices\":[7,",
        "data: [{",
        "data: {oops",
        "data: [D",
        "data: word",
        "event: x\nid: 1\ndata: {\"choices\":[\"",
        ": a comment, which is no event",
    ] {
        let mut scanner = chat().usage_scanner(Label::Events, 1).removing_usage();
        let mut passed = Vec::new();
        for byte in event.as_bytes() {
            match scanner.push(&[*byte], false) {
                Output::Unchanged => passed.push(*byte),
                Output::Replaced(bytes) => passed.extend(bytes),
            }
        }
        let passed = String::from_utf8(passed).unwrap();
        assert!(event.starts_with(&passed), "{event}: {passed}");
        assert!(event.len() - passed.len() <= 1, "{event}: {passed}");
    }
}

#[test]
fn a_possible_usage_event_is_held_back_and_passes_unless_it_is_one() {
    let usage = b"data: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1},\"choices\":[]}";
    for line_end in ["", "\n", "\r", "\r\n"] {
        let stream = [&usage[..], line_end.as_bytes()].concat();
        let mut scanner = chat().usage_scanner(Label::Events, 1).removing_usage();
        assert_eq!(scanner.push(&stream, false), Output::Replaced(Vec::new()));
        assert_eq!(scanner.push(b"", true), Output::Replaced(Vec::new()));
        assert_eq!(scanner.usage().map(|usage| usage.output), Some(1));
    }
    let cut = &usage[..usage.len() - 1];
    let mut scanner = chat().usage_scanner(Label::Events, 1).removing_usage();
    assert_eq!(scanner.push(cut, false), Output::Replaced(Vec::new()));
    assert_eq!(scanner.push(b"", true), Output::Replaced(cut.to_vec()));
    let mut scanner = chat().usage_scanner(Label::Events, 1).removing_usage();
    assert_eq!(scanner.push(cut, true), Output::Unchanged);
}

#[test]
fn a_long_event_passes_and_is_held_back_only_briefly() {
    let begin = b"data: {\"choices\":[],\"usage\":{},\"x\":\"".to_vec();
    let fits = [&begin[..], &[b'x'; 60 << 10], b"\"}\n\n"].concat();
    let long = [&begin[..], &[b'x'; 64 << 10], b"\"}\n\n"].concat();
    for portion in [1, 1000, usize::MAX] {
        let passed = |stream: &[u8]| passing(&stream.chunks(portion).collect::<Vec<_>>());
        assert_eq!(passed(&fits), b"", "by {portion}");
        assert_eq!(passed(&long), long, "by {portion}");
    }
    let mut scanner = chat().usage_scanner(Label::Events, 1).removing_usage();
    scanner.push(&begin, false);
    let more = [b'x'; 1 << 16];
    assert!(matches!(scanner.push(&more, false), Output::Replaced(bytes) if bytes.len() > 1 << 16));
    assert_eq!(scanner.push(&more, false), Output::Unchanged);
}

#[test]
fn an_answer_that_is_not_a_stream_passes() {
    let document = b"{\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}";
    for label in [Label::Json, Label::Events, Label::Other] {
        let mut scanner = chat().usage_scanner(label, 1).removing_usage();
        assert_eq!(scanner.push(document, true), Output::Unchanged);
    }
    let mut scanner = chat().usage_scanner(Label::Json, 1).removing_usage();
    assert_eq!(
        scanner.push(b"\n\nda", false),
        Output::Replaced(b"\n\n".to_vec())
    );
    assert_eq!(
        scanner.push(b"te", false),
        Output::Replaced(b"date".to_vec())
    );
    assert_eq!(scanner.push(b"s", true), Output::Unchanged);
}

/// An event, and whether it passes. Line ends are written as `\n`.
fn event() -> impl Strategy<Value = (&'static str, bool)> {
    select(vec![
        (
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n",
            true,
        ),
        ("data: {\"choices\":[],\"usage\":null}\n\n", true),
        (
            "data: {\"choices\":[],\"prompt_filter_results\":[{}]}\n\n",
            true,
        ),
        (
            "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1}}\n\n",
            true,
        ),
        ("data: {\"usage\":{\"prompt_tokens\":1}}\n\n", true),
        ("data: {\"choices\":[],\"usage\":{}\n\n", true),
        ("data: [{\"choices\":[],\"usage\":{}}]\n\n", true),
        ("data: {\"result\":{\"choices\":[],\"usage\":{}}}\n\n", true),
        ("data: {\"choices\":[],\"usage\":{}}\ndata: {}\n\n", true),
        ("data: {\"choices\":[],\"usage\":{}} x\n\n", true),
        (
            "data: {\"choices\":[],\"usage\":{}}\ndata: [DONE]\n\n",
            true,
        ),
        (
            "data: {\"choices\":[],\"usage\":{},\"error\":{\"message\":\"gone\"}}\n\n",
            true,
        ),
        (
            "data: {\"error\":\"gone\",\"choices\":[],\"usage\":{}}\n\n",
            true,
        ),
        (
            "event: error\ndata: {\"choices\":[],\"usage\":{}}\n\n",
            true,
        ),
        (
            "data: {\"choices\":[],\"usage\":{},\"citations\":[\"https://a\"]}\n\n",
            true,
        ),
        (
            "data: {\"choices\":[],\"usage\":{},\"delta\":{\"content\":\"a\"}}\n\n",
            true,
        ),
        (
            "data: {\"choices\":[],\"usage\":{},\"error\":null,\"citations\":null,\"x_groq\":{\"id\":\"a\"},\"time_info\":{\"queue\":[1]},\"service_tier\":\"a\"}\n\n",
            false,
        ),
        ("data: [DONE]\n\n", true),
        (": ping\n", true),
        (": ping\n\n", true),
        ("\n", true),
        ("event: ping\n\n", true),
        ("id: 7\nretry: 10\ndata: word\n\n", true),
        ("{\"choices\":[],\"usage\":{}}\n\n", true),
        ("data: word\ndata: {\"choices\":[],\"usage\":{}}\n\n", true),
        ("data: {\"choices\":[],\"usage\":{}}\n\n", false),
        (
            "data:{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2},\"id\":\"c\",\"choices\":[ ]}\n\n",
            false,
        ),
        (
            "event: message\nid: 4\ndata: {\"choices\":[],\ndata: \"usage\":{\"a\":[{\"choices\":[{}]}]}}\n\n",
            false,
        ),
        ("data\ndata: {\"choices\":[],\"usage\":{}}\n\n", false),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn all_events_pass_except_usage_events(
        events in vec((event(), select(vec!["\n", "\r", "\r\n"])), 0..8),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let (mut stream, mut expected) = (b": begin\n\n".to_vec(), b": begin\n\n".to_vec());
        for ((event, passes), line_end) in events {
            // An LF after a CR belongs to the same line end.
            let line_end = if stream.ends_with(b"\r") { "\r" } else { line_end };
            let event = event.replace('\n', line_end);
            stream.extend_from_slice(event.as_bytes());
            if passes {
                expected.extend_from_slice(event.as_bytes());
            }
        }
        let pieces = crate::chunking::cut(&stream, &cuts);
        let passed = passing(&pieces);
        prop_assert_eq!(passed.escape_ascii().to_string(), expected.escape_ascii().to_string());
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(passing(&single), expected);
    }

    #[test]
    fn a_comment_within_the_event_passes(cuts in vec(any::<Index>(), 0..8)) {
        let stream = b"data: {\"choices\":[],\r\n: ping\r\ndata: \"usage\":{}}\n: pong\r\r\n: last\n\n";
        let pieces = crate::chunking::cut(stream, &cuts);
        prop_assert_eq!(passing(&pieces), b": ping\r\n: pong\r: last\n\n");
    }
}
