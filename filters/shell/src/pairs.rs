//! Header maps as the host serializes them: a count, that many pairs of lengths, then names and values, each followed by a NUL.
//! Numbers are little-endian `u32`.
//!
//! Invariant: reading never panics; inconsistent bytes read as `None`.

use headgate_core::effects::Name;
use headgate_core::headers::{Headers, Pair};

/// The headers of a map. No bytes are an empty map.
pub(crate) fn read(bytes: Vec<u8>) -> Option<Headers> {
    if bytes.is_empty() {
        return Some(Headers::default());
    }
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    let lengths = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    let lengths = rest.get(..lengths.checked_mul(8)?)?;
    let mut at = u32::try_from(4 + lengths.len()).ok()?;
    let mut place = |len: [u8; 4]| {
        let place = (at, u32::from_le_bytes(len));
        at = at.checked_add(place.1)?.checked_add(1)?;
        Some(place)
    };
    let mut pairs = Vec::with_capacity(lengths.len() / 8);
    for &[a, b, c, d, e, f, g, h] in lengths.as_chunks().0 {
        pairs.push(Pair {
            name: place([a, b, c, d])?,
            value: place([e, f, g, h])?,
        });
    }
    let whole = usize::try_from(at).is_ok_and(|end| end <= bytes.len());
    whole.then(|| Headers::new(bytes, pairs))
}

/// A map in the host's form.
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
    fn written_headers_read_back_in_order_and_with_repeats() {
        let pairs = [("a", "1"), ("x-empty", ""), ("a", "2\0é"), ("", "nameless")];
        let bytes = map(&pairs);
        let read = read(bytes).unwrap();
        let read: Vec<_> = read.iter().collect();
        let expected: Vec<_> = pairs
            .iter()
            .map(|(n, v)| (n.as_bytes(), v.as_bytes()))
            .collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn the_layout_is_that_of_the_host() {
        assert_eq!(
            map(&[("ab", "c")]),
            [1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, b'a', b'b', 0, b'c', 0]
        );
    }

    #[test]
    fn an_empty_map_has_no_headers() {
        assert_eq!(read(Vec::new()).unwrap().iter().count(), 0);
        assert_eq!(read(map(&[])).unwrap().iter().count(), 0);
    }

    #[test]
    fn truncated_bytes_read_as_nothing_and_never_panic() {
        let bytes = map(&[("name", "value"), ("b", "")]);
        for end in 1..bytes.len() {
            assert!(read(bytes[..end].to_vec()).is_none(), "cut at {end}");
        }
    }

    #[test]
    fn absurd_counts_and_lengths_read_as_nothing() {
        assert!(read(vec![255; 4]).is_none());
        assert!(read(vec![1, 0, 0, 0, 255, 255, 255, 255, 1, 0, 0, 0, b'a', 0]).is_none());
        assert!(read(vec![1, 2]).is_none());
    }
}
