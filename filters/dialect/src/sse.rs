//! Server-sent events: bytes pushed in portions of any size become lines, data and events for a [`Sink`].
//!
//! It knows the WHATWG event stream format, and not what events mean. Data is passed on as it arrives, so no line is
//! collected and an event may have any size. Only the beginning of a field's name is kept. A byte order mark is left to the
//! caller.
//!
//! An event that the end of the stream cuts off does not end. The part before the cut has been passed on.

/// Receives the lines of a stream, in order. Positions are relative to the current push.
pub(crate) trait Sink {
    /// The first line of an event begins.
    fn begin_event(&mut self, at: usize);
    /// Bytes of a comment, including its colon and its line end.
    fn comment(&mut self, bytes: &[u8]);
    /// A data line begins: the `first` of its event, or a further one.
    fn begin_data(&mut self, first: bool);
    /// A part of the current line's data.
    fn data(&mut self, data: &[u8]);
    /// The data line ends.
    fn end_data(&mut self);
    /// The event is an error, by its type or by its field.
    fn error(&mut self);
    /// Bytes of a line that is neither a field nor a comment.
    fn unknown(&mut self, bytes: usize);
    /// The current event ends. `at`: the first byte after the blank line.
    fn end_event(&mut self, at: usize);
    /// The LF of a CRLF whose CR has ended the line. Not called after a comment.
    fn line_feed(&mut self, at: usize);
}

/// The kind of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Data,
    /// The event's type.
    Event,
    /// `id` and `retry`.
    Other,
    Comment,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Name,
    /// Directly after the colon: one space is not part of the value.
    Colon(Line),
    Value(Line),
}

/// Length of the longest name that is compared, and one byte more.
const MAX_NAME: usize = 6;

/// The framer: syntax state between two pushes.
#[derive(Debug)]
pub(crate) struct Sse {
    state: State,
    /// The last byte was a CR: a LF now is part of the same line end.
    after_cr: bool,
    /// The last line was a comment.
    after_comment: bool,
    /// The current event has a line.
    in_event: bool,
    /// The current event has a data line.
    has_data: bool,
    /// The beginning of the field's name, then of the event's type.
    name: [u8; MAX_NAME],
    name_len: usize,
}

impl Sse {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Start,
            after_cr: false,
            after_comment: false,
            in_event: false,
            has_data: false,
            name: [0; MAX_NAME],
            name_len: 0,
        }
    }

    /// Consumes the next bytes.
    pub(crate) fn push<S: Sink>(&mut self, bytes: &[u8], sink: &mut S) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if byte == b'\n' && std::mem::take(&mut self.after_cr) {
                match self.after_comment {
                    true => sink.comment(b"\n"),
                    false => sink.line_feed(at),
                }
                at += 1;
                continue;
            }
            self.after_cr = byte == b'\r';
            at = match (self.state, byte) {
                (_, b'\n' | b'\r') => {
                    self.end_line(byte, at + 1, sink);
                    at + 1
                }
                (State::Start, _) => {
                    self.begin_line(byte, at, sink);
                    at
                }
                (State::Name, b':') => {
                    self.end_name(sink);
                    at + 1
                }
                (State::Name, _) => {
                    self.letter(byte);
                    if self.name_len == MAX_NAME {
                        sink.unknown(MAX_NAME);
                        self.state = State::Value(Line::Unknown);
                    }
                    at + 1
                }
                (State::Colon(line), _) => {
                    self.state = State::Value(line);
                    at + usize::from(byte == b' ')
                }
                (State::Value(line), _) => self.value(line, bytes, at, sink),
            };
        }
    }

    /// Consumes the rest of a line, as far as it was pushed. Returns where it ends.
    fn value<S: Sink>(&mut self, line: Line, bytes: &[u8], at: usize, sink: &mut S) -> usize {
        let rest = &bytes[at..];
        let len = rest
            .iter()
            .position(|byte| matches!(byte, b'\n' | b'\r'))
            .unwrap_or(rest.len());
        let value = &rest[..len];
        match line {
            Line::Data => sink.data(value),
            Line::Event => value.iter().for_each(|byte| self.letter(*byte)),
            Line::Comment => sink.comment(value),
            Line::Unknown => sink.unknown(len),
            Line::Other => {}
        }
        at + len
    }

    fn begin_line<S: Sink>(&mut self, byte: u8, at: usize, sink: &mut S) {
        self.name_len = 0;
        if byte == b':' {
            self.state = State::Value(Line::Comment);
            return;
        }
        self.state = State::Name;
        if !std::mem::replace(&mut self.in_event, true) {
            sink.begin_event(at);
        }
    }

    fn letter(&mut self, byte: u8) {
        if let Some(letter) = self.name.get_mut(self.name_len) {
            *letter = byte;
            self.name_len += 1;
        }
    }

    /// A field's name is complete.
    fn end_name<S: Sink>(&mut self, sink: &mut S) {
        let line = match self.name.get(..self.name_len).unwrap_or_default() {
            b"data" => {
                let first = !std::mem::replace(&mut self.has_data, true);
                sink.begin_data(first);
                Line::Data
            }
            b"event" => Line::Event,
            b"id" | b"retry" => Line::Other,
            // Not part of the format, but older versions of llama.cpp send it.
            b"error" => {
                sink.error();
                Line::Other
            }
            _ => {
                sink.unknown(self.name_len);
                Line::Unknown
            }
        };
        self.name_len = 0;
        self.state = State::Colon(line);
    }

    fn end_line<S: Sink>(&mut self, byte: u8, at: usize, sink: &mut S) {
        self.after_comment = self.state == State::Value(Line::Comment);
        // A field name without a colon is a field with an empty value.
        if self.state == State::Name {
            self.end_name(sink);
        }
        match self.state {
            State::Start => {
                self.has_data = false;
                if std::mem::take(&mut self.in_event) {
                    sink.end_event(at);
                }
            }
            State::Value(Line::Comment) => sink.comment(&[byte]),
            State::Colon(Line::Data) | State::Value(Line::Data) => sink.end_data(),
            State::Value(Line::Event) if self.name.starts_with(b"error") && self.name_len == 5 => {
                sink.error();
            }
            _ => {}
        }
        self.state = State::Start;
    }
}
