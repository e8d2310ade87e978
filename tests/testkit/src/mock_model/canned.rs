//! Canned responses that a test registers, and requests that it records.
//!
//! Invariant: a canned response runs through the same script as a generated one, so it can be split, delayed and broken off alike.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

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
}
