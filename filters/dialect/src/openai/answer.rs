//! Answers, whole or streamed → usage and what was observed.
//!
//! Last stage of a request: fed with the answer as it passes, asked at the stream's end, however it
//! ends. Nothing an upstream sends is an error here; what cannot be read is only counted in bytes.
//! Usage counts from the moment its object is complete, so an answer cut right after is settled on it.

use crate::json::{Decimal, Json, JsonError, Kind, Path, Scalar, Sink, Want};
use crate::sse::{self, Sse};
use crate::usage::{Observed, Usage};

/// Nesting that is followed in an answer.
const MAX_DEPTH: u8 = 128;

/// Greatest count believed, far above any answer, so that sums and prices of counts stay in range.
const MAX_COUNT: u64 = 1 << 40;

/// What ends an OpenAI stream, in place of an event's JSON.
const DONE: &[u8] = b"[DONE]";

/// Reads one answer, in portions of any size.
///
/// ```
/// use headgate_dialect::UsageScanner;
///
/// let mut scanner = UsageScanner::stream();
/// scanner.push(b"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\nda");
/// scanner.push(b"ta: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":1}}\n\n");
/// assert_eq!(scanner.observed().deltas, 1);
/// assert_eq!(scanner.usage().map(|usage| (usage.input, usage.output)), Some((7, 1)));
/// assert!(!scanner.done());
/// ```
#[derive(Debug)]
pub struct UsageScanner {
    /// Framing, if the answer is a stream of events.
    sse: Option<Sse>,
    event: Event,
    bytes: u64,
}

impl UsageScanner {
    /// A scanner of an answer that is one JSON document.
    #[must_use]
    pub fn whole() -> Self {
        Self {
            sse: None,
            event: Event::new(),
            bytes: 0,
        }
    }

    /// A scanner of an answer that is a stream of server-sent events.
    #[must_use]
    pub fn stream() -> Self {
        Self {
            sse: Some(Sse::new()),
            ..Self::whole()
        }
    }

    /// Reads the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        match &mut self.sse {
            Some(sse) => sse.push(bytes, &mut self.event),
            None => self.event.json(bytes),
        }
    }

    /// What was seen so far.
    #[must_use]
    pub fn observed(&self) -> Observed {
        Observed {
            deltas: self.event.answer.deltas,
            text_bytes: self.event.answer.text_bytes,
            bytes: self.bytes,
        }
    }

    /// Whether something came, and none of it was an answer of this dialect (`choices` or usage):
    /// what was observed of it then says nothing of what was generated.
    #[must_use]
    pub fn foreign(&self) -> bool {
        self.event.began && !self.event.answer.known && !self.done()
    }

    /// The usage last reported, if any was. A report has the prompt's and the completion's tokens,
    /// or a total that is all prompt, as embeddings have it; one with a count that is not a whole
    /// number up to 2^40 is none.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.event.answer.usage
    }

    /// Whether the stream said that it is complete (`[DONE]`).
    #[must_use]
    pub fn done(&self) -> bool {
        self.event.done || self.event.says_done()
    }
}

/// The document being read: the answer, or the event at hand.
#[derive(Debug)]
struct Event {
    json: Json,
    readable: bool,
    /// There was data at all, in this event or an earlier one.
    began: bool,
    /// Beginning of the data, and the data's length up to one more than that.
    head: [u8; DONE.len()],
    head_len: usize,
    done: bool,
    answer: Answer,
}

impl Event {
    fn new() -> Self {
        Self {
            json: Json::new(MAX_DEPTH),
            readable: true,
            began: false,
            head: [0; DONE.len()],
            head_len: 0,
            done: false,
            answer: Answer::new(),
        }
    }

    fn json(&mut self, bytes: &[u8]) {
        self.began |= !bytes.is_empty();
        if self.readable {
            self.readable = self.json.push(bytes, &mut self.answer).is_ok();
        }
    }

    fn says_done(&self) -> bool {
        self.head_len == DONE.len() && self.head == DONE
    }
}

impl sse::Sink for Event {
    fn data(&mut self, data: &[u8]) {
        for &byte in data.iter().take(DONE.len() + 1 - self.head_len) {
            if let Some(slot) = self.head.get_mut(self.head_len) {
                *slot = byte;
            }
            self.head_len += 1;
        }
        self.json(data);
    }

    fn end_event(&mut self) {
        self.done |= self.says_done();
        self.head_len = 0;
        self.json = Json::new(MAX_DEPTH);
        self.readable = true;
        self.answer.begin();
    }
}

/// A container of interest in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Root,
    Top,
    Choices,
    Choice,
    /// `message` or `delta`.
    Message,
    ToolCalls,
    ToolCall,
    Function,
    Usage,
    InputDetails,
    OutputDetails,
}

impl At {
    /// The keys of interest in this container. A table, as for requests.
    fn keys(self) -> &'static [(&'static str, Field)] {
        use Field::{Count as Number, Inside, Text};
        use Kind::{Array, Object};
        match self {
            Self::Top => &[
                ("choices", Inside(Self::Choices, Array)),
                ("usage", Inside(Self::Usage, Object)),
            ],
            Self::Choice => &[
                ("delta", Inside(Self::Message, Object)),
                ("message", Inside(Self::Message, Object)),
                ("text", Text),
            ],
            Self::Message => &[
                ("content", Text),
                ("reasoning_content", Text),
                ("reasoning", Text),
                ("refusal", Text),
                ("tool_calls", Inside(Self::ToolCalls, Array)),
                ("function_call", Inside(Self::Function, Object)),
            ],
            Self::ToolCall => &[("function", Inside(Self::Function, Object))],
            Self::Function => &[("arguments", Text)],
            Self::Usage => &[
                ("prompt_tokens", Number(Count::Input)),
                ("completion_tokens", Number(Count::Output)),
                ("total_tokens", Number(Count::Total)),
                ("prompt_tokens_details", Inside(Self::InputDetails, Object)),
                (
                    "completion_tokens_details",
                    Inside(Self::OutputDetails, Object),
                ),
            ],
            Self::InputDetails => &[("cached_tokens", Number(Count::Cached))],
            Self::OutputDetails => &[("reasoning_tokens", Number(Count::Reasoning))],
            _ => &[],
        }
    }
}

/// What the value at hand is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Other,
    Inside(At, Kind),
    /// Generated text.
    Text,
    Count(Count),
}

/// A number of the usage report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    Input,
    Cached,
    Output,
    Reasoning,
    Total,
}

/// A usage report being read.
#[derive(Debug, Clone, Copy, Default)]
struct Report {
    input: Option<u64>,
    cached: u64,
    output: Option<u64>,
    reasoning: u64,
    total: Option<u64>,
    unusable: bool,
}

#[derive(Debug)]
struct Answer {
    path: Path<At, 8>,
    field: Field,
    /// The text being read has had a character.
    in_delta: bool,
    report: Report,
    /// There were `choices`, or usage.
    known: bool,
    usage: Option<Usage>,
    deltas: u64,
    text_bytes: u64,
}

impl Answer {
    fn new() -> Self {
        Self {
            path: Path::new(At::Root),
            field: Field::Other,
            in_delta: false,
            report: Report::default(),
            known: false,
            usage: None,
            deltas: 0,
            text_bytes: 0,
        }
    }

    /// Another document begins.
    fn begin(&mut self) {
        self.path = Path::new(At::Root);
        self.field = Field::Other;
    }

    fn target(&self) -> Field {
        match self.path.at() {
            Some(At::Root) => Field::Inside(At::Top, Kind::Object),
            Some(At::Choices) => Field::Inside(At::Choice, Kind::Object),
            Some(At::ToolCalls) => Field::Inside(At::ToolCall, Kind::Object),
            Some(_) => self.field,
            None => Field::Other,
        }
    }

    fn count(&mut self, count: Count, number: Decimal) {
        let value = match number.whole() {
            Ok(value) if value <= MAX_COUNT => value,
            _ => {
                self.report.unusable = true;
                return;
            }
        };
        match count {
            Count::Input => self.report.input = Some(value),
            Count::Cached => self.report.cached = value,
            Count::Output => self.report.output = Some(value),
            Count::Reasoning => self.report.reasoning = value,
            Count::Total => self.report.total = Some(value),
        }
    }

    fn end_report(&mut self) {
        let report = self.report;
        let nothing_generated = report.total.is_some() && report.total == report.input;
        let output = report.output.or(nothing_generated.then_some(0));
        if let (false, Some(input), Some(output)) = (report.unusable, report.input, output) {
            self.known = true;
            self.usage = Some(Usage {
                input,
                cached: report.cached.min(input),
                output,
                reasoning: report.reasoning.min(output),
            });
        }
    }
}

impl Sink for Answer {
    type Error = JsonError;

    fn open(&mut self, kind: Kind, _at: u64) -> Result<(), JsonError> {
        match self.target() {
            Field::Inside(at, due) if due == kind => {
                match at {
                    At::Usage => self.report = Report::default(),
                    At::Choices => self.known = true,
                    _ => {}
                }
                self.path.enter(at);
            }
            Field::Count(_) => {
                self.report.unusable = true;
                self.path.skip();
            }
            _ => self.path.skip(),
        }
        Ok(())
    }

    fn close(&mut self, _at: u64) -> Result<(), JsonError> {
        if self.path.leave() == Some(At::Usage) {
            self.end_report();
        }
        Ok(())
    }

    fn key(&mut self, key: &[u8]) {
        let Some(at) = self.path.at() else { return };
        let named = at.keys().iter().find(|(name, _)| name.as_bytes() == key);
        self.field = named.map_or(Field::Other, |(_, field)| *field);
    }

    fn begin_string(&mut self) -> Result<Want, JsonError> {
        let target = self.target();
        self.in_delta = false;
        self.report.unusable |= matches!(target, Field::Count(_));
        Ok(match target {
            Field::Text => Want::Length,
            _ => Want::Nothing,
        })
    }

    fn length(&mut self, bytes: u64) {
        if !self.in_delta {
            self.in_delta = true;
            self.deltas += 1;
        }
        self.text_bytes += bytes;
    }

    fn text(&mut self, text: &[u8]) {
        self.length(text.len() as u64);
    }

    fn end_string(&mut self) -> Result<(), JsonError> {
        Ok(())
    }

    fn scalar(&mut self, scalar: Scalar, _end: u64) -> Result<(), JsonError> {
        match (self.target(), scalar) {
            (Field::Count(count), Scalar::Number(number)) => self.count(count, number),
            (Field::Count(_), Scalar::Bool(_)) => self.report.unusable = true,
            _ => {}
        }
        Ok(())
    }
}
