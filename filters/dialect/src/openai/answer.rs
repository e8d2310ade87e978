//! Answers, whole or streamed → usage, what was observed, and what of it the client gets.
//!
//! Last stage of a request: fed with the answer as it passes, asked at the stream's end, however it
//! ends. Nothing an upstream sends is an error here; what cannot be read is counted by its bytes.
//! Usage counts from the moment its object is complete, so an answer cut right after is settled on it.
//!
//! `events` and `documents` cut an answer into documents, `reader` reads one of them by the names in `fields`,
//! `report` judges a usage report, `text` counts generated text once.

mod documents;
mod events;
mod fields;
mod reader;
mod report;
mod text;

use crate::usage::{Label, Observed, Output, Usage};
use documents::Documents;
use events::Events;

/// A byte order mark.
const MARK: &[u8] = b"\xEF\xBB\xBF";
/// What the first line of an event stream begins with, if it is no comment.
const FIELDS: [&[u8]; 4] = [b"data:", b"event:", b"id:", b"retry:"];

/// Reads one answer, in portions of any size.
///
/// ```
/// use headgate_dialect::{Label, UsageScanner};
///
/// let mut scanner = UsageScanner::new(Label::Events, 1);
/// scanner.push(b"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\nda", false);
/// scanner.push(b"ta: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":1}}\n\n", false);
/// assert_eq!(scanner.observed().text_bytes, 2);
/// assert_eq!(scanner.usage().map(|usage| (usage.input, usage.output)), Some((Some(7), 1)));
/// assert!(!scanner.done());
/// ```
#[derive(Debug)]
pub struct UsageScanner {
    label: Label,
    taking_out: bool,
    form: Form,
    documents: Documents,
    bytes: u64,
}

/// What an answer is.
#[derive(Debug)]
enum Form {
    /// Not known yet: all that came is blank, but for these few bytes.
    Open(Vec<u8>),
    Documents,
    Events(Box<Events>),
    Unreadable,
}

impl UsageScanner {
    /// A scanner of an answer with this label and so many sequences (choices), which bound what is believed.
    #[must_use]
    pub fn new(label: Label, sequences: u64) -> Self {
        Self {
            label,
            taking_out: false,
            form: Form::Open(Vec::new()),
            documents: Documents::new(sequences),
            bytes: 0,
        }
    }

    /// The same, and each event that only reports usage is taken out: the client did not ask for it.
    #[must_use]
    pub fn taking_out_usage(self) -> Self {
        Self {
            taking_out: true,
            ..self
        }
    }

    /// Reads the next bytes; `end` with the last ones. What passes is all that was pushed, at the latest when its
    /// event is complete or the answer ends.
    pub fn push(&mut self, bytes: &[u8], end: bool) -> Output {
        self.bytes += bytes.len() as u64;
        let Form::Open(kept) = &mut self.form else {
            return self.read(bytes, end);
        };
        if kept.is_empty() {
            return self.begin(bytes, end, false);
        }
        let mut all = std::mem::take(kept);
        all.extend_from_slice(bytes);
        self.begin(&all, end, true)
    }

    /// Reads the first bytes; some of them were `kept` from earlier pushes.
    fn begin(&mut self, bytes: &[u8], end: bool, kept: bool) -> Output {
        let (blank, rest) = bytes.split_at(blank(bytes));
        let passed = if let Some(form) = self.form_of(rest, end) {
            self.documents.lines = matches!(form, Form::Documents);
            self.form = form;
            self.read(rest, end)
        } else {
            self.form = Form::Open(rest.to_vec());
            match end || rest.is_empty() {
                true => Output::Unchanged,
                false => Output::Replaced(Vec::new()),
            }
        };
        match passed {
            _ if !self.taking_out => Output::Unchanged,
            Output::Unchanged if !kept => Output::Unchanged,
            Output::Unchanged => Output::Replaced(bytes.to_vec()),
            Output::Replaced(rest) => Output::Replaced([blank, &rest].concat()),
        }
    }

    /// What begins with these bytes, which are not blank; `None` until that can be told.
    fn form_of(&self, bytes: &[u8], end: bool) -> Option<Form> {
        let label = match self.label {
            Label::Json => Form::Documents,
            Label::Events => self.events(),
            Label::Other => Form::Unreadable,
        };
        match bytes.first()? {
            b'{' | b'[' => Some(Form::Documents),
            b':' => Some(self.events()),
            _ if FIELDS.iter().any(|field| bytes.starts_with(field)) => Some(self.events()),
            _ if end => Some(label),
            _ if MARK.starts_with(bytes) => None,
            _ if self.label == Label::Events => Some(label),
            _ if FIELDS.iter().any(|field| field.starts_with(bytes)) => None,
            _ => Some(label),
        }
    }

    fn events(&self) -> Form {
        Form::Events(Box::new(Events::new(self.taking_out)))
    }

    fn read(&mut self, bytes: &[u8], end: bool) -> Output {
        match &mut self.form {
            Form::Documents => self.documents.push(bytes),
            Form::Events(events) => {
                events.push(bytes, &mut self.documents);
                return events.pass(bytes, end, &self.documents);
            }
            Form::Unreadable | Form::Open(_) => self.documents.add_foreign(bytes.len() as u64),
        }
        Output::Unchanged
    }

    /// The usage reported, as far as that can be true: a report of zeros is none, and what a later report does
    /// not say remains from an earlier one.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.documents.reader.usage()
    }

    /// Whether generated text came after the last report of output: then it does not tell all of it.
    #[must_use]
    pub fn usage_is_stale(&self) -> bool {
        self.documents.reader.usage_is_stale()
    }

    /// What was seen so far, a document that is not complete included. Not for every push: it copies what is
    /// known of the text.
    #[must_use]
    pub fn observed(&self) -> Observed {
        let open = match &self.form {
            Form::Open(kept) => kept.len() as u64,
            _ => 0,
        };
        Observed {
            text_bytes: self.documents.text_bytes(),
            unread_bytes: self.documents.unread_bytes() + open,
            bytes: self.bytes,
        }
    }

    /// Whether the answer said that it is complete: `[DONE]`, or usage no sooner than every sequence had ended.
    #[must_use]
    pub fn done(&self) -> bool {
        let said = matches!(&self.form, Form::Events(events) if events.done());
        said || self.documents.reader.complete()
    }

    /// Whether there was an error, and neither generated text, nor usage, nor what cannot be read in another event: a status of 200 that holds only an error.
    #[must_use]
    pub fn error_only(&self) -> bool {
        self.documents.error_only() && self.usage().is_none() && self.documents.text_bytes() == 0
    }
}

/// Length of the blank bytes at the beginning, byte order marks among them.
fn blank(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some(&byte) = rest.first() {
        rest = match byte {
            b' ' | b'\t' | b'\n' | b'\r' => &rest[1..],
            _ => match rest.strip_prefix(MARK) {
                Some(rest) => rest,
                None => break,
            },
        };
    }
    bytes.len() - rest.len()
}
