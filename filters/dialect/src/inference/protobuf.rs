//! `ModelInferRequest` of `inference.GRPCInferenceService`, in the encoding of Protocol Buffers, read as it arrives.
//!
//! The reader keeps only names and sizes. The price of an input is its elements times their size, the bytes of its text, or the bytes of
//! its shared memory. Raw tensors follow all inputs; the greater of their bytes and the sum of the inputs counts. Of a name that is given
//! twice, the last one counts, as Protocol Buffers demand.

use super::input::{Input, not_a_shape};
use crate::body::{BodyError, Limits};

/// The name of a parameter: the bytes of shared memory that hold a tensor.
const SHARED_MEMORY: &[u8] = b"shared_memory_byte_size";
/// Longest name of a parameter, and one byte more.
const MAX_KEY: usize = 24;
/// Messages inside of a message that are read: an input, a parameter of it, and its value.
const LEVELS: usize = 4;

/// A message, or a list of numbers without tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Request,
    Input,
    Contents,
    Shape,
    Parameter,
    ParameterValue,
}

/// The meaning of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Other,
    Model,
    Version,
    Datatype,
    Dimension,
    /// Elements of a tensor: numbers with a variable length, numbers with this length, text.
    Numbers,
    Fixed(u64),
    Text,
    RawTensor,
    ParameterName,
    ParameterNumber,
    /// A message or a list that is read.
    Inside(Level),
}

/// The fields that are read, by their numbers.
fn field(level: Level, number: u64) -> Field {
    match (level, number) {
        (Level::Request, 1) => Field::Model,
        (Level::Request, 2) => Field::Version,
        (Level::Request, 5) => Field::Inside(Level::Input),
        (Level::Request, 7) => Field::RawTensor,
        (Level::Input, 2) => Field::Datatype,
        (Level::Input, 3) => Field::Inside(Level::Shape),
        (Level::Input, 4) => Field::Inside(Level::Parameter),
        (Level::Input, 5) => Field::Inside(Level::Contents),
        (Level::Contents, 1..=5) => Field::Numbers,
        (Level::Contents, 6) => Field::Fixed(4),
        (Level::Contents, 7) => Field::Fixed(8),
        (Level::Contents, 8) => Field::Text,
        (Level::Parameter, 1) => Field::ParameterName,
        (Level::Parameter, 2) => Field::Inside(Level::ParameterValue),
        // As a signed or an unsigned number.
        (Level::ParameterValue, 2 | 5) => Field::ParameterNumber,
        _ => Field::Other,
    }
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Tag,
    /// A number that is the value of a field.
    Value(Field),
    /// The length of a field.
    Length(Field),
    /// This many bytes of a field.
    Bytes(Field, u64),
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) model: Option<String>,
    pub(super) version: Option<String>,
    /// Bytes of its tensors.
    pub(super) bytes: u64,
}

/// Reads one message after another.
#[derive(Debug)]
pub(super) struct InferRequest {
    limits: Limits,
    state: State,
    /// The messages around the next byte, and how many bytes of each are still to come.
    levels: [(Level, u64); LEVELS],
    depth: usize,
    /// A number so far, and its bits.
    number: u64,
    bits: u32,
    model: Vec<u8>,
    version: Vec<u8>,
    input: Input,
    key: [u8; MAX_KEY],
    key_len: usize,
    parameter: u64,
    /// Bytes of the raw tensors, and of the inputs.
    raw: u64,
    inputs: u64,
}

const TOO_LONG: &str = "a field is longer than its message";
const CUT: &str = "a message ends inside a field";

#[cold]
fn malformed(what: &'static str) -> BodyError {
    BodyError::NotProtobuf { what }
}

impl InferRequest {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Tag,
            levels: [(Level::Request, 0); LEVELS],
            depth: 0,
            number: 0,
            bits: 0,
            model: Vec::new(),
            version: Vec::new(),
            input: Input::default(),
            key: [0; MAX_KEY],
            key_len: 0,
            parameter: 0,
            raw: 0,
            inputs: 0,
        }
    }

    /// A message of this length begins.
    pub(super) fn begin(&mut self, length: u64) {
        *self = Self::new(self.limits);
        self.levels = [(Level::Request, length); LEVELS];
    }

    /// The next bytes of the message. Nothing may be pushed after an error.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), BodyError> {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Bytes(field, left) => self.bytes(field, left, bytes)?,
                _ => self.number(bytes)?,
            };
            self.end_levels()?;
        }
        Ok(())
    }

    /// The message is complete.
    pub(super) fn end(&mut self) -> Result<Request, BodyError> {
        if self.state != State::Tag || self.bits > 0 || self.depth > 0 {
            return Err(malformed(CUT));
        }
        let text =
            |bytes: &[u8]| (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned());
        Ok(Request {
            model: text(&self.model),
            version: text(&self.version),
            bytes: self.raw.max(self.inputs),
        })
    }

    /// The innermost message, and how many bytes of it are still to come.
    fn level(&self) -> (Level, u64) {
        self.levels
            .get(self.depth)
            .copied()
            .unwrap_or((Level::Request, 0))
    }

    fn consume(&mut self, bytes: u64) {
        for (_, left) in self.levels.iter_mut().take(self.depth + 1) {
            *left = left.saturating_sub(bytes);
        }
    }

    /// Consumes bytes of a field. Returns the others.
    fn bytes<'b>(
        &mut self,
        field: Field,
        left: u64,
        bytes: &'b [u8],
    ) -> Result<&'b [u8], BodyError> {
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let (taken, rest) = bytes.split_at(len);
        self.consume(len as u64);
        match field {
            Field::Model => self.model.extend_from_slice(taken),
            Field::Version => self.version.extend_from_slice(taken),
            Field::Datatype => {
                self.input.datatype(taken);
                if left == len as u64 {
                    self.input.end_datatype()?;
                }
            }
            Field::Numbers => {
                let ends = taken.iter().filter(|byte| **byte < 0x80);
                self.input.sent += ends.count() as u64;
            }
            Field::ParameterName => {
                for byte in taken {
                    if let Some(letter) = self.key.get_mut(self.key_len) {
                        *letter = *byte;
                        self.key_len += 1;
                    }
                }
            }
            _ => {}
        }
        self.state = match left - len as u64 {
            0 => State::Tag,
            left => State::Bytes(field, left),
        };
        Ok(rest)
    }

    /// Consumes a byte of a number. Returns the others.
    fn number<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], BodyError> {
        let Some((byte, rest)) = bytes.split_first() else {
            return Ok(bytes);
        };
        if self.bits > 63 {
            return Err(malformed("a number has more than 64 bits"));
        }
        if self.level().1 == 0 {
            return Err(malformed(TOO_LONG));
        }
        self.consume(1);
        self.number |= u64::from(byte & 0x7F) << self.bits;
        self.bits += 7;
        if byte & 0x80 != 0 {
            return Ok(rest);
        }
        self.bits = 0;
        let number = std::mem::take(&mut self.number);
        self.state = match self.state {
            State::Tag => self.tag(number)?,
            State::Value(field) => self.value(field, number)?,
            State::Length(field) => self.length(field, number)?,
            State::Bytes(..) => self.state,
        };
        Ok(rest)
    }

    /// A field begins.
    fn tag(&mut self, tag: u64) -> Result<State, BodyError> {
        let field = field(self.level().0, tag >> 3);
        Ok(match (tag & 7, field) {
            (0, Field::Inside(Level::Shape)) => State::Value(Field::Dimension),
            (0, field) => State::Value(field),
            (1, field) => self.fixed(field, 8)?,
            (2, field) => State::Length(field),
            (5, field) => self.fixed(field, 4)?,
            _ => return Err(malformed("a field has an unknown wire type")),
        })
    }

    /// A number of fixed length.
    fn fixed(&mut self, field: Field, length: u64) -> Result<State, BodyError> {
        self.fits(length)?;
        if field == Field::Fixed(length) {
            self.input.sent += 1;
        }
        Ok(State::Bytes(Field::Other, length))
    }

    /// The number that is the value of a field.
    fn value(&mut self, field: Field, number: u64) -> Result<State, BodyError> {
        match field {
            // The highest bit is that of a negative number.
            Field::Dimension if number >> 63 != 0 => return Err(not_a_shape()),
            Field::Dimension => {
                self.input.dimension(number);
                if self.level().0 == Level::Shape {
                    return Ok(State::Value(field));
                }
            }
            Field::Numbers => self.input.sent += 1,
            Field::ParameterNumber => self.parameter = number,
            _ => {}
        }
        Ok(State::Tag)
    }

    /// A field of this length begins.
    fn length(&mut self, field: Field, length: u64) -> Result<State, BodyError> {
        self.fits(length)?;
        match field {
            Field::Inside(level) => return Ok(self.enter(level, length)),
            Field::Model => self.begin_name("model_name", length, field)?,
            Field::Version => self.begin_name("model_version", length, field)?,
            Field::Datatype => self.input.begin_datatype(),
            Field::Fixed(size) => self.input.sent += length / size,
            Field::Text => self.input.text += length,
            Field::RawTensor => self.raw += length,
            Field::ParameterName => self.key_len = 0,
            _ => {}
        }
        match (field, length) {
            (Field::Datatype, 0) => self.input.end_datatype()?,
            (_, 0) => {}
            _ => return Ok(State::Bytes(field, length)),
        }
        Ok(State::Tag)
    }

    /// The name of the model or of its version begins.
    fn begin_name(
        &mut self,
        name: &'static str,
        length: u64,
        field: Field,
    ) -> Result<(), BodyError> {
        let max = self.limits.max_string;
        if length > max as u64 {
            return Err(BodyError::TooLong { field: name, max });
        }
        match field {
            Field::Model => self.model.clear(),
            _ => self.version.clear(),
        }
        Ok(())
    }

    /// A message or a list begins.
    fn enter(&mut self, level: Level, length: u64) -> State {
        match level {
            Level::Input => self.input = Input::default(),
            Level::Parameter => {
                self.key_len = 0;
                self.parameter = 0;
            }
            _ => {}
        }
        self.depth += 1;
        if let Some(place) = self.levels.get_mut(self.depth) {
            *place = (level, length);
        }
        match level {
            Level::Shape => State::Value(Field::Dimension),
            _ => State::Tag,
        }
    }

    /// Ends the messages and lists that were read completely.
    fn end_levels(&mut self) -> Result<(), BodyError> {
        while let (level, 0) = self.level()
            && self.depth > 0
            && self.bits == 0
            && (self.state == State::Tag || level == Level::Shape)
        {
            match level {
                Level::Input => self.inputs = self.inputs.saturating_add(self.input.bytes()?),
                Level::Parameter if self.key.get(..self.key_len) == Some(SHARED_MEMORY) => {
                    self.input.outside = self.input.outside.max(self.parameter);
                }
                _ => {}
            }
            self.depth -= 1;
            self.state = State::Tag;
        }
        Ok(())
    }

    /// Whether the enclosing messages have room for this many bytes.
    fn fits(&self, length: u64) -> Result<(), BodyError> {
        match length <= self.level().1 {
            true => Ok(()),
            false => Err(malformed(TOO_LONG)),
        }
    }
}
