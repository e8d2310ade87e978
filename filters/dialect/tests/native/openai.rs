//! OpenAI's further operations at every cut.

use crate::golden::{self, openai};
use headgate_dialect::{Endpoint, Label};

#[test]
fn an_answer_in_two_pieces_is_read_as_the_whole() {
    for case in openai::answers() {
        let read = |at: usize| {
            let (before, after) = case.answer.split_at(at);
            golden::read(golden::scanner_of(&case, false), [before, after])
        };
        let whole = read(0);
        for at in 1..case.answer.len() {
            assert_eq!(read(at), whole, "{} cut at {at}", case.name);
        }
    }
}

#[test]
fn a_request_in_two_pieces_is_read_as_the_whole() {
    let facts = |endpoint: &Endpoint, pieces: [&[u8]; 2]| {
        let mut scanner = endpoint.request_scanner(Default::default()).unwrap();
        pieces.iter().for_each(|piece| scanner.push(piece));
        scanner.finish()
    };
    let good = openai::requests().into_iter();
    let bad = openai::bad().into_iter();
    let all = good.map(|case| (case.endpoint, case.body, Ok(case.facts)));
    for (endpoint, body, expected) in
        all.chain(bad.map(|case| (case.endpoint, case.body, Err(case.error))))
    {
        for at in 0..=body.len() {
            let (before, after) = body.split_at(at);
            assert_eq!(facts(endpoint, [before, after]), expected, "cut at {at}");
        }
    }
}

#[test]
fn the_id_of_a_response_is_known_from_its_first_event() {
    let ids = |label, answer: &[u8]| {
        let endpoint = golden::endpoint("/v1/responses");
        let read = |pieces: &[&[u8]]| {
            let mut scanner = endpoint.usage_scanner(label, 1);
            for piece in pieces {
                scanner.push(piece, false);
            }
            scanner.response_id().map(str::to_owned)
        };
        let whole = read(&[answer]);
        let single: Vec<&[u8]> = answer.chunks(1).collect();
        assert_eq!(read(&single), whole);
        whole
    };
    let mut known = 0;
    for case in openai::answers() {
        if case.path == "/v1/responses" {
            // Every answer of the table is of this response.
            assert_eq!(
                ids(case.label, case.answer).as_deref(),
                Some("resp_1"),
                "{}",
                case.name
            );
            known += 1;
        }
    }
    assert!(known > 15, "{known}");
    let id = |len: usize| format!(r#"{{"id":"{}","output":[]}}"#, "r".repeat(len));
    assert_eq!(ids(Label::Json, id(128).as_bytes()), Some("r".repeat(128)));
    assert_eq!(ids(Label::Json, id(129).as_bytes()), None);
    assert_eq!(ids(Label::Json, id(0).as_bytes()), None);
    // The id of an item is none.
    let item = br#"{"output":[{"id":"msg_1","content":[]}]}"#;
    assert_eq!(ids(Label::Json, item), None);
}

#[test]
fn usage_of_a_cut_last_event_counts_once_it_is_complete() {
    let case = openai::answers()
        .into_iter()
        .find(|case| case.name == "openai-responses")
        .unwrap();
    let text = std::str::from_utf8(case.answer).unwrap();
    let last = "\"total_tokens\":123}";
    let end = text.find(last).unwrap() + last.len();
    for at in 0..=case.answer.len() {
        let (results, _) = golden::read(golden::scanner_of(&case, false), [&case.answer[..at]]);
        assert_eq!(
            results.usage,
            case.usage.filter(|_| at >= end),
            "cut at {at}"
        );
    }
}
