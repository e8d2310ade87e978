//! Incremental JSON: bytes pushed in portions of any size become events for a [`Sink`].
//!
//! It knows RFC 8259 and no field names. Memory is constant: one bit for each open container, a short buffer for the
//! current key, up to three bytes of a cut UTF-8 sequence. Strings are passed on as parts of the input and never
//! collected. Grammar, UTF-8 and surrogate pairs are always checked, so every other reader accepts what passes here.
//!
//! Invariant: the events, joined, and the first error depend on the bytes alone and not on how they were cut. Hence text
//! before a bad byte is passed on before the error is returned.

mod decimal;
mod number;
mod path;
mod plain;
mod text;
mod write;

pub use decimal::Decimal;
pub(crate) use decimal::DecimalError;
use number::Digits;
pub(crate) use path::Path;
pub(crate) use write::{fill, fill_list, push_string};

/// Deepest nesting the one-bit-per-level stack can hold.
const MAX_DEPTH: u8 = 128;

/// Longest key that any sink reads, in bytes.
const MAX_KEY: usize = 64;

/// The reason why reading stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JsonError {
    Malformed {
        offset: u64,
        what: &'static str,
    },
    TooDeep {
        offset: u64,
        max: u8,
    },
    /// The sink does not accept a value, and knows why.
    Refused,
}

/// The kind of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
}

/// A value that is passed on in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Number(Decimal),
}

/// The part of a string that a sink wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WantedPart {
    Nothing,
    /// Its length when decoded.
    Length,
    Text,
}

/// Receives the events of one document, in order. An error ends the document.
///
/// Used as `dyn Sink`: a lexer for each type of sink would double the size of a wasm module's JSON code.
pub(crate) trait Sink {
    /// A container begins. Its bracket is at this byte of the document. Returns whether its contents are wanted: if not, the
    /// next event is its end.
    fn open(&mut self, kind: Kind, at: u64) -> Result<bool, JsonError>;
    /// The innermost container that began ends. Its bracket is at this byte of the document.
    fn close(&mut self, at: u64) -> Result<(), JsonError>;
    /// A key, decoded. A key longer than 64 bytes arrives as an empty one.
    fn key(&mut self, key: &[u8]);
    /// A string value begins. Its quote is at this byte of the document. Returns the part of it that the sink wants.
    fn begin_string(&mut self, at: u64) -> Result<WantedPart, JsonError>;
    /// More bytes of a string whose length is wanted. Not 0.
    fn length(&mut self, bytes: u64);
    /// A part of the string, decoded: whole UTF-8 characters, not empty.
    fn text(&mut self, text: &[u8]);
    /// The string value ends. Not called if nothing of it is wanted. `end` is the offset of the first byte after it.
    fn end_string(&mut self, end: u64) -> Result<(), JsonError>;
    /// Any other value. `end` is the offset of the first byte after it.
    fn scalar(&mut self, scalar: Scalar, end: u64) -> Result<(), JsonError>;
}

/// The value of a key in a table. (A table, because a `match` of strings compares byte by byte, which takes six times the
/// code. The first letter is compared before the rest, because that is a call.)
pub(crate) fn lookup<T: Copy>(table: &[(&str, T)], key: &[u8]) -> Option<T> {
    let matches =
        |name: &[u8]| name.len() == key.len() && name.first() == key.first() && name == key;
    let mut rows = table.iter();
    let found = rows.find(|(name, _)| matches(name.as_bytes()));
    found.map(|(_, value)| *value)
}

#[derive(Debug, Clone, Copy)]
enum State {
    Value,
    FirstItem,
    FirstKey,
    Key,
    Colon,
    AfterValue,
    Done,
    Text,
    Escape,
    /// In `\uXXXX`: digits read so far, their value, and the high surrogate before it.
    Hex(u8, u16, Option<u16>),
    /// After a high surrogate: the `\` of the low one is expected.
    Backslash(u16),
    /// Then its `u`.
    LowU(u16),
    Number(Digits),
    /// In a literal, with this number of its letters read.
    Literal(Literal, u8),
}

/// The literals.
#[derive(Debug, Clone, Copy)]
enum Literal {
    True,
    False,
    Null,
}

impl Literal {
    fn letters(self) -> &'static [u8] {
        match self {
            Self::True => b"true",
            Self::False => b"false",
            Self::Null => b"null",
        }
    }

    fn value(self) -> Scalar {
        match self {
            Self::True => Scalar::Bool(true),
            Self::False => Scalar::Bool(false),
            Self::Null => Scalar::Null,
        }
    }
}

/// The lexer: syntax state between two pushes.
#[derive(Debug)]
pub(crate) struct Json {
    state: State,
    /// Bytes consumed by earlier pushes.
    offset: u64,
    depth: u8,
    max_depth: u8,
    /// One bit per open container, innermost lowest; 1 = object.
    kinds: u128,
    /// Depth of the container whose contents are not wanted; 0 if all are. Inside of it, the sink gets no events and numbers
    /// are not decoded.
    skipped_at: u8,
    number: Decimal,
    /// The string being read is a key.
    in_key: bool,
    /// The part of the current string that is wanted. Of a key, its text.
    wanted: WantedPart,
    key: [u8; MAX_KEY],
    /// Length of the key. Above `MAX_KEY`, the key is too long.
    key_len: usize,
    /// Beginning of a UTF-8 sequence that the last push cut.
    cut: [u8; 4],
    cut_len: usize,
}

impl Json {
    pub(crate) fn new(max_depth: u8) -> Self {
        Self {
            state: State::Value,
            offset: 0,
            depth: 0,
            max_depth: max_depth.clamp(1, MAX_DEPTH),
            kinds: 0,
            skipped_at: 0,
            number: Decimal::default(),
            in_key: false,
            wanted: WantedPart::Nothing,
            key: [0; MAX_KEY],
            key_len: 0,
            cut: [0; 4],
            cut_len: 0,
        }
    }

    /// Consumes the next bytes. Nothing may be pushed after an error.
    pub(crate) fn push(&mut self, bytes: &[u8], sink: &mut dyn Sink) -> Result<(), JsonError> {
        let mut at = 0;
        while at < bytes.len() {
            at = match self.state {
                State::Text => self.text(bytes, at, sink)?,
                State::Number(digits) => self.digits(bytes, at, digits, sink)?,
                State::Escape | State::Hex(..) | State::Backslash(_) | State::LowU(_) => {
                    self.escape(bytes[at], at, sink)?;
                    at + 1
                }
                State::Literal(literal, read) => {
                    self.literal(literal, read, bytes[at], at, sink)?;
                    at + 1
                }
                _ => {
                    if !matches!(bytes[at], b' ' | b'\t' | b'\n' | b'\r') {
                        self.structure(bytes[at], at, sink)?;
                    }
                    at + 1
                }
            };
        }
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Ends the document. It is an error if the document is not complete.
    pub(crate) fn finish(&mut self, sink: &mut dyn Sink) -> Result<(), JsonError> {
        if let State::Number(digits) = self.state {
            self.end_number(digits, 0, sink)?;
        }
        let what = match self.state {
            State::Done => return Ok(()),
            State::Value if self.depth == 0 && self.offset == 0 => "it is empty",
            State::Text | State::Escape | State::Hex(..) | State::Backslash(_) | State::LowU(_) => {
                "it ends inside a string"
            }
            _ if self.depth == 0 => "it ends before a value is complete",
            _ => "it ends before everything opened is closed",
        };
        Err(self.malformed(0, what))
    }

    /// Whether the document is complete.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    fn malformed(&self, at: usize, what: &'static str) -> JsonError {
        JsonError::Malformed {
            offset: self.offset + at as u64,
            what,
        }
    }

    /// Consumes one byte between tokens that is not white space.
    fn structure(&mut self, byte: u8, at: usize, sink: &mut dyn Sink) -> Result<(), JsonError> {
        match (self.state, byte) {
            (State::FirstItem, b']') | (State::FirstKey, b'}') => self.close(at, sink),
            (State::Value | State::FirstItem, _) => self.value(byte, at, sink),
            (State::FirstKey | State::Key, b'"') => {
                self.in_key = true;
                self.wanted = WantedPart::Text;
                self.key_len = 0;
                self.state = State::Text;
                Ok(())
            }
            (State::FirstKey, _) => Err(self.malformed(at, "expected a key in quotes or `}`")),
            (State::Key, _) => Err(self.malformed(at, "expected a key in quotes")),
            (State::Colon, b':') => {
                self.state = State::Value;
                Ok(())
            }
            (State::Colon, _) => Err(self.malformed(at, "expected `:` after the key")),
            (State::AfterValue, _) => self.after_value(byte, at, sink),
            _ => Err(self.malformed(at, "unexpected content after the end of the document")),
        }
    }

    fn after_value(&mut self, byte: u8, at: usize, sink: &mut dyn Sink) -> Result<(), JsonError> {
        let object = self.kinds & 1 == 1;
        match (byte, object) {
            (b',', true) => self.state = State::Key,
            (b',', false) => self.state = State::Value,
            (b'}', true) | (b']', false) => return self.close(at, sink),
            (_, true) => return Err(self.malformed(at, "expected `,` or `}`")),
            (_, false) => return Err(self.malformed(at, "expected `,` or `]`")),
        }
        Ok(())
    }

    fn value(&mut self, byte: u8, at: usize, sink: &mut dyn Sink) -> Result<(), JsonError> {
        match byte {
            b'"' => {
                self.wanted = match self.skips() {
                    true => WantedPart::Nothing,
                    false => sink.begin_string(self.offset + at as u64)?,
                };
                self.in_key = false;
                self.state = State::Text;
            }
            b'{' => self.open(Kind::Object, State::FirstKey, at, sink)?,
            b'[' => self.open(Kind::Array, State::FirstItem, at, sink)?,
            b'-' | b'0'..=b'9' => {
                self.number = Decimal::default();
                self.state = State::Number(match byte {
                    b'-' => {
                        self.number.minus();
                        Digits::Minus
                    }
                    b'0' => Digits::Zero,
                    _ => {
                        self.number.integer_digit(byte - b'0');
                        Digits::Integer
                    }
                });
            }
            b't' => self.state = State::Literal(Literal::True, 1),
            b'f' => self.state = State::Literal(Literal::False, 1),
            b'n' => self.state = State::Literal(Literal::Null, 1),
            0xEF if self.depth == 0 => {
                return Err(self.malformed(at, "it starts with a byte order mark; leave it out"));
            }
            _ => return Err(self.malformed(at, "expected a value")),
        }
        Ok(())
    }

    fn open(
        &mut self,
        kind: Kind,
        next: State,
        at: usize,
        sink: &mut dyn Sink,
    ) -> Result<(), JsonError> {
        if self.depth == self.max_depth {
            return Err(JsonError::TooDeep {
                offset: self.offset + at as u64,
                max: self.max_depth,
            });
        }
        let wanted = self.skips() || sink.open(kind, self.offset + at as u64)?;
        self.depth += 1;
        if !wanted {
            self.skipped_at = self.depth;
        }
        self.kinds = self.kinds << 1 | u128::from(kind == Kind::Object);
        self.state = next;
        Ok(())
    }

    fn close(&mut self, at: usize, sink: &mut dyn Sink) -> Result<(), JsonError> {
        if self.skipped_at == self.depth {
            self.skipped_at = 0;
        }
        if !self.skips() {
            sink.close(self.offset + at as u64)?;
        }
        self.depth -= 1;
        self.kinds >>= 1;
        self.value_done();
        Ok(())
    }

    /// Whether the contents of the current container are not wanted.
    fn skips(&self) -> bool {
        self.skipped_at > 0
    }

    fn value_done(&mut self) {
        self.state = if self.depth == 0 {
            State::Done
        } else {
            State::AfterValue
        };
    }

    fn literal(
        &mut self,
        literal: Literal,
        read: u8,
        byte: u8,
        at: usize,
        sink: &mut dyn Sink,
    ) -> Result<(), JsonError> {
        let letters = literal.letters();
        if letters.get(usize::from(read)) != Some(&byte) {
            return Err(self.malformed(at, "expected `true`, `false` or `null`"));
        }
        self.state = State::Literal(literal, read + 1);
        if usize::from(read) + 1 == letters.len() {
            if !self.skips() {
                sink.scalar(literal.value(), self.offset + at as u64 + 1)?;
            }
            self.value_done();
        }
        Ok(())
    }
}
