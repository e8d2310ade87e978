//! The conversation fingerprint: a streaming hash of a message's text.
//!
//! Clients send the whole conversation in each turn, so the hash of the first user message stays the same and needs nothing
//! from the client. It must be equal on every proxy and after every restart, hence the fixed key. It protects nothing, so
//! the key need not be secret.

use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// Key of the SipHash-1-3: the bytes of `headgate` and `sessions`, little-endian. A change moves every session once.
const KEY: (u64, u64) = (
    u64::from_le_bytes(*b"headgate"),
    u64::from_le_bytes(*b"sessions"),
);

/// Text or token ids read so far: their amount, and the hash of their beginning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text {
    bytes: u64,
    ids: u64,
    hashed: bool,
    /// The number of further bytes that are hashed.
    left: u64,
    hasher: SipHasher13,
}

/// A complete text: its amount, and its hash if it was hashed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Digest {
    pub(crate) bytes: u64,
    pub(crate) ids: u64,
    hash: Option<u64>,
    /// It has no text, and the hash is that of its media.
    media: bool,
}

impl Digest {
    /// Whether there is neither text nor an id.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes + self.ids == 0
    }

    /// The digest of a content without text, made from the digest of its media. URLs, ids and data are not text of the
    /// prompt.
    pub(crate) fn of_media(self) -> Self {
        Self {
            bytes: 0,
            ids: 0,
            hash: self.hash,
            media: !self.is_empty(),
        }
    }

    /// The fingerprint; `None` if it is empty, or all conversations that begin with an empty text would be one.
    pub(crate) fn fingerprint(&self) -> Option<u64> {
        self.hash.filter(|_| self.media || !self.is_empty())
    }
}

impl PartialEq for Digest {
    /// Equal length and, where both were hashed, equal hash.
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
            && self.ids == other.ids
            && self.media == other.media
            && (self.hash.is_none() || other.hash.is_none() || self.hash == other.hash)
    }
}

impl Text {
    /// An empty text. Its first `hashed` bytes will be hashed.
    pub(crate) fn new(hashed: u64) -> Self {
        Self {
            bytes: 0,
            ids: 0,
            hashed: hashed > 0,
            left: hashed,
            hasher: SipHasher13::new_with_keys(KEY.0, KEY.1),
        }
    }

    /// Appends decoded text.
    pub(crate) fn add(&mut self, text: &[u8]) {
        self.bytes += text.len() as u64;
        self.mix(text);
    }

    /// Whether the next text is hashed.
    pub(crate) fn hashes(&self) -> bool {
        self.left > 0
    }

    /// Appends text that is not hashed.
    pub(crate) fn pass(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Appends a token id.
    pub(crate) fn add_id(&mut self, id: u64) {
        self.ids += 1;
        self.mix(&id.to_le_bytes());
    }

    /// Starts again, as [`Text::new`] does. (In place, because the hasher is large.)
    pub(crate) fn restart(&mut self, hashed: u64) {
        self.bytes = 0;
        self.ids = 0;
        self.hashed = hashed > 0;
        self.left = hashed;
        if self.hashed {
            self.hasher = SipHasher13::new_with_keys(KEY.0, KEY.1);
        }
    }

    fn mix(&mut self, bytes: &[u8]) {
        if self.hashes() {
            let left = usize::try_from(self.left).unwrap_or(usize::MAX);
            let hashed = &bytes[..bytes.len().min(left)];
            self.hasher.write(hashed);
            self.left -= hashed.len() as u64;
        }
    }

    /// The digest: the amount, and the hash of the beginning and the amount.
    pub(crate) fn digest(&self) -> Digest {
        Digest {
            bytes: self.bytes,
            ids: self.ids,
            hash: self.hashed.then(|| self.hash()),
            media: false,
        }
    }

    fn hash(&self) -> u64 {
        let mut hasher = self.hasher;
        hasher.write(&self.bytes.to_le_bytes());
        hasher.write(&self.ids.to_le_bytes());
        hasher.finish()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}
