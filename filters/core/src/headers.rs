//! A borrowed view of a header map, as the host hands it over in one call.
//!
//! Names are compared as they are: HTTP/2 and Envoy write them in lower case. A request that has to
//! wait for its body keeps a [`HeaderStore`], since the host's bytes are gone by then.

/// Names and values in their order; a name may appear more than once.
#[derive(Debug, Clone, Default)]
pub struct Headers<'a> {
    pairs: Vec<(&'a [u8], &'a [u8])>,
    /// A bit for each length and last byte that a name has: most names that are asked for are not there, and are
    /// not searched for.
    names: u64,
    /// The same of what is there more than once, as far as the bits can tell.
    repeated: u64,
}

fn name_bit(name: &[u8]) -> u64 {
    let last = name.last().map_or(0, |last| usize::from(*last));
    1 << ((name.len() + 7 * last) % 64)
}

impl<'a> Headers<'a> {
    /// A view over pairs.
    #[must_use]
    pub fn new(pairs: Vec<(&'a [u8], &'a [u8])>) -> Self {
        let (mut names, mut repeated) = (0, 0);
        for (name, _) in &pairs {
            let bit = name_bit(name);
            repeated |= names & bit;
            names |= bit;
        }
        Self {
            pairs,
            names,
            repeated,
        }
    }

    /// A view over text pairs.
    #[must_use]
    pub fn from_pairs(pairs: &[(&'a str, &'a str)]) -> Self {
        let bytes = |(name, value): &(&'a str, &'a str)| (name.as_bytes(), value.as_bytes());
        Self::new(pairs.iter().map(bytes).collect())
    }

    /// Whether there is no header at all: a host that could not show them, for every request has some.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The first value of a header.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// The first value of a header, if it is UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(|v| std::str::from_utf8(v).ok())
    }

    /// Every value of a header, in order.
    #[must_use]
    pub fn get_all<'s>(&'s self, name: &'s str) -> Values<'s, 'a> {
        let name = name.as_bytes();
        let bit = name_bit(name);
        let pairs = match self.names & bit {
            0 => &[],
            _ => &self.pairs[..],
        };
        Values {
            pairs: pairs.iter(),
            name,
            once: self.repeated & bit == 0,
        }
    }

    /// Every name and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + '_ {
        self.pairs.iter().copied()
    }
}

/// The values of one header.
#[derive(Debug, Clone)]
pub struct Values<'s, 'a> {
    pairs: std::slice::Iter<'s, (&'a [u8], &'a [u8])>,
    name: &'s [u8],
    /// There is no second one.
    once: bool,
}

impl<'a> Iterator for Values<'_, 'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        for (name, value) in self.pairs.by_ref() {
            if name.len() == self.name.len() && *name == self.name {
                if self.once {
                    self.pairs = [].iter();
                }
                return Some(value);
            }
        }
        None
    }
}

/// Headers kept while a request waits for its body: one buffer, and where each piece ends.
#[derive(Debug, Clone, Default)]
pub struct HeaderStore {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl HeaderStore {
    /// Copies a view.
    #[must_use]
    pub fn keep(headers: &Headers<'_>) -> Self {
        let bytes = headers.iter().map(|(n, v)| n.len() + v.len()).sum();
        let mut store = Self {
            bytes: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(2 * headers.pairs.len()),
        };
        for (name, value) in headers.iter() {
            for piece in [name, value] {
                store.bytes.extend_from_slice(piece);
                store.ends.push(store.bytes.len());
            }
        }
        store
    }

    /// The view again.
    #[must_use]
    pub fn view(&self) -> Headers<'_> {
        let mut start = 0;
        let mut pieces = self.ends.iter().map(|&end| {
            let piece = &self.bytes[start..end];
            start = end;
            piece
        });
        let mut pairs = Vec::with_capacity(self.ends.len() / 2);
        while let (Some(name), Some(value)) = (pieces.next(), pieces.next()) {
            pairs.push((name, value));
        }
        Headers::new(pairs)
    }
}
