//! The parsed body of a model request.

use serde::Deserialize;
use serde_json::Value;

/// The API of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Completion,
}

/// A parsed model request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRequest {
    pub(super) api: Api,
    /// The requested model.
    pub model: String,
    /// UTF-8 bytes of all prompt text.
    pub prompt_bytes: u64,
    /// The limit of tokens per choice, if set.
    pub max_tokens: Option<u64>,
    /// Number of choices.
    pub n: u64,
    /// Whether the response is streamed.
    pub stream: bool,
    /// Whether a stream ends with usage.
    pub include_usage: bool,
    /// Whether each event of a stream carries usage.
    pub continuous_usage: bool,
    /// Whether the body has `stream_options`, with any content.
    pub stream_options: bool,
}

#[derive(Deserialize)]
struct Body {
    model: String,
    #[serde(default)]
    messages: Vec<Message>,
    #[serde(default)]
    prompt: Value,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    n: Option<u64>,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Value,
}

#[derive(Deserialize, Default)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
    #[serde(default)]
    continuous_usage_stats: bool,
}

impl ModelRequest {
    /// Parses a body.
    pub(super) fn parse(api: Api, body: &[u8]) -> Result<Self, serde_json::Error> {
        let body: Body = serde_json::from_slice(body)?;
        let stream_options = body.stream_options.is_some();
        let options = body.stream_options.unwrap_or_default();
        let messages = body.messages.iter().map(|message| &message.content);
        Ok(Self {
            api,
            prompt_bytes: messages.chain([&body.prompt]).map(text_bytes).sum(),
            model: body.model,
            max_tokens: body.max_completion_tokens.or(body.max_tokens),
            n: body.n.unwrap_or(1),
            stream: body.stream,
            include_usage: options.include_usage,
            continuous_usage: options.continuous_usage_stats,
            stream_options,
        })
    }

    /// ⌈prompt bytes / 4⌉.
    #[must_use]
    pub fn prompt_tokens(&self) -> u64 {
        self.prompt_bytes.div_ceil(4)
    }

    /// Tokens per choice of a server that would produce `tokens`.
    #[must_use]
    pub fn tokens_of(&self, tokens: u64) -> u64 {
        self.max_tokens.map_or(tokens, |most| most.min(tokens))
    }
}

/// The number of bytes of text in a prompt or in a message's content: a string, or a list of strings or of parts with a `text`.
fn text_bytes(content: &Value) -> u64 {
    match content {
        Value::String(text) => text.len() as u64,
        Value::Array(parts) => parts.iter().map(text_bytes).sum(),
        Value::Object(part) => part.get("text").map_or(0, text_bytes),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn prompt_text_is_counted_in_bytes_in_every_form_of_a_prompt() {
        for (api, body, tokens) in [
            (
                Api::Chat,
                r#"{"model":"m","messages":[{"role":"user","content":"12345"}]}"#,
                2,
            ),
            (
                Api::Chat,
                r#"{"model":"m","messages":[{"content":"éé"},{"content":null}]}"#,
                1,
            ),
            (
                Api::Chat,
                r#"{"model":"m","messages":[{"content":[{"type":"text","text":"12345678"}]}]}"#,
                2,
            ),
            (Api::Completion, r#"{"model":"m","prompt":["1234","5"]}"#, 2),
            (Api::Completion, r#"{"model":"m"}"#, 0),
        ] {
            let request = ModelRequest::parse(api, body.as_bytes()).unwrap();
            assert_eq!(request.prompt_tokens(), tokens, "{body}");
        }
    }

    #[test]
    fn max_completion_tokens_wins_and_bounds_the_answer() {
        let body = br#"{"model":"m","max_tokens":9,"max_completion_tokens":5}"#;
        let request = ModelRequest::parse(Api::Chat, body).unwrap();
        assert_eq!((request.tokens_of(16), request.tokens_of(3)), (5, 3));
    }
}
