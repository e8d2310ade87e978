//! The headers of a message, as the host returns them in one call: its bytes, and the place of each name and value in them. A
//! request that waits for its body keeps them as they are.
//!
//! Names are compared as they are: HTTP/2 and Envoy write them in lower case.

/// Names and values in their order; a name may appear more than once.
#[derive(Debug, Clone)]
pub struct Headers {
    bytes: Vec<u8>,
    pairs: Vec<Pair>,
    /// For each class of names, how many pairs there are up to the first of the class; 0 if there is none. Most names that
    /// are asked for are not there, and of those that are, most are alone in their class.
    first: [u8; CLASSES],
    /// The classes with more than one pair, a bit each.
    more: u64,
    /// Bytes of all names and values.
    size: u32,
}

/// Where a name and its value stand in the bytes. What lies outside of them reads as empty.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    /// Where the name begins, and its length.
    pub name: (u32, u32),
    /// Where the value begins, and its length.
    pub value: (u32, u32),
}

/// Classes of names.
const CLASSES: usize = 64;

/// The class of a name: by its length and its last byte, in which the usual ones differ.
fn class(name: &[u8]) -> usize {
    let last = name.last().map_or(0, |last| usize::from(*last));
    (name.len() + 7 * last) % CLASSES
}

fn part(bytes: &[u8], (start, len): (u32, u32)) -> &[u8] {
    let start = start as usize;
    let end = start.saturating_add(len as usize);
    bytes.get(start..end).unwrap_or_default()
}

impl Default for Headers {
    fn default() -> Self {
        Self::new(Vec::new(), Vec::new())
    }
}

impl Headers {
    /// The headers that stand in these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>, pairs: Vec<Pair>) -> Self {
        let (mut first, mut more, mut size) = ([0; CLASSES], 0, 0_u32);
        for (i, pair) in pairs.iter().enumerate() {
            size = size
                .saturating_add(pair.name.1)
                .saturating_add(pair.value.1);
            let class = class(part(&bytes, pair.name));
            let (known, count) = (first[class] > 0, u8::try_from(i + 1));
            if known || count.is_err() {
                more |= 1 << class;
            }
            if !known {
                first[class] = count.unwrap_or(u8::MAX);
            }
        }
        Self {
            bytes,
            pairs,
            first,
            more,
            size,
        }
    }

    /// Headers of these names and values.
    #[must_use]
    pub fn from_pairs(headers: &[(&str, &str)]) -> Self {
        let mut bytes = Vec::new();
        let mut push = |text: &str| {
            let at = |n| u32::try_from(n).unwrap_or(u32::MAX);
            let place = (at(bytes.len()), at(text.len()));
            bytes.extend_from_slice(text.as_bytes());
            place
        };
        let pairs = headers
            .iter()
            .map(|(name, value)| Pair {
                name: push(name),
                value: push(value),
            })
            .collect();
        Self::new(bytes, pairs)
    }

    /// Whether there is no header at all: a host that could not show them, for every request has some.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Bytes of all names and values.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// The first value of a header.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        match self.first[class(name.as_bytes())] {
            0 => None,
            _ => self.get_all(name).next(),
        }
    }

    /// The first value of a header, if it is UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|v| std::str::from_utf8(v).ok())
    }

    /// Every value of a header, in order.
    #[must_use]
    pub fn get_all<'n>(&self, name: &'n str) -> Values<'_, 'n> {
        let name = name.as_bytes();
        let class = class(name);
        let count = usize::from(self.first[class]);
        let end = match self.more >> class & 1 {
            0 => count,
            _ => self.pairs.len(),
        };
        Values {
            bytes: &self.bytes,
            pairs: self.pairs[count.saturating_sub(1)..end].iter(),
            name,
        }
    }

    /// Every name and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let part = |place| part(&self.bytes, place);
        self.pairs
            .iter()
            .map(move |pair| (part(pair.name), part(pair.value)))
    }

    /// `content-length`, in bytes.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.text("content-length")?.parse().ok()
    }

    /// Whether the body behind these headers, or its length, is covered by a digest or a signature, and so should stay as it is.
    pub(crate) fn signed(&self) -> bool {
        self.signature().is_some() || self.digests().next().is_some()
    }

    /// The header with a signature of the body, which an amended body would break.
    pub(crate) fn signature(&self) -> Option<&'static str> {
        /// A presigned URL.
        const QUERY: &[u8] = b"X-Amz-Signature=";
        const SIGNATURES: [&str; 4] = [
            "signature-input",
            "x-amz-content-sha256",
            "x-hub-signature-256",
            "x-signature",
        ];
        let path = self.get(":path").unwrap_or_default();
        let authorization = self.get("authorization").unwrap_or_default();
        if authorization.starts_with(b"AWS4-") {
            return Some("authorization");
        }
        if path.windows(QUERY.len()).any(|at| at == QUERY) {
            return Some(":path");
        }
        SIGNATURES.into_iter().find(|name| self.get(name).is_some())
    }

    /// The headers with a digest of the body.
    pub(crate) fn digests(&self) -> impl Iterator<Item = &'static str> {
        const DIGESTS: [&str; 4] = ["content-digest", "digest", "content-md5", "repr-digest"];
        DIGESTS.into_iter().filter(|name| self.get(name).is_some())
    }

    /// Whether the body behind these headers is compressed, or encoded otherwise.
    pub(crate) fn encoded(&self) -> bool {
        self.get_all("content-encoding").any(|value| {
            let value = value.trim_ascii();
            !value.is_empty() && !value.eq_ignore_ascii_case(b"identity")
        })
    }
}

/// The values of one header.
#[derive(Debug, Clone)]
pub struct Values<'h, 'n> {
    bytes: &'h [u8],
    pairs: std::slice::Iter<'h, Pair>,
    name: &'n [u8],
}

impl<'h> Iterator for Values<'h, '_> {
    type Item = &'h [u8];

    fn next(&mut self) -> Option<&'h [u8]> {
        let (bytes, wanted) = (self.bytes, self.name);
        let found = self.pairs.find(|pair| part(bytes, pair.name) == wanted)?;
        Some(part(bytes, found.value))
    }
}
