//! Anthropic's Messages.

use super::super::bad::{self, range, wrong};
use super::super::case::{Case, events, json};
use super::super::requests::{Request, of_text, request, some};
use super::PICTURE;
use headgate_dialect::{Body, SessionFields};

const MESSAGES: &str = "/v1/messages";

pub(super) fn requests() -> Vec<Request> {
    vec![
        request(
            "claude code: system blocks, a tool's result, thinking, cached tools, streamed",
            MESSAGES,
            br#"{"model":"claude-sonnet-4-5","max_tokens":32000,"messages":[{"role":"user","content":[{"type":"text","text":"<system-reminder>Be careful.</system-reminder>"},{"type":"text","text":"Fix the build.","cache_control":{"type":"ephemeral"}}]},{"role":"assistant","content":[{"type":"thinking","thinking":"I list the files.","signature":"EqQBCgIYAhIM"},{"type":"tool_use","id":"toolu_01","name":"Bash","input":{"command":"ls"}}]},{"role":"user","content":[{"tool_use_id":"toolu_01","type":"tool_result","content":"Makefile\nsrc","is_error":false}]}],"temperature":1,"system":[{"type":"text","text":"You are an agent.","cache_control":{"type":"ephemeral"}}],"tools":[{"name":"Bash","description":"Runs a command.","input_schema":{"type":"object"}}],"metadata":{"user_id":"user_9c_account__session_4f"},"thinking":{"type":"enabled","budget_tokens":31999},"stream":true}"#,
            Body {
                model: some("claude-sonnet-4-5"),
                max_tokens: Some(32_000),
                temperature: Some(1_000_000),
                stream: Some(true),
                prompt_bytes: [
                    "<system-reminder>Be careful.</system-reminder>Fix the build.",
                    "I list the files.Bash",
                    r#"{"command":"ls"}"#,
                    "toolu_01Makefile\nsrc",
                    r#"[{"type":"text","text":"You are an agent.","cache_control":{"type":"ephemeral"}}]"#,
                    r#"[{"name":"Bash","description":"Runs a command.","input_schema":{"type":"object"}}]"#,
                ]
                .concat()
                .len() as u64,
                session: SessionFields {
                    metadata_user_id: some("user_9c_account__session_4f"),
                    ..SessionFields::default()
                },
                first_user_message: of_text(
                    "<system-reminder>Be careful.</system-reminder>Fix the build.",
                ),
                ..Body::default()
            },
        ),
        request(
            "documents of text count as text, before or after their type; pictures and PDF count a fixed number",
            MESSAGES,
            br#"{"model":"m","max_tokens":10,"messages":[{"role":"user","content":[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"A long book."},"title":"Book"},{"type":"document","source":{"data":"Another one.","media_type":"text/plain","type":"text"}},{"type":"document","source":{"type":"content","content":[{"type":"text","text":"x"}]}},{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERi0xLjQK"}},{"type":"image","source":{"type":"url","url":"https://a/b.png"}},{"type":"text","text":"Compare."}]}]}"#,
            Body {
                model: some("m"),
                max_tokens: Some(10),
                prompt_bytes: [
                    "A long book.Book",
                    "Another one.",
                    r#"[{"type":"text","text":"x"}]"#,
                    "Compare.",
                ]
                .concat()
                .len() as u64,
                prompt_tokens: 2 * PICTURE,
                first_user_message: of_text("Compare."),
                ..Body::default()
            },
        ),
        request(
            "results of the platform's own search, redacted thinking, a result with a picture, content as a string",
            MESSAGES,
            br#"{"model":"m","max_tokens":10,"system":"Be brief.","messages":[{"role":"user","content":"News?"},{"role":"assistant","content":[{"type":"redacted_thinking","data":"Qk9P"},{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"news"}},{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","url":"https://n","title":"N","encrypted_content":"EqgfCio","page_age":"1 day"}]},{"type":"text","text":"Rain.","citations":[{"cited_text":"rain"}]}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"ok"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]}]}]}"#,
            Body {
                model: some("m"),
                max_tokens: Some(10),
                prompt_bytes: [
                    "Be brief.News?",
                    "Qk9Pweb_search",
                    r#"{"query":"news"}"#,
                    "srvtoolu_1https://nNEqgfCioRain.",
                    "tok",
                ]
                .concat()
                .len() as u64,
                prompt_tokens: PICTURE,
                first_user_message: of_text("News?"),
                ..Body::default()
            },
        ),
    ]
}

pub(super) fn bad() -> Vec<bad::Case> {
    bad::rows(vec![
        (
            MESSAGES,
            br#"{"model":"m","max_tokens":-2,"messages":[]}"#,
            range("max_tokens", 0, 10_000_000),
        ),
        (
            MESSAGES,
            br#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":7}]}"#,
            wrong("messages[].content", "a string or an array of parts"),
        ),
    ])
}

pub(super) fn answers() -> Vec<Case> {
    vec![
        json(
            "anthropic: a whole answer with thinking, a tool, and the counts of the cache",
            br#"{"id":"msg_01","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929","content":[{"type":"thinking","thinking":"Look.","signature":"EqQB"},{"type":"text","text":"I look."},{"type":"tool_use","id":"toolu_1","name":"Bash","input":{"command":"ls"}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":2000,"cache_read_input_tokens":9000,"cache_creation":{"ephemeral_5m_input_tokens":2000,"ephemeral_1h_input_tokens":0},"output_tokens":48,"service_tier":"standard"}}"#,
        )
        .to(MESSAGES)
        .used(11_012, 48)
        .total(None)
        .parts([9000, 2000, 0, 0], [0; 3])
        .text(5 + 7 + 4 + 16),
        json(
            "anthropic: an error",
            br#"{"type":"error","error":{"type":"rate_limit_error","message":"Slow down."},"request_id":"req_1"}"#,
        )
        .to(MESSAGES)
        .error_only(),
        events(
            "anthropic: a stream that is cut after its beginning; what it reported covers no text",
            b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"m\",\"stop_reason\":null,\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n\
            event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
            event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"The tide is\"}}\n\n\
            event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" low\"}}\n\n",
        )
        .to(MESSAGES)
        .used(25, 1)
        .total(None)
        .text(15)
        .stale(),
        events(
            "anthropic: an error in the middle of a stream",
            b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n\
            event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"The\"}}\n\n\
            event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
        )
        .to(MESSAGES)
        .used(25, 1)
        .total(None)
        .text(3)
        .stale(),
        events(
            "vllm's messages: prompt only in the last report",
            b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"chatcmpl-1\",\"content\":[],\"model\":\"m\",\"usage\":{\"input_tokens\":0,\"output_tokens\":0}}}\n\n\
            event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n\
            event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"input_tokens\":14,\"output_tokens\":3}}\n\n\
            event: message_stop\ndata: {\"type\":\"message_stop\"}\n\ndata: [DONE]\n\n",
        )
        .to(MESSAGES)
        .used(14, 3)
        .total(None)
        .text(5)
        .done(),
    ]
}
