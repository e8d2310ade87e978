//! An event stream → its documents, and the bytes that pass when the usage-only event is removed.
//!
//! That event has one document, whose `choices` are an empty list and whose `usage` is an object. Only the current event is
//! ever held back, and only until it cannot be that event. So the bytes that pass do not depend on how they were cut.

use super::documents::Documents;
use crate::sse::{Sink, Sse};
use crate::usage::Output;

/// The end of an OpenAI stream, in place of a document.
const DONE: &[u8] = b"[DONE]";

/// Greatest length of an event that is removed, in bytes. A longer one passes.
const MAX_HELD: u64 = 64 << 10;

#[derive(Debug)]
pub(super) struct Events {
    sse: Sse,
    line: Line,
    buffer: Option<EventBuffer>,
}

/// The current data line.
#[derive(Debug)]
struct Line {
    /// How many bytes of `[DONE]` it has so far; `None` once it is something else.
    done_len: Option<usize>,
    /// There was such a line in this event.
    event_done: bool,
    /// There was such a line in this stream.
    done: bool,
}

/// The part of a stream that is held back.
#[derive(Debug, Default)]
struct EventBuffer {
    /// Bytes of the current event in earlier pushes.
    held: Vec<u8>,
    /// Comments inside of the current event. They always pass.
    comments: Vec<u8>,
    /// Where the current event begins in this push, while it is held.
    from: Option<usize>,
    /// An event was removed, and its line end may continue at this byte of the stream.
    line_feed: Option<u64>,
    /// Bytes of earlier pushes.
    offset: u64,
    /// The bytes that pass of this push up to `copied`, if they are not the input itself.
    out: Option<Vec<u8>>,
    copied: usize,
}

impl Events {
    pub(super) fn new(removes_usage: bool) -> Self {
        Self {
            sse: Sse::new(),
            line: Line {
                done_len: None,
                event_done: false,
                done: false,
            },
            buffer: removes_usage.then(EventBuffer::default),
        }
    }

    /// Reads the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8], documents: &mut Documents) {
        let mut reading = Reading {
            bytes,
            line: &mut self.line,
            buffer: self.buffer.as_mut(),
            documents,
        };
        if let Some(buffer) = &mut reading.buffer {
            buffer.begin();
        }
        self.sse.push(bytes, &mut reading);
    }

    /// The part of the last push that passes. At the `end`, everything held passes, unless it is the usage-only event.
    pub(super) fn pass(&mut self, bytes: &[u8], end: bool, documents: &Documents) -> Output {
        let Some(buffer) = &mut self.buffer else {
            return Output::Unchanged;
        };
        let usage_only = is_usage_only(&self.line, documents);
        if buffer.from.is_some()
            && (usage_only == Some(false) || buffer.len(bytes.len()) > MAX_HELD)
        {
            buffer.release();
        }
        if end {
            match usage_only {
                Some(true) => buffer.remove(bytes, bytes.len()),
                _ => buffer.release(),
            }
        }
        buffer.pass(bytes)
    }

    /// Whether the stream said that it was complete.
    pub(super) fn done(&self) -> bool {
        self.line.done || self.line.done_len == Some(DONE.len())
    }
}

/// Whether the current event is the usage-only event.
fn is_usage_only(line: &Line, documents: &Documents) -> Option<bool> {
    match line.event_done || line.done_len.is_some_and(|len| len > 1) {
        true => Some(false),
        false => documents.is_usage_only(),
    }
}

/// One push being read.
struct Reading<'a> {
    bytes: &'a [u8],
    line: &'a mut Line,
    buffer: Option<&'a mut EventBuffer>,
    documents: &'a mut Documents,
}

impl Sink for Reading<'_> {
    fn begin_event(&mut self, at: usize) {
        if let Some(buffer) = &mut self.buffer {
            buffer.from = Some(at);
        }
    }

    fn comment(&mut self, bytes: &[u8]) {
        if let Some(buffer) = &mut self.buffer
            && buffer.from.is_some()
            && buffer.comments.len() as u64 <= MAX_HELD
        {
            buffer.comments.extend_from_slice(bytes);
        }
    }

    fn begin_data(&mut self, first: bool) {
        if !first {
            self.documents.push(b"\n");
        }
        self.line.done_len = Some(0);
    }

    fn data(&mut self, mut data: &[u8]) {
        while let Some(len) = self.line.done_len
            && let Some((byte, rest)) = data.split_first()
        {
            if DONE.get(len) == Some(byte) {
                self.line.done_len = Some(len + 1);
                data = rest;
            } else {
                // Something else with the same beginning.
                self.line.done_len = None;
                self.documents.push(DONE.get(..len).unwrap_or_default());
            }
        }
        self.documents.push(data);
    }

    fn end_data(&mut self) {
        match self.line.done_len.take() {
            Some(len) if len == DONE.len() => {
                self.line.done = true;
                self.line.event_done = true;
            }
            Some(len) => self.documents.push(DONE.get(..len).unwrap_or_default()),
            None => {}
        }
    }

    fn error(&mut self) {
        self.documents.error();
    }

    fn unknown(&mut self, bytes: usize) {
        self.documents.add_foreign(bytes as u64);
    }

    fn end_event(&mut self, at: usize) {
        if let Some(buffer) = &mut self.buffer
            && buffer.from.is_some()
        {
            let usage_only = is_usage_only(self.line, self.documents) == Some(true);
            match usage_only && buffer.len(at) <= MAX_HELD {
                true => buffer.remove(self.bytes, at),
                false => buffer.release(),
            }
        }
        self.line.event_done = false;
        self.documents.end_event();
    }

    fn line_feed(&mut self, at: usize) {
        if let Some(buffer) = &mut self.buffer
            && buffer.line_feed == Some(buffer.offset + at as u64)
        {
            buffer.from = Some(at);
            buffer.remove(self.bytes, at + 1);
        }
    }
}

impl EventBuffer {
    /// A push begins.
    fn begin(&mut self) {
        self.copied = 0;
        self.from = (!self.held.is_empty()).then_some(0);
        self.out = self.from.map(|_| Vec::new());
    }

    /// The length of the current event up to this byte of the push.
    fn len(&self, at: usize) -> u64 {
        let from = self.from.unwrap_or(at);
        (self.held.len() + (at - from)) as u64
    }

    /// The current event passes.
    fn release(&mut self) {
        self.from = None;
        self.comments.clear();
        if let Some(out) = &mut self.out {
            out.append(&mut self.held);
        }
    }

    /// The current event ends here, and does not pass.
    fn remove(&mut self, bytes: &[u8], at: usize) {
        let Some(from) = self.from.take() else { return };
        let out = self.out.get_or_insert_default();
        out.extend_from_slice(bytes.get(self.copied..from).unwrap_or_default());
        out.append(&mut self.comments);
        self.held.clear();
        self.copied = at;
        self.line_feed = Some(self.offset + at as u64);
    }

    /// The push ends.
    fn pass(&mut self, bytes: &[u8]) -> Output {
        self.offset += bytes.len() as u64;
        if let Some(from) = self.from {
            let out = self.out.get_or_insert_default();
            out.extend_from_slice(bytes.get(self.copied..from).unwrap_or_default());
            self.held
                .extend_from_slice(bytes.get(from..).unwrap_or_default());
        } else if let Some(out) = &mut self.out {
            out.extend_from_slice(bytes.get(self.copied..).unwrap_or_default());
        }
        self.out.take().map_or(Output::Unchanged, Output::Replaced)
    }
}
