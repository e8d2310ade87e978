//! Requests of Responses.

use super::super::bad::{self, disagree, range, wrong};
use super::super::requests::{Request, of_text, some};
use super::{PICTURE, request};
use headgate_dialect::{Body, SessionFields};

const RESPONSES: &str = "/v1/responses";

pub(super) fn requests() -> Vec<Request> {
    vec![
        request(
            "codex: instructions, a turn with a tool, encrypted reasoning, streamed",
            RESPONSES,
            br#"{"model":"gpt-5-codex","instructions":"You mend programs.","input":[{"type":"message","role":"developer","content":[{"type":"input_text","text":"No network."}]},{"type":"message","role":"user","content":[{"type":"input_text","text":"Fix the tide table."}]},{"type":"reasoning","summary":[],"content":null,"encrypted_content":"gAAAAB"},{"type":"function_call","name":"shell","arguments":"{\"cmd\":[\"ls\"]}","call_id":"call_1"},{"type":"function_call_output","call_id":"call_1","output":"tides.rs"},{"type":"custom_tool_call","call_id":"call_2","name":"apply_patch","input":"*** End Patch"},{"type":"custom_tool_call_output","call_id":"call_2","output":"Done!"}],"tools":[{"type":"function","name":"shell","strict":false}],"tool_choice":"auto","parallel_tool_calls":false,"reasoning":{"effort":"high","summary":"auto"},"store":false,"stream":true,"include":["reasoning.encrypted_content"],"prompt_cache_key":"019a-7","text":{"verbosity":"low"},"stream_options":{"include_obfuscation":false}}"#,
            Body {
                model: some("gpt-5-codex"),
                stream: Some(true),
                prompt_bytes: ("You mend programs.No network.Fix the tide table.[]gAAAAB".len()
                    + r#"shell{"cmd":["ls"]}tides.rsapply_patch*** End PatchDone!"#.len()
                    + r#"[{"type":"function","name":"shell","strict":false}]auto{"verbosity":"low"}"#.len())
                    as u64,
                session: SessionFields {
                    prompt_cache_key: some("019a-7"),
                    ..SessionFields::default()
                },
                first_user_message: of_text("Fix the tide table."),
                ..Body::default()
            },
        ),
        request(
            "a text that continues a response, in the background",
            RESPONSES,
            br#"{"model":"gpt-4.1","input":"And in winter?","previous_response_id":"resp_68","max_output_tokens":300,"temperature":0.2,"user":"ada","metadata":{"user_id":"ada-1","topic":"tides"},"background":true,"store":true,"truncation":"auto"}"#,
            Body {
                model: some("gpt-4.1"),
                max_tokens: Some(300),
                temperature: Some(200_000),
                background: true,
                previous_response_id: some("resp_68"),
                prompt_bytes: "And in winter?".len() as u64,
                session: SessionFields {
                    user: some("ada"),
                    metadata_user_id: some("ada-1"),
                    ..SessionFields::default()
                },
                first_user_message: of_text("And in winter?"),
                ..Body::default()
            },
        ),
        request(
            "pictures and files, a screenshot, results of tools as blocks",
            RESPONSES,
            br#"{"model":"m","conversation":{"id":"conv_1"},"safety_identifier":"u_9","input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,AAAA","detail":"low"},{"type":"input_file","file_id":"file-1"},{"type":"input_text","text":"Compare."}]},{"type":"computer_call","call_id":"c","action":{"type":"click","x":1,"y":2}},{"type":"computer_call_output","call_id":"c","output":{"type":"computer_screenshot","image_url":"data:image/png;base64,BBBBBBBBBBBBBBBBBBBBBBBB"}},{"type":"function_call_output","call_id":"d","output":[{"type":"input_text","text":"42"},{"type":"input_image","image_url":"https://a/b.png"},{"type":"weather","degrees":[1,2]}]}]}"#,
            Body {
                model: some("m"),
                prompt_bytes: (r#"Compare.{"type":"click","x":1,"y":2}42{"type":"weather","degrees":[1,2]}"#.len())
                    as u64,
                prompt_tokens: 4 * PICTURE,
                session: SessionFields {
                    conversation: some("conv_1"),
                    safety_identifier: some("u_9"),
                    ..SessionFields::default()
                },
                first_user_message: of_text("Compare."),
                ..Body::default()
            },
        ),
        request(
            "what the tools of a host did in earlier turns",
            RESPONSES,
            br#"{"model":"m","input":[{"type":"image_generation_call","id":"ig","status":"completed","result":"CCCCCCCC"},{"type":"shell_call_output","call_id":"e","output":[{"stdout":"ok\n","stderr":"","outcome":{"type":"exit","exit_code":0}}]},{"type":"code_interpreter_call","code":"1+1","outputs":[{"type":"logs","logs":"2"},{"type":"image","url":"data:image/png;base64,DDDD"}]},{"type":"file_search_call","queries":["tides"],"results":[{"text":"High at six."}]},{"type":"mcp_list_tools","server_label":"s","tools":[{"name":"t"}]},{"type":"mcp_call","name":"t","arguments":"{}","output":"yes"},{"type":"apply_patch_call","operation":{"type":"delete_file","path":"a"}},{"type":"item_reference","id":"msg_1"}]}"#,
            Body {
                model: some("m"),
                prompt_bytes: (r#"{"stdout":"ok\n","stderr":"","outcome":{"type":"exit","exit_code":0}}"#.len()
                    + r#"1+1{"type":"logs","logs":"2"}["tides"][{"text":"High at six."}]"#.len()
                    + r#"[{"name":"t"}]t{}yes{"type":"delete_file","path":"a"}"#.len()) as u64,
                prompt_tokens: 2 * PICTURE,
                ..Body::default()
            },
        ),
        request(
            "a stored prompt and a format; null is absent",
            RESPONSES,
            br#"{"model":"m","prompt":{"id":"pmpt_1","variables":{"city":"Cork"}},"text":{"format":{"type":"json_object"}},"input":null,"stream":null,"previous_response_id":null,"max_output_tokens":null,"background":null,"conversation":null,"instructions":null,"n":"x","max_tokens":-7}"#,
            Body {
                model: some("m"),
                prompt_bytes: (r#"{"id":"pmpt_1","variables":{"city":"Cork"}}"#.len()
                    + r#"{"format":{"type":"json_object"}}"#.len()) as u64,
                ..Body::default()
            },
        ),
        request(
            "a conversation that is compacted",
            "/v1/responses/compact",
            br#"{"model":"gpt-5.1","instructions":"Be brief.","input":[{"role":"user","content":"hello"},{"type":"compaction_trigger"}]}"#,
            Body {
                model: some("gpt-5.1"),
                prompt_bytes: "Be brief.hello".len() as u64,
                first_user_message: of_text("hello"),
                ..Body::default()
            },
        ),
        request(
            "a request of which only the input is counted",
            "/v1/responses/input_tokens",
            br#"{"model":"m","input":"hello"}"#,
            Body {
                model: some("m"),
                prompt_bytes: 5,
                first_user_message: of_text("hello"),
                ..Body::default()
            },
        ),
    ]
}

pub(super) fn bad() -> Vec<bad::Case> {
    let input = || wrong("input", "a string or an array of items");
    bad::rows(vec![
        (RESPONSES, br#"{"input":7}"#, input()),
        (RESPONSES, br#"{"input":{"role":"user"}}"#, input()),
        (
            RESPONSES,
            br#"{"input":["a"]}"#,
            wrong("input[]", "an object"),
        ),
        (
            RESPONSES,
            br#"{"input":[{"role":1}]}"#,
            wrong("input[].role", "a string"),
        ),
        (
            RESPONSES,
            br#"{"input":[{"content":{}}]}"#,
            wrong("input[].content", "a string or an array of parts"),
        ),
        (
            RESPONSES,
            br#"{"input":[{"content":[{"text":1}]}]}"#,
            wrong("input[].content[].text", "a string"),
        ),
        (
            RESPONSES,
            br#"{"max_output_tokens":0}"#,
            range("max_output_tokens", 1, 10_000_000),
        ),
        (
            RESPONSES,
            br#"{"max_output_tokens":"300"}"#,
            wrong("max_output_tokens", "a whole number"),
        ),
        (
            RESPONSES,
            br#"{"background":"true"}"#,
            wrong("background", "true or false"),
        ),
        (
            RESPONSES,
            br#"{"background":true,"background":false}"#,
            disagree("background"),
        ),
        (
            RESPONSES,
            br#"{"previous_response_id":["resp_1"]}"#,
            wrong("previous_response_id", "a string"),
        ),
        (
            RESPONSES,
            br#"{"previous_response_id":"resp_1","previous_response_id":"resp_2"}"#,
            disagree("previous_response_id"),
        ),
        (
            RESPONSES,
            br#"{"input":"a","input":"b"}"#,
            disagree("input"),
        ),
        (
            "/v1/responses/compact",
            br#"{"model":{}}"#,
            wrong("model", "a string"),
        ),
    ])
}
