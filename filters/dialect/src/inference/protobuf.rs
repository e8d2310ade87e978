//! `ModelInferRequest` of `inference.GRPCInferenceService`, in the encoding of Protocol Buffers, read as it arrives.
//!
//! Only names and sizes are kept. An input costs what was sent for it, or its elements times the size of one: the greater counts.

use super::tensors::{DATATYPES, element_size};
use crate::body::{BodyError, Limits};

/// Longest name of a datatype, and one byte more.
const MAX_DATATYPE: usize = 8;

// Numbers of fields in `ModelInferRequest`.
const MODEL_NAME: u64 = 1;
const MODEL_VERSION: u64 = 2;
const INPUTS: u64 = 5;
const RAW_INPUT_CONTENTS: u64 = 7;
// Numbers of fields in its `InferInputTensor`.
const DATATYPE: u64 = 2;
const SHAPE: u64 = 3;
const CONTENTS: u64 = 5;

/// The meaning of a field's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Other,
    Model,
    Version,
    Datatype,
    Shape,
    /// Elements of a tensor.
    Contents,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Tag,
    /// A number that is the value of a field.
    Value(Field),
    /// The length of a field.
    Length(Field),
    /// The length of an input.
    InputLength,
    /// So many bytes of a field.
    Bytes(Field, u64),
    /// A list of numbers with so many bytes.
    Numbers(u64),
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
    /// Bytes of the message, and of the input in it, that are still to come.
    left: u64,
    input_left: Option<u64>,
    /// A number so far, and its bits.
    number: u64,
    bits: u32,
    model: Option<Vec<u8>>,
    version: Option<Vec<u8>>,
    datatype: [u8; MAX_DATATYPE],
    datatype_len: usize,
    elements: u64,
    /// Bytes of tensors that were sent, and that their shapes say.
    sent: u64,
    shaped: u64,
    unknown_datatype: bool,
}

/// The error of a malformed message.
type What = &'static str;

const TOO_LONG: What = "a field is longer than its message";
const NOT_A_NUMBER: What = "a number has more than 64 bits";

impl InferRequest {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Tag,
            left: 0,
            input_left: None,
            number: 0,
            bits: 0,
            model: None,
            version: None,
            datatype: [0; MAX_DATATYPE],
            datatype_len: 0,
            elements: 1,
            sent: 0,
            shaped: 0,
            unknown_datatype: false,
        }
    }

    /// A message of this length begins.
    pub(super) fn begin(&mut self, length: u64) {
        *self = Self::new(self.limits);
        self.left = length;
    }

    /// The next bytes of the message.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), What> {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Bytes(field, left) => self.field_bytes(field, left, bytes),
                _ => self.number(bytes)?,
            };
            self.end_input();
        }
        Ok(())
    }

    /// The message is complete.
    pub(super) fn end(&mut self) -> Result<Request, BodyError> {
        if self.state != State::Tag || self.bits > 0 || self.input_left.is_some() {
            let what = "a message ends inside a field";
            return Err(BodyError::NotProtobuf { what });
        }
        if self.unknown_datatype {
            return Err(BodyError::WrongType {
                field: "inputs[].datatype",
                expected: DATATYPES,
            });
        }
        for (field, text) in [
            ("model_name", &self.model),
            ("model_version", &self.version),
        ] {
            let max = self.limits.max_string;
            if text.as_ref().is_some_and(|text| text.len() > max) {
                return Err(BodyError::TooLong { field, max });
            }
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Request {
            model: self
                .model
                .take()
                .filter(|model| !model.is_empty())
                .map(text),
            version: self.version.take().map(text),
            bytes: self.sent.max(self.shaped),
        })
    }

    /// Consumes bytes of a field. Returns the others.
    fn field_bytes<'b>(&mut self, field: Field, left: u64, bytes: &'b [u8]) -> &'b [u8] {
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let (taken, rest) = bytes.split_at(len);
        self.consume(len as u64);
        let room = |text: &Vec<u8>| (self.limits.max_string + 1).saturating_sub(text.len());
        match field {
            Field::Model | Field::Version => {
                let text = match field {
                    Field::Model => &mut self.model,
                    _ => &mut self.version,
                };
                let text = text.get_or_insert_default();
                let room = room(text);
                text.extend_from_slice(&taken[..taken.len().min(room)]);
            }
            Field::Datatype => {
                for byte in taken {
                    if let Some(letter) = self.datatype.get_mut(self.datatype_len) {
                        *letter = *byte;
                        self.datatype_len += 1;
                    }
                }
            }
            Field::Contents => self.sent = self.sent.saturating_add(len as u64),
            Field::Shape | Field::Other => {}
        }
        let left = left - len as u64;
        self.state = match left {
            0 => State::Tag,
            _ => State::Bytes(field, left),
        };
        rest
    }

    /// Consumes a byte of a number. Returns the others.
    fn number<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], What> {
        let Some((byte, rest)) = bytes.split_first() else {
            return Ok(bytes);
        };
        if self.bits > 63 {
            return Err(NOT_A_NUMBER);
        }
        self.consume(1);
        self.number |= u64::from(byte & 0x7F) << self.bits;
        self.bits += 7;
        if let State::Numbers(left) = &mut self.state {
            *left = left.saturating_sub(1);
        }
        if byte & 0x80 != 0 {
            return Ok(rest);
        }
        self.bits = 0;
        let number = std::mem::take(&mut self.number);
        self.state = match self.state {
            State::Tag => self.tag(number)?,
            State::Value(field) => {
                if field == Field::Shape {
                    self.dimension(number);
                }
                State::Tag
            }
            State::Numbers(left) => {
                self.dimension(number);
                match left {
                    0 => State::Tag,
                    left => State::Numbers(left),
                }
            }
            State::InputLength => {
                self.fits(number)?;
                self.input_left = Some(number);
                self.datatype_len = 0;
                self.elements = 1;
                State::Tag
            }
            State::Length(field) => {
                self.fits(number)?;
                match (field, number) {
                    (_, 0) => State::Tag,
                    (Field::Shape, length) => State::Numbers(length),
                    (field, length) => State::Bytes(field, length),
                }
            }
            State::Bytes(..) => self.state,
        };
        Ok(rest)
    }

    /// A field begins.
    fn tag(&mut self, tag: u64) -> Result<State, What> {
        let (number, wire_type) = (tag >> 3, tag & 7);
        let field = match (self.input_left.is_some(), number) {
            (false, MODEL_NAME) => Field::Model,
            (false, MODEL_VERSION) => Field::Version,
            (false, RAW_INPUT_CONTENTS) | (true, CONTENTS) => Field::Contents,
            (true, DATATYPE) => Field::Datatype,
            (true, SHAPE) => Field::Shape,
            _ => Field::Other,
        };
        Ok(match wire_type {
            0 => State::Value(field),
            1 => self.fixed(8)?,
            2 if number == INPUTS && self.input_left.is_none() => State::InputLength,
            2 => State::Length(field),
            5 => self.fixed(4)?,
            _ => return Err("a field has an unknown wire type"),
        })
    }

    fn fixed(&self, length: u64) -> Result<State, What> {
        self.fits(length)?;
        Ok(State::Bytes(Field::Other, length))
    }

    /// Whether so many bytes fit into what is left.
    fn fits(&self, length: u64) -> Result<(), What> {
        match length <= self.input_left.unwrap_or(self.left) {
            true => Ok(()),
            false => Err(TOO_LONG),
        }
    }

    fn consume(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
        if let Some(left) = &mut self.input_left {
            *left = left.saturating_sub(bytes);
        }
    }

    fn dimension(&mut self, number: u64) {
        // A negative number has the highest bit set: no shape has it.
        self.elements = self.elements.saturating_mul(number);
    }

    /// Ends the input, if all of it was read.
    fn end_input(&mut self) {
        if self.input_left != Some(0) || self.state != State::Tag || self.bits > 0 {
            return;
        }
        self.input_left = None;
        let datatype = self.datatype.get(..self.datatype_len).unwrap_or_default();
        match element_size(datatype) {
            Some(Some(size)) => {
                let bytes = self.elements.saturating_mul(size);
                self.shaped = self.shaped.saturating_add(bytes);
            }
            Some(None) => {}
            None => self.unknown_datatype = true,
        }
    }
}
