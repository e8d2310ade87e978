//! Strings: runs of plain bytes, escapes, and UTF-8 sequences that a push has cut.
//!
//! A run is validated as UTF-8 only if it has a byte outside ASCII.

use super::plain::{decoded, escaped, passable, plain_run, short_escape};
use super::{Json, JsonError, MAX_KEY, Sink, State, WantedPart};

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

impl Json {
    /// Consumes string contents from `at`. Returns where to go on. (It has the vector feature so that the searches are inlined.)
    #[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
    pub(super) fn text(
        &mut self,
        bytes: &[u8],
        mut at: usize,
        sink: &mut dyn Sink,
    ) -> Result<usize, JsonError> {
        if self.cut_len > 0 {
            self.mend(bytes[at], at, sink)?;
            return Ok(at + 1);
        }
        // Bytes of text whose contents nobody wants.
        let mut passed = 0;
        loop {
            let (len, ascii) = plain_run(&bytes[at..]);
            let end = at + len;
            let stop = bytes.get(end).copied();
            if self.in_key && ascii && self.key_len == 0 && stop == Some(b'"') {
                self.end_key(&bytes[at..end], sink);
                return Ok(end + 1);
            }
            if !ascii {
                self.pass(&mut passed, sink);
                self.run(&bytes[at..end], end == bytes.len(), at, sink)?;
            } else if self.wanted != WantedPart::Text {
                passed += len;
            } else if len > 0 {
                self.emit(&bytes[at..end], sink);
            }
            if let Some(letter) = escaped(bytes.get(end..).unwrap_or_default()) {
                // One escape is usually followed by more.
                at = match self.wanted {
                    _ if self.in_key => end,
                    WantedPart::Text => end + decoded(&bytes[end..], sink),
                    WantedPart::Length | WantedPart::Nothing => {
                        let (len, escapes) = passable(&bytes[end..]);
                        passed += len - escapes;
                        end + len
                    }
                };
                // Less than a block is left: take this escape alone.
                if at == end {
                    match self.wanted {
                        WantedPart::Text => self.emit(&[letter], sink),
                        _ => passed += 1,
                    }
                    at += 2;
                }
                continue;
            }
            self.pass(&mut passed, sink);
            match stop {
                None => return Ok(end),
                Some(b'"') => {
                    self.end_text(end, sink)?;
                    return Ok(end + 1);
                }
                Some(b'\\') => {
                    let Some(next) = self.unicode_escape(bytes, end + 1, sink) else {
                        self.state = State::Escape;
                        return Ok(end + 1);
                    };
                    at = next;
                }
                Some(_) => {
                    return Err(self.malformed(end, "a control character in a string; escape it"));
                }
            }
        }
    }

    /// Reports the length of the text passed so far, if it is wanted. Called before anything that may be an error, so that the
    /// events do not depend on how the bytes were cut.
    fn pass(&self, passed: &mut usize, sink: &mut dyn Sink) {
        let bytes = std::mem::take(passed);
        if bytes > 0 && self.wanted == WantedPart::Length {
            sink.length(bytes as u64);
        }
    }

    /// Decodes `uXXXX` after a backslash if it is complete and a character by itself. Returns where it ends. Everything else is
    /// decoded byte by byte, in `escape`.
    fn unicode_escape(&mut self, bytes: &[u8], at: usize, sink: &mut dyn Sink) -> Option<usize> {
        let [b'u', a, b, c, d, ..] = bytes.get(at..)? else {
            return None;
        };
        let unit = u32::from(hex_digit(*a)?) << 12
            | u32::from(hex_digit(*b)?) << 8
            | u32::from(hex_digit(*c)?) << 4
            | u32::from(hex_digit(*d)?);
        // A surrogate is not a character by itself.
        let decoded = char::from_u32(unit)?;
        self.emit(decoded.encode_utf8(&mut [0; 4]).as_bytes(), sink);
        Some(at + 5)
    }

    /// Passes a run on, except a UTF-8 sequence that the end of the input cuts: that is kept.
    fn run(
        &mut self,
        run: &[u8],
        input_ends: bool,
        at: usize,
        sink: &mut dyn Sink,
    ) -> Result<(), JsonError> {
        let Err(fault) = std::str::from_utf8(run) else {
            self.emit(run, sink);
            return Ok(());
        };
        let (good, rest) = run.split_at(fault.valid_up_to());
        if !good.is_empty() {
            self.emit(good, sink);
        }
        if fault.error_len().is_some() || !input_ends {
            return Err(self.malformed(at + good.len(), "not UTF-8"));
        }
        self.cut[..rest.len()].copy_from_slice(rest);
        self.cut_len = rest.len();
        Ok(())
    }

    /// Adds one byte to the UTF-8 sequence that was cut.
    fn mend(&mut self, byte: u8, at: usize, sink: &mut dyn Sink) -> Result<(), JsonError> {
        // At most three bytes are incomplete, so a fourth always fits.
        let before = self.cut_len;
        self.cut[before] = byte;
        let cut = self.cut;
        let sequence = &cut[..=before];
        self.cut_len = 0;
        match std::str::from_utf8(sequence) {
            Ok(_) => self.emit(sequence, sink),
            Err(fault) if fault.error_len().is_none() => self.cut_len = before + 1,
            Err(_) => {
                return Err(JsonError::Malformed {
                    offset: self.offset + at as u64 - before as u64,
                    what: "not UTF-8",
                });
            }
        }
        Ok(())
    }

    fn emit(&mut self, text: &[u8], sink: &mut dyn Sink) {
        if !self.in_key {
            match self.wanted {
                WantedPart::Text => sink.text(text),
                WantedPart::Length => sink.length(text.len() as u64),
                WantedPart::Nothing => {}
            }
        } else if self.key_len + text.len() <= MAX_KEY {
            self.key[self.key_len..self.key_len + text.len()].copy_from_slice(text);
            self.key_len += text.len();
        } else {
            self.key_len = MAX_KEY + 1;
        }
    }

    fn end_text(&mut self, at: usize, sink: &mut dyn Sink) -> Result<(), JsonError> {
        if self.in_key {
            let key = self.key;
            self.end_key(key.get(..self.key_len).unwrap_or_default(), sink);
            return Ok(());
        }
        if self.wanted != WantedPart::Nothing {
            sink.end_string(self.offset + at as u64 + 1)?;
        }
        self.value_done();
        Ok(())
    }

    fn end_key(&mut self, key: &[u8], sink: &mut dyn Sink) {
        if !self.skips() {
            sink.key(if key.len() <= MAX_KEY { key } else { &[] });
        }
        self.state = State::Colon;
    }

    /// Consumes one byte of an escape, after its backslash.
    pub(super) fn escape(
        &mut self,
        byte: u8,
        at: usize,
        sink: &mut dyn Sink,
    ) -> Result<(), JsonError> {
        self.state = match (self.state, byte) {
            (State::Hex(count, value, high), _) => {
                return self.hex(count, value, high, byte, at, sink);
            }
            (State::Backslash(high), b'\\') => State::LowU(high),
            (State::LowU(high), b'u') => State::Hex(0, 0, Some(high)),
            (State::Backslash(_) | State::LowU(_), _) => {
                return Err(self.malformed(at, "half a surrogate pair"));
            }
            (_, b'u') => State::Hex(0, 0, None),
            _ => {
                let Some(decoded) = short_escape(byte) else {
                    return Err(self.malformed(at, "not an escape sequence"));
                };
                self.emit(&[decoded], sink);
                State::Text
            }
        };
        Ok(())
    }

    fn hex(
        &mut self,
        count: u8,
        value: u16,
        high: Option<u16>,
        byte: u8,
        at: usize,
        sink: &mut dyn Sink,
    ) -> Result<(), JsonError> {
        let Some(digit) = hex_digit(byte) else {
            return Err(self.malformed(at, "expected four hexadecimal digits after `\\u`"));
        };
        let unit = value << 4 | u16::from(digit);
        if count < 3 {
            self.state = State::Hex(count + 1, unit, high);
            return Ok(());
        }
        let code = match (high, unit) {
            (None, 0xD800..0xDC00) => {
                self.state = State::Backslash(unit);
                return Ok(());
            }
            (Some(high), 0xDC00..0xE000) => {
                0x1_0000 + ((u32::from(high) - 0xD800) << 10) + (u32::from(unit) - 0xDC00)
            }
            (None, _) => u32::from(unit),
            // A low surrogate was expected; 0xDC00 is reported as an error below.
            (Some(_), _) => 0xDC00,
        };
        let Some(decoded) = char::from_u32(code) else {
            return Err(self.malformed(at, "half a surrogate pair"));
        };
        self.emit(decoded.encode_utf8(&mut [0; 4]).as_bytes(), sink);
        self.state = State::Text;
        Ok(())
    }
}
