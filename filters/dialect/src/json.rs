//! Incremental JSON: bytes pushed in any portions become events for a [`Sink`].
//!
//! Knows RFC 8259 and no field names. Constant memory: one bit per open container, a short buffer
//! for the current key, up to three bytes of a cut UTF-8 sequence. Strings are handed on as runs of
//! the input, never collected. Everything is checked (grammar, UTF-8, surrogate pairs), whether the
//! sink wants it or not, so that what passes here is JSON to every other reader.
//!
//! Invariant: the events' concatenation, and the first error, depend on the bytes only, not on how
//! they were cut. Hence text before a bad byte is handed on before the error is raised.

mod decimal;
mod path;
mod run;

pub(crate) use decimal::{Decimal, Unfit};
pub(crate) use path::Path;

/// Deepest nesting the one-bit-per-level stack can hold.
const MAX_DEPTH: u8 = 128;

/// Keys longer than this are of no interest to any sink.
const KEY_ROOM: usize = 32;

/// Why the input is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JsonError {
    Malformed { offset: u64, what: &'static str },
    TooDeep { max: u8 },
}

/// Which kind of container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
}

/// Values that are handed on in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Number(Decimal),
}

/// What a sink wants of a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    Nothing,
    /// How long it is, decoded.
    Length,
    Text,
}

/// Receives the events of one document, in order.
pub(crate) trait Sink {
    type Error: From<JsonError>;

    /// A container begins; its bracket is at this byte of the document.
    fn open(&mut self, kind: Kind, at: u64) -> Result<(), Self::Error>;
    /// The innermost container ends; its bracket is at this byte of the document.
    fn close(&mut self, at: u64) -> Result<(), Self::Error>;
    /// A key, decoded. Keys beyond 32 bytes arrive as an empty one.
    fn key(&mut self, key: &[u8]);
    /// A string value begins. Answers what is wanted of it.
    fn begin_string(&mut self) -> Result<Want, Self::Error>;
    /// So many bytes more of a string whose length is wanted; not 0.
    fn length(&mut self, bytes: u64);
    /// A piece of the string, decoded: whole UTF-8 characters, not empty.
    fn text(&mut self, text: &[u8]);
    /// The string value ends.
    fn end_string(&mut self) -> Result<(), Self::Error>;
    /// Any other value. `end` is the offset of the first byte after it; of a number, that of the byte that ended it.
    fn scalar(&mut self, scalar: Scalar, end: u64) -> Result<(), Self::Error>;
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
    /// In `\uXXXX`: digits read, their value, and the high surrogate that came before.
    Hex(u8, u16, Option<u16>),
    /// After a high surrogate: the `\` of the low one is due.
    Backslash(u16),
    /// Then its `u`.
    LowU(u16),
    Number(Digits),
    /// In a word, this many of its letters read.
    Word(Word, u8),
}

/// The values that are words.
#[derive(Debug, Clone, Copy)]
enum Word {
    True,
    False,
    Null,
}

impl Word {
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

/// Where in a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Digits {
    Minus,
    Zero,
    Integer,
    Dot,
    Fraction,
    E,
    ESign,
    Exponent,
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
    number: Decimal,
    /// The string being read is a key.
    in_key: bool,
    /// What is wanted of the string being read: by the sink, or of a key its text.
    wanted: Want,
    key: [u8; KEY_ROOM],
    /// Length of the key; above `KEY_ROOM` it is too long.
    key_len: usize,
    /// Start of a UTF-8 sequence that the last push cut.
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
            number: Decimal::default(),
            in_key: false,
            wanted: Want::Nothing,
            key: [0; KEY_ROOM],
            key_len: 0,
            cut: [0; 4],
            cut_len: 0,
        }
    }

    /// Consumes the next bytes. After an error nothing more may be pushed.
    pub(crate) fn push<S: Sink>(&mut self, bytes: &[u8], sink: &mut S) -> Result<(), S::Error> {
        let mut at = 0;
        while at < bytes.len() {
            at = match self.state {
                State::Text => self.text(bytes, at, sink)?,
                State::Number(digits) => self.digits(bytes, at, digits, sink)?,
                State::Escape | State::Hex(..) | State::Backslash(_) | State::LowU(_) => {
                    self.escape(bytes[at], at, sink)?;
                    at + 1
                }
                State::Word(word, read) => {
                    self.word(word, read, bytes[at], at, sink)?;
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

    /// Ends the document: an error if it is not complete.
    pub(crate) fn finish<S: Sink>(&mut self, sink: &mut S) -> Result<(), S::Error> {
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

    fn malformed<E: From<JsonError>>(&self, at: usize, what: &'static str) -> E {
        E::from(JsonError::Malformed {
            offset: self.offset + at as u64,
            what,
        })
    }

    /// One byte between tokens, not white space.
    fn structure<S: Sink>(&mut self, byte: u8, at: usize, sink: &mut S) -> Result<(), S::Error> {
        match (self.state, byte) {
            (State::FirstItem, b']') | (State::FirstKey, b'}') => self.close(at, sink),
            (State::Value | State::FirstItem, _) => self.value(byte, at, sink),
            (State::FirstKey | State::Key, b'"') => {
                self.in_key = true;
                self.wanted = Want::Text;
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

    fn after_value<S: Sink>(&mut self, byte: u8, at: usize, sink: &mut S) -> Result<(), S::Error> {
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

    fn value<S: Sink>(&mut self, byte: u8, at: usize, sink: &mut S) -> Result<(), S::Error> {
        match byte {
            b'"' => {
                self.wanted = sink.begin_string()?;
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
            b't' => self.state = State::Word(Word::True, 1),
            b'f' => self.state = State::Word(Word::False, 1),
            b'n' => self.state = State::Word(Word::Null, 1),
            0xEF if self.depth == 0 => {
                return Err(self.malformed(at, "it starts with a byte order mark; leave it out"));
            }
            _ => return Err(self.malformed(at, "expected a value")),
        }
        Ok(())
    }

    fn open<S: Sink>(
        &mut self,
        kind: Kind,
        next: State,
        at: usize,
        sink: &mut S,
    ) -> Result<(), S::Error> {
        if self.depth == self.max_depth {
            return Err(JsonError::TooDeep {
                max: self.max_depth,
            }
            .into());
        }
        sink.open(kind, self.offset + at as u64)?;
        self.depth += 1;
        self.kinds = self.kinds << 1 | u128::from(kind == Kind::Object);
        self.state = next;
        Ok(())
    }

    fn close<S: Sink>(&mut self, at: usize, sink: &mut S) -> Result<(), S::Error> {
        sink.close(self.offset + at as u64)?;
        self.depth -= 1;
        self.kinds >>= 1;
        self.value_done();
        Ok(())
    }

    fn value_done(&mut self) {
        self.state = if self.depth == 0 {
            State::Done
        } else {
            State::AfterValue
        };
    }

    fn word<S: Sink>(
        &mut self,
        word: Word,
        read: u8,
        byte: u8,
        at: usize,
        sink: &mut S,
    ) -> Result<(), S::Error> {
        let letters = word.letters();
        if letters.get(usize::from(read)) != Some(&byte) {
            return Err(self.malformed(at, "expected `true`, `false` or `null`"));
        }
        self.state = State::Word(word, read + 1);
        if usize::from(read) + 1 == letters.len() {
            sink.scalar(word.value(), self.offset + at as u64 + 1)?;
            self.value_done();
        }
        Ok(())
    }

    /// Consumes digits from `at`; answers where the number stopped, which is not consumed.
    fn digits<S: Sink>(
        &mut self,
        bytes: &[u8],
        mut at: usize,
        mut digits: Digits,
        sink: &mut S,
    ) -> Result<usize, S::Error> {
        while at < bytes.len() {
            let byte = bytes[at];
            let digit = byte.wrapping_sub(b'0');
            digits = match (digits, byte) {
                (Digits::Minus, b'0') => Digits::Zero,
                (Digits::Minus | Digits::Integer, b'0'..=b'9') => {
                    self.number.integer_digit(digit);
                    Digits::Integer
                }
                (Digits::Zero | Digits::Integer, b'.') => Digits::Dot,
                (Digits::Dot | Digits::Fraction, b'0'..=b'9') => {
                    self.number.fraction_digit(digit);
                    Digits::Fraction
                }
                (Digits::Zero | Digits::Integer | Digits::Fraction, b'e' | b'E') => Digits::E,
                (Digits::E, b'+') => Digits::ESign,
                (Digits::E, b'-') => {
                    self.number.exponent_minus();
                    Digits::ESign
                }
                (Digits::E | Digits::ESign | Digits::Exponent, b'0'..=b'9') => {
                    self.number.exponent_digit(digit);
                    Digits::Exponent
                }
                _ => {
                    self.end_number(digits, at, sink)?;
                    return Ok(at);
                }
            };
            at += 1;
        }
        self.state = State::Number(digits);
        Ok(at)
    }

    fn end_number<S: Sink>(
        &mut self,
        digits: Digits,
        at: usize,
        sink: &mut S,
    ) -> Result<(), S::Error> {
        match digits {
            Digits::Zero | Digits::Integer | Digits::Fraction | Digits::Exponent => {
                sink.scalar(Scalar::Number(self.number), self.offset + at as u64)?;
                self.value_done();
                Ok(())
            }
            _ => Err(self.malformed(at, "expected a digit")),
        }
    }
}
