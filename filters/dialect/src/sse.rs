//! Server-sent events: bytes pushed in any portions become the `data` of events for a [`Sink`].
//!
//! Knows the WHATWG event stream format and nothing of what events mean. Data is handed on as it
//! comes, so no line is ever collected and an event may be of any size; what is kept is how much of
//! the field name `data` has matched. `event`, `id`, `retry` and comments are passed over.
//!
//! An event that the end of the stream cuts off is not ended: what it said so far has been handed on.

/// Receives the data of events, in order.
pub(crate) trait Sink {
    /// A piece of the current event's data; lines after the first are preceded by a `\n`.
    fn data(&mut self, data: &[u8]);
    /// The current event, which had data, ends.
    fn end_event(&mut self);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of the stream, this much of a byte order mark read.
    Mark(usize),
    /// In a line, this much of `data` matched and nothing else read.
    Name(usize),
    /// Just behind the colon: one space is not data.
    Colon,
    Data,
    /// In the rest of a line that is passed over.
    Other,
}

const MARK: &[u8] = b"\xEF\xBB\xBF";
const NAME: &[u8] = b"data";

/// The framer: syntax state between two pushes.
#[derive(Debug)]
pub(crate) struct Sse {
    state: State,
    /// The last byte was a CR: a LF now belongs to the same line end.
    after_cr: bool,
    /// The current event has a data line.
    has_data: bool,
}

impl Sse {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Mark(0),
            after_cr: false,
            has_data: false,
        }
    }

    /// Consumes the next bytes.
    pub(crate) fn push<S: Sink>(&mut self, bytes: &[u8], sink: &mut S) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if byte == b'\n' && std::mem::take(&mut self.after_cr) {
                at += 1;
                continue;
            }
            self.after_cr = byte == b'\r';
            if byte == b'\n' || byte == b'\r' {
                self.end_line(sink);
                at += 1;
            } else if self.state == State::Data || self.state == State::Other {
                let rest = &bytes[at..];
                let len = rest
                    .iter()
                    .position(|byte| matches!(byte, b'\n' | b'\r'))
                    .unwrap_or(rest.len());
                if self.state == State::Data {
                    sink.data(&rest[..len]);
                }
                at += len;
            } else if self.state == State::Colon && byte != b' ' {
                self.state = State::Data;
            } else {
                self.name(byte, sink);
                at += 1;
            }
        }
    }

    /// One byte of a line's beginning.
    fn name<S: Sink>(&mut self, byte: u8, sink: &mut S) {
        self.state = match self.state {
            State::Mark(read) if MARK[read] == byte => {
                if read + 1 < MARK.len() {
                    State::Mark(read + 1)
                } else {
                    State::Name(0)
                }
            }
            State::Mark(0) | State::Name(0) if byte == NAME[0] => State::Name(1),
            State::Name(matched) if NAME.get(matched) == Some(&byte) => State::Name(matched + 1),
            State::Name(matched) if matched == NAME.len() && byte == b':' => {
                self.begin_data(sink);
                State::Colon
            }
            State::Colon => State::Data,
            _ => State::Other,
        };
    }

    fn begin_data<S: Sink>(&mut self, sink: &mut S) {
        if self.has_data {
            sink.data(b"\n");
        }
        self.has_data = true;
    }

    fn end_line<S: Sink>(&mut self, sink: &mut S) {
        match self.state {
            State::Mark(0) | State::Name(0) if self.has_data => {
                self.has_data = false;
                sink.end_event();
            }
            // A field name without a colon is a field with an empty value.
            State::Name(matched) if matched == NAME.len() => self.begin_data(sink),
            _ => {}
        }
        self.state = State::Name(0);
    }
}
