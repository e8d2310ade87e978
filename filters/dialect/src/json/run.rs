//! Strings: runs of plain bytes, escapes, and UTF-8 that a push has cut.
//!
//! Nearly all bytes of a request are string contents, so the search for the end of a run looks at
//! a block of bytes at a time. A run is validated as UTF-8 only if it has a byte outside ASCII.

use super::{Json, JsonError, KEY_ROOM, Sink, State, Want};

/// Length of the run before the next `"`, `\` or control character, and whether it is all ASCII.
#[inline]
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
fn plain_run(bytes: &[u8]) -> (usize, bool) {
    let mut others = 0;
    let mut at = 0;
    while let Some(block) = bytes[at..].first_chunk::<BLOCK>() {
        let marked = marks(block);
        if marked != 0 {
            let beyond = beyond(block);
            let stops = marked & !beyond;
            if stops != 0 {
                let len = stops.trailing_zeros() / MARK;
                let before = beyond & !(Marks::MAX << (len * MARK));
                return (at + len as usize, others | before == 0);
            }
            others |= beyond;
        }
        // A step that does not depend on what was found, so that the next block need not wait for it.
        at += BLOCK;
    }
    while let Some(&byte) = bytes.get(at) {
        if byte == b'"' || byte == b'\\' || byte < 0x20 {
            break;
        }
        others |= Marks::from(byte >= 0x80);
        at += 1;
    }
    (at, others == 0)
}

/// Length of the ASCII at the beginning, with the short escapes in it, and how many these are. What is left is short, or
/// not so plain.
#[inline]
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
fn passable(bytes: &[u8]) -> (usize, usize) {
    let (mut at, mut escapes) = (0, 0);
    while let Some(block) = bytes[at..].first_chunk::<BLOCK>() {
        let marks = marks(block);
        if marks == 0 {
            at += BLOCK;
            continue;
        }
        at += (marks.trailing_zeros() / MARK) as usize;
        if escaped(&bytes[at..]).is_none() {
            break;
        }
        at += 2;
        escapes += 1;
    }
    (at, escapes)
}

/// Hands on the same, decoded, in pieces of some size; answers how long it is.
#[inline]
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
fn decoded<S: Sink>(bytes: &[u8], sink: &mut S) -> usize {
    let mut text = [0; PIECE];
    let (mut at, mut len) = (0, 0);
    while let Some(block) = bytes[at..].first_chunk::<BLOCK>() {
        let Some(room) = text[len..].first_chunk_mut::<BLOCK>() else {
            sink.text(&text[..len]);
            len = 0;
            continue;
        };
        // All of it, though not all may be text.
        *room = *block;
        let marks = marks(block);
        if marks == 0 {
            at += BLOCK;
            len += BLOCK;
            continue;
        }
        let plain = (marks.trailing_zeros() / MARK) as usize;
        at += plain;
        len += plain;
        let Some(letter) = escaped(&bytes[at..]) else {
            break;
        };
        text[len] = letter;
        at += 2;
        len += 1;
    }
    if len > 0 {
        sink.text(&text[..len]);
    }
    at
}

/// What the short escape at the beginning stands for, if there is one.
fn escaped(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [b'\\', letter, ..] => short_escape(*letter),
        _ => None,
    }
}

/// Bytes of text handed on at once.
const PIECE: usize = 128;

/// Bytes looked at at once, in vectors: the V8 of every Envoy that runs our modules has them.
#[cfg(target_arch = "wasm32")]
const BLOCK: usize = 16;
#[cfg(not(target_arch = "wasm32"))]
const BLOCK: usize = 8;

/// Marks on the bytes of a block, the first byte's lowest.
#[cfg(target_arch = "wasm32")]
type Marks = u32;
#[cfg(not(target_arch = "wasm32"))]
type Marks = u64;

/// Bits of a mark.
const MARK: u32 = if cfg!(target_arch = "wasm32") { 1 } else { 8 };

/// Marks on what ends a run, right up to the first, and on what is no ASCII.
#[cfg(target_arch = "wasm32")]
#[inline]
#[target_feature(enable = "simd128")]
fn marks(block: &[u8; BLOCK]) -> Marks {
    use core::arch::wasm32::{
        i8x16_lt, i8x16_splat, u8x16_bitmask, u8x16_eq, u8x16_splat, v128_or as or,
    };
    let bytes = vector(block);
    let quotes = u8x16_eq(bytes, u8x16_splat(b'"'));
    let escapes = u8x16_eq(bytes, u8x16_splat(b'\\'));
    // With a sign, what is no ASCII is below it too.
    let others = i8x16_lt(bytes, i8x16_splat(0x20));
    u8x16_bitmask(or(or(quotes, escapes), others)).into()
}

/// Marks on what is no ASCII.
#[cfg(target_arch = "wasm32")]
#[inline]
#[target_feature(enable = "simd128")]
fn beyond(block: &[u8; BLOCK]) -> Marks {
    core::arch::wasm32::u8x16_bitmask(vector(block)).into()
}

#[cfg(target_arch = "wasm32")]
#[inline]
#[target_feature(enable = "simd128")]
fn vector(block: &[u8; BLOCK]) -> core::arch::wasm32::v128 {
    let word = |at: usize| {
        let word = block[at..].first_chunk();
        word.map_or(0, |word| u64::from_le_bytes(*word))
    };
    core::arch::wasm32::u64x2(word(0), word(8))
}

/// The same in a word. (A borrow marks only bytes above a right mark.)
#[cfg(not(target_arch = "wasm32"))]
fn marks(block: &[u8; BLOCK]) -> Marks {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // Bytes that are zero have their high bit set in the answer.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let word = u64::from_le_bytes(*block);
    let stops = zero(word ^ (ONES * b'"' as u64))
        | zero(word ^ (ONES * b'\\' as u64))
        | (word.wrapping_sub(ONES * 0x20) & !word);
    (stops | word) & HIGH
}

#[cfg(not(target_arch = "wasm32"))]
fn beyond(block: &[u8; BLOCK]) -> Marks {
    u64::from_le_bytes(*block) & HIGH
}

#[cfg(not(target_arch = "wasm32"))]
const HIGH: u64 = 0x8080_8080_8080_8080;

/// What a one-letter escape stands for.
fn short_escape(letter: u8) -> Option<u8> {
    match letter {
        b'"' | b'\\' | b'/' => Some(letter),
        b'b' => Some(8),
        b'f' => Some(12),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        _ => None,
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

impl Json {
    /// Consumes string contents from `at`; answers where to go on. (With vectors, or the search would be a call for each run.)
    #[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
    pub(super) fn text<S: Sink>(
        &mut self,
        bytes: &[u8],
        mut at: usize,
        sink: &mut S,
    ) -> Result<usize, S::Error> {
        if self.cut_len > 0 {
            self.mend(bytes[at], at, sink)?;
            return Ok(at + 1);
        }
        // What has been passed and only counts.
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
            } else if self.wanted != Want::Text {
                passed += len;
            } else if len > 0 {
                self.emit(&bytes[at..end], sink);
            }
            if let Some(letter) = escaped(bytes.get(end..).unwrap_or_default()) {
                // Where there is one, there are more.
                at = match self.wanted {
                    _ if self.in_key => end,
                    Want::Text => end + decoded(&bytes[end..], sink),
                    Want::Length | Want::Nothing => {
                        let (len, escapes) = passable(&bytes[end..]);
                        passed += len - escapes;
                        end + len
                    }
                };
                // None of them if the input ends soon.
                if at == end {
                    match self.wanted {
                        Want::Text => self.emit(&[letter], sink),
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
                    self.end_text(sink)?;
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

    /// Tells the length of what was passed, if it is wanted: before anything that may be wrong, however the bytes are cut.
    fn pass<S: Sink>(&self, passed: &mut usize, sink: &mut S) {
        let bytes = std::mem::take(passed);
        if bytes > 0 && self.wanted == Want::Length {
            sink.length(bytes as u64);
        }
    }

    /// Decodes `uXXXX` behind a backslash if all of it is here and it is a character; answers where it ends. Anything else goes
    /// the long way, byte by byte.
    fn unicode_escape<S: Sink>(&mut self, bytes: &[u8], at: usize, sink: &mut S) -> Option<usize> {
        let [b'u', a, b, c, d, ..] = bytes.get(at..)? else {
            return None;
        };
        let unit = u32::from(hex_digit(*a)?) << 12
            | u32::from(hex_digit(*b)?) << 8
            | u32::from(hex_digit(*c)?) << 4
            | u32::from(hex_digit(*d)?);
        // Surrogates are no characters.
        let decoded = char::from_u32(unit)?;
        self.emit(decoded.encode_utf8(&mut [0; 4]).as_bytes(), sink);
        Some(at + 5)
    }

    /// Hands on a run, keeping a sequence that the end of the input cut.
    fn run<S: Sink>(
        &mut self,
        run: &[u8],
        input_ends: bool,
        at: usize,
        sink: &mut S,
    ) -> Result<(), S::Error> {
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

    /// Adds one byte to the cut sequence.
    fn mend<S: Sink>(&mut self, byte: u8, at: usize, sink: &mut S) -> Result<(), S::Error> {
        // At most three bytes are ever incomplete, so the fourth has room.
        let before = self.cut_len;
        self.cut[before] = byte;
        let cut = self.cut;
        let sequence = &cut[..=before];
        self.cut_len = 0;
        match std::str::from_utf8(sequence) {
            Ok(_) => self.emit(sequence, sink),
            Err(fault) if fault.error_len().is_none() => self.cut_len = before + 1,
            Err(_) => {
                return Err(S::Error::from(JsonError::Malformed {
                    offset: self.offset + at as u64 - before as u64,
                    what: "not UTF-8",
                }));
            }
        }
        Ok(())
    }

    fn emit<S: Sink>(&mut self, text: &[u8], sink: &mut S) {
        if !self.in_key {
            match self.wanted {
                Want::Text => sink.text(text),
                Want::Length => sink.length(text.len() as u64),
                Want::Nothing => {}
            }
        } else if self.key_len + text.len() <= KEY_ROOM {
            self.key[self.key_len..self.key_len + text.len()].copy_from_slice(text);
            self.key_len += text.len();
        } else {
            self.key_len = KEY_ROOM + 1;
        }
    }

    fn end_text<S: Sink>(&mut self, sink: &mut S) -> Result<(), S::Error> {
        if self.in_key {
            let key = self.key;
            self.end_key(key.get(..self.key_len).unwrap_or_default(), sink);
            return Ok(());
        }
        sink.end_string()?;
        self.value_done();
        Ok(())
    }

    fn end_key<S: Sink>(&mut self, key: &[u8], sink: &mut S) {
        sink.key(if key.len() <= KEY_ROOM { key } else { &[] });
        self.state = State::Colon;
    }

    /// One byte of an escape, the backslash before it consumed.
    pub(super) fn escape<S: Sink>(
        &mut self,
        byte: u8,
        at: usize,
        sink: &mut S,
    ) -> Result<(), S::Error> {
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

    fn hex<S: Sink>(
        &mut self,
        count: u8,
        value: u16,
        high: Option<u16>,
        byte: u8,
        at: usize,
        sink: &mut S,
    ) -> Result<(), S::Error> {
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
            // A low surrogate was due; reported as one below.
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

#[cfg(test)]
mod tests {
    use super::super::{JsonError, Kind, Scalar, Sink, Want};
    use super::{decoded, escaped, passable, plain_run};

    /// Takes text alone.
    #[derive(Default)]
    struct Texts(Vec<u8>);

    impl Sink for Texts {
        type Error = JsonError;
        fn open(&mut self, _: Kind, _: u64) -> Result<(), JsonError> {
            Ok(())
        }
        fn close(&mut self, _: u64) -> Result<(), JsonError> {
            Ok(())
        }
        fn key(&mut self, _: &[u8]) {}
        fn begin_string(&mut self) -> Result<Want, JsonError> {
            Ok(Want::Text)
        }
        fn length(&mut self, _: u64) {}
        fn text(&mut self, text: &[u8]) {
            assert!(!text.is_empty());
            self.0.extend_from_slice(text);
        }
        fn end_string(&mut self) -> Result<(), JsonError> {
            Ok(())
        }
        fn scalar(&mut self, _: Scalar, _: u64) -> Result<(), JsonError> {
            Ok(())
        }
    }

    /// One byte or short escape after another, as far as they go.
    fn one_by_one(bytes: &[u8], end: usize) -> (Vec<u8>, usize) {
        let (mut text, mut escapes, mut at) = (Vec::new(), 0, 0);
        while at < end {
            if let Some(letter) = escaped(&bytes[at..]) {
                text.push(letter);
                escapes += 1;
                at += 2;
            } else {
                assert!(bytes[at].is_ascii() && !matches!(bytes[at], 0..0x20 | b'"' | b'\\'));
                text.push(bytes[at]);
                at += 1;
            }
        }
        assert_eq!(at, end, "an escape is never cut");
        (text, escapes)
    }

    #[test]
    fn large_pieces_are_what_one_byte_after_another_would_be() {
        let ends: [&[u8]; 6] = [b"\"", b"\\u00e9", b"\x1f", "é".as_bytes(), b"\\", b""];
        for len in 0..300 {
            for every in [1, 2, 3, 7, 16, 55, 400] {
                let mut bytes = Vec::new();
                for (i, letter) in b"nt\"\\/bfr".iter().cycle().take(len).enumerate() {
                    match i % every {
                        0 => bytes.extend([b'\\', *letter]),
                        _ => bytes.push(b'a' + (i % 26) as u8),
                    }
                }
                let plain = bytes.len();
                for end in ends {
                    bytes.truncate(plain);
                    bytes.extend_from_slice(end);
                    let mut sink = Texts::default();
                    let at = decoded(&bytes, &mut sink);
                    let (text, escapes) = one_by_one(&bytes, at);
                    assert_eq!(sink.0, text, "{bytes:?}");
                    assert_eq!(passable(&bytes), (at, escapes), "{bytes:?}");
                    // All there is, but for less than a block.
                    assert!(
                        at <= plain && at + 17 > plain.min(bytes.len() - end.len().min(1)),
                        "{at} of {plain}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_run_ends_at_the_first_byte_that_is_not_plain_wherever_it_lies() {
        for len in 0..72 {
            for (stop, ascii) in [(b'"', true), (b'\\', true), (0x1F, true), (0, false)] {
                for before in [b'a', 0x20, 0x21, 0x23, 0x5B, 0x5D, 0x7F] {
                    let mut bytes = vec![before; len];
                    if !ascii && len > 0 {
                        bytes[len / 2] = 0xFF;
                    }
                    let plain = ascii || len == 0;
                    assert_eq!(plain_run(&bytes), (len, plain));
                    bytes.push(stop);
                    bytes.extend([0x80, b'"', 0xFF, 0, b'x', b'x', b'x', b'x']);
                    assert_eq!(plain_run(&bytes), (len, plain), "{bytes:?}");
                }
            }
        }
    }
}
