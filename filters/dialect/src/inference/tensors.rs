//! The JSON of an inference request, with the sizes of its tensors. Binary tensors may follow it.
//!
//! An input costs its elements times the size of an element; text costs its bytes. What the shape says and what is sent may differ: the
//! greater counts.

use crate::body::{Body, BodyError, BodyHeaders, Limits, Passed};
use crate::json::{Json, JsonError, Kind, Path, Scalar, Sink, WantedPart};

/// Longest name of a datatype, and one byte more.
const MAX_DATATYPE: usize = 8;

/// The known datatypes, for error messages.
pub(super) const DATATYPES: &str = "one of BOOL, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64, FP16, BF16, FP32, FP64, BYTES";

/// The size of an element in bytes; `None` for text, whose bytes count; an error for an unknown datatype.
pub(super) fn element_size(datatype: &[u8]) -> Option<Option<u64>> {
    Some(match datatype {
        b"BOOL" | b"INT8" | b"UINT8" => Some(1),
        b"INT16" | b"UINT16" | b"FP16" | b"BF16" => Some(2),
        b"INT32" | b"UINT32" | b"FP32" => Some(4),
        b"INT64" | b"UINT64" | b"FP64" => Some(8),
        b"BYTES" => None,
        _ => return Option::None,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Top,
    Inputs,
    Input,
    Shape,
    Data,
    Parameters,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Other,
    Inputs,
    Datatype,
    Shape,
    Data,
    Parameters,
    BinarySize,
}

/// One input so far.
#[derive(Debug, Clone, Copy, Default)]
struct Input {
    datatype: [u8; MAX_DATATYPE],
    datatype_len: usize,
    /// The product of the shape; `None` without a shape.
    elements: Option<u64>,
    /// Elements in `data`, and bytes of text in it.
    sent: u64,
    text: u64,
    /// Bytes of the binary tensor.
    binary: u64,
}

/// The reader of the JSON.
#[derive(Debug)]
struct Reader {
    path: Path<Place, 32>,
    field: Field,
    in_datatype: bool,
    input: Input,
    bytes: u64,
    binary: u64,
    error: Option<BodyError>,
}

/// Reads one body.
#[derive(Debug)]
pub(crate) struct TensorScanner {
    json: Json,
    reader: Reader,
    /// Bytes of JSON at the beginning of the body; `None` if all of it is JSON.
    json_length: Option<u64>,
    /// Those that are still to come.
    left: Option<u64>,
    /// Bytes of binary tensors that the inputs announce and that did not pass yet.
    announced: u64,
    error: Option<BodyError>,
}

impl TensorScanner {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            json: Json::new(limits.max_depth),
            reader: Reader {
                path: Path::new(Place::Root),
                field: Field::Other,
                in_datatype: false,
                input: Input::default(),
                bytes: 0,
                binary: 0,
                error: None,
            },
            json_length: None,
            left: None,
            announced: 0,
            error: None,
        }
    }

    pub(crate) fn set_headers(&mut self, headers: &BodyHeaders<'_>) {
        if headers.json_length.is_empty() {
            return;
        }
        let length = std::str::from_utf8(headers.json_length).ok();
        let length: Option<u64> = length.and_then(|text| text.trim().parse().ok());
        let fits = |length: &u64| headers.content_length.is_none_or(|all| *length <= all);
        match length.filter(fits) {
            Some(length) => {
                self.json_length = Some(length);
                self.left = Some(length);
            }
            None => {
                self.error = Some(BodyError::WrongType {
                    field: "inference-header-content-length",
                    expected: "the number of bytes of the JSON at the beginning of the body",
                });
            }
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.error.is_some() {
            return;
        }
        let len = bytes.len() as u64;
        let json = self.left.map_or(len, |left| left.min(len));
        let (json, binary) = bytes.split_at(usize::try_from(json).unwrap_or(bytes.len()));
        if let Some(left) = &mut self.left {
            *left -= json.len() as u64;
        }
        if let Err(error) = self.json.push(json, &mut self.reader) {
            self.error = Some(self.reason(error));
        }
        self.count_binary(binary.len() as u64);
    }

    /// Bytes of binary tensors arrive. Those that were not announced count too.
    fn count_binary(&mut self, bytes: u64) -> u64 {
        self.announced += std::mem::take(&mut self.reader.binary);
        let beyond = bytes.saturating_sub(self.announced);
        self.announced -= bytes - beyond;
        self.reader.bytes = self.reader.bytes.saturating_add(beyond);
        beyond
    }

    pub(crate) fn json_length(&self) -> Option<u64> {
        self.json_length
    }

    pub(crate) fn decided(&self) -> bool {
        self.left == Some(0) && self.json.is_done()
    }

    pub(crate) fn error(&self) -> Option<&BodyError> {
        self.error.as_ref()
    }

    pub(crate) fn finish(&mut self) -> Result<Body, BodyError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        if let Err(error) = self.json.finish(&mut self.reader) {
            return Err(self.reason(error));
        }
        self.count_binary(0);
        Ok(Body {
            prompt_bytes: self.reader.bytes,
            ..Body::default()
        })
    }

    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Passed {
        Passed {
            bytes: self.count_binary(bytes.len() as u64),
            ..Passed::default()
        }
    }

    #[cold]
    fn reason(&mut self, error: JsonError) -> BodyError {
        match error {
            JsonError::Malformed { offset, what } => BodyError::Malformed { offset, what },
            JsonError::TooDeep { max, .. } => BodyError::TooDeep { max },
            JsonError::Refused => self.reader.error.take().unwrap_or(BodyError::NotAnObject),
        }
    }
}

impl Reader {
    fn refuse<T>(&mut self, field: &'static str, expected: &'static str) -> Result<T, JsonError> {
        self.error = Some(BodyError::WrongType { field, expected });
        Err(JsonError::Refused)
    }

    /// An input is complete.
    fn end_input(&mut self) -> Result<(), JsonError> {
        let input = std::mem::take(&mut self.input);
        let datatype = input.datatype.get(..input.datatype_len).unwrap_or_default();
        let Some(size) = element_size(datatype) else {
            return self.refuse("inputs[].datatype", DATATYPES);
        };
        let elements = input.elements.unwrap_or_default().max(input.sent);
        let bytes = size.map_or(input.text, |size| elements.saturating_mul(size));
        self.bytes = self.bytes.saturating_add(bytes.max(input.binary));
        self.binary = self.binary.saturating_add(input.binary);
        Ok(())
    }
}

impl Sink for Reader {
    fn open(&mut self, kind: Kind, _: u64) -> Result<bool, JsonError> {
        let place = match (self.path.at(), self.field, kind) {
            (Some(Place::Root), _, Kind::Object) => Place::Top,
            (Some(Place::Root), _, Kind::Array) => return Err(JsonError::Refused),
            (Some(Place::Top), Field::Inputs, Kind::Array) => Place::Inputs,
            (Some(Place::Top), Field::Inputs, _) => return self.refuse("inputs", "an array"),
            (Some(Place::Inputs), _, Kind::Object) => {
                self.input = Input::default();
                Place::Input
            }
            (Some(Place::Inputs), ..) => return self.refuse("inputs[]", "an object"),
            (Some(Place::Input), Field::Shape, Kind::Array) => {
                self.input.elements = Some(1);
                Place::Shape
            }
            (Some(Place::Input), Field::Shape, _) => {
                return self.refuse("inputs[].shape", "an array of whole numbers");
            }
            (Some(Place::Input), Field::Data, Kind::Array) => Place::Data,
            (Some(Place::Data), _, Kind::Array) => Place::Data,
            (Some(Place::Input), Field::Parameters, Kind::Object) => Place::Parameters,
            _ => {
                self.path.skip();
                return Ok(false);
            }
        };
        self.path.enter(place);
        self.field = Field::Other;
        Ok(self.path.at().is_some())
    }

    fn close(&mut self, _: u64) -> Result<(), JsonError> {
        let left = self.path.leave();
        self.field = Field::Other;
        match left {
            Some(Place::Input) => self.end_input(),
            _ => Ok(()),
        }
    }

    fn key(&mut self, key: &[u8]) {
        self.field = match (self.path.at(), key) {
            (Some(Place::Top), b"inputs") => Field::Inputs,
            (Some(Place::Input), b"datatype") => Field::Datatype,
            (Some(Place::Input), b"shape") => Field::Shape,
            (Some(Place::Input), b"data") => Field::Data,
            (Some(Place::Input), b"parameters") => Field::Parameters,
            (Some(Place::Parameters), b"binary_data_size") => Field::BinarySize,
            _ => Field::Other,
        };
    }

    fn begin_string(&mut self, _: u64) -> Result<WantedPart, JsonError> {
        self.in_datatype = self.field == Field::Datatype;
        match (self.path.at(), self.field) {
            (Some(Place::Root), _) => Err(JsonError::Refused),
            (Some(Place::Input), Field::Datatype) => {
                self.input.datatype_len = 0;
                Ok(WantedPart::Text)
            }
            (Some(Place::Input), Field::Data) | (Some(Place::Data), _) => {
                self.input.sent += 1;
                Ok(WantedPart::Length)
            }
            _ => Ok(WantedPart::Nothing),
        }
    }

    fn length(&mut self, bytes: u64) {
        self.input.text += bytes;
    }

    fn text(&mut self, text: &[u8]) {
        for byte in text {
            if let Some(letter) = self.input.datatype.get_mut(self.input.datatype_len) {
                *letter = *byte;
                self.input.datatype_len += 1;
            }
        }
    }

    fn end_string(&mut self, _: u64) -> Result<(), JsonError> {
        Ok(())
    }

    fn scalar(&mut self, scalar: Scalar, _: u64) -> Result<(), JsonError> {
        match (self.path.at(), self.field, scalar) {
            (Some(Place::Root), ..) => return Err(JsonError::Refused),
            (Some(Place::Shape), _, Scalar::Number(number)) => {
                let Ok(number) = number.whole() else {
                    return self.refuse("inputs[].shape", "an array of whole numbers");
                };
                let elements = self.input.elements.unwrap_or(1);
                self.input.elements = Some(elements.saturating_mul(number));
            }
            (Some(Place::Data), ..) => self.input.sent += 1,
            (Some(Place::Parameters), Field::BinarySize, Scalar::Number(number)) => {
                let Ok(bytes) = number.whole() else {
                    return self.refuse("inputs[].parameters.binary_data_size", "a whole number");
                };
                self.input.binary = bytes;
            }
            _ => {}
        }
        Ok(())
    }
}
