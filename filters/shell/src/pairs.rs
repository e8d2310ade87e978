//! Header maps as the host serialises them: a count, that many pairs of lengths, then names and values, each
//! with a NUL behind it; numbers are little-endian `u32`.
//!
//! Invariant: reading borrows and never panics; bytes that do not add up read as `None`.

use headgate_core::effects::Name;
use headgate_core::headers::Headers;

/// A view of a map; the host's empty answer is an empty map.
pub(crate) fn read(bytes: &[u8]) -> Option<Headers<'_>> {
    if bytes.is_empty() {
        return Some(Headers::default());
    }
    let (count, rest) = number(bytes)?;
    let lengths_size = count.checked_mul(8)?;
    let (mut lengths, mut texts) = rest.split_at_checked(lengths_size)?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let (name_len, after) = number(lengths)?;
        let (value_len, after) = number(after)?;
        lengths = after;
        let (name, after) = text(texts, name_len)?;
        let (value, after) = text(after, value_len)?;
        texts = after;
        pairs.push((name, value));
    }
    Some(Headers::new(pairs))
}

/// A map for the host.
pub(crate) fn write(headers: &[(Name, String)]) -> Vec<u8> {
    let texts: usize = headers.iter().map(|(n, v)| n.len() + v.len() + 10).sum();
    let mut bytes = Vec::with_capacity(4 + texts);
    let mut push = |n: usize| {
        let n = u32::try_from(n).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&n.to_le_bytes());
    };
    push(headers.len());
    for (name, value) in headers {
        push(name.len());
        push(value.len());
    }
    for (name, value) in headers {
        for text in [name.as_bytes(), value.as_bytes()] {
            bytes.extend_from_slice(text);
            bytes.push(0);
        }
    }
    bytes
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*first)).ok()?, rest))
}

fn text(bytes: &[u8], len: usize) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(len)?;
    Some((text, rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &str)]) -> Vec<u8> {
        let owned: Vec<(Name, String)> = pairs
            .iter()
            .map(|(name, value)| (Name::Borrowed(*name), (*value).to_owned()))
            .collect();
        write(&owned)
    }

    #[test]
    fn what_is_written_reads_back_in_its_order_and_with_repeats() {
        let pairs = [("a", "1"), ("x-empty", ""), ("a", "2\0é"), ("", "nameless")];
        let bytes = map(&pairs);
        let read: Vec<_> = read(&bytes).unwrap().iter().collect();
        let expected: Vec<_> = pairs
            .iter()
            .map(|(n, v)| (n.as_bytes(), v.as_bytes()))
            .collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn the_layout_is_the_hosts() {
        assert_eq!(
            map(&[("ab", "c")]),
            [1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, b'a', b'b', 0, b'c', 0]
        );
    }

    #[test]
    fn no_answer_is_no_header() {
        assert_eq!(read(&[]).unwrap().iter().count(), 0);
        assert_eq!(read(&map(&[])).unwrap().iter().count(), 0);
    }

    #[test]
    fn bytes_cut_anywhere_read_as_nothing_and_never_panic() {
        let bytes = map(&[("name", "value"), ("b", "")]);
        for end in 1..bytes.len() {
            assert!(read(&bytes[..end]).is_none(), "cut at {end}");
        }
    }

    #[test]
    fn absurd_counts_and_lengths_read_as_nothing() {
        assert!(read(&[255; 4]).is_none());
        assert!(read(&[1, 0, 0, 0, 255, 255, 255, 255, 1, 0, 0, 0, b'a', 0]).is_none());
        assert!(read(&[1, 2]).is_none());
    }
}
