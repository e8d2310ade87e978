//! Response bodies: the complete body, and the events of a stream.
//!
//! Invariant: pure, and lazy for streams, so that a stream of a million tokens needs no memory. The usage comes last, as real
//! servers write it.

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::behaviour::{Behaviour, Usage};
use super::request::{Api, ModelRequest};

/// The content of a response, before it is serialized.
#[derive(Debug, Clone)]
pub(super) struct Response {
    pub(super) request: ModelRequest,
    /// Number of the request.
    pub(super) number: u64,
    /// Seconds since 1970.
    pub(super) created: u64,
    /// Tokens per choice.
    pub(super) tokens: u64,
    /// Whether `max_tokens` ended the response.
    pub(super) cut_short: bool,
    /// The text of one token.
    pub(super) text: String,
    /// The reported usage.
    pub(super) usage: Usage,
    /// Whether each event carries usage.
    pub(super) continuous: bool,
    /// Bytes of padding in the usage event.
    pub(super) pad_bytes: usize,
    /// The request, for the key `mock`.
    pub(super) echo: Value,
}

/// One event of a stream, or one slice of a complete response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) bytes: Bytes,
    /// Number of tokens in it. Delays, stalls and aborts count only events with tokens.
    pub(super) tokens: u64,
}

#[derive(Serialize)]
struct Body<'a> {
    id: String,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mock: Option<&'a Value>,
    #[serde(skip_serializing_if = "String::is_empty")]
    padding: String,
    /// Absent, null, or a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<UsageBody>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize)]
struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

#[derive(Serialize)]
struct UsageBody {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
}

impl Response {
    pub(super) fn new(request: ModelRequest, behaviour: &Behaviour, default_tokens: u64) -> Self {
        let requested = behaviour.tokens.unwrap_or(default_tokens);
        let tokens = request.tokens_of(requested);
        Self {
            number: 0,
            created: 0,
            tokens,
            cut_short: tokens < requested,
            text: behaviour.text.clone().unwrap_or_else(|| "tok ".into()),
            usage: behaviour.usage,
            continuous: behaviour.continuous_usage || request.continuous_usage,
            pad_bytes: behaviour.pad_bytes,
            echo: Value::Null,
            request,
        }
    }

    /// Tokens of all choices.
    pub(super) fn all_tokens(&self) -> u64 {
        self.tokens * self.request.n
    }

    /// The complete body.
    pub(super) fn whole(&self) -> Bytes {
        let text = self.text.repeat(self.tokens as usize);
        let choices = (0..self.request.n).map(|index| {
            let mut choice = self.choice(index, Some(self.finish_reason()));
            match self.request.api {
                Api::Chat => choice.message = Some(message(Some("assistant"), Some(&text))),
                Api::Completion => choice.text = Some(&text),
            }
            choice
        });
        let object = match self.request.api {
            Api::Chat => "chat.completion",
            Api::Completion => "text_completion",
        };
        let mut body = self.body(object, choices.collect());
        body.mock = Some(&self.echo);
        body.padding = "x".repeat(self.pad_bytes);
        body.usage = self.usage_of(self.all_tokens()).map(Some);
        to_json(&body).into()
    }

    /// The events of the stream, `[DONE]` included.
    pub(super) fn events(self) -> impl Iterator<Item = Event> + Send + 'static {
        let openings = match self.request.api {
            Api::Chat => self.request.n,
            Api::Completion => 0,
        };
        let tokens = openings + self.all_tokens();
        let finishes = tokens + self.request.n;
        let with_usage = self.request.include_usage && self.usage != Usage::Omitted;
        let events = finishes + u64::from(with_usage);
        (0..=events).map(move |at| {
            let mut body = if at < openings {
                self.opening(at)
            } else if at < tokens {
                self.token((at - openings) % self.request.n)
            } else if at < finishes {
                self.finish(at - tokens)
            } else if at < events {
                self.body(self.chunk_object(), Vec::new())
            } else {
                return done();
            };
            let is_token = at >= openings && at < tokens;
            let produced = (at + 1).clamp(openings, tokens) - openings;
            if at == 0 {
                body.mock = Some(&self.echo);
            }
            if at + 1 == events {
                body.padding = "x".repeat(self.pad_bytes);
            }
            body.usage = if self.continuous || (with_usage && at + 1 == events) {
                self.usage_of(produced).map(Some)
            } else {
                self.request.include_usage.then_some(None)
            };
            Event {
                bytes: sse(&to_json(&body)),
                tokens: u64::from(is_token),
            }
        })
    }

    fn opening(&self, index: u64) -> Body<'_> {
        let mut choice = self.choice(index, None);
        choice.delta = Some(message(Some("assistant"), Some("")));
        self.body(self.chunk_object(), vec![choice])
    }

    fn token(&self, index: u64) -> Body<'_> {
        let mut choice = self.choice(index, None);
        match self.request.api {
            Api::Chat => choice.delta = Some(message(None, Some(&self.text))),
            Api::Completion => choice.text = Some(&self.text),
        }
        self.body(self.chunk_object(), vec![choice])
    }

    fn finish(&self, index: u64) -> Body<'_> {
        let mut choice = self.choice(index, Some(self.finish_reason()));
        match self.request.api {
            Api::Chat => choice.delta = Some(message(None, None)),
            Api::Completion => choice.text = Some(""),
        }
        self.body(self.chunk_object(), vec![choice])
    }

    fn choice(&self, index: u64, finish_reason: Option<&'static str>) -> Choice<'_> {
        Choice {
            index,
            message: None,
            delta: None,
            text: None,
            logprobs: None,
            finish_reason,
        }
    }

    fn body<'a>(&'a self, object: &'static str, choices: Vec<Choice<'a>>) -> Body<'a> {
        Body {
            id: format!("mock-{}", self.number),
            object,
            created: self.created,
            model: &self.request.model,
            choices,
            mock: None,
            padding: String::new(),
            usage: None,
        }
    }

    fn chunk_object(&self) -> &'static str {
        match self.request.api {
            Api::Chat => "chat.completion.chunk",
            Api::Completion => "text_completion",
        }
    }

    fn finish_reason(&self) -> &'static str {
        if self.cut_short { "length" } else { "stop" }
    }

    /// The usage reported after `produced` tokens; a forged completion count is reported from the first event on.
    fn usage_of(&self, produced: u64) -> Option<UsageBody> {
        let Usage::Reported {
            prompt,
            completion,
            total,
            cached,
            reasoning,
        } = self.usage
        else {
            return None;
        };
        let prompt_tokens = prompt.unwrap_or(self.request.prompt_tokens());
        let completion_tokens = completion.unwrap_or(produced);
        Some(UsageBody {
            prompt_tokens,
            completion_tokens,
            total_tokens: total.unwrap_or(prompt_tokens.saturating_add(completion_tokens)),
            prompt_tokens_details: cached.map(|cached_tokens| PromptDetails { cached_tokens }),
            completion_tokens_details: reasoning
                .map(|reasoning_tokens| CompletionDetails { reasoning_tokens }),
        })
    }
}

/// Cuts a complete body into one slice per token, all but the last of equal size.
pub(super) fn slices(body: Bytes, tokens: u64) -> impl Iterator<Item = Event> + Send + 'static {
    let size = body.len().div_ceil(tokens.max(1) as usize).max(1);
    let count = body.len().div_ceil(size) as u64;
    (0..count).map(move |at| {
        let from = at as usize * size;
        let to = body.len().min(from + size);
        // With more tokens than bytes, the last slice carries the rest of them.
        let more = if at + 1 == count {
            tokens.saturating_sub(count)
        } else {
            0
        };
        Event {
            bytes: body.slice(from..to),
            tokens: u64::from(at < tokens) + more,
        }
    })
}

fn message<'a>(role: Option<&'static str>, content: Option<&'a str>) -> Message<'a> {
    Message { role, content }
}

fn sse(json: &[u8]) -> Bytes {
    [b"data: ", json, b"\n\n"].concat().into()
}

fn done() -> Event {
    Event {
        bytes: Bytes::from_static(b"data: [DONE]\n\n"),
        tokens: 0,
    }
}

/// Serialization of these types cannot fail: all map keys are strings, and no implementation fails.
fn to_json(body: &Body<'_>) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}
