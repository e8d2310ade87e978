//! One document of an answer, whole or an event's, → text, usage and what it says of the answer.
//!
//! What it gathers of a document that turns out not to be JSON is dropped, but for
//! usage: that counts from the moment its object is complete.

mod sink;

use super::fields::{At, Field, Hint, Word};
use super::report::{Report, merge};
use super::text::{Place, Slot, Texts};
use crate::json::{Decimal, Kind, Path};
use crate::usage::Usage;

/// Characters of base64 for one byte of text; see [`Observed::text_bytes`](crate::Observed).
const SOUND_PER_BYTE: u64 = 800;
/// Room for the longest word of interest, and one byte more.
const WORD_ROOM: usize = 6;

/// What the document at hand is known to be so far, in regard to the extra event that reports usage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extra {
    /// It has `choices`, and they are empty so far.
    pub(super) no_choices: bool,
    /// It has usage, and that is an object.
    pub(super) usage: bool,
    /// It cannot be that event.
    pub(super) not: bool,
}

/// What one string is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Nothing,
    Text,
    Sound,
    Word(Word),
    Error,
    Hint(Hint),
}

#[derive(Debug, Clone)]
pub(super) struct Reader {
    path: Path<At, 16>,
    field: Field,
    reading: Reading,
    word: [u8; WORD_ROOM],
    word_len: usize,
    sequences: u64,
    texts: Texts,
    place: Place,
    in_choice: bool,
    /// Which item of `choices`, which of `tool_calls`; by `index` where that is told.
    choice: Index,
    call: Index,
    /// Where a value begins that counts as sent.
    raw: Option<u64>,
    sound: u64,
    sound_before: u64,
    report: Report,
    usage: Option<Usage>,
    /// Bytes of text when the output was last reported, the document with the report included.
    reported_at: u64,
    /// What timings say, for want of usage.
    timings: Option<Usage>,
    extra: Extra,
    /// The document at hand has something of this dialect or an error; some document had something of this dialect.
    known: bool,
    any_known: bool,
    error: bool,
    /// There was one since the last event, or line of JSON.
    error_here: bool,
    /// What may make an error of the document at hand: a detail, a message, a code.
    hints: [bool; 3],
    /// The document at hand reports usage; it reports output.
    reports: bool,
    reports_output: bool,
    /// The choice at hand is complete.
    ends: bool,
    /// Choices that were seen, that are complete: one bit for each of the first 128.
    seen: u128,
    ended: u128,
    complete: bool,
    /// Where the document ended.
    end: u64,
}

/// Which item of a list.
#[derive(Debug, Clone, Copy, Default)]
struct Index {
    next: u32,
    told: Option<u32>,
}

impl Index {
    /// The list's next item begins.
    fn begin(&mut self) {
        self.next += 1;
        self.told = None;
    }

    fn get(self) -> u32 {
        self.told.unwrap_or(self.next.saturating_sub(1))
    }
}

impl Reader {
    pub(super) fn new(sequences: u64) -> Self {
        Self {
            path: Path::new(At::Root),
            field: Field::Other,
            reading: Reading::Nothing,
            word: [0; WORD_ROOM],
            word_len: 0,
            sequences,
            texts: Texts::default(),
            place: Place::Document,
            in_choice: false,
            choice: Index::default(),
            call: Index::default(),
            raw: None,
            sound: 0,
            sound_before: 0,
            report: Report::default(),
            usage: None,
            reported_at: 0,
            timings: None,
            extra: Extra::default(),
            known: false,
            any_known: false,
            error: false,
            error_here: false,
            hints: [false; 3],
            reports: false,
            reports_output: false,
            ends: false,
            seen: 0,
            ended: 0,
            complete: false,
            end: 0,
        }
    }

    /// A document begins.
    pub(super) fn begin_document(&mut self) {
        self.path = Path::new(At::Root);
        self.field = Field::Other;
        self.place = Place::Document;
        self.in_choice = false;
        self.raw = None;
        self.known = false;
        self.hints = [false; 3];
        self.reports = false;
        self.reports_output = false;
        self.extra = Extra::default();
        self.sound_before = self.sound;
        self.texts.begin_document();
    }

    /// The document is complete; answers how long it was if it had nothing of this dialect.
    pub(super) fn end_document(&mut self) -> Option<u64> {
        self.texts.end_document();
        if !self.known && matches!(self.hints, [true, _, _] | [_, true, true]) {
            self.set_error();
        }
        self.end_reports();
        let all = self.ended == self.seen && u64::from(self.ended.count_ones()) >= self.sequences;
        let no_choices = self.extra.no_choices && !self.extra.not;
        if self.reports && self.ended > 0 && (all || no_choices) {
            self.complete = true;
        }
        (!self.known).then_some(self.end)
    }

    /// The document is no JSON.
    pub(super) fn drop_document(&mut self) {
        self.texts.drop_document();
        self.sound = self.sound_before;
        self.extra.not = true;
        self.end_reports();
    }

    /// The document ends: its report is one on all text up to here.
    fn end_reports(&mut self) {
        if std::mem::take(&mut self.reports_output) {
            self.reported_at = self.text_bytes(false, 0);
        }
    }

    pub(super) fn extra(&self) -> Extra {
        self.extra
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        self.usage.or(self.timings)
    }

    /// Text came after the last document that reports output. So it did if none does.
    pub(super) fn usage_is_stale(&self) -> bool {
        let fresh = self.reports_output || self.text_bytes(false, 0) <= self.reported_at;
        self.usage().is_some() && !fresh
    }

    /// Every choice has ended, and usage was reported no sooner.
    pub(super) fn complete(&self) -> bool {
        self.complete
    }

    /// Something was of this dialect, and no error.
    pub(super) fn any_known(&self) -> bool {
        self.any_known
    }

    /// There was an error.
    pub(super) fn error(&self) -> bool {
        self.error
    }

    /// The caller knows of an error.
    pub(super) fn set_error(&mut self) {
        self.error = true;
        self.error_here = true;
        self.known = true;
        self.extra.not = true;
    }

    pub(super) fn hint(&mut self, hint: Hint) {
        // In an envelope they may be the answer's.
        if self.path.at() == Some(At::Top)
            && let Some(told) = self.hints.get_mut(hint as usize)
        {
            *told = true;
        }
    }

    pub(super) fn error_here(&self) -> bool {
        self.error_here
    }

    pub(super) fn take_error_here(&mut self) -> bool {
        std::mem::take(&mut self.error_here)
    }

    /// Bytes of text so far, the document at hand included, of which `read` bytes are read.
    pub(super) fn text_bytes(&self, in_document: bool, read: u64) -> u64 {
        let sound = self.sound / SOUND_PER_BYTE;
        if !in_document {
            return self.texts.total() + sound;
        }
        let mut texts = self.texts.clone();
        if let Some(raw) = self.raw {
            texts.push_len(read.saturating_sub(raw));
        }
        if self.in_choice {
            texts.end_choice(self.choice.get());
        }
        texts.end_document();
        texts.total() + sound
    }

    fn know(&mut self) {
        self.known = true;
        self.any_known = true;
    }

    fn target(&self) -> Field {
        let Some(at) = self.path.at() else {
            return Field::Other;
        };
        at.item().unwrap_or(self.field)
    }

    /// A value begins, of this kind if it is a container: what that says of the document.
    fn begin_value(&mut self, kind: Option<Kind>) {
        match (self.path.at(), self.field) {
            (Some(At::Choices | At::List), _) => self.extra.not = true,
            (Some(At::Top), Field::Inside(At::Choices, due)) => {
                self.extra.no_choices = true;
                self.extra.not |= kind != Some(due);
            }
            (Some(At::Top), Field::Inside(At::Usage, due)) => {
                self.extra.usage = true;
                self.extra.not |= kind != Some(due);
            }
            (Some(At::Errors), _) => self.set_error(),
            (Some(At::Top), Field::Inside(At::Vendor | At::Timings, _) | Field::Metadata) => {}
            // Something that the client may want.
            (Some(At::Top), _) => self.extra.not |= kind.is_some(),
            _ => {}
        }
    }

    /// Enters a container of interest.
    fn enter(&mut self, at: At, offset: u64) {
        match at {
            At::Choices => {
                self.choice = Index::default();
                self.know();
            }
            At::Choice => {
                self.choice.begin();
                self.in_choice = true;
                self.ends = false;
                self.place = Place::Choice;
            }
            At::Delta => self.place = Place::Delta,
            At::Message if self.in_choice => self.place = Place::Message,
            At::FunctionCall if self.place == Place::Delta => self.place = Place::DeltaCall,
            At::FunctionCall if self.place == Place::Message => self.place = Place::MessageCall,
            At::ToolCalls => self.call = Index::default(),
            At::ToolCall => {
                self.call.begin();
                self.texts.begin_call();
            }
            At::Usage | At::TokenUsage | At::Timings => self.report = Report::default(),
            At::Raw => self.raw = Some(offset),
            _ => {}
        }
        self.path.enter(at);
        self.field = Field::Other;
    }

    /// Leaves a container of interest.
    fn leave(&mut self, at: At, offset: u64) {
        match at {
            At::Choice => {
                let index = self.choice.get();
                self.texts.end_choice(index);
                let bit = 1u128.checked_shl(index).unwrap_or(0);
                self.seen |= bit;
                self.ended |= if self.ends { bit } else { 0 };
                self.in_choice = false;
                self.place = Place::Document;
            }
            At::Delta | At::Message if self.in_choice => self.place = Place::Choice,
            At::FunctionCall if self.place == Place::DeltaCall => self.place = Place::Delta,
            At::FunctionCall if self.place == Place::MessageCall => self.place = Place::Message,
            At::ToolCall => self.texts.end_call(self.call.get()),
            At::Usage | At::TokenUsage => {
                if let Some(usage) = self.report.usage() {
                    self.usage = Some(merge(self.usage, usage));
                    self.reported(usage);
                }
            }
            At::Timings => {
                if let Some(usage) = self.report.timings() {
                    self.timings = Some(usage);
                    self.reported(usage);
                }
            }
            At::Raw => {
                let begin = self.raw.take().unwrap_or(offset);
                self.texts.push_len(offset + 1 - begin);
                self.know();
            }
            _ => {}
        }
    }

    fn reported(&mut self, usage: Usage) {
        self.reports = true;
        self.reports_output |= usage.tells_output();
        self.know();
    }

    fn count(&mut self, number: Decimal) {
        if let Field::Count(count) = self.field {
            self.report.count(count, number, self.sequences);
        }
    }

    fn index(&mut self, number: Decimal) {
        let told = number.whole().ok();
        let told = told.and_then(|index| u32::try_from(index).ok());
        match self.path.at() {
            Some(At::Choice) => self.choice.told = told,
            _ => self.call.told = told,
        }
    }

    fn begin_text(&mut self, slot: Slot) {
        self.texts.begin(self.place, slot);
    }

    /// Some text came.
    fn some_text(&mut self) {
        match self.reading {
            Reading::Text | Reading::Sound => self.know(),
            Reading::Error => self.set_error(),
            Reading::Hint(hint) => self.hint(hint),
            Reading::Word(_) | Reading::Nothing => {}
        }
    }
}
