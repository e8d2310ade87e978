//! One document of an answer (the whole of it, or the data of an event) → text, usage, and the state of the answer.
//!
//! If a document turns out not to be JSON, what was read of it is dropped, except for usage: that counts from the moment
//! its object is complete.

mod sink;

use super::Schema;
use super::field::{Container, ErrorSign, Field, Keyword};
use super::report::{Count, Report, merge};
use super::sequences::{Index, Sequences};
use super::text::{Place, TextKind, Texts};
use crate::json::{Decimal, Kind, Path};
use crate::usage::Usage;

/// Characters of base64 for one byte of text; see [`Observed::text_bytes`](crate::Observed).
const BASE64_PER_BYTE: u64 = 800;
/// Length of the longest word that is compared, and one byte more.
const MAX_KEYWORD: usize = 27;
/// Longest id of a response that is kept, in bytes.
const MAX_ID: usize = 128;

/// Whether the current document can be the event that only reports usage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct UsageOnly {
    /// It has `choices`, and they are empty so far.
    pub(super) no_choices: bool,
    /// It has `usage`, and that is an object.
    pub(super) usage: bool,
    /// It cannot be that event.
    pub(super) not: bool,
}

/// The handling of the string being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Nothing,
    Text,
    Base64,
    Keyword(Keyword),
    ResponseId,
    Error,
    ErrorSign(ErrorSign),
}

#[derive(Debug, Clone)]
pub(super) struct Reader {
    schema: &'static Schema,
    path: Path<Container, 16>,
    field: Field,
    reading: Reading,
    keyword: [u8; MAX_KEYWORD],
    keyword_len: usize,
    /// The number of sequences (choices) that the request asked for.
    sequences: u64,
    texts: Texts,
    place: Place,
    in_choice: bool,
    /// The current item of `choices`, and of `tool_calls`: by `index` where that is given.
    choice: Index,
    call: Index,
    /// Where the value begins that counts as sent.
    verbatim: Option<u64>,
    /// Characters of base64 so far, and those before the current document.
    base64: u64,
    base64_before: u64,
    report: Report,
    usage: Option<Usage>,
    /// The usage by sequence, where documents are about one.
    by_sequence: Sequences,
    /// Bytes of text when output was last reported, including the document of that report.
    reported_at: u64,
    /// The usage in `timings`, for answers without `usage`.
    timings: Option<Usage>,
    usage_only: UsageOnly,
    /// The current document has a field of this dialect, or an error.
    known: bool,
    /// Some document had a field of this dialect.
    any_known: bool,
    error: bool,
    /// There was an error since the last event, or since the last line of JSON.
    error_here: bool,
    /// Signs of an error in the current document: a detail, a message, a code.
    error_signs: [bool; 3],
    /// The current document has counts of usage among its own members.
    counts_at_top: bool,
    /// The current document reports usage.
    reports: bool,
    /// It reports output.
    reports_output: bool,
    /// The current choice is complete.
    ends: bool,
    /// The current document says that a sequence is complete.
    says_done: bool,
    /// Choices that were seen: one bit for each of the first 128.
    seen: u128,
    /// Choices that are complete.
    ended: u128,
    complete: bool,
    /// The id of the response.
    response_id: String,
    /// Where the document ended.
    end: u64,
}

impl Reader {
    pub(super) fn new(schema: &'static Schema, sequences: u64) -> Self {
        Self {
            schema,
            path: Path::new(Container::Root),
            field: Field::Ignored,
            reading: Reading::Nothing,
            keyword: [0; MAX_KEYWORD],
            keyword_len: 0,
            sequences,
            texts: Texts::default(),
            place: Place::Document,
            in_choice: false,
            choice: Index::default(),
            call: Index::default(),
            verbatim: None,
            base64: 0,
            base64_before: 0,
            report: Report::default(),
            usage: None,
            by_sequence: Sequences::default(),
            reported_at: 0,
            timings: None,
            usage_only: UsageOnly::default(),
            known: false,
            any_known: false,
            error: false,
            error_here: false,
            error_signs: [false; 3],
            counts_at_top: false,
            reports: false,
            reports_output: false,
            ends: false,
            says_done: false,
            seen: 0,
            ended: 0,
            complete: false,
            response_id: String::new(),
            end: 0,
        }
    }

    /// A document begins.
    pub(super) fn begin_document(&mut self) {
        self.path = Path::new(Container::Root);
        self.field = Field::Ignored;
        self.place = Place::Document;
        self.in_choice = false;
        self.choice = Index::default();
        self.ends = false;
        self.says_done = false;
        self.verbatim = None;
        self.known = false;
        self.error_signs = [false; 3];
        self.counts_at_top = false;
        self.reports = false;
        self.reports_output = false;
        self.usage_only = UsageOnly::default();
        self.base64_before = self.base64;
        self.texts.begin_document();
    }

    /// The document is complete. Returns its length if it had no field of this dialect.
    pub(super) fn end_document(&mut self) -> Option<u64> {
        self.texts.end_document();
        if !self.known && matches!(self.error_signs, [true, _, _] | [_, true, true]) {
            self.set_error();
        }
        self.end_reports();
        let all = self.ended == self.seen && u64::from(self.ended.count_ones()) >= self.sequences;
        let no_choices = self.usage_only.no_choices && !self.usage_only.not;
        if (self.reports || self.says_done) && self.ended > 0 && (all || no_choices) {
            self.complete = true;
        }
        (!self.known).then_some(self.end)
    }

    /// The document is not JSON.
    pub(super) fn drop_document(&mut self) {
        self.texts.drop_document();
        self.by_sequence.end_document(self.choice.get());
        self.base64 = self.base64_before;
        self.usage_only.not = true;
        self.end_reports();
    }

    /// The document ends: its report covers all text up to here.
    fn end_reports(&mut self) {
        if std::mem::take(&mut self.reports_output) {
            self.reported_at = self.text_bytes(false, 0);
        }
    }

    pub(super) fn usage_only(&self) -> UsageOnly {
        self.usage_only
    }

    /// Sets the number of prompts that the request has.
    pub(super) fn set_prompts(&mut self, prompts: u64) {
        self.by_sequence.prompts = prompts.max(1);
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        match self.schema.by_sequence {
            true => self.by_sequence.total(self.sequences, self.choice.get()),
            false => self.usage.or(self.timings),
        }
    }

    /// Whether text came after the last document that reports output, or whether no document does.
    pub(super) fn usage_is_stale(&self) -> bool {
        // Text that is not generated is no output.
        let fresh = !self.schema.generates
            || self.reports_output
            || self.text_bytes(false, 0) <= self.reported_at;
        let missing = self.schema.by_sequence && self.by_sequence.misses(self.seen.count_ones());
        self.usage().is_some() && (!fresh || missing)
    }

    /// The id of the response, if it was given and is not too long.
    pub(super) fn response_id(&self) -> Option<&str> {
        let known = (1..=MAX_ID).contains(&self.response_id.len());
        known.then_some(&self.response_id)
    }

    /// Whether this kind of event ends the stream.
    fn ends_stream(&self, kind: &[u8]) -> bool {
        self.schema
            .last_events
            .iter()
            .any(|last| last.as_bytes() == kind)
    }

    /// Adds a part of the id of the response. What is too long is not kept. Something with such an id is of this dialect: the first
    /// events of a stream have only what the request set, and no text.
    fn push_response_id(&mut self, text: &[u8]) {
        self.mark_known();
        let room = (MAX_ID + 1).saturating_sub(self.response_id.len());
        let text = text.get(..text.len().min(room)).unwrap_or_default();
        self.response_id
            .extend(text.iter().map(|byte| char::from(*byte)));
    }

    /// Whether every choice has ended, and usage was reported with the last one or later; or whether the answer said so.
    pub(super) fn complete(&self) -> bool {
        self.complete
    }

    /// Whether some document had a field of this dialect, other than an error.
    pub(super) fn any_known(&self) -> bool {
        self.any_known
    }

    /// Whether there was an error.
    pub(super) fn error(&self) -> bool {
        self.error
    }

    /// Notes an error.
    pub(super) fn set_error(&mut self) {
        self.error = true;
        self.error_here = true;
        self.known = true;
        self.usage_only.not = true;
    }

    pub(super) fn error_sign(&mut self, sign: ErrorSign) {
        // In an envelope, these keys may belong to an answer.
        if self.path.at() == Some(Container::Top)
            && let Some(seen) = self.error_signs.get_mut(sign as usize)
        {
            *seen = true;
        }
    }

    pub(super) fn error_here(&self) -> bool {
        self.error_here
    }

    pub(super) fn take_error_here(&mut self) -> bool {
        std::mem::take(&mut self.error_here)
    }

    /// Whether an answer is a sound, unless its label says otherwise.
    pub(super) fn sounds(&self) -> bool {
        self.schema.sounds
    }

    /// Bytes of text so far, including the current document. `read` bytes of that document are read.
    pub(super) fn text_bytes(&self, in_document: bool, read: u64) -> u64 {
        let base64 = self.base64 / BASE64_PER_BYTE;
        if !in_document {
            return self.texts.total() + base64;
        }
        let mut texts = self.texts.clone();
        if let Some(from) = self.verbatim {
            texts.push_len(read.saturating_sub(from));
        }
        if self.in_choice {
            texts.end_choice(self.choice.get());
        }
        texts.end_document();
        texts.total() + base64
    }

    /// The document has a field of this dialect.
    fn mark_known(&mut self) {
        self.known = true;
        self.any_known = true;
    }

    fn target(&self) -> Field {
        let Some(at) = self.path.at() else {
            return Field::Ignored;
        };
        at.item().unwrap_or(self.field)
    }

    /// A value begins (`kind`: of a container). Notes what that says about the document.
    fn begin_value(&mut self, kind: Option<Kind>) {
        match (self.path.at(), self.field) {
            (Some(Container::Choices | Container::List), _) => self.usage_only.not = true,
            (Some(Container::Top), Field::Inside(Container::Choices, due)) => {
                self.usage_only.no_choices = true;
                self.usage_only.not |= kind != Some(due);
            }
            (Some(Container::Top), Field::Inside(Container::Usage, due)) => {
                self.usage_only.usage = true;
                self.usage_only.not |= kind != Some(due);
            }
            (Some(Container::Errors), _) => self.set_error(),
            (
                Some(Container::Top),
                Field::Inside(Container::Vendor | Container::Timings, _) | Field::Metadata,
            ) => {}
            // The client may want this value.
            (Some(Container::Top), _) => self.usage_only.not |= kind.is_some(),
            _ => {}
        }
    }

    /// Enters a container of interest.
    fn enter(&mut self, container: Container, offset: u64) {
        match container {
            Container::Vectors | Container::Pictures => self.mark_known(),
            Container::Choices => {
                self.choice = Index::default();
                self.mark_known();
            }
            Container::Choice => {
                self.choice.begin();
                self.in_choice = true;
                self.ends = false;
                self.place = Place::Choice;
            }
            Container::Top if self.schema.by_sequence => {
                self.choice.begin();
                self.in_choice = true;
                self.place = Place::Choice;
            }
            Container::Delta => self.place = Place::Delta,
            Container::Token => {
                self.choice.is_fixed = true;
                self.place = Place::Delta;
                self.mark_known();
            }
            Container::Message if self.in_choice => self.place = Place::Message,
            Container::FunctionCall if self.place == Place::Delta => self.place = Place::DeltaCall,
            Container::FunctionCall if self.place == Place::Message => {
                self.place = Place::MessageCall
            }
            Container::ToolCalls => self.call = Index::default(),
            Container::ToolCall => {
                self.call.begin();
                self.texts.begin_call();
            }
            Container::Usage | Container::TokenUsage | Container::Timings
                if !self.schema.amends_reports =>
            {
                self.report = Report::default()
            }
            Container::Verbatim => self.verbatim = Some(offset),
            _ => {}
        }
        self.path.enter(container);
        self.field = Field::Ignored;
    }

    /// Leaves a container of interest.
    fn leave(&mut self, container: Container, offset: u64) {
        match container {
            Container::Choice => self.end_choice(),
            Container::Top if self.schema.by_sequence => {
                if self.counts_at_top {
                    self.end_report();
                }
                self.by_sequence.end_document(self.choice.get());
                self.end_choice();
            }
            Container::Delta | Container::Token | Container::Message if self.in_choice => {
                self.place = Place::Choice;
            }
            Container::FunctionCall if self.place == Place::DeltaCall => self.place = Place::Delta,
            Container::FunctionCall if self.place == Place::MessageCall => {
                self.place = Place::Message
            }
            Container::ToolCall => self.texts.end_call(self.call.get()),
            Container::InputModality => self.report.end_modality(true),
            Container::OutputModality => self.report.end_modality(false),
            Container::Usage | Container::TokenUsage => self.end_report(),
            Container::Top if self.counts_at_top => self.end_report(),
            Container::Timings => {
                if let Some(usage) = self.report.timings() {
                    self.timings = Some(usage);
                    self.reported(usage);
                }
            }
            Container::Verbatim => {
                let begin = self.verbatim.take().unwrap_or(offset);
                self.texts.push_len(offset + 1 - begin);
                self.mark_known();
            }
            _ => {}
        }
    }

    /// A choice is complete in this document.
    fn end_choice(&mut self) {
        let index = self.choice.get();
        self.texts.end_choice(index);
        let bit = 1u128.checked_shl(index).unwrap_or(0);
        self.seen |= bit;
        self.ended |= if self.ends { bit } else { 0 };
        self.ends = false;
        self.in_choice = false;
        self.place = Place::Document;
    }

    /// A report is complete.
    fn end_report(&mut self) {
        let usage = match self.schema.generates {
            true => self.report.usage(),
            false => self.report.input_only(),
        };
        if let Some(usage) = usage {
            if self.schema.by_sequence {
                self.by_sequence.report(usage);
            } else {
                let known = self.usage.filter(|_| !self.schema.amends_reports);
                self.usage = Some(merge(known, usage));
            }
            self.reported(usage);
        }
    }

    fn reported(&mut self, usage: Usage) {
        self.reports = true;
        self.reports_output |= usage.reports_output();
        self.mark_known();
    }

    fn count(&mut self, number: Decimal) {
        if let Field::Count(count) = self.field {
            let at_top = self.path.at() == Some(Container::Top);
            if at_top && count == Count::Seconds && self.reports {
                return;
            }
            if at_top && !self.counts_at_top {
                self.counts_at_top = true;
                self.report = Report::default();
            }
            let sequences = self.schema.generates.then_some(self.sequences);
            self.report.count(count, number, sequences);
        }
    }

    fn index(&mut self, number: Decimal) {
        let index = number.whole().ok();
        let index = index.and_then(|index| u32::try_from(index).ok());
        match self.path.at() {
            Some(Container::Choice | Container::Top) => self.choice.given = index,
            _ => self.call.given = index,
        }
    }

    fn begin_text(&mut self, kind: TextKind) {
        self.texts.begin(self.place, kind);
    }

    /// The current sequence is complete.
    fn set_done(&mut self) {
        self.ends = true;
        self.says_done = true;
    }

    /// Part of a string was read that is not empty.
    fn some_text(&mut self) {
        match self.reading {
            Reading::Text | Reading::Base64 => self.mark_known(),
            Reading::Error => self.set_error(),
            Reading::ErrorSign(sign) => self.error_sign(sign),
            Reading::Keyword(_) | Reading::ResponseId | Reading::Nothing => {}
        }
    }
}
