//! Canned responses that a test registers, and requests that it records.
//!
//! Invariant: a canned response runs through the same script as a generated one, so it can be split, delayed and broken off alike.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;

use super::behaviour::Behaviour;
use super::response::Event;
use super::script::Script;

/// A response that a test registers beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MockAnswer {
    pub(super) status: StatusCode,
    pub(super) content_type: HeaderValue,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A recorded request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedRequest {
    /// The method.
    pub method: Method,
    /// The path with its query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, byte for byte.
    pub body: Bytes,
}

impl MockAnswer {
    /// Status 200 and a body of JSON.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::new(HeaderValue::from_static("application/json"), body.into())
    }

    /// Status 200 and a stream of server-sent events, sent one at a time.
    pub fn events(body: impl Into<Bytes>) -> Self {
        Self::new(HeaderValue::from_static("text/event-stream"), body.into())
    }

    fn new(content_type: HeaderValue, body: Bytes) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            headers: HeaderMap::new(),
            body,
        }
    }

    /// Sets the status.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Sets the `content-type`. It decides whether the body is chunked as events.
    #[must_use]
    pub fn content_type(mut self, content_type: &'static str) -> Self {
        self.content_type = HeaderValue::from_static(content_type);
        self
    }

    /// Adds a header. With `content-length` the response is not chunked on the wire.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(HeaderName::from_static(name), value);
        }
        self
    }

    /// Parses responses by name, as a test in another language writes them. The body is base64; `status` is 200 unless given.
    ///
    /// ```text
    /// {"hello": {"contentType": "application/json", "headers": {"x-a": "b"}, "body": "e30="}}
    /// ```
    ///
    /// # Errors
    /// A message that names the field.
    pub fn parse_all(json: &str) -> Result<Vec<(String, Self)>, String> {
        let written: BTreeMap<String, Written> =
            serde_json::from_str(json).map_err(|error| error.to_string())?;
        let parsed = written.into_iter().map(|(name, answer)| {
            let answer = Self::try_from(answer).map_err(|error| format!("{name}: {error}"))?;
            Ok((name, answer))
        });
        parsed.collect()
    }

    pub(super) fn script(&self, tokens: u64, behaviour: &Behaviour) -> Script {
        let body = self.body.clone();
        if self
            .content_type
            .as_bytes()
            .starts_with(b"text/event-stream")
        {
            Script::of_events(events(body), behaviour)
        } else {
            Script::of_body(body, tokens, behaviour)
        }
    }
}

/// A response as text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written {
    #[serde(default)]
    status: Option<u16>,
    content_type: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: String,
}

impl TryFrom<Written> for MockAnswer {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written {
            status,
            content_type,
            headers,
            body,
        } = written;
        let kind = HeaderValue::from_str(&content_type).map_err(|e| format!("contentType: {e}"))?;
        let body = STANDARD.decode(body).map_err(|e| format!("body: {e}"))?;
        let mut answer = Self::new(kind, body.into());
        if let Some(status) = status {
            answer.status = StatusCode::from_u16(status).map_err(|e| format!("status: {e}"))?;
        }
        for (name, value) in headers {
            let wrong = |why: String| format!("headers: {name}: {why}");
            let header = HeaderName::from_bytes(name.as_bytes());
            let header = header.map_err(|e| wrong(e.to_string()))?;
            let value = HeaderValue::from_str(&value).map_err(|e| wrong(e.to_string()))?;
            answer.headers.append(header, value);
        }
        Ok(answer)
    }
}

impl RecordedRequest {
    pub(super) fn new(head: &Parts, body: Bytes) -> Self {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        Self {
            method: head.method.clone(),
            path: path.to_owned(),
            headers: head.headers.clone(),
            body,
        }
    }

    /// A header, if it is present and valid text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Splits a body after each empty line. An incomplete last event is sent as it is.
fn events(mut body: Bytes) -> impl Iterator<Item = Event> + Send + 'static {
    std::iter::from_fn(move || {
        if body.is_empty() {
            return None;
        }
        let bytes = body.split_to(event_end(&body));
        let done = bytes.windows(6).any(|part| part == b"[DONE]");
        Some(Event {
            tokens: u64::from(!done),
            bytes,
        })
    })
}

/// The end of the first event: after its empty line, or the end of the body.
fn event_end(body: &[u8]) -> usize {
    let ends = [&b"\n\n"[..], b"\r\n\r\n", b"\r\r"].map(|end| {
        let at = body.windows(end.len()).position(|part| part == end);
        at.map_or(body.len(), |at| at + end.len())
    });
    ends.into_iter().min().unwrap_or(body.len())
}

/// Named values that the server and its owner share.
#[derive(Debug)]
pub(super) struct NamedStore<T>(Mutex<BTreeMap<String, T>>);

impl<T> Default for NamedStore<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> NamedStore<T> {
    pub(super) fn put(&self, name: &str, thing: T) {
        let mut things = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        things.insert(name.to_owned(), thing);
    }

    pub(super) fn get(&self, name: &str) -> Option<T> {
        let things = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        things.get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_stream_is_split_into_its_events_without_losing_a_byte() {
        let body = Bytes::from_static(b": hi\n\ndata: 1\r\n\r\ndata: [DONE]\n\ndata: cut");
        let events: Vec<Event> = events(body.clone()).collect();
        let tokens: Vec<u64> = events.iter().map(|event| event.tokens).collect();
        assert_eq!(tokens, [1, 1, 0, 1]);
        let all: Vec<u8> = events.iter().flat_map(|e| e.bytes.to_vec()).collect();
        assert_eq!(all, body);
    }

    #[test]
    fn responses_as_text_are_parsed_or_the_field_is_named() {
        let text =
            r#"{"a":{"contentType":"x/y","headers":{"X-A":"b"},"status":429,"body":"aGk="}}"#;
        let expected = MockAnswer::json("hi")
            .content_type("x/y")
            .status(StatusCode::TOO_MANY_REQUESTS)
            .header("x-a", "b");
        let parsed = MockAnswer::parse_all(text);
        assert_eq!(parsed, Ok(vec![("a".to_owned(), expected)]));
        for (from, to, named) in [
            ("aGk=", "a", "a: body"),
            ("x/y", "\\n", "a: contentType"),
            ("429", "7", "a: status"),
            ("X-A", "x a", "a: headers: x a"),
            ("status", "state", "state"),
        ] {
            let error = MockAnswer::parse_all(&text.replace(from, to)).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
