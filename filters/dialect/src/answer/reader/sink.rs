//! JSON events → steps of the [`Reader`].

use super::super::field::{Container, ErrorSign, Field, Keyword};
use super::super::text::TextKind;
use super::{Index, MAX_KEYWORD, Reader, Reading};
use crate::json::{JsonError, Kind, Scalar, Sink, WantedPart};

impl Sink for Reader {
    fn open(&mut self, kind: Kind, at: u64) -> Result<bool, JsonError> {
        self.begin_value(Some(kind));
        match self.target() {
            _ if self.path.at() == Some(Container::Root) => {
                let document = match kind {
                    Kind::Object => Container::Top,
                    Kind::Array => Container::List,
                };
                self.enter(document, at);
            }
            Field::Inside(inside, due) if due == kind => self.enter(inside, at),
            Field::Answer(answer) if kind == Kind::Object => self.enter(answer, at),
            Field::Inside(Container::Usage, _) => self.enter(Container::Reports, at),
            Field::Inside(Container::Errors, _) => self.enter(Container::Errors, at),
            // A single call in place of a list.
            Field::Inside(Container::ToolCalls, _) => {
                self.call = Index::default();
                self.enter(Container::ToolCall, at);
            }
            Field::Text(text) if kind == Kind::Array => self.enter(Container::Blocks(text), at),
            Field::Text(text) => self.enter(Container::Block(text), at),
            Field::Verbatim(text) => {
                self.begin_text(text);
                self.enter(Container::Verbatim, at);
            }
            Field::Error => {
                self.set_error();
                self.enter(Container::Error, at);
            }
            Field::ErrorSign(sign) => {
                self.error_sign(sign);
                self.path.skip();
            }
            Field::Count(count) => {
                self.report.invalidate(count);
                self.path.skip();
            }
            _ => self.path.skip(),
        }
        let container = self.path.at();
        Ok(container.is_some_and(|container| container != Container::Verbatim))
    }

    fn close(&mut self, at: u64) -> Result<(), JsonError> {
        if let Some(left) = self.path.leave() {
            self.leave(left, at);
        }
        self.field = Field::Ignored;
        if self.path.depth() == 0 {
            self.end = at + 1;
        }
        Ok(())
    }

    fn key(&mut self, key: &[u8]) {
        if let Some(at) = self.path.at() {
            self.field = match (self.schema.field)(at, key) {
                Field::Unknown if !self.in_choice => Field::Ignored,
                field => field,
            };
        }
    }

    fn begin_string(&mut self, _: u64) -> Result<WantedPart, JsonError> {
        self.begin_value(None);
        let (reading, want) = match self.target() {
            Field::Text(text) | Field::String(text) | Field::Verbatim(text) => {
                self.begin_text(text);
                (Reading::Text, WantedPart::Text)
            }
            Field::Answer(_) => {
                self.begin_text(TextKind::Whole);
                (Reading::Text, WantedPart::Text)
            }
            Field::WholeText => {
                self.begin_text(TextKind::Complete);
                (Reading::Text, WantedPart::Text)
            }
            Field::Unknown => {
                self.begin_text(TextKind::Unknown);
                (Reading::Text, WantedPart::Text)
            }
            Field::Base64 => (Reading::Base64, WantedPart::Length),
            Field::Keyword(keyword) => (Reading::Keyword(keyword), WantedPart::Text),
            Field::ResponseId => {
                self.response_id.clear();
                (Reading::ResponseId, WantedPart::Text)
            }
            Field::Error => (Reading::Error, WantedPart::Length),
            Field::ErrorSign(sign) => (Reading::ErrorSign(sign), WantedPart::Length),
            Field::Inside(Container::Message, _) => {
                (Reading::ErrorSign(ErrorSign::Message), WantedPart::Length)
            }
            Field::Count(count) => {
                self.report.invalidate(count);
                (Reading::Nothing, WantedPart::Nothing)
            }
            _ => (Reading::Nothing, WantedPart::Nothing),
        };
        self.reading = reading;
        self.keyword_len = 0;
        Ok(want)
    }

    fn length(&mut self, bytes: u64) {
        self.some_text();
        if self.reading == Reading::Base64 {
            self.base64 += bytes;
        }
    }

    fn text(&mut self, text: &[u8]) {
        if self.reading == Reading::Text {
            self.some_text();
            self.texts.push(text);
            return;
        }
        if self.reading == Reading::ResponseId {
            self.push_response_id(text);
            return;
        }
        for byte in text.iter().take(MAX_KEYWORD - self.keyword_len) {
            if let Some(letter) = self.keyword.get_mut(self.keyword_len) {
                *letter = *byte;
                self.keyword_len += 1;
            }
        }
    }

    fn end_string(&mut self, _: u64) -> Result<(), JsonError> {
        let word = self.keyword.get(..self.keyword_len).unwrap_or_default();
        match (self.reading, word) {
            (Reading::Keyword(Keyword::Kind), b"error") => self.set_error(),
            (Reading::Keyword(Keyword::Kind), word) if self.ends_stream(word) => {
                self.complete = true;
                self.mark_known();
            }
            // One host writes the word instead of the literal.
            (Reading::Keyword(Keyword::FinishReason), b"" | b"null") => {}
            (Reading::Keyword(Keyword::FinishReason), _) => self.ends = true,
            (Reading::Keyword(Keyword::Modality), word) => self.report.modality(word),
            (Reading::Text, _) if self.target() == Field::WholeText => {
                self.mark_known();
                self.set_done();
            }
            _ => {}
        }
        Ok(())
    }

    fn scalar(&mut self, scalar: Scalar, _end: u64) -> Result<(), JsonError> {
        self.begin_value(None);
        match (self.target(), scalar) {
            (Field::Count(_), Scalar::Number(number)) => self.count(number),
            (Field::Count(count), Scalar::Bool(_)) => self.report.invalidate(count),
            (Field::Index, Scalar::Number(number)) => self.index(number),
            (Field::Done, Scalar::Bool(done)) => {
                self.mark_known();
                if done {
                    self.set_done();
                }
            }
            (Field::ErrorSign(ErrorSign::Code), Scalar::Number(number))
                if !matches!(number.whole(), Ok(0 | 200)) =>
            {
                self.error_sign(ErrorSign::Code);
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
