//! Text Generation Inference, Text Embeddings Inference, and SGLang, which has the path `/generate` too.

use super::bad::{self, range, wrong};
use super::case::{Case, events, json};
use super::requests::{Request, of_ids, of_text, request};
use headgate_dialect::{Body, Usage};

const GENERATE: &str = "/generate";
const STREAM: &str = "/generate_stream";
const ROOT: &str = "/";
const EMBED: &str = "/embed";
const RERANK: &str = "/rerank";
const PICTURE: u64 = 765;

pub(crate) fn requests() -> Vec<Request> {
    let sea = "Why is the sea salty?";
    vec![
        request(
            "tgi generate with details",
            GENERATE,
            br#"{"inputs":"Why is the sea salty?","parameters":{"max_new_tokens":20,"temperature":0.5,"details":true,"best_of":2,"do_sample":true,"stop":["\n"],"seed":null},"model":"ignored"}"#,
            Body {
                max_tokens: Some(20),
                n: Some(2),
                temperature: Some(500_000),
                prompt_bytes: sea.len() as u64,
                first_user_message: of_text(sea),
                ..Body::default()
            },
        ),
        request(
            "tgi generate_stream streams whatever the body says",
            STREAM,
            br#"{"inputs":"Why is the sea salty?","parameters":{"max_new_tokens":null}}"#,
            Body {
                stream: Some(true),
                prompt_bytes: sea.len() as u64,
                first_user_message: of_text(sea),
                ..Body::default()
            },
        ),
        request(
            "tgi at the root, as huggingface_hub calls it",
            ROOT,
            br#"{"inputs":"Why is the sea salty?","parameters":{"adapter_id":null,"best_of":null,"details":true,"max_new_tokens":12,"return_full_text":false,"watermark":false},"stream":true}"#,
            Body {
                max_tokens: Some(12),
                stream: Some(true),
                prompt_bytes: sea.len() as u64,
                first_user_message: of_text(sea),
                ..Body::default()
            },
        ),
        request(
            "tei embed of a list",
            EMBED,
            br#"{"inputs":["What is Deep Learning?","Tides"],"truncate":true}"#,
            Body {
                prompt_bytes: "What is Deep Learning?Tides".len() as u64,
                first_user_message: of_text("What is Deep Learning?"),
                ..Body::default()
            },
        ),
        request(
            "tei embed of token ids",
            EMBED,
            br#"{"inputs":[[101,2054],[102]],"normalize":false}"#,
            Body {
                prompt_tokens: 3,
                first_user_message: of_ids(&[101, 2054]),
                ..Body::default()
            },
        ),
        request(
            "tei rerank",
            RERANK,
            br#"{"query":"What is a tide?","texts":["a wave","the sea rises"],"raw_scores":false}"#,
            Body {
                prompt_bytes: r#"What is a tide?["a wave","the sea rises"]"#.len() as u64,
                ..Body::default()
            },
        ),
        request(
            "sglang generate, streamed",
            GENERATE,
            br#"{"text":"The capital of France is","sampling_params":{"temperature":0,"max_new_tokens":32},"stream":true,"return_logprob":false,"lora_path":null}"#,
            Body {
                max_tokens: Some(32),
                temperature: Some(0),
                stream: Some(true),
                prompt_bytes: "The capital of France is".len() as u64,
                first_user_message: of_text("The capital of France is"),
                ..Body::default()
            },
        ),
        request(
            "sglang generate of several prompts, each several times",
            GENERATE,
            br#"{"text":["one","two","three"],"sampling_params":{"n":2,"max_new_tokens":0}}"#,
            Body {
                max_tokens: Some(0),
                n: Some(6),
                prompts: Some(3),
                prompt_bytes: 11,
                first_user_message: of_text("one"),
                ..Body::default()
            },
        ),
        request(
            "sglang generate with parameters for each prompt: the greatest of each counts",
            GENERATE,
            br#"{"input_ids":[[1,2,3],[4,5]],"sampling_params":[{"max_new_tokens":8,"temperature":1},{"max_new_tokens":64},{"max_new_tokens":16}]}"#,
            Body {
                max_tokens: Some(64),
                n: Some(2),
                prompts: Some(2),
                temperature: Some(1_000_000),
                prompt_tokens: 5,
                first_user_message: of_ids(&[1, 2, 3]),
                ..Body::default()
            },
        ),
        request(
            "sglang generate with pictures in every form",
            GENERATE,
            br#"{"image_data":["https://a.example/1.png",["data:image/png;base64,AAAA",{"url":"b"}],null],"video_data":"c.mp4","text":"What is it?"}"#,
            Body {
                prompt_bytes: 11,
                prompt_tokens: 4 * PICTURE,
                first_user_message: of_text("What is it?"),
                ..Body::default()
            },
        ),
        Request {
            name: "sglang generate of token ids, by its own operation",
            endpoint: super::operation("sglang.generate"),
            body: br#"{"input_ids":[1,2,3],"sampling_params":{"max_new_tokens":4}}"#,
            facts: Body {
                max_tokens: Some(4),
                prompt_tokens: 3,
                first_user_message: of_ids(&[1, 2, 3]),
                ..Body::default()
            },
        },
    ]
}

pub(crate) fn bad() -> Vec<bad::Case> {
    const WHOLE: &str = "a whole number";
    let mut cases = bad::rows(vec![
        (
            GENERATE,
            br#"{"parameters":{"max_new_tokens":1.5}}"# as &[u8],
            wrong("parameters.max_new_tokens", WHOLE),
        ),
        (
            GENERATE,
            br#"{"parameters":{"best_of":0}}"#,
            range("parameters.best_of", 1, 1024),
        ),
        (
            GENERATE,
            br#"{"parameters":"x"}"#,
            wrong("parameters", "an object"),
        ),
        (
            STREAM,
            br#"{"inputs":7}"#,
            wrong("inputs", "a string, or an array of strings or token ids"),
        ),
        (
            STREAM,
            br#"{"inputs":[[1,"a"]]}"#,
            wrong("inputs", "an array of token ids (whole numbers)"),
        ),
        (EMBED, b"[]", headgate_dialect::BodyError::NotAnObject),
    ]);
    let sglang = super::operation("sglang.generate");
    for (body, error) in [
        (
            br#"{"sampling_params":[{"n":1},{"n":-1}]}"# as &[u8],
            range("sampling_params.n", 1, 1024),
        ),
        (
            br#"{"sampling_params":[[]]}"#,
            wrong("sampling_params", "an object, or one for each prompt"),
        ),
        (
            br#"{"text":{}}"#,
            wrong(
                "text",
                "a string, or an array of strings; or `input_ids` an array of token ids",
            ),
        ),
    ] {
        cases.push(bad::Case {
            endpoint: sglang,
            body,
            error,
        });
    }
    cases
}

pub(crate) fn answers() -> Vec<Case> {
    vec![
        events(
            "tgi stream with details: the last event repeats the text",
            b"data:{\"index\":1,\"token\":{\"id\":578,\"text\":\" The\",\"logprob\":-0.21,\"special\":false},\"generated_text\":null,\"details\":null}\n\ndata:{\"index\":2,\"token\":{\"id\":9581,\"text\":\" sea\",\"logprob\":-0.4,\"special\":false},\"generated_text\":null,\"details\":null}\n\ndata:{\"index\":3,\"token\":{\"id\":128001,\"text\":\"</s>\",\"logprob\":0.0,\"special\":true},\"generated_text\":\" The sea\",\"details\":{\"finish_reason\":\"eos_token\",\"generated_tokens\":3,\"seed\":null,\"input_length\":7}}\n\n",
        )
        .to(STREAM)
        .text(12)
        .used(7, 3)
        .total(None)
        .done(),
        events(
            "tgi stream without details, with the prompt before the text at its end",
            b": \n\ndata:{\"index\":1,\"token\":{\"id\":578,\"text\":\"0\",\"logprob\":-0.2,\"special\":false},\"generated_text\":null,\"details\":null}\n\ndata:{\"index\":2,\"token\":{\"id\":578,\"text\":\"0\",\"logprob\":-0.2,\"special\":false},\"generated_text\":\"a long prompt 00\",\"details\":null}\n\n",
        )
        .to(ROOT)
        .text(2)
        .done(),
        events(
            "tgi stream that is cut",
            b"data:{\"index\":1,\"token\":{\"id\":578,\"text\":\" The\",\"logprob\":-0.2,\"special\":false},\"generated_text\":null,\"details\":null}\n\ndata:{\"index\":2,\"token\":{\"id\":9581,\"text\":\" se",
        )
        .to(STREAM)
        .text(7),
        json(
            "tgi whole, with details: the prompt is not counted, so the estimate stands",
            br#"{"generated_text":" Because rivers","details":{"finish_reason":"length","generated_tokens":2,"seed":null,"prefill":[],"tokens":[{"id":1,"text":" Because","logprob":-0.1,"special":false},{"id":2,"text":" rivers","logprob":-0.3,"special":false}]}}"#,
        )
        .to(GENERATE)
        .text(15)
        .used(0, 2)
        .input(None)
        .total(None)
        .done(),
        json(
            "tgi best of three: every sequence counts",
            br#"{"generated_text":"abc","details":{"finish_reason":"length","generated_tokens":4,"seed":1,"prefill":[],"tokens":[],"best_of_sequences":[{"generated_text":"abd","finish_reason":"length","generated_tokens":5,"prefill":[],"tokens":[]},{"generated_text":"abe","finish_reason":"eos_token","generated_tokens":6}]}}"#,
        )
        .to(GENERATE)
        .sequences(3)
        .text(3)
        .used(0, 15)
        .input(None)
        .total(None),
        json(
            "tgi whole at the root, without details",
            br#"[{"generated_text":"Because rivers"}]"#,
        )
        .to(ROOT)
        .text(14)
        .done(),
        json(
            "tgi overloaded",
            br#"{"error":"Model is overloaded","error_type":"overloaded"}"#,
        )
        .to(GENERATE)
        .error_only(),
        events(
            "tgi error in a stream",
            b"data:{\"index\":1,\"token\":{\"id\":5,\"text\":\"ab\",\"logprob\":-1,\"special\":false},\"generated_text\":null,\"details\":null}\n\nevent:error\ndata:{\"error\":\"Request failed during generation: Server error\",\"error_type\":\"generation\"}\n\n",
        )
        .to(STREAM)
        .text(2),
        json("tei embed", b"[[0.01,-0.2],[0.3,0.4]]")
            .to(EMBED)
            .unread(23),
        json(
            "tei error",
            br#"{"error":"`inputs` must have less than 512 tokens","error_type":"Validation"}"#,
        )
        .to(EMBED)
        .error_only(),
        events(
            "sglang stream: each event has all text so far, and usage",
            b"data: {\"text\":\" Paris\",\"meta_info\":{\"id\":\"a1\",\"finish_reason\":null,\"prompt_tokens\":6,\"completion_tokens\":1,\"cached_tokens\":2}}\n\ndata: {\"text\":\" Paris\",\"meta_info\":{\"id\":\"a1\",\"finish_reason\":null,\"prompt_tokens\":6,\"completion_tokens\":2,\"cached_tokens\":2}}\n\ndata: {\"text\":\" Paris \xF0\x9F\x97\xBC\",\"meta_info\":{\"id\":\"a1\",\"finish_reason\":null,\"prompt_tokens\":6,\"completion_tokens\":4,\"cached_tokens\":2}}\n\ndata: {\"text\":\" Paris \xF0\x9F\x97\xBC.\",\"output_ids\":[1,2,3],\"meta_info\":{\"id\":\"a1\",\"finish_reason\":{\"type\":\"length\",\"length\":5},\"prompt_tokens\":6,\"completion_tokens\":5,\"cached_tokens\":2,\"e2e_latency\":0.2}}\n\ndata: [DONE]\n\n",
        )
        .to(GENERATE)
        .text(12)
        .used(6, 5)
        .cached(2)
        .total(None)
        .done(),
        events(
            "sglang stream that is cut",
            b"data: {\"text\":\" Paris\",\"meta_info\":{\"prompt_tokens\":6,\"completion_tokens\":1,\"cached_tokens\":0}}\n\ndata: {\"text\":\" Paris, of\",\"meta_info\":{\"prompt_tokens\":6,\"completion_tokens\":3",
        )
        .to(GENERATE)
        .text(10)
        .used(6, 1)
        .total(None),
        json(
            "sglang whole",
            br#"{"text":" Paris.","output_ids":[12366,13],"meta_info":{"id":"f0","finish_reason":{"type":"stop","matched":128009},"prompt_tokens":6,"weight_version":"default","completion_tokens":2,"cached_tokens":5,"e2e_latency":0.07}}"#,
        )
        .to(GENERATE)
        .text(7)
        .used(6, 2)
        .cached(5)
        .total(None),
        json(
            "sglang, two prompts, each twice: the prompt counts once",
            br#"[{"text":"a","meta_info":{"prompt_tokens":5,"completion_tokens":1,"cached_tokens":1}},{"text":"b","meta_info":{"prompt_tokens":5,"completion_tokens":2,"cached_tokens":4}},{"text":"cc","meta_info":{"prompt_tokens":7,"completion_tokens":3,"cached_tokens":0}},{"text":"dd","meta_info":{"prompt_tokens":7,"completion_tokens":4,"cached_tokens":6}}]"#,
        )
        .to(GENERATE)
        .sequences(4)
        .prompts(2)
        .text(6)
        .used(12, 10)
        .cached(1)
        .total(None),
        events(
            "sglang, two prompts streamed in turn",
            b"data: {\"text\":\"ab\",\"meta_info\":{\"prompt_tokens\":3,\"completion_tokens\":1},\"index\":1}\n\ndata: {\"text\":\"x\",\"meta_info\":{\"prompt_tokens\":2,\"completion_tokens\":1},\"index\":0}\n\ndata: {\"text\":\"abc\",\"meta_info\":{\"prompt_tokens\":3,\"completion_tokens\":2},\"index\":1}\n\ndata: {\"text\":\"xyz\",\"meta_info\":{\"prompt_tokens\":2,\"completion_tokens\":3},\"index\":0}\n\ndata: [DONE]\n\n",
        )
        .to(GENERATE)
        .sequences(2)
        .prompts(2)
        .text(6)
        .used(5, 5)
        .total(None)
        .done(),
        events(
            "sglang, two prompts, cut before the second one: its prompt is not known",
            b"data: {\"text\":\"ab\",\"meta_info\":{\"prompt_tokens\":3,\"completion_tokens\":1},\"index\":0}\n\n",
        )
        .to(GENERATE)
        .sequences(2)
        .prompts(2)
        .text(2)
        .usage(Usage {
            output: 1,
            ..Usage::default()
        }),
        json(
            "sglang error",
            br#"{"error":{"message":"The input (9000 tokens) is longer than the model's context length (8192 tokens)."}}"#,
        )
        .to(GENERATE)
        .error_only(),
    ]
}
