//! Cohere's chat, embeddings and reranking, version 2.

use super::super::case::{Case, events, json};
use super::super::requests::{Request, of_text, request, some};
use super::PICTURE;
use headgate_dialect::Body;

const CHAT: &str = "/v2/chat";
const EMBED: &str = "/v2/embed";
const RERANK: &str = "/v2/rerank";

pub(super) fn requests() -> Vec<Request> {
    vec![
        request(
            "cohere: a tool's plan, call and result, documents",
            CHAT,
            br#"{"model":"command-a-03-2025","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Tides?"},{"role":"assistant","tool_plan":"I look.","tool_calls":[{"id":"t0","type":"function","function":{"name":"tides","arguments":"{}"}}]},{"role":"tool","tool_call_id":"t0","content":[{"type":"document","document":{"data":"17:42"}}]}],"documents":[{"data":{"text":"d"}}],"tools":[{"type":"function"}],"max_tokens":100,"temperature":0.3,"stream":true}"#,
            Body {
                model: some("command-a-03-2025"),
                max_tokens: Some(100),
                temperature: Some(300_000),
                stream: Some(true),
                prompt_bytes: [
                    "Be brief.Tides?I look.",
                    r#"[{"id":"t0","type":"function","function":{"name":"tides","arguments":"{}"}}]"#,
                    "t0",
                    r#"{"data":"17:42"}"#,
                    r#"[{"data":{"text":"d"}}]"#,
                    r#"[{"type":"function"}]"#,
                ]
                .concat()
                .len() as u64,
                first_user_message: of_text("Tides?"),
                ..Body::default()
            },
        ),
        request(
            "embeddings of texts",
            EMBED,
            br#"{"model":"embed-v4.0","input_type":"search_query","texts":["salt","sea"],"embedding_types":["float"]}"#,
            Body {
                model: some("embed-v4.0"),
                prompt_bytes: r#"["salt","sea"]"#.len() as u64,
                ..Body::default()
            },
        ),
        request(
            "embeddings of pictures, and of texts with pictures",
            EMBED,
            br#"{"model":"m","images":["data:image/png;base64,AAAA","data:image/png;base64,BBBB"],"inputs":[{"content":[{"type":"text","text":"a harbour"},{"type":"image_url","image_url":{"url":"data:image/png;base64,CCCCCCCCCCCC"}}]}]}"#,
            Body {
                model: some("m"),
                prompt_bytes: 9,
                prompt_tokens: 3 * PICTURE,
                ..Body::default()
            },
        ),
        request(
            "reranking",
            RERANK,
            br#"{"model":"rerank-v3.5","query":"salt","documents":["the sea","a mine"],"top_n":1}"#,
            Body {
                model: some("rerank-v3.5"),
                prompt_bytes: ("salt".len() + r#"["the sea","a mine"]"#.len()) as u64,
                ..Body::default()
            },
        ),
    ]
}

pub(super) fn answers() -> Vec<Case> {
    vec![
        json(
            "cohere: a whole answer; all tokens, not only those that are billed",
            br#"{"id":"c14c","finish_reason":"COMPLETE","message":{"role":"assistant","content":[{"type":"text","text":"LLMs are."}]},"usage":{"billed_units":{"input_tokens":5,"output_tokens":4},"tokens":{"input_tokens":71,"output_tokens":6},"cached_tokens":64}}"#,
        )
        .to(CHAT)
        .used(71, 6)
        .total(None)
        .cached(64)
        .text(9),
        json(
            "cohere: the same in another order",
            br#"{"usage":{"tokens":{"input_tokens":71,"output_tokens":6},"billed_units":{"input_tokens":5,"output_tokens":4}},"message":{"content":[{"type":"text","text":"LLMs are."}]}}"#,
        )
        .to(CHAT)
        .used(71, 6)
        .total(None)
        .text(9),
        events(
            "cohere: a stream with a plan and a call",
            b"event: message-start\ndata: {\"id\":\"29f1\",\"type\":\"message-start\",\"delta\":{\"message\":{\"role\":\"assistant\",\"content\":[],\"tool_plan\":\"\",\"tool_calls\":[],\"citations\":[]}}}\n\n\
            event: tool-plan-delta\ndata: {\"type\":\"tool-plan-delta\",\"delta\":{\"message\":{\"tool_plan\":\"I look\"}}}\n\n\
            event: tool-call-start\ndata: {\"type\":\"tool-call-start\",\"index\":0,\"delta\":{\"message\":{\"tool_calls\":{\"id\":\"t0\",\"type\":\"function\",\"function\":{\"name\":\"tides\",\"arguments\":\"\"}}}}}\n\n\
            event: tool-call-delta\ndata: {\"type\":\"tool-call-delta\",\"index\":0,\"delta\":{\"message\":{\"tool_calls\":{\"function\":{\"arguments\":\"{\\\"port\\\":\"}}}}}\n\n\
            event: tool-call-end\ndata: {\"type\":\"tool-call-end\",\"index\":0}\n\n\
            event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"TOOL_CALL\",\"usage\":{\"billed_units\":{\"input_tokens\":5,\"output_tokens\":9},\"tokens\":{\"input_tokens\":71,\"output_tokens\":20}}}}\n\ndata: [DONE]\n\n",
        )
        .to(CHAT)
        .used(71, 20)
        .total(None)
        .text(6 + 5 + 8)
        .done(),
        json(
            "cohere: embeddings report only what is billed",
            br#"{"id":"e","embeddings":{"float":[[0.1,0.2]]},"texts":["salt"],"meta":{"api_version":{"version":"2"},"billed_units":{"input_tokens":3}},"response_type":"embeddings_by_type"}"#,
        )
        .to(EMBED)
        .used(3, 0),
        json(
            "cohere: reranking reports searches, and no tokens",
            br#"{"id":"r","results":[{"index":0,"relevance_score":0.9}],"meta":{"api_version":{"version":"2"},"billed_units":{"search_units":1}}}"#,
        )
        .to(RERANK),
    ]
}
