//! `multipart/form-data` (RFC 7578): the fields of a request with a file. A file is counted and never kept.
//!
//! The scanner reads the parts until it knows the model, and on to the next file, because clients send short fields together. The rest
//! passes and is only counted. It changes no fact. If the rest is malformed, the upstream refuses it.
//!
//! Lines end with CRLF, or with LF if the first boundary's line does, as Go's `mime/multipart` reads them. A line that only begins like a
//! boundary is content.

mod header;
#[cfg(test)]
mod tests;

use crate::body::{Body, BodyError, BodyHeaders, Limits, Passed};
use crate::json::Decimal;
use header::{Name, boundary, name_of};

/// Longest header of a part, in bytes.
const MAX_HEADER: usize = 4096;
/// Most blanks between a boundary and the end of its line.
const MAX_PADDING: usize = 64;
/// Bytes of sound for one token: 10 tokens for a second, as OpenAI documents for input ("1 token for 100 ms"), and 16 000 bytes for a
/// second, which is an MP3 of 128 kbit/s.
const SOUND_BYTES: u64 = 1600;
/// Tokens of a picture, as in a JSON body.
const PICTURE_TOKENS: u64 = 765;
/// Greatest `n`, as in a JSON body.
const MAX_N: u64 = 1024;
/// Greatest `temperature`, as in a JSON body.
const MAX_TEMPERATURE: u64 = 10;

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
    /// After a boundary, up to the end of its line. True: after the first one.
    Boundary(bool),
    Headers,
    Content,
    /// After the last boundary.
    Epilogue,
}

/// Reads one body.
#[derive(Debug)]
pub(crate) struct MultipartScanner {
    files: Files,
    limits: Limits,
    /// A line end, `--` and the boundary. (Before the first boundary, the line end is LF.)
    delimiter: Vec<u8>,
    /// How many bytes of the delimiter the last bytes equal.
    matched: usize,
    /// The bytes after a boundary in its line.
    line: Vec<u8>,
    state: State,
    /// The headers of a part, or the value of a field.
    kept: Vec<u8>,
    name: Name,
    /// The path or a header names the model.
    model_known: bool,
    /// The facts are known: they are in `facts`.
    decided: bool,
    facts: Body,
    /// The facts so far. Of what follows the decision, the prompt.
    body: Body,
    file_bytes: u64,
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
            line: Vec::new(),
            state: State::Preamble,
            kept: Vec::new(),
            name: Name::Other,
            model_known: false,
            decided: false,
            facts: Body::default(),
            body: Body::default(),
            file_bytes: 0,
            pictures: 0,
            counted: 0,
            error: None,
        }
    }

    /// Reads the boundary, and counts a sound whose length is announced.
    pub(crate) fn set_headers(&mut self, headers: &BodyHeaders<'_>) {
        let Some(boundary) = boundary(headers.content_type) else {
            let what = "the header `content-type` must be multipart/form-data with a boundary";
            self.error = Some(BodyError::NotMultipart { what });
            return;
        };
        self.delimiter.extend_from_slice(boundary);
        self.model_known = headers.model_known;
        if let (Files::Sound, Some(length)) = (self.files, headers.content_length) {
            self.counted = length.div_ceil(SOUND_BYTES);
        }
        self.decide();
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while self.error.is_none() && !rest.is_empty() {
            rest = self.step(rest);
            self.decide();
        }
    }

    /// Sets the facts apart as soon as enough was read for them.
    fn decide(&mut self) {
        let at_file = self.state == State::Content && self.name == Name::File;
        let named = self.body.model.is_some() && (at_file || self.state == State::Epilogue);
        if !self.decided && self.error.is_none() && (self.model_known || named) {
            self.set_facts();
        }
    }

    fn set_facts(&mut self) {
        self.decided = true;
        self.counted = self.counted.max(self.file_tokens());
        self.facts = Body {
            prompt_tokens: self.counted,
            ..std::mem::take(&mut self.body)
        };
    }

    /// Reads some of the bytes. Returns the others.
    fn step<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        match self.state {
            State::Epilogue => &[],
            State::Boundary(first) => self.boundary_line(first, bytes),
            State::Headers => self.headers(bytes),
            State::Preamble | State::Content => self.content(bytes),
        }
    }

    /// Reads content up to the next boundary.
    fn content<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let mut at = 0;
        if self.matched == 0 {
            let begins = |byte: &u8| self.delimiter.first() == Some(byte);
            at = bytes.iter().position(begins).unwrap_or(bytes.len());
            self.add(bytes.get(..at).unwrap_or_default());
        }
        let rest = bytes.get(at..).unwrap_or_default();
        let Some((byte, after)) = rest.split_first() else {
            return &[];
        };
        if self.delimiter.get(self.matched) == Some(byte) {
            self.matched += 1;
            if self.matched == self.delimiter.len() {
                self.matched = 0;
                self.line.clear();
                self.state = State::Boundary(self.state == State::Preamble);
            }
            return after;
        }
        // A look-alike. Nothing of it can begin another one, because a boundary has no line end.
        let len = std::mem::take(&mut self.matched);
        self.add_delimiter(len);
        rest
    }

    /// Reads the rest of the line of a boundary.
    fn boundary_line<'b>(&mut self, first: bool, bytes: &'b [u8]) -> &'b [u8] {
        let Some((byte, rest)) = bytes.split_first() else {
            return &[];
        };
        let has_cr = self.line.ends_with(b"\r");
        let blank = self.line.first() != Some(&b'-') && self.line.len() < MAX_PADDING;
        match (byte, &self.line[..]) {
            (b'-', b"-") => {
                self.end_part(first);
                self.state = State::Epilogue;
            }
            (b'-', b"") => self.line.push(b'-'),
            (b'\n', line)
                if line.first() != Some(&b'-') && (has_cr || self.delimiter.starts_with(b"\n")) =>
            {
                if first && has_cr {
                    self.delimiter.insert(0, b'\r');
                }
                self.end_part(first);
                self.kept.clear();
                self.state = State::Headers;
            }
            (b' ' | b'\t' | b'\r', _) if blank && !has_cr => self.line.push(*byte),
            _ => {
                // Something else with the same beginning.
                self.state = match first {
                    true => State::Preamble,
                    false => State::Content,
                };
                self.add_delimiter(self.delimiter.len());
                let line = std::mem::take(&mut self.line);
                self.add(&line);
                return bytes;
            }
        }
        rest
    }

    /// Reads the headers of a part, up to a blank line.
    fn headers<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let Some((byte, rest)) = bytes.split_first() else {
            return &[];
        };
        self.kept.push(*byte);
        let complete = matches!(&self.kept[..], b"\n" | b"\r\n")
            || self.kept.ends_with(b"\n\n")
            || self.kept.ends_with(b"\n\r\n");
        if complete {
            self.begin_content(name_of(&self.kept));
        } else if self.kept.len() > MAX_HEADER {
            let what = "the headers of a part are longer than 4096 bytes";
            self.refuse(BodyError::NotMultipart { what });
            // Beyond the decision, they may be anything.
            self.begin_content(Name::File);
        }
        rest
    }

    fn begin_content(&mut self, name: Name) {
        self.name = name;
        self.pictures += u64::from(name == Name::File);
        self.kept.clear();
        self.state = State::Content;
    }

    /// Content of the current part.
    fn add(&mut self, bytes: &[u8]) {
        let len = bytes.len() as u64;
        match (self.state, self.name) {
            (State::Preamble, _) | (_, Name::Other) => {}
            (_, Name::File) => self.file_bytes += len,
            (_, Name::Prompt) => self.body.prompt_bytes += len,
            _ => {
                // One byte more than the limit.
                let room = (self.limits.max_string + 1).saturating_sub(self.kept.len());
                let kept = bytes.get(..bytes.len().min(room)).unwrap_or_default();
                self.kept.extend_from_slice(kept);
            }
        }
    }

    /// The first bytes of the delimiter are content.
    fn add_delimiter(&mut self, len: usize) {
        let delimiter = std::mem::take(&mut self.delimiter);
        self.add(delimiter.get(..len).unwrap_or_default());
        self.delimiter = delimiter;
    }

    /// A boundary ends the current part; the first one ends the preamble.
    fn end_part(&mut self, first: bool) {
        let value = std::mem::take(&mut self.kept);
        if first || self.decided {
            return;
        }
        let (field, agrees) = match self.name {
            Name::Model => ("model", set(&mut self.body.model, text(&value))),
            Name::User => ("user", set(&mut self.body.session.user, text(&value))),
            Name::Stream => {
                let stream = value.eq_ignore_ascii_case(b"true") || value == b"1";
                ("stream", set(&mut self.body.stream, stream))
            }
            Name::N => {
                let whole = Decimal::parse(&value).and_then(|number| number.whole().ok());
                let Some(n) = whole.filter(|n| (1..=MAX_N).contains(n)) else {
                    return self.out_of_range("n", 1, MAX_N);
                };
                ("n", set(&mut self.body.n, n))
            }
            Name::Temperature => {
                let millionths = Decimal::parse(&value).and_then(|it| it.millionths().ok());
                let in_range = |it: &u64| *it <= MAX_TEMPERATURE * 1_000_000;
                let Some(temperature) = millionths.filter(in_range) else {
                    return self.out_of_range("temperature", 0, MAX_TEMPERATURE);
                };
                ("temperature", set(&mut self.body.temperature, temperature))
            }
            Name::Prompt | Name::File | Name::Other => return,
        };
        let max = self.limits.max_string;
        if value.len() > max {
            self.refuse(BodyError::TooLong { field, max });
        } else if !agrees {
            self.refuse(BodyError::Disagree { field });
        }
    }

    #[cold]
    fn out_of_range(&mut self, field: &'static str, min: u64, max: u64) {
        self.refuse(BodyError::OutOfRange { field, min, max });
    }

    /// Refuses the body, unless it was decided before.
    #[cold]
    fn refuse(&mut self, error: BodyError) {
        if !self.decided {
            self.error = Some(error);
        }
    }

    pub(crate) fn decided(&self) -> bool {
        self.decided
    }

    pub(crate) fn error(&self) -> Option<&BodyError> {
        self.error.as_ref()
    }

    pub(crate) fn model(&self) -> Option<&str> {
        let model = self.facts.model.as_ref().or(self.body.model.as_ref());
        model.map(String::as_str)
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
        if !self.decided {
            if self.body.model.is_none() && self.state != State::Epilogue {
                let what = "it ends before its last boundary";
                return Err(BodyError::NotMultipart { what });
            }
            self.set_facts();
        }
        Ok(std::mem::take(&mut self.facts))
    }

    /// Counts what follows the decision, beginning with what was pushed together with it.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Passed {
        self.push(bytes);
        let tokens = self.file_tokens().saturating_sub(self.counted);
        self.counted += tokens;
        Passed {
            bytes: std::mem::take(&mut self.body.prompt_bytes),
            tokens,
            messages: 0,
        }
    }
}

/// Sets a value. False if it was another one before.
fn set<T: PartialEq>(known: &mut Option<T>, value: T) -> bool {
    let agrees = known.as_ref().is_none_or(|known| *known == value);
    *known = Some(value);
    agrees
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}
