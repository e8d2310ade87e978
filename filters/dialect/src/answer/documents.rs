//! Bytes → JSON documents, one after another, and bytes that are not JSON.
//!
//! An answer is one document, several documents as NDJSON, or the data of events with one document each. After a
//! violation of JSON's grammar, bytes are unread up to the end of the event, or up to a line that begins with `{`.

use super::Schema;
use super::reader::Reader;
use crate::json::{Json, JsonError};

/// Deepest nesting of a document that is read.
const MAX_DEPTH: u8 = 127;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    Inside,
    /// In bytes that are not JSON. True: at the start of a line.
    Unread(bool),
}

#[derive(Debug)]
pub(super) struct Documents {
    json: Json,
    state: State,
    /// Bytes of the current document in earlier pushes.
    size: u64,
    /// The last of these bytes ended a line.
    at_line: bool,
    /// Documents that began since the last event.
    begun: u32,
    /// Something since then was not a document.
    broken: bool,
    /// The current event is an error: bytes that cannot be read are no loss.
    in_error: bool,
    /// Bytes that are not JSON.
    unread: u64,
    /// Bytes of documents that have no field of this dialect.
    foreign: u64,
    /// Unread and foreign bytes since the last event, or since the last line of JSON.
    here: (u64, u64),
    /// Unread and foreign bytes of events and lines that are not errors.
    lost: (u64, u64),
    /// Documents are lines and not the data of events.
    pub(super) lines: bool,
    pub(super) reader: Reader,
}

impl Documents {
    pub(super) fn new(schema: &'static Schema, sequences: u64) -> Self {
        Self {
            json: Json::new(MAX_DEPTH),
            state: State::Between,
            size: 0,
            at_line: false,
            begun: 0,
            broken: false,
            in_error: false,
            unread: 0,
            foreign: 0,
            here: (0, 0),
            lost: (0, 0),
            lines: false,
            reader: Reader::new(schema, sequences),
        }
    }

    /// Consumes the next bytes.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while let Some(&byte) = bytes.first() {
            match self.state {
                State::Between if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => {
                    bytes = &bytes[1..];
                }
                State::Between if matches!(byte, b'{' | b'[') => self.begin(),
                State::Between => self.break_off(false),
                State::Inside => bytes = self.read(bytes),
                State::Unread(true) if byte == b'{' => self.begin(),
                State::Unread(_) => {
                    let line_end = bytes.iter().position(|byte| *byte == b'\n');
                    let len = line_end.map_or(bytes.len(), |at| at + 1);
                    self.add_unread(len as u64);
                    self.state = State::Unread(line_end.is_some());
                    bytes = &bytes[len..];
                }
            }
        }
    }

    fn begin(&mut self) {
        if self.lines {
            self.lose();
        }
        self.state = State::Inside;
        self.json = Json::new(MAX_DEPTH);
        self.size = 0;
        self.at_line = false;
        self.begun += 1;
        self.reader.begin_document();
    }

    /// Reads more of the document. Returns the bytes that do not belong to it.
    fn read<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Err(error) = self.json.push(bytes, &mut self.reader) else {
            self.size += bytes.len() as u64;
            self.at_line = bytes.last() == Some(&b'\n');
            if self.json.is_done() {
                self.end();
            }
            return &[];
        };
        let at = match error {
            JsonError::Malformed { offset, .. } | JsonError::TooDeep { offset, .. } => {
                offset.saturating_sub(self.size)
            }
            JsonError::Refused => 0,
        };
        let (read, rest) = bytes.split_at((at as usize).min(bytes.len()));
        if self.json.is_done() {
            // The next document begins here.
            self.end();
        } else {
            self.add_unread(self.size + read.len() as u64);
            let at_line = read.last().map_or(self.at_line, |byte| *byte == b'\n');
            self.break_off(at_line);
            self.reader.drop_document();
        }
        rest
    }

    /// The next bytes are not a document.
    fn break_off(&mut self, at_line: bool) {
        self.state = State::Unread(at_line);
        self.broken = true;
    }

    fn end(&mut self) {
        self.state = State::Between;
        let foreign = self.reader.end_document().unwrap_or(0);
        self.add_foreign(foreign);
    }

    /// The current event ends.
    pub(super) fn end_event(&mut self) {
        if self.state == State::Inside {
            self.add_unread(self.size);
            self.reader.drop_document();
        }
        self.lose();
        self.state = State::Between;
        self.begun = 0;
        self.broken = false;
        self.in_error = false;
    }

    /// The current event is an error.
    pub(super) fn error(&mut self) {
        self.in_error = true;
        let (unread, foreign) = std::mem::take(&mut self.here);
        self.unread -= unread;
        self.foreign -= foreign;
        self.reader.set_error();
    }

    /// Adds bytes that have nothing of this dialect.
    pub(super) fn add_foreign(&mut self, bytes: u64) {
        if !self.in_error {
            self.foreign += bytes;
            self.here.1 += bytes;
        }
    }

    /// Counts the bytes since the last event as lost, unless they belong to an error.
    fn lose(&mut self) {
        let (unread, foreign) = std::mem::take(&mut self.here);
        if !self.reader.take_error_here() {
            self.lost.0 += unread;
            self.lost.1 += foreign;
        }
    }

    /// Whether there was an error and nothing else, except perhaps text and usage.
    pub(super) fn error_only(&self) -> bool {
        let (mut unread, mut foreign) = self.lost;
        if !self.reader.error_here() {
            unread += self.here.0;
            foreign += self.here.1;
            unread += self.unread_of_open();
        }
        self.reader.error() && unread == 0 && (foreign == 0 || self.reader.any_known())
    }

    fn add_unread(&mut self, bytes: u64) {
        if !self.in_error {
            self.unread += bytes;
            self.here.0 += bytes;
        }
    }

    /// Bytes that could not be read. All bytes, if nothing was of this dialect.
    pub(super) fn unread_bytes(&self) -> u64 {
        let foreign = match self.reader.any_known() {
            true => 0,
            false => self.foreign,
        };
        self.unread + foreign + self.unread_of_open()
    }

    /// The same of an incomplete document: all of it, unless it is an error, or unless something in the answer is of this
    /// dialect and there is text or usage.
    fn unread_of_open(&self) -> u64 {
        let open = self.state == State::Inside && !self.in_error && !self.reader.error_here();
        let nothing = || self.reader.usage().is_none() && self.text_bytes() == 0;
        match open && (!self.reader.any_known() || nothing()) {
            true => self.size,
            false => 0,
        }
    }

    pub(super) fn text_bytes(&self) -> u64 {
        self.reader
            .text_bytes(self.state == State::Inside, self.size)
    }

    /// Whether the current event is the event that only reports usage; `None` while that is open. (`Some(true)` changes if
    /// the event has more data.)
    pub(super) fn is_usage_only(&self) -> Option<bool> {
        let usage_only = self.reader.usage_only();
        match self.state {
            _ if self.begun > 1 || self.broken || self.in_error => Some(false),
            _ if self.begun == 1 && usage_only.not => Some(false),
            State::Between if self.begun == 1 => Some(usage_only.no_choices && usage_only.usage),
            _ => None,
        }
    }
}
