//! The encoding of numbers in shared values.

/// Length of a number, in bytes.
pub(super) const WORD: usize = 8;

/// The first eight bytes, little-endian; zero if there are fewer.
pub(super) fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |b| u64::from_le_bytes(*b))
}
