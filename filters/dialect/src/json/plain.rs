//! Searches within a string for the end of its plain bytes, a block of bytes at a time.
//!
//! Nearly all bytes of a request are string contents, so these loops decide how fast a body is read. On wasm they use
//! 128-bit vectors, elsewhere a 64-bit word.

use super::Sink;

/// Length of the run before the next `"`, `\` or control character, and whether it is all ASCII.
#[inline]
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
pub(super) fn plain_run(bytes: &[u8]) -> (usize, bool) {
    let mut others = 0;
    let mut at = 0;
    while let Some(block) = bytes[at..].first_chunk::<BLOCK>() {
        let mask = stop_mask(block);
        if mask != 0 {
            let non_ascii = non_ascii_mask(block);
            let stops = mask & !non_ascii;
            if stops != 0 {
                let len = stops.trailing_zeros() / MASK_BITS;
                let before = non_ascii & !(Mask::MAX << (len * MASK_BITS));
                return (at + len as usize, others | before == 0);
            }
            others |= non_ascii;
        }
        // A constant step: the next block need not wait for the result of this one.
        at += BLOCK;
    }
    while let Some(&byte) = bytes.get(at) {
        if byte == b'"' || byte == b'\\' || byte < 0x20 {
            break;
        }
        others |= Mask::from(byte >= 0x80);
        at += 1;
    }
    (at, others == 0)
}

/// Length of the ASCII text at the beginning, short escapes included, and the number of these escapes. It stops at
/// anything else, and less than a block before the end of the input.
#[inline]
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
pub(super) fn passable(bytes: &[u8]) -> (usize, usize) {
    let (mut at, mut escapes) = (0, 0);
    while let Some(block) = bytes[at..].first_chunk::<BLOCK>() {
        let mask = stop_mask(block);
        if mask == 0 {
            at += BLOCK;
            continue;
        }
        at += (mask.trailing_zeros() / MASK_BITS) as usize;
        if escaped(&bytes[at..]).is_none() {
            break;
        }
        at += 2;
        escapes += 1;
    }
    (at, escapes)
}

/// Passes the same text on to the sink, decoded, in pieces of at most `PIECE` bytes. Returns its length as encoded.
#[inline]
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
pub(super) fn decoded(bytes: &[u8], sink: &mut dyn Sink) -> usize {
    let mut text = [0; PIECE];
    let (mut at, mut len) = (0, 0);
    while let Some(block) = bytes[at..].first_chunk::<BLOCK>() {
        let Some(room) = text[len..].first_chunk_mut::<BLOCK>() else {
            sink.text(&text[..len]);
            len = 0;
            continue;
        };
        // Copies the whole block; `len` then says how much of it is text.
        *room = *block;
        let mask = stop_mask(block);
        if mask == 0 {
            at += BLOCK;
            len += BLOCK;
            continue;
        }
        let plain = (mask.trailing_zeros() / MASK_BITS) as usize;
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

/// The character that a short escape at the beginning stands for, if there is one.
pub(super) fn escaped(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [b'\\', letter, ..] => short_escape(*letter),
        _ => None,
    }
}

/// Bytes of decoded text in one piece.
const PIECE: usize = 128;

/// Bytes examined at once. Every Envoy that runs these modules has a V8 with vectors.
#[cfg(target_arch = "wasm32")]
const BLOCK: usize = 16;
#[cfg(not(target_arch = "wasm32"))]
const BLOCK: usize = 8;

/// A mark for each byte of a block; the mark of the first byte is the lowest.
#[cfg(target_arch = "wasm32")]
type Mask = u32;
#[cfg(not(target_arch = "wasm32"))]
type Mask = u64;

/// Bits of the mark of one byte.
const MASK_BITS: u32 = if cfg!(target_arch = "wasm32") { 1 } else { 8 };

/// The mask of the bytes that end a run (exact up to the first of them) or are not ASCII.
#[cfg(target_arch = "wasm32")]
#[inline]
#[target_feature(enable = "simd128")]
fn stop_mask(block: &[u8; BLOCK]) -> Mask {
    use core::arch::wasm32::{
        i8x16_lt, i8x16_splat, u8x16_bitmask, u8x16_eq, u8x16_splat, v128_or as or,
    };
    let bytes = vector(block);
    let quotes = u8x16_eq(bytes, u8x16_splat(b'"'));
    let escapes = u8x16_eq(bytes, u8x16_splat(b'\\'));
    // As signed numbers, bytes that are not ASCII are below 0x20 too.
    let others = i8x16_lt(bytes, i8x16_splat(0x20));
    u8x16_bitmask(or(or(quotes, escapes), others)).into()
}

/// The mask of the bytes that are not ASCII.
#[cfg(target_arch = "wasm32")]
#[inline]
#[target_feature(enable = "simd128")]
fn non_ascii_mask(block: &[u8; BLOCK]) -> Mask {
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

/// The same in a word. (A borrow sets wrong marks only above a right one.)
#[cfg(not(target_arch = "wasm32"))]
fn stop_mask(block: &[u8; BLOCK]) -> Mask {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // Sets the high bit of each byte that is zero.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let word = u64::from_le_bytes(*block);
    let stops = zero(word ^ (ONES * b'"' as u64))
        | zero(word ^ (ONES * b'\\' as u64))
        | (word.wrapping_sub(ONES * 0x20) & !word);
    (stops | word) & HIGH
}

#[cfg(not(target_arch = "wasm32"))]
fn non_ascii_mask(block: &[u8; BLOCK]) -> Mask {
    u64::from_le_bytes(*block) & HIGH
}

#[cfg(not(target_arch = "wasm32"))]
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The character that a one-letter escape stands for.
pub(super) fn short_escape(letter: u8) -> Option<u8> {
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

#[cfg(test)]
mod tests {
    use super::super::{JsonError, Kind, Scalar, Sink, WantedPart};
    use super::{decoded, escaped, passable, plain_run};

    /// Collects text, and nothing else.
    #[derive(Default)]
    struct Texts(Vec<u8>);

    impl Sink for Texts {
        fn open(&mut self, _: Kind, _: u64) -> Result<bool, JsonError> {
            Ok(true)
        }
        fn close(&mut self, _: u64) -> Result<(), JsonError> {
            Ok(())
        }
        fn key(&mut self, _: &[u8]) {}
        fn begin_string(&mut self, _: u64) -> Result<WantedPart, JsonError> {
            Ok(WantedPart::Text)
        }
        fn length(&mut self, _: u64) {}
        fn text(&mut self, text: &[u8]) {
            assert!(!text.is_empty());
            self.0.extend_from_slice(text);
        }
        fn end_string(&mut self, _: u64) -> Result<(), JsonError> {
            Ok(())
        }
        fn scalar(&mut self, _: Scalar, _: u64) -> Result<(), JsonError> {
            Ok(())
        }
    }

    /// The same text, decoded one byte or short escape at a time.
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
    fn large_pieces_equal_single_bytes() {
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
                    // It stops less than a block before the end of the plain text.
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
