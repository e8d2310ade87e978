//! Gemini's generation and embeddings.

use super::super::bad::{self, wrong};
use super::super::case::{Case, events, json};
use super::super::requests::{Request, of_text, request};
use super::PICTURE;
use headgate_dialect::Body;

const GENERATE: &str = "/v1beta/models/gemini-2.5-pro:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-pro:streamGenerateContent";
const EMBED: &str = "/v1beta/models/e:embedContent";
const BATCH_EMBED: &str = "/v1beta/models/e:batchEmbedContents";

pub(super) fn requests() -> Vec<Request> {
    vec![
        request(
            "google-genai: a system instruction, a call and its result, a picture, tools",
            GENERATE,
            br#"{"contents":[{"parts":[{"text":"Weather in Cork?"},{"inlineData":{"mimeType":"image/png","data":"iVBORw0KGgo="}}],"role":"user"},{"parts":[{"functionCall":{"name":"weather","args":{"city":"Cork"}},"thoughtSignature":"CpcB"}],"role":"model"},{"parts":[{"functionResponse":{"name":"weather","response":{"result":"rain"}}}],"role":"user"}],"systemInstruction":{"parts":[{"text":"Be brief."}],"role":"user"},"tools":[{"functionDeclarations":[{"name":"weather"}]}],"generationConfig":{"temperature":0.5,"maxOutputTokens":256,"candidateCount":2,"thinkingConfig":{"thinkingBudget":1024}}}"#,
            Body {
                max_tokens: Some(256),
                n: Some(2),
                temperature: Some(500_000),
                prompt_bytes: [
                    "Weather in Cork?",
                    r#"{"name":"weather","args":{"city":"Cork"}}"#,
                    r#"{"name":"weather","response":{"result":"rain"}}"#,
                    r#"{"parts":[{"text":"Be brief."}],"role":"user"}"#,
                    r#"[{"functionDeclarations":[{"name":"weather"}]}]"#,
                ]
                .concat()
                .len() as u64,
                prompt_tokens: PICTURE,
                first_user_message: of_text("Weather in Cork?"),
                ..Body::default()
            },
        ),
        request(
            "the names of Protocol Buffers, numbers as strings, no role, text inline in base64",
            STREAM,
            br#"{"contents":[{"parts":[{"inline_data":{"mime_type":"text/plain","data":"SGVsbG8gdGhlcmUh"}},{"text":"Sum up."},{"file_data":{"mime_type":"video/mp4","file_uri":"gs://b/f"}}]}],"system_instruction":{"parts":{"text":"x"}},"generation_config":{"max_output_tokens":"64","candidate_count":"1"}}"#,
            Body {
                max_tokens: Some(64),
                n: Some(1),
                prompt_bytes: ("Hello there!Sum up.".len() + r#"{"parts":{"text":"x"}}"#.len())
                    as u64,
                prompt_tokens: PICTURE,
                first_user_message: of_text("Sum up."),
                ..Body::default()
            },
        ),
        request(
            "an embedding",
            EMBED,
            br#"{"content":{"parts":[{"text":"salt"}]},"taskType":"RETRIEVAL_QUERY","outputDimensionality":768}"#,
            Body {
                prompt_bytes: r#"{"parts":[{"text":"salt"}]}"#.len() as u64,
                ..Body::default()
            },
        ),
        request(
            "embeddings",
            BATCH_EMBED,
            br#"{"requests":[{"model":"models/e","content":{"parts":[{"text":"a"}]}}]}"#,
            Body {
                prompt_bytes: r#"[{"model":"models/e","content":{"parts":[{"text":"a"}]}}]"#.len()
                    as u64,
                ..Body::default()
            },
        ),
    ]
}

pub(super) fn bad() -> Vec<bad::Case> {
    bad::rows(vec![
        (
            GENERATE,
            br#"{"contents":[{"parts":[{"text":"a"}]}],"generationConfig":{"maxOutputTokens":"many"}}"#,
            wrong("generationConfig.maxOutputTokens", "a whole number"),
        ),
        (
            GENERATE,
            br#"{"contents":"a"}"#,
            wrong("contents", "an array of contents"),
        ),
    ])
}

pub(super) fn answers() -> Vec<Case> {
    vec![
        json(
            "gemini: parts by modality, thoughts beside the candidates, what was cached inside the prompt",
            br#"{"candidates":[{"content":{"parts":[{"text":"Rain."}],"role":"model"},"finishReason":"STOP","index":0,"avgLogprobs":-0.1}],"usageMetadata":{"promptTokenCount":2300,"candidatesTokenCount":4,"totalTokenCount":2404,"cachedContentTokenCount":2000,"promptTokensDetails":[{"modality":"TEXT","tokenCount":42},{"modality":"IMAGE","tokenCount":258},{"tokenCount":2000,"modality":"AUDIO"}],"candidatesTokensDetails":[{"modality":"TEXT","tokenCount":4}],"thoughtsTokenCount":100},"modelVersion":"gemini-2.5-pro","responseId":"r"}"#,
        )
        .to(GENERATE)
        .used(2300, 104)
        // What was cached is taken first, and leaves 300 tokens of the prompt.
        .parts([2000, 0, 300, 0], [100, 0, 0])
        .text(5)
        .done(),
        json(
            "gemini: a picture, and pictures and films in the prompt",
            br#"{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"iVBO"}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":600,"candidatesTokenCount":1290,"totalTokenCount":1890,"promptTokensDetails":[{"modality":"VIDEO","tokenCount":300},{"modality":"IMAGE","tokenCount":258},{"modality":"TEXT","tokenCount":42}],"candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":1290}]}}"#,
        )
        .to(GENERATE)
        .used(600, 1290)
        .parts([0, 0, 0, 558], [0, 0, 1290])
        .done(),
        events(
            "gemini: a stream that is cut: the last report counts what came before it",
            b"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"thinking\",\"thought\":true}],\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":9,\"totalTokenCount\":29,\"thoughtsTokenCount\":20}}\r\n\r\n\
            data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"The \"}],\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":1,\"totalTokenCount\":30,\"thoughtsTokenCount\":20}}\r\n\r\n",
        )
        .to(STREAM)
        .used(9, 21)
        .reasoning(20)
        .text(12),
        json(
            "gemini: a prompt that is blocked",
            br#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":7,"totalTokenCount":7}}"#,
        )
        .to(GENERATE)
        .used(7, 0),
        json(
            "gemini: an error in a list, as of a stream without events",
            br#"[{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}]"#,
        )
        .to(STREAM)
        .error_only(),
        json(
            "gemini: an embedding without a count",
            br#"{"embedding":{"values":[0.1,0.2]}}"#,
        )
        .to(EMBED),
    ]
}
