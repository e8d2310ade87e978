//! Responses: complete, and chunk by chunk.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use super::{ClientError, error};

/// A complete response.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The response headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The trailers.
    pub trailers: HeaderMap,
}

impl Reply {
    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A response header, if it is present and valid text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`ClientError::Json`].
    pub fn json(&self) -> Result<Value, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| ClientError::Json {
            why: error.to_string(),
            text: self.text(),
        })
    }
}

/// A response whose headers have come and whose body is read on demand.
#[derive(Debug)]
pub struct StreamedReply {
    /// The status code.
    pub status: u16,
    /// The response headers.
    pub headers: HeaderMap,
    body: Incoming,
    /// Empty until the body is read to its end.
    trailers: HeaderMap,
    /// Bytes that were read and not yet returned as an event.
    pending: BytesMut,
    timeout: Duration,
}

impl StreamedReply {
    pub(super) fn new(response: Response<Incoming>, timeout: Duration) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            trailers: HeaderMap::new(),
            pending: BytesMut::new(),
            timeout,
        }
    }

    /// A response header, if it is present and valid text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The next bytes as they came; `None` at the regular end.
    ///
    /// # Errors
    /// [`ClientError::Body`] when the stream broke off, [`ClientError::Timeout`] when no bytes came.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let frame = tokio::time::timeout(self.timeout, self.body.frame())
                .await
                .map_err(|_| ClientError::Timeout(self.timeout))?;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => {
                    return Err(ClientError::Body {
                        so_far: Bytes::new(),
                        why: error::chain(&error),
                    });
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Ok(Some(data)),
                    // Trailers are not data: read on.
                    Err(frame) => self
                        .trailers
                        .extend(frame.into_trailers().unwrap_or_default()),
                },
            }
        }
    }

    /// The `data:` of the next server-sent event (an empty line ends an event); `None` at the regular end.
    ///
    /// # Errors
    /// As [`Self::chunk`].
    pub async fn event(&mut self) -> Result<Option<String>, ClientError> {
        loop {
            if let Some(end) = self.pending.windows(2).position(|pair| pair == b"\n\n") {
                let event = self.pending.split_to(end + 2);
                let text = String::from_utf8_lossy(&event);
                let data: Vec<&str> = text
                    .lines()
                    .filter_map(|line| line.strip_prefix("data:"))
                    .map(|data| data.strip_prefix(' ').unwrap_or(data))
                    .collect();
                return Ok(Some(data.join("\n")));
            }
            match self.chunk().await? {
                Some(bytes) => self.pending.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }

    /// All events up to the regular end.
    ///
    /// # Errors
    /// As [`Self::chunk`].
    pub async fn events(mut self) -> Result<Vec<String>, ClientError> {
        let mut events = Vec::new();
        while let Some(event) = self.event().await? {
            events.push(event);
        }
        Ok(events)
    }

    /// Reads the rest of the body.
    ///
    /// # Errors
    /// As [`Self::chunk`], with the bytes read before the break.
    pub async fn whole(mut self) -> Result<Reply, ClientError> {
        let mut body = std::mem::take(&mut self.pending);
        loop {
            match self.chunk().await {
                Ok(Some(bytes)) => body.extend_from_slice(&bytes),
                Ok(None) => break,
                Err(ClientError::Body { why, .. }) => {
                    let so_far = body.freeze();
                    return Err(ClientError::Body { so_far, why });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Reply {
            status: self.status,
            headers: self.headers,
            body: body.freeze(),
            trailers: self.trailers,
        })
    }

    /// Closes the stream before its end. The server sees the client disconnect.
    pub fn disconnect(self) {
        drop(self);
    }
}
