//! The identity of a bucket within its rule: a keyed hash of the values of its key.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::FORMAT;
use crate::ports::{Cells, Entropy};

/// Keyed hash of the values that identify a bucket within its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(pub(super) u64);

impl Fingerprint {
    /// The hash, which a table stores beside the cell.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

/// The key of the fingerprint hash, drawn once per process so that clients cannot aim at a set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(u64, u64);

impl Seed {
    /// Reads the seed; draws and stores one if there is none. Of several VMs that do so at once, one wins
    /// and the others read what it stored.
    pub(super) fn load<C: Cells + ?Sized>(cells: &C, entropy: &dyn Entropy) -> Option<Self> {
        let key = format!("{FORMAT}/seed");
        let stored = || {
            let (bytes, _) = cells.get(&key)?;
            let (a, b) = bytes.split_at_checked(8)?;
            Some(Self(
                u64::from_le_bytes(a.try_into().ok()?),
                u64::from_le_bytes(b.try_into().ok()?),
            ))
        };
        stored().or_else(|| {
            let bytes = [entropy.next().to_le_bytes(), entropy.next().to_le_bytes()].concat();
            // The seed is the one that is stored now, whichever VM wrote it.
            let _ = cells.swap(&key, &bytes, None);
            stored()
        })
    }
}

/// A key that is being hashed. Parts are delimited: ("ab", "c") and ("a", "bc") differ.
#[derive(Debug)]
pub struct Key(SipHasher13);

impl Key {
    pub(super) fn new(seed: Seed) -> Self {
        Self(SipHasher13::new_with_keys(seed.0, seed.1))
    }

    /// The next part.
    pub fn part(&mut self, part: &str) {
        self.0.write_u64(part.len() as u64);
        self.0.write(part.as_bytes());
    }

    /// The fingerprint of these parts.
    #[must_use]
    pub fn finish(self) -> Fingerprint {
        Fingerprint(self.0.finish())
    }
}
