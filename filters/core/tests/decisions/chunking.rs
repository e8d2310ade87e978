//! Chunking is invisible: the cuts in request and answer change neither effects nor settlement.

use headgate_core::effects::{Effect, Flow};
use headgate_core::headers::Headers;
use headgate_core::stream::Stream;
use proptest::prelude::*;

use crate::proxy::{Proxy, one_model, tokens};

/// All results of a stream.
#[derive(Debug, PartialEq)]
struct Trace {
    request: (Vec<Effect>, Flow),
    answer: Vec<Effect>,
    end: Vec<Effect>,
    cells: Vec<(String, Vec<u8>)>,
}

/// Runs a request and its answer, cut at these places. `tail`: the last piece is empty.
fn run(
    path: &str,
    request: &[u8],
    (sse, answer): (bool, &[u8]),
    cuts: (&[usize], &[usize]),
    tail: bool,
) -> Trace {
    let mut proxy = Proxy::new(&one_model(&tokens(1000, "10", "")));
    let mut stream = Stream::new();
    let headers = [(":method", "POST"), (":path", path), ("x-session-id", "s")];
    let headers = Headers::from_pairs(&headers);
    let mut step = stream.request_headers(&mut proxy.vm, &proxy.host, headers, false);
    for (piece, end) in pieces(request, cuts.0, tail) {
        if !stream.wants_request_body() {
            break;
        }
        assert!(step.effects.is_empty());
        step = stream.request_body(&mut proxy.vm, &proxy.host, piece, end);
    }
    let mut answered = Vec::new();
    if step.flow == Flow::Continue {
        let kind = if sse {
            "text/event-stream"
        } else {
            "application/json"
        };
        let headers = Headers::from_pairs(&[(":status", "200"), ("content-type", kind)]);
        answered = stream
            .response_headers(&mut proxy.vm, &proxy.host, &headers, false)
            .effects;
        for (piece, end) in pieces(answer, cuts.1, tail) {
            let step = stream.response_body(&mut proxy.vm, &proxy.host, piece, end);
            assert!(step.effects.is_empty() && step.flow == Flow::Continue);
        }
    }
    let end = proxy.end(&mut stream);
    let cells = proxy.host.cells.borrow();
    Trace {
        request: (step.effects, step.flow),
        answer: answered,
        end,
        cells: cells
            .iter()
            .map(|(k, v)| (k.clone(), v.0.clone()))
            .collect(),
    }
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[usize], tail: bool) -> Vec<(&'a [u8], bool)> {
    let mut places: Vec<_> = cuts.iter().map(|c| c % (bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    let mut pieces: Vec<_> = places
        .windows(2)
        .map(|w| (&bytes[w[0]..w[1]], false))
        .collect();
    if tail {
        pieces.push((b"", true));
    } else if let Some(last) = pieces.last_mut() {
        last.1 = true;
    }
    pieces
}

fn requests() -> impl Strategy<Value = Vec<u8>> {
    let valid = (1_u64..900, "[a-zü\\\\n\"]{0,40}").prop_map(|(max, text)| {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        format!(r#"{{"model":"Org/M","max_tokens":{max},"input":["{text}"],"messages":[{{"role":"user","content":"{text}"}}]}}"#)
    });
    let invalid = prop::sample::select(vec![
        "",
        "{",
        "[1]",
        "{\"model\":7}",
        "{\"model\":\"m\",\"n\":0}",
        "{}x",
        "nil",
    ]);
    let long =
        (4000_usize..4200).prop_map(|n| format!(r#"{{"model":"m","x":"{}"}}"#, "y".repeat(n)));
    let late =
        (4000_usize..4200).prop_map(|n| format!(r#"{{"model":"m","x":"{}"}}}}"#, "y".repeat(n)));
    prop_oneof![4 => valid, 2 => invalid.prop_map(str::to_owned), 1 => long, 1 => late]
        .prop_map(String::into_bytes)
}

fn answers() -> impl Strategy<Value = (bool, Vec<u8>)> {
    let stream = (
        prop::collection::vec("[a-zü ]{0,6}", 0..6),
        any::<bool>(),
        any::<bool>(),
    );
    let stream = stream.prop_map(|(words, usage, done)| {
        let mut text: String = words
            .iter()
            .map(|w| format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{w}\"}}}}]}}\r\n\r\n"))
            .collect();
        if usage {
            text += "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":9}}\n\n";
        }
        if done {
            text += "data: [DONE]\n\n";
        }
        (true, text.into_bytes())
    });
    let whole = prop::sample::select(vec![
        r#"{"choices":[{"message":{"content":"größe"}}],"usage":{"prompt_tokens":5,"completion_tokens":9}}"#,
        r#"{"choices":[{"message":{"content":"no usage"}}]}"#,
        r#"{"data":[{"embedding":[0.125,-1e-9]}],"usage":{"prompt_tokens":5,"total_tokens":5}}"#,
        r#"{"data":[{"embedding":"AAAA"}]}"#,
        r#"{"error":"x"}"#,
        "not json",
        "",
    ]);
    prop_oneof![stream, whole.prop_map(|w| (false, w.as_bytes().to_vec()))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn chunking_has_no_effect(
        path in prop::sample::select(vec!["/v1/chat/completions", "/v1/embeddings"]),
        request in requests(),
        (sse, answer) in answers(),
        first in prop::collection::vec(any::<usize>(), 0..8),
        second in prop::collection::vec(any::<usize>(), 0..8),
        tail: bool,
    ) {
        let whole = run(path, &request, (sse, &answer), (&[], &[]), false);
        let cut = run(path, &request, (sse, &answer), (&first, &second), tail);
        prop_assert_eq!(cut, whole);
    }
}

#[test]
fn single_bytes_give_the_same_result() {
    let request = r#"{"model":"m","max_tokens":30,"messages":[{"role":"user","content":"grüße \ud83d\ude00"}]}"#;
    let answer = "data: {\"choices\":[{\"delta\":{\"content\":\"ü\"}}]}\n\ndata: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n";
    let every: Vec<usize> = (0..500).collect();
    let run = |cuts, tail| {
        run(
            "/v1/chat/completions",
            request.as_bytes(),
            (true, answer.as_bytes()),
            cuts,
            tail,
        )
    };
    let whole = run((&[], &[]), false);
    let bytes = run((&every, &every), true);
    assert_eq!(whole, bytes);
    assert!(!whole.end.is_empty());
}
