//! Property: the cuts between pieces have no effect, and no bytes make a scanner panic.

use crate::golden;
use headgate_dialect::{Body, BodyError, Endpoint, Label, Limits};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Small limits, so that every limit is met.
const LIMITS: Limits = Limits {
    max_depth: 6,
    max_string: 8,
    fingerprint_bytes: 10,
};

const LABELS: [Label; 3] = [Label::Json, Label::Events, Label::Other];

pub(crate) fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn facts(endpoint: &Endpoint, pieces: &[&[u8]]) -> Result<Body, BodyError> {
    let mut scanner = endpoint.request_scanner(LIMITS).unwrap();
    for piece in pieces {
        scanner.push(piece);
    }
    let early = scanner.error().cloned();
    let end = scanner.finish();
    if let Some(early) = early {
        assert_eq!(end, Err(early));
    }
    end
}

/// Fragments of syntax and names that are likely to reveal errors.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let known = select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u",
        "\\ud83d\\ude42",
        "\\ud83d",
        "d83d",
        "null",
        "true",
        "false",
        "-",
        "0",
        "12",
        "1.5",
        "e3",
        " ",
        "\n",
        "\r",
        "\r\n",
        "data:",
        "data: ",
        "[DONE]",
        ": ping",
        "event: x",
        "\u{FEFF}",
        "é",
        "東",
        "🙂",
        "\"model\":",
        "\"max_tokens\":",
        "\"max_completion_tokens\":",
        "\"n\":",
        "\"temperature\":",
        "\"stream\":",
        "\"user\":",
        "\"messages\":[",
        "\"prompt\":",
        "\"input\":",
        "\"data\":[{\"embedding\":[0.1,-2e-9],",
        "[[1,2],3,{\"image\":\"",
        "{\"role\":\"user\",",
        "\"content\":",
        // Longer than the pieces in which text is decoded.
        "\"content\":\"He said: \\\"Nobody has counted what it would cost to keep both of the lines open.\\\"\\nSo two went through the books of the last nine years, and wrote\\t(in the end) what they had found.\",",
        "{\"text\":",
        "\"metadata\":{\"user_id\":",
        "\"conversation\":{\"id\":",
        "\"usage\":{",
        "\"prompt_tokens\":1,",
        "\"completion_tokens\":2",
        "\"choices\":[{",
        "\"delta\":{",
        "\"text\":",
        "\"tools\":[",
        "\"suffix\":",
        "\"tool_calls\":[{",
        "\"name\":",
        "{\"image_url\":",
        "{\"refusal\":",
        "event: error\n",
        "data: {\"choices\":[],\"usage\":{}}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"ab\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"abab\"},\"index\":0,\"finish_reason\":\"stop\"}]}\n\n",
        "{\"choices\":[{\"message\":{\"content\":\"abab\"}}]}\n",
        "\"choices\":[],",
        "\"total_tokens\":9",
        "\"error\":",
        "\"message\":{",
        "\"index\":1,",
        "\"arguments\":",
        "\"reasoning_details\":[{",
        "\"audio\":{\"data\":",
        "\"analysis\":",
        "\"detail\":",
        "\"code\":7,",
        "\"errors\":[",
        "\"response\":{",
        "\"x_y\":{",
        "\"delta\":\"abab\",",
        "\"usage\":[{",
        "\"output_tokens\":3,",
        "\"metadata\":{",
        "\"options\":{\"num_predict\":",
        "\"images\":[",
        "\"inputs\":",
        "\"parameters\":{\"max_new_tokens\":",
        "\"sampling_params\":[{\"n\":2,",
        "{\"prompt_string\":",
        "\"multimodal_data\":[\"",
        "\"done\":true,",
        "\"stop\":true,",
        "\"eval_count\":3,",
        "\"token\":{\"text\":",
        "\"generated_text\":\"ab\",",
        "\"meta_info\":{",
        "\"text_output\":",
        "{\"source\":{\"data\":",
        "NaN",
    ]);
    prop_oneof![
        8 => known.prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..6),
        1 => ".{0,12}".prop_map(String::into_bytes),
    ]
}

/// Golden bodies and answers with a few changed bytes, and sequences of fragments; each with an endpoint that it may be for.
fn hostile() -> impl Strategy<Value = (Vec<u8>, &'static Endpoint)> {
    let golden: Vec<(Vec<u8>, &Endpoint)> = golden::requests()
        .into_iter()
        .map(|case| (case.body.to_vec(), case.endpoint))
        .chain(
            golden::bad::cases()
                .into_iter()
                .map(|case| (case.body.to_vec(), case.endpoint)),
        )
        .chain(
            golden::answers()
                .into_iter()
                .map(|case| (case.answer.to_vec(), golden::endpoint(case.path))),
        )
        .collect();
    let spoilt = (
        select(golden),
        vec((any::<Index>(), any::<Index>(), fragment()), 0..4),
    )
        .prop_map(|((mut bytes, endpoint), edits)| {
            for (start, len, with) in edits {
                let start = start.index(bytes.len() + 1);
                let end = (start + len.index(8)).min(bytes.len());
                bytes.splice(start..end, with);
            }
            (bytes, endpoint)
        });
    let fragments = vec(fragment(), 0..40).prop_map(|pieces| pieces.concat());
    prop_oneof![
        3 => spoilt,
        2 => (fragments, select(golden::endpoints())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn chunking_has_no_effect(
        (bytes, own) in hostile(),
        other in select(golden::endpoints()),
        cuts in vec(any::<Index>(), 0..8),
        sequences in 1..4u64,
    ) {
        let pieces = cut(&bytes, &cuts);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        for endpoint in [own, other].into_iter().filter(|endpoint| endpoint.reads_body()) {
            let whole = facts(endpoint, &[&bytes]);
            prop_assert_eq!(&facts(endpoint, &pieces), &whole);
            prop_assert_eq!(&facts(endpoint, &single), &whole);
        }
        for (endpoint, label) in [own, other].into_iter().flat_map(|e| LABELS.map(|l| (e, l))) {
            for removes_usage in [false, true] {
                let read = |pieces: &[&[u8]]| {
                    let scanner = golden::removing(endpoint.usage_scanner(label, sequences).of_prompts(sequences), removes_usage);
                    golden::read(scanner, pieces.iter().copied())
                };
                let whole = read(&[&bytes]);
                prop_assert!(removes_usage || whole.1 == bytes);
                prop_assert_eq!(read(&pieces), whole.clone());
                prop_assert_eq!(read(&single), whole);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        for endpoint in golden::endpoints() {
            let _ = facts(endpoint, &[&bytes]);
        }
        for label in LABELS {
            let mut scanner = golden::scanner(label, true);
            scanner.push(&bytes, true);
            prop_assert_eq!(scanner.observed().bytes, bytes.len() as u64);
        }
    }
}
