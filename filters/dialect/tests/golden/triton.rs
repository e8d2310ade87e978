//! Triton's extension for generation, and KServe's first protocol: requests as its clients send them, and answers as its servers give them.

use super::bad::{self, range, wrong};
use super::case::{Case, events, json};
use super::requests::{Request, of_text, request};
use headgate_dialect::Body;

const GENERATE: &str = "/v2/models/ensemble/generate";
const STREAM: &str = "/v2/models/ensemble/versions/1/generate_stream";

pub(crate) fn requests() -> Vec<Request> {
    let question = "What is machine learning?";
    vec![
        request(
            "triton with vLLM: parameters in an object",
            GENERATE,
            br#"{"text_input":"What is machine learning?","parameters":{"stream":false,"temperature":0,"max_tokens":20,"exclude_input_in_output":true},"id":"42","model":"ignored"}"#,
            Body {
                max_tokens: Some(20),
                temperature: Some(0),
                stream: Some(false),
                // An unknown key may be an input.
                prompt_bytes: (question.len() + "ignored".len()) as u64,
                first_user_message: of_text(question),
                ..Body::default()
            },
        ),
        request(
            "triton with TensorRT-LLM: parameters as inputs",
            STREAM,
            br#"{"text_input":"What is machine learning?","max_tokens":20,"bad_words":"","stop_words":"","stream":true,"beam_width":1,"top_p":0.9}"#,
            Body {
                max_tokens: Some(20),
                stream: Some(true),
                prompt_bytes: question.len() as u64,
                first_user_message: of_text(question),
                ..Body::default()
            },
        ),
        request(
            "triton: inputs under the names of a model",
            STREAM,
            br#"{"PROMPT":"a red boat","NEGATIVE_PROMPT":["blue"],"STEPS":30}"#,
            Body {
                stream: Some(true),
                prompt_bytes: r#"a red boat["blue"]"#.len() as u64,
                ..Body::default()
            },
        ),
        request(
            "kserve predictions: everything is prompt",
            "/v1/models/flowers:predict",
            br#"{"signature_name":"serving","instances":[{"x":[6.8,2.8]},"b64"],"inputs":null}"#,
            Body {
                prompt_bytes: r#"serving[{"x":[6.8,2.8]},"b64"]"#.len() as u64,
                ..Body::default()
            },
        ),
    ]
}

pub(crate) fn bad() -> Vec<bad::Case> {
    bad::rows(vec![
        (
            GENERATE,
            br#"{"parameters":{"max_tokens":true}}"# as &[u8],
            wrong("max_tokens", "a whole number"),
        ),
        (
            GENERATE,
            br#"{"max_tokens":-7}"#,
            range("max_tokens", 0, 10_000_000),
        ),
        (
            STREAM,
            br#"{"parameters":7}"#,
            wrong("parameters", "an object"),
        ),
        (
            STREAM,
            br#"{"text_input":1}"#,
            wrong("text_input", "a string, or an array of strings"),
        ),
    ])
}

pub(crate) fn answers() -> Vec<Case> {
    vec![
        json(
            "triton whole, as TensorRT-LLM answers",
            br#"{"context_logits":0.0,"cum_log_probs":0.0,"generation_logits":0.0,"model_name":"ensemble","model_version":"1","output_log_probs":[0.0,0.0],"sequence_end":false,"sequence_id":0,"sequence_start":false,"text_output":"It learns from data."}"#,
        )
        .to(GENERATE)
        .text(20),
        events(
            "triton stream",
            b"data: {\"model_name\":\"ensemble\",\"model_version\":\"1\",\"text_output\":\"It\"}\n\ndata: {\"model_name\":\"ensemble\",\"model_version\":\"1\",\"text_output\":\" learns\"}\n\ndata: {\"model_name\":\"ensemble\",\"model_version\":\"1\",\"text_output\":\"\"}\n\n",
        )
        .to(STREAM)
        .text(9),
        events(
            "triton stream of a model that repeats its text",
            b"data: {\"text_output\":\"It\"}\n\ndata: {\"text_output\":\"It learns\"}\n\ndata: {\"text_output\":\"It learns from\"}\n\n",
        )
        .to(STREAM)
        .text(14),
        events(
            "triton error in a stream",
            b"data: {\"text_output\":\"It\"}\n\ndata: {\"error\":\"in ensemble 'ensemble', Executor failed\"}\n\n",
        )
        .to(STREAM)
        .text(2),
        json(
            "triton error",
            br#"{"error":"Request for unknown model: 'ensembl' is not found"}"#,
        )
        .to(GENERATE)
        .error_only(),
        json(
            "triton with several beams",
            br#"{"model_name":"ensemble","text_output":["one","three"]}"#,
        )
        .to(GENERATE)
        .text(8),
        json("kserve predictions cost nothing", br#"{"predictions":[[0.9,0.1]]}"#)
            .to("/v1/models/flowers:predict")
            .unread(27),
        json("kserve error", br#"{"error":"Model with name roses does not exist."}"#)
            .to("/v1/models/roses:explain")
            .error_only(),
    ]
}
