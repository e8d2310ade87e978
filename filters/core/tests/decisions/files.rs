//! Requests with files, and streams of Responses: the charge does not depend on how the bytes were cut.

use headgate_core::effects::{Flow, Step};
use headgate_core::headers::Headers;
use headgate_core::stream::Stream;

use crate::apis::{JSON, charged, proxy};
use crate::proxy::{Proxy, reply, request_header};

const TYPE: (&str, &str) = ("content-type", "multipart/form-data; boundary=b1");
const SOUND: &str = "/v1/audio/transcriptions";
const PICTURES: &str = "/v1/images/edits";

fn part(disposition: &str, value: &str) -> String {
    format!("--b1\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{value}\r\n")
}

/// Sends a body in portions of this size. Returns the step that decided.
fn upload(
    proxy: &mut Proxy,
    path: &str,
    more: &[(&str, &str)],
    body: &str,
    portion: usize,
) -> (Stream, Step) {
    let mut headers = vec![(":method", "POST"), (":path", path), TYPE];
    headers.extend_from_slice(more);
    let headers = Headers::from_pairs(&headers);
    let mut stream = Stream::new();
    let mut decided = stream.request_headers(&mut proxy.vm, &proxy.host, headers, false);
    let mut chunks = body.as_bytes().chunks(portion).peekable();
    while let Some(chunk) = chunks.next() {
        let end = chunks.peek().is_none();
        let step = stream.request_body(&mut proxy.vm, &proxy.host, chunk, end);
        if decided.flow == Flow::Pause {
            decided = step;
        }
    }
    (stream, decided)
}

#[test]
fn a_body_with_files_is_charged_alike_however_it_is_cut() {
    let model = part("name=\"model\"", "m");
    let user = part("name=\"user\"", "ada");
    let sound = part("name=\"file\"; filename=\"a.mp3\"", &"s".repeat(32_000));
    let picture = part("name=\"image[]\"; filename=\"a.png\"", "PNG");
    let bad = part("name=\"n\"", "many");
    let sounds = "{\"text\":\"Hello\"}";
    let pictures = "{\"created\":1,\"data\":[{\"url\":\"https://a/b.png\"}]}";
    for (path, body, answer, tokens) in [
        (SOUND, format!("{model}{user}{sound}--b1--"), sounds, 20),
        (SOUND, format!("{sound}{model}{user}--b1--"), sounds, 20),
        (SOUND, format!("{model}{sound}{bad}{sound}"), sounds, 40),
        (
            PICTURES,
            format!("{model}{picture}{bad}{picture}--b1--"),
            pictures,
            1530,
        ),
        (
            PICTURES,
            format!("{picture}{user}{model}{picture}{picture}--b1--"),
            pictures,
            2295,
        ),
    ] {
        for portion in [1, 7, 1000, usize::MAX] {
            let mut proxy = proxy("{}");
            let (mut stream, step) = upload(&mut proxy, path, &[], &body, portion);
            assert_eq!(step.flow, Flow::Continue, "{path} by {portion}");
            assert_eq!(request_header(&step, "x-model"), Some("m"));
            proxy.answer(&mut stream, &JSON, answer);
            let charged = charged(&mut proxy, stream);
            assert_eq!(charged, tokens, "{path} by {portion}");
        }
    }
}

#[test]
fn a_file_may_be_longer_than_what_is_held() {
    let model = part("name=\"model\"", "m");
    let sound = part("name=\"file\"; filename=\"a.mp3\"", &"s".repeat(160_000));
    let first = format!("{model}{sound}--b1--");
    let last = format!("{sound}{model}--b1--");
    for portion in [1000, usize::MAX] {
        for (body, headers) in [(&first, vec![]), (&last, vec![("x-model", "m")])] {
            let length = body.len().to_string();
            for length in [None, Some(("content-length", &*length))] {
                let headers: Vec<_> = headers.iter().copied().chain(length).collect();
                let mut proxy = proxy("{}");
                let (mut stream, step) = upload(&mut proxy, SOUND, &headers, body, portion);
                assert_eq!(step.flow, Flow::Continue, "{headers:?} by {portion}");
                proxy.answer(&mut stream, &JSON, "{\"text\":\"Hello\"}");
                let charged = charged(&mut proxy, stream);
                assert!((100..=101).contains(&charged), "{charged}");
            }
        }
        // The model is beyond what is held.
        let mut proxy = proxy("{}");
        let (_, step) = upload(&mut proxy, SOUND, &[], &last, portion);
        assert_eq!(reply(&step).status, 413);
    }
}

#[test]
fn a_verbose_transcription_costs_its_duration() {
    let body = part("name=\"model\"", "m") + &part("name=\"file\"", "ID3") + "--b1--";
    let mut proxy = proxy("{}");
    let (mut stream, _) = upload(&mut proxy, SOUND, &[], &body, usize::MAX);
    let answer = r#"{"task":"transcribe","duration":8.47,"text":"Hello","segments":[]}"#;
    proxy.answer(&mut stream, &JSON, answer);
    assert_eq!(charged(&mut proxy, stream), 85);
}

/// The charge of a stream of Responses that ends with these events.
fn cut(events: &str) -> u64 {
    let mut proxy = proxy("{}");
    let headers = [(":method", "POST"), (":path", "/v1/responses")];
    let body = br#"{"model":"m","input":"Hiho","max_output_tokens":640,"stream":true}"#;
    let (mut stream, _) = proxy.send(&headers, Some(body));
    let headers = Headers::from_pairs(&[(":status", "200"), ("content-type", "text/event-stream")]);
    stream.response_headers(&mut proxy.vm, &proxy.host, &headers, false);
    stream.response_body(&mut proxy.vm, &proxy.host, events.as_bytes(), false);
    proxy.host.ends("downstream_remote_disconnect", true);
    charged(&mut proxy, stream)
}

#[test]
fn what_a_response_repeats_of_its_request_is_no_output() {
    let created = |instructions: &str| {
        format!(
            "event: response.created\ndata: {{\"type\":\"response.created\",\"response\":{{\"id\":\"resp_1\",\"status\":\"in_progress\",\"instructions\":\"{instructions}\",\"output\":[],\"usage\":null}}}}\n\n"
        )
    };
    let long = created(&"Be brief. ".repeat(4000));
    assert_eq!(cut(&long), cut(""));
    let delta = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Eight by \"}\n\n";
    // One token of prompt, and the text.
    assert_eq!(cut(&(long + delta)), 1 + 3);
}
