//! The conversation fingerprint: a streaming hash of a message's text.
//!
//! Clients resend the whole conversation each turn, so the hash of the first user message is the
//! same on every turn and needs nothing from the client. It must be equal on every proxy and after
//! every restart, hence a fixed key; it protects nothing, so the key is no secret.

use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// Key of the SipHash-1-3: the bytes of `headgate` and `sessions`, little-endian. Changing it moves
/// every session once.
const KEY: (u64, u64) = (
    u64::from_le_bytes(*b"headgate"),
    u64::from_le_bytes(*b"sessions"),
);

/// Text or token ids seen so far: how much it is, and the hash of its beginning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text {
    bytes: u64,
    ids: u64,
    hashed: bool,
    /// How many more bytes are hashed.
    room: u64,
    hasher: SipHasher13,
}

/// A text that ended: how much it was, and its hash, if it was hashed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Digest {
    pub(crate) bytes: u64,
    pub(crate) ids: u64,
    hash: Option<u64>,
    /// It has a hash although it has no text: that of its media.
    media: bool,
}

impl Digest {
    /// Whether there is neither text nor an id.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes + self.ids == 0
    }

    /// The digest of a content that has no text, from the digest of its media: URLs, ids and data are no text of the prompt.
    pub(crate) fn of_media(self) -> Self {
        Self {
            bytes: 0,
            ids: 0,
            hash: self.hash,
            media: !self.is_empty(),
        }
    }

    /// The fingerprint; `None` if there is nothing, or all conversations that begin with nothing
    /// would be one.
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
    /// Empty text of which the first `room` bytes will be hashed.
    pub(crate) fn new(room: u64) -> Self {
        Self {
            bytes: 0,
            ids: 0,
            hashed: room > 0,
            room,
            hasher: SipHasher13::new_with_keys(KEY.0, KEY.1),
        }
    }

    /// Appends decoded text.
    pub(crate) fn add(&mut self, text: &[u8]) {
        self.bytes += text.len() as u64;
        self.mix(text);
    }

    /// Whether text is still hashed.
    pub(crate) fn hashes(&self) -> bool {
        self.room > 0
    }

    /// Appends text that is not hashed any more.
    pub(crate) fn pass(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Appends a token id.
    pub(crate) fn add_id(&mut self, id: u64) {
        self.ids += 1;
        self.mix(&id.to_le_bytes());
    }

    /// Starts anew, with `room` bytes to be hashed. (In place: the hasher is large to copy.)
    pub(crate) fn restart(&mut self, room: u64) {
        self.bytes = 0;
        self.ids = 0;
        self.hashed = room > 0;
        self.room = room;
        if self.hashed {
            self.hasher = SipHasher13::new_with_keys(KEY.0, KEY.1);
        }
    }

    fn mix(&mut self, bytes: &[u8]) {
        if self.hashes() {
            let room = usize::try_from(self.room).unwrap_or(usize::MAX);
            let hashed = &bytes[..bytes.len().min(room)];
            self.hasher.write(hashed);
            self.room -= hashed.len() as u64;
        }
    }

    /// What it comes to: its length, and the hash of its beginning and its length.
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
