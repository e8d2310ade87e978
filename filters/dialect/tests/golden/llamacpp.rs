//! llama.cpp's own paths: requests as its clients send them, and answers as its servers give them.

use super::bad::{self, wrong};
use super::case::{Case, events, json};
use super::requests::{Request, of_ids, of_text, request, some};
use headgate_dialect::{Body, BodyError};

const COMPLETION: &str = "/completion";
const INFILL: &str = "/infill";
const EMBEDDING: &str = "/embedding";
const PICTURE: u64 = 765;

pub(crate) fn requests() -> Vec<Request> {
    vec![
        request(
            "llama.cpp completion of its web page",
            COMPLETION,
            br#"{"stream":true,"n_predict":358,"temperature":0.8,"stop":["</s>","Llama:"],"repeat_last_n":0,"grammar":"root ::= \"a\"","n_probs":0,"cache_prompt":true,"slot_id":-1,"prompt":"A chat.\n\nUser: Hello\nLlama:"}"#,
            Body {
                max_tokens: Some(358),
                temperature: Some(800_000),
                stream: Some(true),
                prompt_bytes: "A chat.\n\nUser: Hello\nLlama:".len() as u64,
                first_user_message: of_text("A chat.\n\nUser: Hello\nLlama:"),
                ..Body::default()
            },
        ),
        request(
            "llama.cpp completion without a limit",
            "/completions",
            br#"{"prompt":"a","n_predict":-1,"max_tokens":null,"model":"m"}"#,
            Body {
                model: some("m"),
                prompt_bytes: 1,
                first_user_message: of_text("a"),
                ..Body::default()
            },
        ),
        request(
            "llama.cpp completion that only reads the prompt",
            COMPLETION,
            br#"{"prompt":"a","n_predict":0}"#,
            Body {
                max_tokens: Some(0),
                prompt_bytes: 1,
                first_user_message: of_text("a"),
                ..Body::default()
            },
        ),
        request(
            "llama.cpp: ids and strings in one list are one prompt",
            COMPLETION,
            br#"{"prompt":[12,34,"string",56,78],"n_predict":4}"#,
            Body {
                max_tokens: Some(4),
                prompt_bytes: 6,
                prompt_tokens: 4,
                first_user_message: of_ids(&[12, 34]),
                ..Body::default()
            },
        ),
        request(
            "llama.cpp: several prompts, of every kind",
            COMPLETION,
            br#"{"prompt":["one",[12,"two",34],{"prompt_string":"What is <__media__>?","multimodal_data":["AAAA","BBBB"]}],"n_predict":4}"#,
            Body {
                max_tokens: Some(4),
                n: Some(3),
                prompts: Some(3),
                prompt_bytes: "onetwoWhat is <__media__>?".len() as u64,
                prompt_tokens: 2 + 2 * PICTURE,
                first_user_message: of_text("one"),
                ..Body::default()
            },
        ),
        request(
            "llama.cpp: one prompt with a picture, as an object",
            COMPLETION,
            br#"{"prompt":{"multimodal_data":["AAAA"],"prompt_string":"<__media__> Describe."}}"#,
            Body {
                prompt_bytes: "<__media__> Describe.".len() as u64,
                prompt_tokens: PICTURE,
                first_user_message: of_text("<__media__> Describe."),
                ..Body::default()
            },
        ),
        request(
            "llama.cpp: a picture as older servers take it",
            COMPLETION,
            br#"{"prompt":"USER:[img-12] Describe.","image_data":[{"data":"AAAA","id":12}],"n_predict":9}"#,
            Body {
                max_tokens: Some(9),
                prompt_bytes: "USER:[img-12] Describe.".len() as u64,
                prompt_tokens: PICTURE,
                first_user_message: of_text("USER:[img-12] Describe."),
                ..Body::default()
            },
        ),
        request(
            "llama.cpp infill of an editor",
            INFILL,
            br#"{"input_prefix":"def f():\n","input_suffix":"\n    return x","input_extra":[{"filename":"a.py","text":"x = 1"}],"prompt":"    x =","n_predict":128,"t_max_predict_ms":500,"samplers":["top_k"]}"#,
            Body {
                max_tokens: Some(128),
                prompt_bytes: ("def f():\n\n    return x    x =".len()
                    + r#"[{"filename":"a.py","text":"x = 1"}]"#.len()) as u64,
                first_user_message: of_text("    x ="),
                ..Body::default()
            },
        ),
        request(
            "llama.cpp embedding of a list with ids",
            EMBEDDING,
            br#"{"content":["ab",[1,2],"cd"]}"#,
            Body {
                prompt_bytes: 4,
                prompt_tokens: 2,
                first_user_message: of_text("ab"),
                ..Body::default()
            },
        ),
        request(
            "llama.cpp: a free operation finds a model",
            "/apply-template",
            br#"{"messages":[{"role":"user","content":7}],"model":"m"}"#,
            Body {
                model: some("m"),
                ..Body::default()
            },
        ),
    ]
}

pub(crate) fn bad() -> Vec<bad::Case> {
    const PROMPT: &str = "a string, an array of token ids and strings, an object with a `prompt_string`, or an array of these";
    const IDS: &str = "an array of token ids (whole numbers) and strings";
    bad::rows(vec![
        (
            COMPLETION,
            br#"{"n_predict":"9"}"# as &[u8],
            wrong("n_predict", "a whole number"),
        ),
        (
            COMPLETION,
            br#"{"n_predict":9,"max_tokens":8}"#,
            BodyError::Conflict {
                field: "n_predict",
                other: "max_tokens",
            },
        ),
        (COMPLETION, br#"{"prompt":7}"#, wrong("prompt", PROMPT)),
        (COMPLETION, br#"{"prompt":[null]}"#, wrong("prompt", PROMPT)),
        (COMPLETION, br#"{"prompt":[[[1]]]}"#, wrong("prompt", IDS)),
        (
            COMPLETION,
            br#"{"prompt":{"prompt_string":[]}}"#,
            wrong("prompt.prompt_string", "a string"),
        ),
        (EMBEDDING, br#"{"content":true}"#, wrong("content", PROMPT)),
    ])
}

pub(crate) fn answers() -> Vec<Case> {
    vec![
        events(
            "llama.cpp stream: each event reports usage so far",
            b"data: {\"index\":0,\"content\":\"Hel\",\"tokens\":[1],\"stop\":false,\"id_slot\":-1,\"tokens_predicted\":1,\"tokens_evaluated\":13}\n\ndata: {\"index\":0,\"content\":\"lo\",\"tokens\":[2],\"stop\":false,\"id_slot\":-1,\"tokens_predicted\":2,\"tokens_evaluated\":13}\n\ndata: {\"index\":0,\"content\":\"\",\"tokens\":[],\"id_slot\":0,\"stop\":true,\"model\":\"phi-3\",\"tokens_predicted\":2,\"tokens_evaluated\":13,\"generation_settings\":{\"n_predict\":2,\"stop\":[],\"stream\":true},\"prompt\":\"<s>User: Hello\",\"has_new_line\":false,\"truncated\":false,\"stop_type\":\"limit\",\"stopping_word\":\"\",\"tokens_cached\":14,\"timings\":{\"cache_n\":9,\"prompt_n\":4,\"prompt_ms\":70.1,\"predicted_n\":2,\"predicted_ms\":80.2}}\n\n",
        )
        .to(COMPLETION)
        .text(5)
        .used(13, 2)
        .cached(9)
        .total(None)
        .done(),
        events(
            "llama.cpp stream that is cut",
            b"data: {\"index\":0,\"content\":\"Hel\",\"tokens\":[1],\"stop\":false,\"id_slot\":-1,\"tokens_predicted\":1,\"tokens_evaluated\":13}\n\ndata: {\"index\":0,\"content\":\"l",
        )
        .to(COMPLETION)
        .text(4)
        .used(13, 1)
        .total(None),
        events(
            "llama.cpp stream of an older server",
            b"data: {\"content\":\" a\",\"multimodal\":false,\"slot_id\":0,\"stop\":false}\n\ndata: {\"content\":\"\",\"generation_settings\":{\"stop\":[\"</s>\"]},\"model\":\"m\",\"prompt\":\"Once\",\"slot_id\":0,\"stop\":true,\"stopped_eos\":true,\"stopped_limit\":false,\"stopped_word\":false,\"stopping_word\":\"\",\"timings\":{\"predicted_n\":2,\"prompt_n\":3},\"tokens_cached\":5,\"tokens_evaluated\":3,\"tokens_predicted\":2,\"truncated\":false}\n\n",
        )
        .to(COMPLETION)
        .text(2)
        .used(3, 2)
        .total(None)
        .done(),
        json(
            "llama.cpp whole",
            br#"{"index":0,"content":" there was a sea","tokens":[],"id_slot":3,"stop":true,"model":"phi-3","tokens_predicted":4,"tokens_evaluated":5,"generation_settings":{"n_predict":4},"prompt":"<s>Once upon a time","truncated":false,"stop_type":"limit","tokens_cached":8,"timings":{"cache_n":0,"prompt_n":5,"predicted_n":4}}"#,
        )
        .to(COMPLETION)
        .text(16)
        .used(5, 4)
        .total(None)
        .done(),
        json(
            "llama.cpp whole, of two prompts",
            br#"[{"index":0,"content":"a","stop":true,"tokens_predicted":1,"tokens_evaluated":5},{"index":1,"content":"b","stop":true,"tokens_predicted":2,"tokens_evaluated":6}]"#,
        )
        .to(COMPLETION)
        .sequences(2)
        .prompts(2)
        .text(2)
        .used(11, 3)
        .total(None)
        .done(),
        events(
            "llama.cpp stream of two prompts: done when both are",
            b"data: {\"index\":1,\"content\":\"b\",\"stop\":false,\"tokens_predicted\":1,\"tokens_evaluated\":6}\n\ndata: {\"index\":1,\"content\":\"\",\"stop\":true,\"tokens_predicted\":1,\"tokens_evaluated\":6}\n\ndata: {\"index\":0,\"content\":\"aa\",\"stop\":false,\"tokens_predicted\":1,\"tokens_evaluated\":5}\n\n",
        )
        .to(COMPLETION)
        .sequences(2)
        .prompts(2)
        .text(3)
        .used(11, 2)
        .total(None),
        events(
            "llama.cpp, older, two prompts, cut: no report of the one that is not done",
            b"data: {\"index\":0,\"content\":\"some text\",\"stop\":false}\n\ndata: {\"index\":1,\"content\":\"b\",\"stop\":true,\"tokens_predicted\":1,\"tokens_evaluated\":6}\n\n",
        )
        .to(COMPLETION)
        .sequences(2)
        .prompts(2)
        .text(10)
        .used(0, 1)
        .input(None)
        .total(None)
        .stale(),
        json(
            "llama.cpp error",
            br#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
        )
        .to(COMPLETION)
        .error_only(),
        json(
            "llama.cpp infill that wrote nothing",
            br#"{"index":0,"content":"","stop":true,"tokens_predicted":0,"tokens_evaluated":40}"#,
        )
        .to(INFILL)
        .used(40, 0)
        .total(None)
        .done(),
        json(
            "llama.cpp embedding",
            br#"[{"index":0,"embedding":[[0.1,0.2]]}]"#,
        )
        .to(EMBEDDING)
        .unread(37),
    ]
}
