//! Pictures, speech and transcriptions.

use super::super::bad::{self, range, wrong};
use super::super::case::{Case, events, json};
use super::super::requests::{Request, some};
use super::request;
use headgate_dialect::{Body, Label, SessionFields};

const IMAGES: &str = "/v1/images/generations";
const EDITS: &str = "/v1/images/edits";
const SPEECH: &str = "/v1/audio/speech";
const TRANSCRIPTIONS: &str = "/v1/audio/transcriptions";

macro_rules! ten {
    ($text:expr) => {
        concat!(
            $text, $text, $text, $text, $text, $text, $text, $text, $text, $text
        )
    };
}

/// A text with 1600 characters of base64 in it.
macro_rules! picture {
    ($before:literal, $after:literal) => {
        concat!($before, ten!(ten!("AAAAAAAAAAAAAAAA")), $after)
    };
}

pub(super) fn requests() -> Vec<Request> {
    vec![
        request(
            "two pictures",
            IMAGES,
            br#"{"model":"gpt-image-1","prompt":"A lighthouse\nat dusk","n":2,"size":"1024x1024","quality":"low","user":"ada","stream":true,"partial_images":1}"#,
            Body {
                model: some("gpt-image-1"),
                n: Some(2),
                stream: Some(true),
                prompt_bytes: "A lighthouse\nat dusk".len() as u64,
                session: SessionFields {
                    user: some("ada"),
                    ..SessionFields::default()
                },
                ..Body::default()
            },
        ),
        request(
            "a text that is read aloud",
            SPEECH,
            br#"{"model":"gpt-4o-mini-tts","input":"Mind the gap.","voice":"alloy","instructions":"Slowly.","response_format":"mp3","stream_format":"sse"}"#,
            Body {
                model: some("gpt-4o-mini-tts"),
                prompt_bytes: "Mind the gap.Slowly.".len() as u64,
                ..Body::default()
            },
        ),
    ]
}

pub(super) fn bad() -> Vec<bad::Case> {
    bad::rows(vec![
        (IMAGES, br#"{"n":0}"#, range("n", 1, 1024)),
        (IMAGES, br#"{"n":1.5}"#, wrong("n", "a whole number")),
        (
            IMAGES,
            br#"{"stream":"yes"}"#,
            wrong("stream", "true or false"),
        ),
        (SPEECH, br#"{"model":[]}"#, wrong("model", "a string")),
    ])
}

pub(super) fn answers() -> Vec<Case> {
    let mut cases = pictures();
    cases.extend(sounds());
    cases
}

fn pictures() -> Vec<Case> {
    vec![
        json(
            "a whole picture",
            br#"{"created":1,"background":"opaque","data":[{"b64_json":"iVBORw0KGgo="}],"output_format":"png","usage":{"input_tokens":50,"input_tokens_details":{"image_tokens":40,"text_tokens":10},"output_tokens":272,"output_tokens_details":{"image_tokens":272,"text_tokens":0},"total_tokens":322}}"#,
        )
        .to(IMAGES)
        .used(50, 272)
        .parts([0, 0, 0, 40], [0, 0, 272]),
        json(
            "a picture by its URL, of a host without usage",
            br#"{"created":1,"data":[{"url":"https://a/b.png","revised_prompt":"A tall lighthouse"}]}"#,
        )
        .to(IMAGES),
        json(
            "a picture of a server without usage counts by its size",
            picture!(r#"{"created":1,"data":[{"b64_json":""#, r#""}]}"#).as_bytes(),
        )
        .to(IMAGES)
        .text(2),
        events(
            "a streamed picture: the last event has the usage",
            concat!(
                picture!("event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"partial_image_index\":0,\"b64_json\":\"", "\"}\n\n"),
                picture!("event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"", "\",\"usage\":{\"total_tokens\":100,\"input_tokens\":50,\"output_tokens\":50,\"input_tokens_details\":{\"text_tokens\":10,\"image_tokens\":40}}}\n\n"),
            )
            .as_bytes(),
        )
        .to(IMAGES)
        .used(50, 50)
        .parts([0, 0, 0, 40], [0; 3])
        .text(4)
        .done(),
        events(
            "a streamed edit",
            b"event: image_edit.completed\ndata: {\"type\":\"image_edit.completed\",\"b64_json\":\"AAAA\",\"usage\":{\"total_tokens\":30,\"input_tokens\":20,\"output_tokens\":10}}\n\n",
        )
        .to(EDITS)
        .used(20, 10)
        .done(),
        events(
            "a streamed picture that is cut counts by its size, not as text",
            picture!("event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"partial_image_index\":0,\"b64_json\":\"", "").as_bytes(),
        )
        .to(IMAGES)
        .text(2),
        json(
            "a picture that is refused",
            br#"{"error":{"message":"Your request was rejected","type":"image_generation_user_error","param":null,"code":"moderation_blocked"}}"#,
        )
        .to(IMAGES)
        .error_only(),
    ]
}

fn sounds() -> Vec<Case> {
    let sound = |name, answer| Case::new(name, Label::Other, answer).to(SPEECH);
    vec![
        sound("a sound", &[0xFF; 6000]).unread(10),
        sound("a sound that begins like JSON", &[b'{'; 6000]).unread(10),
        sound("a sound that begins like a comment", &[b':'; 6000]).unread(10),
        sound("a sound that begins with blanks", &[b' '; 6000]),
        json("speech that is refused", br#"{"error":{"message":"no such voice","code":400}}"#)
            .to(SPEECH)
            .error_only(),
        events(
            "streamed speech",
            concat!(
                picture!("data: {\"type\":\"speech.audio.delta\",\"audio\":\"", "\"}\n\n"),
                "data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":14,\"output_tokens\":101,\"total_tokens\":115}}\n\n",
            )
            .as_bytes(),
        )
        .to(SPEECH)
        .used(14, 101)
        .text(2)
        .done(),
        json(
            "a transcription, priced by tokens",
            br#"{"text":"Mind the gap.","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":0,"audio_tokens":14},"output_tokens":5,"total_tokens":19}}"#,
        )
        .to(TRANSCRIPTIONS)
        .used(19, 0)
        .parts([0, 0, 14, 0], [0; 3])
        .text(13),
        json(
            "a transcription, priced by seconds",
            br#"{"text":"Mind the gap.","usage":{"type":"duration","seconds":3}}"#,
        )
        .to(TRANSCRIPTIONS)
        .used(30, 0)
        .parts([0, 0, 30, 0], [0; 3])
        .text(13),
        json(
            "a verbose transcription without usage",
            br#"{"task":"transcribe","language":"english","duration":8.4700002670288086,"text":"Mind the gap.","segments":[{"id":0,"start":0.0,"end":3.319999933242798,"text":"Mind","tokens":[50364]}],"x_groq":{"id":"req_1"}}"#,
        )
        .to(TRANSCRIPTIONS)
        .used(85, 0)
        .parts([0, 0, 85, 0], [0; 3])
        .text(13),
        json(
            "a verbose transcription with usage: that counts",
            br#"{"duration":8.47,"text":"Mind","usage":{"type":"duration","seconds":9}}"#,
        )
        .to(TRANSCRIPTIONS)
        .used(90, 0)
        .parts([0, 0, 90, 0], [0; 3])
        .text(4),
        json(
            "the same in another order",
            br#"{"usage":{"type":"duration","seconds":9},"text":"Mind","duration":8.47}"#,
        )
        .to(TRANSCRIPTIONS)
        .used(90, 0)
        .parts([0, 0, 90, 0], [0; 3])
        .text(4),
        json(
            "vllm's duration is a string, which is no report",
            br#"{"duration":"8.47","language":"en","text":"Mind"}"#,
        )
        .to(TRANSCRIPTIONS)
        .text(4),
        json(
            "a duration that cannot be",
            br#"{"duration":-1,"text":"Mind"}"#,
        )
        .to(TRANSCRIPTIONS)
        .text(4),
        events(
            "a streamed transcription: the last event has all of the text",
            b"data: {\"type\":\"transcript.text.delta\",\"delta\":\"Mind \",\"logprobs\":[{\"token\":\"Mind\",\"logprob\":-0.1}]}\n\n\
            data: {\"type\":\"transcript.text.delta\",\"delta\":\"the gap.\"}\n\n\
            data: {\"type\":\"transcript.text.done\",\"text\":\"Mind the gap.\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\"input_token_details\":{\"text_tokens\":1,\"audio_tokens\":13},\"output_tokens\":5,\"total_tokens\":19}}\n\n",
        )
        .to(TRANSCRIPTIONS)
        .used(19, 0)
        .parts([0, 0, 13, 0], [0; 3])
        .text(26)
        .done(),
        events(
            "a streamed transcription that is cut",
            b"data: {\"type\":\"transcript.text.delta\",\"delta\":\"Mind \"}\n\n",
        )
        .to(TRANSCRIPTIONS)
        .text(5),
        Case::new("subtitles", Label::Other, b"1\n00:00:00,000 --> 00:00:03,000\nMind the gap.\n")
            .to(TRANSCRIPTIONS)
            .unread(46),
    ]
}
