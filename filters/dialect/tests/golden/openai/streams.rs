//! Answers of Responses, whole and streamed. Every text of a stream is there four times: in parts, in the end of its part, in its item,
//! and in the response.

use super::super::case::Case;
use headgate_dialect::Label;

macro_rules! answer {
    ($name:literal, $end:literal, $label:expr) => {
        Case::new(
            $name,
            $label,
            include_bytes!(concat!("../answers/", $name, $end)),
        )
        .to("/v1/responses")
    };
}

macro_rules! sse {
    ($name:literal) => {
        answer!($name, ".sse", Label::Events)
    };
}

macro_rules! json {
    ($name:literal) => {
        answer!($name, ".json", Label::Json)
    };
}

pub(super) fn answers() -> Vec<Case> {
    const TEXT: u64 = "High tide is at six.".len() as u64;
    vec![
        sse!("openai-responses")
            .used(36, 87)
            .cached(16)
            .reasoning(64)
            .text("**Looking up**".len() as u64 + TEXT)
            .done(),
        sse!("openai-responses-tools")
            .used(100, 40)
            .text(r#"{"port":"Cork"}*** End Patchprint(6){}"#.len() as u64)
            .done(),
        sse!("openai-responses-refusal").used(9, 4).text(9).done(),
        sse!("openai-responses-background")
            .used(36, 87)
            .text(TEXT)
            .done(),
        sse!("openai-responses-unnamed-events")
            .used(36, 87)
            .text(TEXT)
            .done(),
        sse!("vllm-responses")
            .used(70, 30)
            .cached(64)
            .reasoning(9)
            .text("Six, surely. ".len() as u64 + TEXT)
            .done(),
        // Ends.
        sse!("openai-responses-incomplete")
            .used(36, 16)
            .text(TEXT)
            .done(),
        sse!("openai-responses-failed").error_only().done(),
        sse!("openai-responses-failed-late").text(10).done(),
        sse!("openai-responses-error").error_only(),
        sse!("openai-responses-created"),
        sse!("openai-responses-cut").text(TEXT),
        sse!("openai-responses-completed-cut").text(TEXT).done(),
        sse!("openai-responses-picture-cut").text(2),
        // Whole answers.
        json!("openai-responses")
            .used(328, 52)
            .cached(300)
            .reasoning(20)
            .text("Hm.".len() as u64 + TEXT + r#"tide{"port":"Cork"}"#.len() as u64),
        json!("openai-responses-queued"),
        json!("openai-responses-incomplete").used(20, 1).text(4),
        json!("openai-responses-failed").error_only(),
        // The window that remains has the texts of the user, too. Usage counts.
        json!("openai-responses-compacted")
            .used(139, 438)
            .reasoning(64)
            .text(5),
    ]
}
