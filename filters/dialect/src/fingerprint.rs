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

    /// Appends a token id.
    pub(crate) fn add_id(&mut self, id: u64) {
        self.ids += 1;
        self.mix(&id.to_le_bytes());
    }

    /// UTF-8 bytes of text.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Token ids.
    pub(crate) fn ids(&self) -> u64 {
        self.ids
    }

    fn mix(&mut self, bytes: &[u8]) {
        if self.room > 0 {
            let room = usize::try_from(self.room).unwrap_or(usize::MAX);
            let hashed = &bytes[..bytes.len().min(room)];
            self.hasher.write(hashed);
            self.room -= hashed.len() as u64;
        }
    }

    /// The fingerprint, of the hashed beginning and the whole length; `None` if there is nothing,
    /// or all conversations that begin with nothing would be one.
    pub(crate) fn fingerprint(&self) -> Option<u64> {
        (self.bytes + self.ids > 0).then(|| self.hash())
    }

    fn hash(&self) -> u64 {
        let mut hasher = self.hasher;
        hasher.write(&self.bytes.to_le_bytes());
        hasher.write(&self.ids.to_le_bytes());
        hasher.finish()
    }
}

impl PartialEq for Text {
    /// Equal length and, where both were hashed, equal hash.
    fn eq(&self, other: &Self) -> bool {
        let hash_matters = self.hashed && other.hashed;
        self.bytes == other.bytes
            && self.ids == other.ids
            && (!hash_matters || self.hash() == other.hash())
    }
}
