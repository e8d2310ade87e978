//! The messages of a gRPC inference request, cut out of its body as it arrives.
//!
//! The first message decides. Each further message of a stream costs what it holds. A compressed message is not read: it costs its bytes
//! and names no model.

use super::protobuf::InferRequest;
use crate::body::{Body, BodyError, Limits, Passed};

/// Bytes before a message: whether it is compressed, and its length.
const HEADER: usize = 5;

/// Reads one body.
#[derive(Debug)]
pub(crate) struct MessageScanner {
    header: [u8; HEADER],
    header_len: usize,
    /// Bytes of the current message that are still to come.
    left: u64,
    compressed: bool,
    request: InferRequest,
    /// Bytes that the complete messages cost, and their number.
    bytes: u64,
    messages: u64,
    model: Option<String>,
    version: Option<String>,
    error: Option<BodyError>,
}

impl MessageScanner {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            header: [0; HEADER],
            header_len: 0,
            left: 0,
            compressed: false,
            request: InferRequest::new(limits),
            bytes: 0,
            messages: 0,
            model: None,
            version: None,
            error: None,
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while self.error.is_none() && !rest.is_empty() {
            rest = match self.header_len < HEADER {
                true => self.header(rest),
                false => self.message(rest),
            };
        }
    }

    /// Reads the bytes before a message. Returns the others.
    fn header<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let Some((byte, rest)) = bytes.split_first() else {
            return &[];
        };
        if let Some(place) = self.header.get_mut(self.header_len) {
            *place = *byte;
        }
        self.header_len += 1;
        if self.header_len == HEADER {
            let [compressed, length @ ..] = self.header;
            self.left = u64::from(u32::from_be_bytes(length));
            self.compressed = compressed != 0;
            match compressed {
                0 => self.request.begin(self.left),
                1 => self.count(self.left),
                _ => self.fail("a message has an unknown compression flag"),
            }
            self.end_if_complete();
        }
        rest
    }

    /// Reads the current message. Returns the bytes after it.
    fn message<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let len = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let (message, rest) = bytes.split_at(len);
        self.left -= len as u64;
        if !self.compressed
            && let Err(what) = self.request.push(message)
        {
            self.fail(what);
        }
        self.end_if_complete();
        rest
    }

    fn end_if_complete(&mut self) {
        if self.left > 0 || self.error.is_some() {
            return;
        }
        self.header_len = 0;
        if self.compressed {
            return;
        }
        match self.request.end() {
            Ok(request) => {
                if self.messages == 0 && self.model.is_none() {
                    (self.model, self.version) = (request.model, request.version);
                }
                self.count(request.bytes);
            }
            Err(error) => self.error = Some(error),
        }
    }

    fn count(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.messages += 1;
    }

    fn fail(&mut self, what: &'static str) {
        self.error = Some(BodyError::NotProtobuf { what });
    }

    pub(crate) fn decided(&self) -> bool {
        self.messages > 0
    }

    pub(crate) fn error(&self) -> Option<&BodyError> {
        self.error.as_ref().filter(|_| self.messages == 0)
    }

    pub(crate) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The facts of the first message, and the cost of all that arrived with it.
    pub(crate) fn finish(&mut self) -> Result<Body, BodyError> {
        if self.messages == 0 {
            let what = "it ends before its first message is complete";
            return Err(self
                .error
                .clone()
                .unwrap_or(BodyError::NotProtobuf { what }));
        }
        self.messages = 0;
        Ok(Body {
            model: self.model.clone(),
            version: self.version.take().filter(|version| !version.is_empty()),
            prompt_bytes: std::mem::take(&mut self.bytes),
            ..Body::default()
        })
    }

    /// Reads further messages. What is malformed there is the upstream's to refuse: it costs its bytes.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Passed {
        if self.error.is_some() {
            self.bytes += bytes.len() as u64;
        }
        self.push(bytes);
        Passed {
            bytes: std::mem::take(&mut self.bytes),
            tokens: 0,
            messages: std::mem::take(&mut self.messages),
        }
    }
}
