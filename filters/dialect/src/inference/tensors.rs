//! The JSON of an inference request, with the sizes of its tensors. Binary tensors may follow it.
//!
//! The price of an input is its elements times their size; text is priced by its bytes. If the shape and the sent elements differ, the
//! greater counts.

use super::input::{Input, not_a_shape};
use crate::body::{Body, BodyError, BodyHeaders, Limits, Passed};
use crate::json::{Decimal, Json, JsonError, Kind, Path, Scalar, Sink, WantedPart};

/// Deepest nesting that is read: as deep as JSON may be.
const DEPTH: usize = 130;

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
    SharedSize,
}

/// The reader of the JSON.
#[derive(Debug)]
struct Reader {
    path: Path<Place, DEPTH>,
    field: Field,
    in_datatype: bool,
    /// Where an object among the elements begins.
    object_at: Option<u64>,
    input: Input,
    bytes: u64,
    /// Bytes of binary tensors that the inputs announce.
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
    /// There is no JSON: the body is one binary tensor.
    raw: bool,
    /// Bytes behind the JSON, if the length of the body is known.
    behind: u64,
    /// The JSON is complete.
    ended: bool,
    /// Bytes of binary tensors that are priced and did not pass yet.
    announced: u64,
    /// Bytes that passed and were not announced.
    beyond: u64,
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
                object_at: None,
                input: Input::default(),
                bytes: 0,
                binary: 0,
                error: None,
            },
            json_length: None,
            left: None,
            raw: false,
            behind: 0,
            ended: false,
            announced: 0,
            beyond: 0,
            error: None,
        }
    }

    pub(crate) fn set_headers(&mut self, headers: &BodyHeaders<'_>) {
        if headers.json_length.is_empty() {
            return;
        }
        let length = std::str::from_utf8(headers.json_length).ok();
        let length: Option<u64> = length.and_then(|text| text.trim().parse().ok());
        let behind = |length: u64| match headers.content_length {
            Some(all) => all.checked_sub(length),
            None => Some(0),
        };
        match length.and_then(|length| Some((length, behind(length)?))) {
            Some((length, behind)) => {
                self.json_length = Some(length);
                self.left = Some(length);
                self.raw = length == 0;
                self.behind = behind;
                self.end_json_if_complete();
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
            self.error = Some(BodyError::of(error, &mut self.reader.error));
        }
        self.end_json_if_complete();
        if self.error.is_none() {
            self.count_binary(binary.len() as u64);
        }
    }

    fn end_json_if_complete(&mut self) {
        if self.left == Some(0) && !self.ended && self.error.is_none() {
            self.end_json();
        }
    }

    /// The JSON is complete. The bytes behind it are priced by the greater of their length and the bytes that the inputs announce.
    fn end_json(&mut self) {
        if !self.raw
            && let Err(error) = self.json.finish(&mut self.reader)
        {
            self.error = Some(BodyError::of(error, &mut self.reader.error));
            return;
        }
        self.ended = true;
        self.announced = self.reader.binary.max(self.behind);
        let more = self.announced - self.reader.binary;
        self.reader.bytes = self.reader.bytes.saturating_add(more);
    }

    /// Bytes of binary tensors arrive. Those that were not announced count too.
    fn count_binary(&mut self, bytes: u64) {
        let beyond = bytes.saturating_sub(self.announced);
        self.announced -= bytes - beyond;
        self.beyond += beyond;
    }

    /// Whether all of the body is JSON.
    pub(crate) fn holds_all(&self) -> bool {
        self.left.is_none()
    }

    pub(crate) fn json_length(&self) -> Option<u64> {
        self.json_length
    }

    pub(crate) fn decided(&self) -> bool {
        self.left.is_some() && self.ended
    }

    pub(crate) fn error(&self) -> Option<&BodyError> {
        self.error.as_ref()
    }

    pub(crate) fn finish(&mut self) -> Result<Body, BodyError> {
        if !self.ended && self.error.is_none() {
            self.end_json();
        }
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        Ok(Body {
            prompt_bytes: self.reader.bytes,
            ..Body::default()
        })
    }

    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Passed {
        self.count_binary(bytes.len() as u64);
        Passed {
            bytes: std::mem::take(&mut self.beyond),
            ..Passed::default()
        }
    }
}

impl Reader {
    #[cold]
    fn refuse<T>(&mut self, error: BodyError) -> Result<T, JsonError> {
        self.error = Some(error);
        Err(JsonError::Refused)
    }

    /// Refuses a value that does not fit the current field.
    fn check(&mut self, kind: Option<Kind>) -> Result<(), JsonError> {
        let (field, expected) = match (self.path.at(), self.field, kind) {
            (Some(Place::Root), _, None | Some(Kind::Array)) => return Err(JsonError::Refused),
            (Some(Place::Top), Field::Inputs, None | Some(Kind::Object)) => ("inputs", "an array"),
            (Some(Place::Inputs), _, None | Some(Kind::Array)) => ("inputs[]", "an object"),
            (Some(Place::Input), Field::Shape, None | Some(Kind::Object))
            | (Some(Place::Shape), _, Some(_)) => return self.refuse(not_a_shape()),
            _ => return Ok(()),
        };
        self.refuse(BodyError::WrongType { field, expected })
    }

    /// A number of bytes outside of the JSON.
    fn outside(&mut self, number: &Decimal, field: &'static str) -> Result<u64, JsonError> {
        match number.whole() {
            Ok(bytes) => {
                self.input.outside = self.input.outside.max(bytes);
                Ok(bytes)
            }
            Err(_) => self.refuse(BodyError::WrongType {
                field,
                expected: "a whole number",
            }),
        }
    }

    /// An input is complete.
    fn end_input(&mut self) -> Result<(), JsonError> {
        match self.input.bytes() {
            Ok(bytes) => {
                self.bytes = self.bytes.saturating_add(bytes);
                Ok(())
            }
            Err(error) => self.refuse(error),
        }
    }
}

impl Sink for Reader {
    fn open(&mut self, kind: Kind, at: u64) -> Result<bool, JsonError> {
        self.check(Some(kind))?;
        let place = match (self.path.at(), self.field, kind) {
            (Some(Place::Root), ..) => Place::Top,
            (Some(Place::Top), Field::Inputs, _) => Place::Inputs,
            (Some(Place::Inputs), ..) => {
                self.input = Input::default();
                Place::Input
            }
            (Some(Place::Input), Field::Shape, _) => {
                self.input.begin_shape();
                Place::Shape
            }
            (Some(Place::Input), Field::Data, Kind::Array)
            | (Some(Place::Data), _, Kind::Array) => Place::Data,
            (Some(Place::Input), Field::Parameters, Kind::Object) => Place::Parameters,
            (Some(Place::Input), Field::Data, _) | (Some(Place::Data), ..) => {
                self.object_at = Some(at);
                self.path.skip();
                return Ok(false);
            }
            _ => {
                self.path.skip();
                return Ok(false);
            }
        };
        self.path.enter(place);
        self.field = Field::Other;
        Ok(self.path.at().is_some())
    }

    fn close(&mut self, at: u64) -> Result<(), JsonError> {
        let left = self.path.leave();
        self.field = Field::Other;
        if let Some(from) = self.object_at.take() {
            self.input.sent += 1;
            self.input.text += at + 1 - from;
        }
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
            (Some(Place::Parameters), b"shared_memory_byte_size") => Field::SharedSize,
            _ => Field::Other,
        };
    }

    fn begin_string(&mut self, _: u64) -> Result<WantedPart, JsonError> {
        self.check(None)?;
        self.in_datatype = self.field == Field::Datatype;
        match (self.path.at(), self.field) {
            (Some(Place::Shape), _) => self.refuse(not_a_shape()),
            (Some(Place::Input), Field::Datatype) => {
                self.input.begin_datatype();
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
        self.input.datatype(text);
    }

    fn end_string(&mut self, _: u64) -> Result<(), JsonError> {
        if self.in_datatype
            && let Err(error) = self.input.end_datatype()
        {
            return self.refuse(error);
        }
        Ok(())
    }

    fn scalar(&mut self, scalar: Scalar, _: u64) -> Result<(), JsonError> {
        self.check(None)?;
        match (self.path.at(), self.field, scalar) {
            (Some(Place::Shape), _, scalar) => match scalar {
                Scalar::Number(number) if let Ok(length) = number.whole() => {
                    self.input.dimension(length);
                }
                _ => return self.refuse(not_a_shape()),
            },
            // An element that is no text, where text is expected, counts a byte.
            (Some(Place::Input), Field::Data, _) | (Some(Place::Data), ..) => {
                self.input.sent += 1;
                self.input.text += 1;
            }
            (Some(Place::Parameters), Field::BinarySize, Scalar::Number(number)) => {
                let bytes = self.outside(&number, "inputs[].parameters.binary_data_size")?;
                self.binary = self.binary.saturating_add(bytes);
            }
            (Some(Place::Parameters), Field::SharedSize, Scalar::Number(number)) => {
                self.outside(&number, "inputs[].parameters.shared_memory_byte_size")?;
            }
            _ => {}
        }
        Ok(())
    }
}
