//! Every part of a prompt is charged, also if the client disconnects before usage is known.

use crate::proxy::{Proxy, counted, one_model, tokens};

/// The charge in tokens of a request whose client disconnects before the answer: its prompt.
fn charged_after_disconnect(path: &str, body: &str) -> u64 {
    let bucket = tokens(1_000_000, "1", r#","abandoned":"prompt""#);
    let mut proxy = Proxy::new(&one_model(&bucket).replace("4096", "100000"));
    let head = [(":method", "POST"), (":path", path)];
    let (mut stream, _) = proxy.send(&head, Some(body.as_bytes()));
    proxy.host.ends("downstream_remote_disconnect", true);
    let effects = proxy.end(&mut stream);
    counted(
        &effects,
        "rule=.=default/p/budget;.;model=.=m;.;version=.=v1;.;headgate_charged_milli",
    ) / 1000
}

fn chat(more: &str) -> u64 {
    charged_after_disconnect(
        "/v1/chat/completions",
        &format!(r#"{{"model":"m",{more}}}"#),
    )
}

#[test]
fn tools_are_charged_when_the_client_disconnects() {
    let schema = "x".repeat(40_000);
    let tools = format!(r#"{{"function":{{"description":"{schema}"}}}}"#);
    let tokens = tools.len().div_ceil(4) as u64;
    for key in ["tools", "functions"] {
        let list = format!(r#""{key}":[{tools}]"#);
        assert_eq!(chat(&list), (tools.len() as u64 + 2).div_ceil(4), "{key}");
    }
    assert_eq!(chat(&format!(r#""response_format":{tools}"#)), tokens);
    assert_eq!(chat(&format!(r#""tool_choice":{tools}"#)), tokens);
    let call = format!(r#""messages":[{{"role":"assistant","function_call":{tools}}}]"#);
    assert_eq!(chat(&call), tokens);
}

#[test]
fn text_outside_of_the_content_counts_as_prompt() {
    let text = "y".repeat(4000);
    for key in ["name", "refusal", "reasoning_content"] {
        let message = format!(r#""messages":[{{"role":"assistant","{key}":"{text}"}}]"#);
        assert_eq!(chat(&message), 1000, "{key}");
    }
    let body = format!(r#"{{"model":"m","prompt":"abcd","suffix":"{text}"}}"#);
    assert_eq!(charged_after_disconnect("/v1/completions", &body), 1001);
}

#[test]
fn a_picture_costs_a_fixed_number_of_tokens_however_it_is_given() {
    let inline = format!("data:image/png;base64,{}", "iVBORw0K".repeat(5000));
    for url in ["https://a.example/b.png", inline.as_str()] {
        let messages = format!(
            r#""messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"{url}"}}}}]}}]"#
        );
        assert_eq!(chat(&messages), 765);
    }
}
