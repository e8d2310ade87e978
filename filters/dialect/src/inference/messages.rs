//! The messages of a gRPC inference request, read as its body arrives.
//!
//! The first message decides. Each further message is priced by its contents. A compressed message is not read: it is priced by its bytes,
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
    /// The current message is read. If not, its bytes are counted already.
    reads: bool,
    request: InferRequest,
    /// The facts of the first message.
    first: Option<Body>,
    /// The error of the first message.
    error: Option<BodyError>,
    /// No message begins here any more: all bytes count.
    lost: bool,
    /// What further messages cost.
    further: Passed,
}

impl MessageScanner {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            header: [0; HEADER],
            header_len: 0,
            left: 0,
            reads: false,
            request: InferRequest::new(limits),
            first: None,
            error: None,
            lost: false,
            further: Passed::default(),
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while self.error.is_none() && !rest.is_empty() {
            rest = match self.header_len < HEADER {
                _ if self.lost => self.count_lost(rest),
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
            self.begin();
        }
        rest
    }

    /// A message begins.
    fn begin(&mut self) {
        let [compressed, length @ ..] = self.header;
        self.left = u64::from(u32::from_be_bytes(length));
        self.reads = compressed == 0;
        match compressed {
            0 => self.request.begin(self.left),
            1 => self.count(Body::default(), self.left),
            _ if self.first.is_some() => self.lost = true,
            _ => {
                let what = "a message has an unknown compression flag";
                self.error = Some(BodyError::NotProtobuf { what });
            }
        }
        self.end_if_complete();
    }

    /// Reads the current message. Returns the bytes after it.
    fn message<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let len = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let (message, rest) = bytes.split_at(len);
        self.left -= len as u64;
        if self.reads
            && let Err(error) = self.request.push(message)
        {
            self.fail(error);
        }
        self.end_if_complete();
        rest
    }

    fn end_if_complete(&mut self) {
        if self.left > 0 || self.lost || self.error.is_some() {
            return;
        }
        self.header_len = 0;
        if !self.reads {
            return;
        }
        match self.request.end() {
            Ok(request) => {
                let body = Body {
                    model: request.model,
                    version: request.version,
                    ..Body::default()
                };
                self.count(body, request.bytes);
            }
            Err(error) => self.fail(error),
        }
    }

    /// The current message costs these bytes.
    fn count(&mut self, body: Body, bytes: u64) {
        match self.first {
            None => {
                self.first = Some(Body {
                    prompt_bytes: bytes,
                    ..body
                });
            }
            Some(_) => {
                self.further.bytes = self.further.bytes.saturating_add(bytes);
                self.further.messages += 1;
            }
        }
    }

    /// The current message is malformed. If it is not the first, it is priced by its bytes, and the upstream refuses it.
    #[cold]
    fn fail(&mut self, error: BodyError) {
        match self.first {
            None => self.error = Some(error),
            Some(_) => {
                let [_, length @ ..] = self.header;
                self.count(Body::default(), u64::from(u32::from_be_bytes(length)));
                self.reads = false;
            }
        }
    }

    /// Bytes that belong to no message pass.
    #[cold]
    fn count_lost<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        self.further.bytes = self.further.bytes.saturating_add(bytes.len() as u64);
        &[]
    }

    pub(crate) fn decided(&self) -> bool {
        self.first.is_some()
    }

    pub(crate) fn error(&self) -> Option<&BodyError> {
        self.error.as_ref()
    }

    /// The model, once the first message is complete.
    pub(crate) fn model(&self) -> Option<&str> {
        self.first.as_ref()?.model.as_deref()
    }

    pub(crate) fn finish(&mut self) -> Result<Body, BodyError> {
        match (&self.error, &mut self.first) {
            (Some(error), _) => Err(error.clone()),
            (None, Some(body)) => Ok(std::mem::take(body)),
            (None, None) => {
                let what = "it ends before its first message is complete";
                Err(BodyError::NotProtobuf { what })
            }
        }
    }

    /// Reads further messages.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Passed {
        self.push(bytes);
        std::mem::take(&mut self.further)
    }
}
