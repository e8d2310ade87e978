//! `multipart/form-data` (RFC 7578): the fields of a request with a file. A file is counted and never kept.
//!
//! The parts are read until the model is known. What follows passes while it is counted.

use crate::body::{Body, BodyError, BodyHeaders, Limits, Passed};
use crate::json::Decimal;

/// Longest header of a part, in bytes.
const MAX_HEADER: usize = 4096;
/// Longest boundary, in bytes (RFC 2046).
const MAX_BOUNDARY: usize = 70;
/// Bytes of sound for one token: 10 tokens for a second, as OpenAI documents for input ("1 token for 100 ms"), and 16 000 bytes for a
/// second, which is an MP3 of 128 kbit/s.
const SOUND_BYTES: u64 = 1600;
/// Tokens of a picture, as in a JSON body.
const PICTURE_TOKENS: u64 = 765;
/// Greatest `n`, as in a JSON body.
const MAX_N: u64 = 1024;
/// Greatest `temperature` in millionths, as in a JSON body.
const MAX_TEMPERATURE: u64 = 10_000_000;

/// The kind of the files of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    /// A sound is priced by its bytes.
    Sound,
    /// Each picture counts a fixed number of tokens.
    Pictures,
}

/// The part of a body that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first boundary.
    Preamble,
    /// After a boundary, up to the end of its line. The number of `-` so far.
    Boundary(u8),
    Headers,
    Content,
    /// After the last boundary.
    Epilogue,
}

/// A field whose value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Model,
    Prompt,
    N,
    Temperature,
    Stream,
    User,
    File,
    Other,
}

/// Reads one body.
#[derive(Debug)]
pub(crate) struct MultipartScanner {
    files: Files,
    limits: Limits,
    /// LF, `--` and the boundary. (A CR before it is not part of the content.)
    delimiter: Vec<u8>,
    /// How many bytes of the delimiter the last bytes equal.
    matched: usize,
    state: State,
    /// The headers of a part, or the value of a field.
    kept: Vec<u8>,
    name: Name,
    body: Body,
    has_model: bool,
    file_bytes: u64,
    /// The last byte of the file was a CR, which a boundary may follow.
    after_cr: bool,
    pictures: u64,
    /// Tokens of the files that are counted already.
    counted: u64,
    error: Option<BodyError>,
}

impl MultipartScanner {
    pub(crate) fn new(files: Files, limits: Limits) -> Self {
        Self {
            files,
            limits,
            delimiter: b"\n--".to_vec(),
            // The body begins as if a line had just ended.
            matched: 1,
            state: State::Preamble,
            kept: Vec::new(),
            name: Name::Other,
            body: Body::default(),
            has_model: false,
            file_bytes: 0,
            after_cr: false,
            pictures: 0,
            counted: 0,
            error: None,
        }
    }

    /// Reads the boundary, and counts a sound whose length is announced.
    pub(crate) fn set_headers(&mut self, headers: &BodyHeaders<'_>) {
        match boundary(headers.content_type) {
            Some(boundary) => self.delimiter = [b"\n--", &boundary[..]].concat(),
            None => {
                self.fail("the header `content-type` must be multipart/form-data with a boundary");
            }
        }
        self.has_model = headers.model_known;
        if let (Files::Sound, Some(length)) = (self.files, headers.content_length) {
            self.counted = length.div_ceil(SOUND_BYTES);
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while self.error.is_none() && !rest.is_empty() {
            rest = self.step(rest);
        }
    }

    /// Reads some of the bytes. Returns the others.
    fn step<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        match self.state {
            State::Epilogue => &[],
            State::Boundary(dashes) => self.boundary(dashes, bytes),
            State::Headers => self.headers(bytes),
            State::Preamble | State::Content => self.content(bytes),
        }
    }

    /// Reads content up to the next boundary.
    fn content<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let mut at = 0;
        if self.matched == 0 {
            // Only a line can begin a boundary.
            at = bytes
                .iter()
                .position(|b| *b == b'\n')
                .unwrap_or(bytes.len());
            self.add(&bytes[..at]);
        }
        let Some((byte, rest)) = bytes.get(at..).and_then(<[u8]>::split_first) else {
            return &[];
        };
        if self.delimiter.get(self.matched) == Some(byte) {
            self.matched += 1;
            if self.matched == self.delimiter.len() {
                self.matched = 0;
                self.end_part();
                self.state = State::Boundary(0);
            }
            return rest;
        }
        // A look-alike. Nothing of it can begin another one, because a boundary has no line end.
        let alike = self
            .delimiter
            .get(..self.matched)
            .unwrap_or_default()
            .to_vec();
        self.matched = 0;
        self.add(&alike);
        bytes.get(at..).unwrap_or_default()
    }

    /// Reads the rest of the line of a boundary.
    fn boundary<'b>(&mut self, dashes: u8, bytes: &'b [u8]) -> &'b [u8] {
        let Some((byte, rest)) = bytes.split_first() else {
            return &[];
        };
        self.state = match (byte, dashes) {
            (b'-', 0) => State::Boundary(1),
            (b'-', 1) => State::Epilogue,
            (b'\n', 0) => {
                self.kept.clear();
                State::Headers
            }
            (b'\r' | b' ' | b'\t', 0) => State::Boundary(0),
            _ => {
                self.fail("a boundary is followed by something else than a line end");
                State::Epilogue
            }
        };
        rest
    }

    /// Reads the headers of a part, up to a blank line.
    fn headers<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let Some((byte, rest)) = bytes.split_first() else {
            return &[];
        };
        self.kept.push(*byte);
        if self.kept.len() > MAX_HEADER {
            self.fail("the headers of a part are longer than 4096 bytes");
        } else if matches!(&self.kept[..], [b'\n'] | [b'\r', b'\n'])
            || self.kept.ends_with(b"\n\n")
            || self.kept.ends_with(b"\n\r\n")
        {
            self.name = name_of(&self.kept);
            if self.name == Name::File {
                self.pictures += 1;
            }
            self.kept.clear();
            self.state = State::Content;
        }
        rest
    }

    /// Content of the current part.
    fn add(&mut self, bytes: &[u8]) {
        let len = bytes.len() as u64;
        match (self.state, self.name) {
            (State::Preamble, _) | (_, Name::Other) => {}
            (_, Name::File) => {
                self.file_bytes += len;
                self.after_cr = bytes.last().map_or(self.after_cr, |byte| *byte == b'\r');
            }
            (_, Name::Prompt) => self.body.prompt_bytes += len,
            _ => {
                // One byte more than the limit, and a CR that is no content.
                let room = (self.limits.max_string + 2).saturating_sub(self.kept.len());
                self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
        }
    }

    /// The current part ends.
    fn end_part(&mut self) {
        if self.state == State::Preamble {
            return;
        }
        if self.name == Name::File {
            self.file_bytes -= u64::from(std::mem::take(&mut self.after_cr));
        }
        if self.kept.last() == Some(&b'\r') {
            self.kept.pop();
        }
        let value = std::mem::take(&mut self.kept);
        let set = |known: &mut Option<String>| {
            let text = String::from_utf8_lossy(&value).into_owned();
            let agrees = known.as_ref().is_none_or(|known| *known == text);
            *known = Some(text);
            agrees
        };
        let (field, agrees) = match self.name {
            Name::Model => ("model", set(&mut self.body.model)),
            Name::User => ("user", set(&mut self.body.session.user)),
            Name::N => ("n", self.number("n", &value, 1, MAX_N)),
            Name::Temperature => ("temperature", self.temperature(&value)),
            Name::Stream => {
                self.body.stream = Some(value.eq_ignore_ascii_case(b"true") || value == b"1");
                ("stream", true)
            }
            Name::Prompt | Name::File | Name::Other => return,
        };
        if value.len() > self.limits.max_string {
            let max = self.limits.max_string;
            self.error = self
                .error
                .take()
                .or(Some(BodyError::TooLong { field, max }));
        } else if !agrees {
            self.error = self.error.take().or(Some(BodyError::Disagree { field }));
        }
        self.has_model |= self.name == Name::Model;
    }

    fn number(&mut self, field: &'static str, text: &[u8], min: u64, max: u64) -> bool {
        let value = Decimal::parse(text).and_then(|number| number.whole().ok());
        match value.filter(|value| (min..=max).contains(value)) {
            Some(value) => {
                let agrees = self.body.n.is_none_or(|known| known == value);
                self.body.n = Some(value);
                agrees
            }
            None => {
                self.error = Some(BodyError::OutOfRange { field, min, max });
                true
            }
        }
    }

    fn temperature(&mut self, text: &[u8]) -> bool {
        let value = Decimal::parse(text).and_then(|number| number.millionths().ok());
        match value.filter(|value| *value <= MAX_TEMPERATURE) {
            Some(value) => {
                let agrees = self.body.temperature.is_none_or(|known| known == value);
                self.body.temperature = Some(value);
                agrees
            }
            None => {
                let field = "temperature";
                self.error = Some(BodyError::OutOfRange {
                    field,
                    min: 0,
                    max: 10,
                });
                true
            }
        }
    }

    fn fail(&mut self, what: &'static str) {
        let first = self.error.take();
        self.error = first.or(Some(BodyError::NotMultipart { what }));
    }

    pub(crate) fn decided(&self) -> bool {
        self.has_model
    }

    pub(crate) fn error(&self) -> Option<&BodyError> {
        self.error.as_ref()
    }

    pub(crate) fn model(&self) -> Option<&str> {
        self.body.model.as_deref()
    }

    /// Tokens of the files so far.
    fn file_tokens(&self) -> u64 {
        match self.files {
            Files::Sound => self.file_bytes.div_ceil(SOUND_BYTES),
            Files::Pictures => self.pictures.saturating_mul(PICTURE_TOKENS),
        }
    }

    pub(crate) fn finish(&mut self) -> Result<Body, BodyError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        if !self.has_model && self.state != State::Epilogue {
            let what = "it ends before its last boundary";
            return Err(BodyError::NotMultipart { what });
        }
        self.counted = self.counted.max(self.file_tokens());
        Ok(Body {
            prompt_tokens: self.counted,
            ..std::mem::take(&mut self.body)
        })
    }

    /// Counts the rest. What is malformed there is the upstream's to refuse.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Passed {
        self.push(bytes);
        let more = self.file_tokens().saturating_sub(self.counted);
        self.counted += more;
        Passed {
            bytes: std::mem::take(&mut self.body.prompt_bytes),
            tokens: more,
            messages: 0,
        }
    }
}

/// The boundary in a content type; `None` if it is of another kind, or has none.
fn boundary(content_type: &[u8]) -> Option<Vec<u8>> {
    let mut parts = content_type
        .split(|byte| *byte == b';')
        .map(<[u8]>::trim_ascii);
    if !parts.next()?.eq_ignore_ascii_case(b"multipart/form-data") {
        return None;
    }
    let value = parts.find_map(|part| parameter(part, b"boundary"))?;
    let valid = (1..=MAX_BOUNDARY).contains(&value.len()) && !value.contains(&b'\n');
    valid.then(|| value.to_vec())
}

/// The value of a parameter with this name, without quotes.
fn parameter<'p>(part: &'p [u8], name: &[u8]) -> Option<&'p [u8]> {
    let at = part.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (
        part.get(..at)?.trim_ascii(),
        part.get(at + 1..)?.trim_ascii(),
    );
    let value = match value {
        [b'"', inner @ .., b'"'] => inner,
        value => value,
    };
    key.eq_ignore_ascii_case(name).then_some(value)
}

/// The field to which the headers of a part belong.
fn name_of(headers: &[u8]) -> Name {
    let is_disposition = |line: &&[u8]| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        name.trim_ascii()
            .eq_ignore_ascii_case(b"content-disposition")
    };
    let mut lines = headers.split(|byte| *byte == b'\n');
    let Some(line) = lines.find(is_disposition) else {
        return Name::Other;
    };
    let parts = || line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let has = |name: &[u8]| parts().any(|part| parameter(part, name).is_some());
    if has(b"filename") || has(b"filename*") {
        return Name::File;
    }
    match parts().find_map(|part| parameter(part, b"name")) {
        Some(b"model") => Name::Model,
        Some(b"prompt") => Name::Prompt,
        Some(b"n") => Name::N,
        Some(b"temperature") => Name::Temperature,
        Some(b"stream") => Name::Stream,
        Some(b"user") => Name::User,
        Some(b"file" | b"image" | b"image[]" | b"mask") => Name::File,
        _ => Name::Other,
    }
}
