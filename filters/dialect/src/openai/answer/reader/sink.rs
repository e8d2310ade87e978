//! What the JSON scanner tells of a document.

use super::super::fields::{At, Field, Hint, Word};
use super::super::text::Slot;
use super::{Index, Reader, Reading, WORD_ROOM};
use crate::json::{JsonError, Kind, Scalar, Sink, Want};

/// Nesting that is followed. A deeper document is not read.
const MAX_DEPTH: usize = 127;

impl Sink for Reader {
    type Error = JsonError;

    fn open(&mut self, kind: Kind, at: u64) -> Result<(), JsonError> {
        if self.path.depth() == MAX_DEPTH {
            return Err(JsonError::Malformed {
                offset: at,
                what: "too deep",
            });
        }
        self.begin_value(Some(kind));
        match self.target() {
            _ if self.path.at() == Some(At::Root) => {
                let document = match kind {
                    Kind::Object => At::Top,
                    Kind::Array => At::List,
                };
                self.enter(document, at);
            }
            Field::Inside(inside, due) if due == kind => self.enter(inside, at),
            Field::Answer(answer) if kind == Kind::Object => self.enter(answer, at),
            Field::Inside(At::Usage, _) => self.enter(At::Reports, at),
            Field::Inside(At::Errors, _) => self.enter(At::Errors, at),
            // One call that is no list.
            Field::Inside(At::ToolCalls, _) => {
                self.call = Index::default();
                self.enter(At::ToolCall, at);
            }
            Field::Text(slot) if kind == Kind::Array => self.enter(At::Blocks(slot), at),
            Field::Text(slot) => self.enter(At::Block(slot), at),
            Field::Raw(slot) => {
                self.begin_text(slot);
                self.enter(At::Raw, at);
            }
            Field::Error => {
                self.set_error();
                self.enter(At::Error, at);
            }
            Field::Hint(hint) => {
                self.hint(hint);
                self.path.skip();
            }
            Field::Count(count) => {
                self.report.spoil(count);
                self.path.skip();
            }
            _ => self.path.skip(),
        }
        Ok(())
    }

    fn close(&mut self, at: u64) -> Result<(), JsonError> {
        if let Some(left) = self.path.leave() {
            self.leave(left, at);
        }
        self.field = Field::Other;
        if self.path.depth() == 0 {
            self.end = at + 1;
        }
        Ok(())
    }

    fn key(&mut self, key: &[u8]) {
        if let Some(at) = self.path.at() {
            self.field = match at.field(key) {
                Field::Unknown if !self.in_choice => Field::Other,
                field => field,
            };
        }
    }

    fn begin_string(&mut self) -> Result<Want, JsonError> {
        self.begin_value(None);
        let (reading, want) = match self.target() {
            Field::Text(slot) | Field::String(slot) | Field::Raw(slot) => {
                self.begin_text(slot);
                (Reading::Text, Want::Text)
            }
            Field::Answer(_) => {
                self.begin_text(Slot::Whole);
                (Reading::Text, Want::Text)
            }
            Field::Unknown => {
                self.begin_text(Slot::Unknown);
                (Reading::Text, Want::Text)
            }
            Field::Sound => (Reading::Sound, Want::Length),
            Field::Word(word) => (Reading::Word(word), Want::Text),
            Field::Error => (Reading::Error, Want::Length),
            Field::Hint(hint) => (Reading::Hint(hint), Want::Length),
            Field::Inside(At::Message, _) => (Reading::Hint(Hint::Message), Want::Length),
            Field::Count(count) => {
                self.report.spoil(count);
                (Reading::Nothing, Want::Nothing)
            }
            _ => (Reading::Nothing, Want::Nothing),
        };
        self.reading = reading;
        self.word_len = 0;
        Ok(want)
    }

    fn length(&mut self, bytes: u64) {
        self.some_text();
        if self.reading == Reading::Sound {
            self.sound += bytes;
        }
    }

    fn text(&mut self, text: &[u8]) {
        if self.reading == Reading::Text {
            self.some_text();
            self.texts.push(text);
            return;
        }
        for byte in text.iter().take(WORD_ROOM - self.word_len) {
            if let Some(slot) = self.word.get_mut(self.word_len) {
                *slot = *byte;
                self.word_len += 1;
            }
        }
    }

    fn end_string(&mut self) -> Result<(), JsonError> {
        let word = self.word.get(..self.word_len).unwrap_or_default();
        match (self.reading, word) {
            (Reading::Word(Word::Object), b"error") => self.set_error(),
            // One host says it with letters.
            (Reading::Word(Word::Finish), b"" | b"null") => {}
            (Reading::Word(Word::Finish), _) => self.ends = true,
            _ => {}
        }
        Ok(())
    }

    fn scalar(&mut self, scalar: Scalar, _end: u64) -> Result<(), JsonError> {
        self.begin_value(None);
        match (self.target(), scalar) {
            (Field::Count(_), Scalar::Number(number)) => self.count(number),
            (Field::Count(count), Scalar::Bool(_)) => self.report.spoil(count),
            (Field::Index, Scalar::Number(number)) => self.index(number),
            (Field::Hint(Hint::Code), Scalar::Number(number))
                if !matches!(number.whole(), Ok(0 | 200)) =>
            {
                self.hint(Hint::Code);
            }
            (Field::Error, Scalar::Bool(true)) | (Field::Success, Scalar::Bool(false)) => {
                self.set_error();
            }
            (Field::Error, Scalar::Number(number)) if number.whole() != Ok(0) => self.set_error(),
            _ => {}
        }
        Ok(())
    }
}
