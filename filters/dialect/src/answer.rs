//! Answers, whole or streamed → usage, what was observed, and the bytes that the client gets.
//!
//! The last stage of a request. The scanner reads an answer as it passes and gives its results at the end of the stream,
//! however the stream ends. Nothing that an upstream sends is an error here: what cannot be read is counted by its bytes.
//! Usage may arrive in any number of events. A report counts from the moment its object is complete, so an answer that is
//! cut after it is settled on it.
//!
//! `events` and `documents` divide an answer into documents, `reader` reads one document in the vocabulary of `field`,
//! `report` judges a usage report, `text` counts generated text once. Nothing here knows the keys of an API: the [`Schema`]
//! of an endpoint, which stands in the dialect's own module, maps them to the vocabulary.

mod documents;
mod events;
pub(crate) mod field;
mod reader;
pub(crate) mod report;
mod sequences;
pub(crate) mod text;

use crate::usage::{Label, Observed, Output, Usage};
use documents::Documents;
use events::Events;
use field::{Container, Field};

/// The format of an endpoint's answers. It is data: one reader serves every endpoint.
#[derive(Debug)]
pub(crate) struct Schema {
    /// The meaning of a key in a container.
    pub(crate) field: fn(Container, &[u8]) -> Field,
    /// Whether answers hold generated tokens. If not, all reported usage is input.
    pub(crate) generates: bool,
    /// The kinds (`type`) of the events that end a stream.
    pub(crate) last_events: &'static [&'static str],
    /// Whether a later report of a stream replaces only the counts that it has.
    pub(crate) amends_reports: bool,
    /// Whether later requests can continue an answer, by the id of its response.
    pub(crate) continues: bool,
    /// Whether each document (also in a list) is about one sequence, which its index names. It reports the usage of that sequence.
    pub(crate) by_sequence: bool,
    /// Whether an answer is a sound, unless it is labelled as JSON or as events.
    pub(crate) sounds: bool,
}

/// A byte order mark.
const MARK: &[u8] = b"\xEF\xBB\xBF";
/// Beginnings of the first line of an event stream, if it is not a comment.
const FIELDS: [&[u8]; 4] = [b"data:", b"event:", b"id:", b"retry:"];

/// Bytes of a sound for one byte of text; see [`Observed::unread_bytes`]. A quarter less than characters of base64.
const SOUND_PER_BYTE: u64 = 600;

/// Reads one answer, in portions of any size.
///
/// ```
/// use headgate_dialect::{Endpoint, Label};
///
/// let endpoint = Endpoint::of_path(b"/v1/chat/completions").unwrap();
/// let mut scanner = endpoint.usage_scanner(Label::Events, 1);
/// scanner.push(b"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\nda", false);
/// scanner.push(b"ta: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":1}}\n\n", false);
/// assert_eq!(scanner.observed().text_bytes, 2);
/// assert_eq!(scanner.usage().map(|usage| (usage.input, usage.output)), Some((Some(7), 1)));
/// assert!(!scanner.done());
/// ```
#[derive(Debug)]
pub struct UsageScanner {
    label: Label,
    removes_usage: bool,
    form: Form,
    documents: Documents,
    bytes: u64,
}

/// The form of an answer.
#[derive(Debug)]
enum Form {
    /// Not known yet: everything so far is blank, except these few bytes.
    Open(Vec<u8>),
    Documents,
    Events(Box<Events>),
    Unreadable,
}

impl UsageScanner {
    /// A scanner for an answer with this label. `sequences`: the number of choices that were asked for; it bounds the counts
    /// that are believed.
    pub(crate) fn new(schema: &'static Schema, label: Label, sequences: u64) -> Self {
        Self {
            label,
            removes_usage: false,
            form: Form::Open(Vec::new()),
            documents: Documents::new(schema, sequences),
            bytes: 0,
        }
    }

    /// A scanner for an answer to several prompts. Each sequence reports its prompt, so a prompt with several sequences is reported several times.
    #[must_use]
    pub fn of_prompts(mut self, prompts: u64) -> Self {
        self.documents.reader.set_prompts(prompts);
        self
    }

    /// The same, but events that only report usage are removed: the client did not ask for them.
    #[must_use]
    pub fn removing_usage(self) -> Self {
        Self {
            removes_usage: true,
            ..self
        }
    }

    /// Reads the next bytes; `end`: they are the last. All bytes pass, at the latest when their event or the answer ends.
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

    /// Reads the first bytes. Some of them were `kept` from earlier pushes.
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
            _ if !self.removes_usage => Output::Unchanged,
            Output::Unchanged if !kept => Output::Unchanged,
            Output::Unchanged => Output::Replaced(bytes.to_vec()),
            Output::Replaced(rest) => Output::Replaced([blank, &rest].concat()),
        }
    }

    /// The form of an answer that begins with these bytes, which are not blank; `None` until that is clear.
    fn form_of(&self, bytes: &[u8], end: bool) -> Option<Form> {
        let label = match self.label {
            Label::Json => Form::Documents,
            Label::Events => self.events(),
            Label::Other => Form::Unreadable,
        };
        match bytes.first()? {
            // A sound may begin with any byte.
            _ if self.is_sound() => Some(Form::Unreadable),
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

    fn is_sound(&self) -> bool {
        self.documents.reader.sounds() && self.label == Label::Other
    }

    fn events(&self) -> Form {
        Form::Events(Box::new(Events::new(self.removes_usage)))
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

    /// The usage that was reported, as far as it can be true. A report of zeros is ignored. What a later report leaves out
    /// remains from an earlier one.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.documents.reader.usage()
    }

    /// Whether generated text came after the last report of output. The report is then incomplete.
    #[must_use]
    pub fn usage_is_stale(&self) -> bool {
        self.documents.reader.usage_is_stale()
    }

    /// The observations so far, including an incomplete document. Do not call it after every push: it copies the state of
    /// the text.
    #[must_use]
    pub fn observed(&self) -> Observed {
        let open = match &self.form {
            Form::Open(kept) => kept.len() as u64,
            _ => 0,
        };
        let unread = self.documents.unread_bytes() + open;
        Observed {
            text_bytes: self.documents.text_bytes(),
            unread_bytes: match self.is_sound() {
                true => unread / SOUND_PER_BYTE,
                false => unread,
            },
            bytes: self.bytes,
        }
    }

    /// The id of the response, if the answer is one that later requests can continue.
    #[must_use]
    pub fn response_id(&self) -> Option<&str> {
        self.documents.reader.response_id()
    }

    /// Whether the answer said that it was complete: by `[DONE]`, or by usage after the end of every sequence.
    #[must_use]
    pub fn done(&self) -> bool {
        let done = matches!(&self.form, Form::Events(events) if events.done());
        done || self.documents.reader.complete()
    }

    /// Whether the answer is only an error: without generated text, without usage, and without other events that cannot be
    /// read. Such an answer may have the status 200.
    #[must_use]
    pub fn error_only(&self) -> bool {
        self.documents.error_only() && self.usage().is_none() && self.documents.text_bytes() == 0
    }
}

/// Length of the blank bytes at the beginning, including byte order marks.
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
