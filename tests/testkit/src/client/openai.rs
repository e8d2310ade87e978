//! OpenAI-style requests: chat and legacy completions.

use serde_json::{Map, Value, json};

use super::HttpRequest;

/// A chat or completions request. Fields that are not set are not sent.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenAiRequest {
    path: &'static str,
    fields: Map<String, Value>,
    headers: Vec<(String, String)>,
}

impl OpenAiRequest {
    /// A chat with one user message, `Hello`.
    #[must_use]
    pub fn chat(model: &str) -> Self {
        Self::at("/v1/chat/completions", model).prompt("Hello")
    }

    /// A legacy completion of the prompt `Hello`.
    #[must_use]
    pub fn completion(model: &str) -> Self {
        Self::at("/v1/completions", model).prompt("Hello")
    }

    fn at(path: &'static str, model: &str) -> Self {
        let request = Self {
            path,
            fields: Map::new(),
            headers: Vec::new(),
        };
        request.field("model", model)
    }

    /// Replaces the prompt: the only user message of a chat, or the text to complete.
    #[must_use]
    pub fn prompt(self, text: &str) -> Self {
        if self.path == "/v1/completions" {
            self.field("prompt", text)
        } else {
            self.field("messages", json!([{"role": "user", "content": text}]))
        }
    }

    /// Sets `max_tokens`.
    #[must_use]
    pub fn max_tokens(self, tokens: u64) -> Self {
        self.field("max_tokens", tokens)
    }

    /// Sets `temperature`.
    #[must_use]
    pub fn temperature(self, temperature: f64) -> Self {
        self.field("temperature", temperature)
    }

    /// Sets `n`, the number of choices.
    #[must_use]
    pub fn n(self, choices: u64) -> Self {
        self.field("n", choices)
    }

    /// Asks for a stream without usage.
    #[must_use]
    pub fn stream(self) -> Self {
        self.field("stream", true)
    }

    /// Asks for a stream whose last event carries usage.
    #[must_use]
    pub fn stream_with_usage(self) -> Self {
        self.stream()
            .field("stream_options", json!({"include_usage": true}))
    }

    /// Sets any other field of the body.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The body as JSON.
    #[must_use]
    pub fn body(&self) -> Value {
        Value::Object(self.fields.clone())
    }

    /// The HTTP request to a server such as `http://127.0.0.1:10000`.
    #[must_use]
    pub fn to(&self, server: &str) -> HttpRequest {
        let mut request = HttpRequest::post(
            format!("{}{}", server.trim_end_matches('/'), self.path),
            self.body().to_string(),
        )
        .header("content-type", "application/json");
        request.headers.extend(self.headers.iter().cloned());
        request
    }
}
