//! Weighted rendezvous hashing: the candidate of a session.
//!
//! The candidate with the smallest `−ln(u)/weight` wins, `u` a hash of session and candidate, uniform on
//! (0, 1] (exponential races: the winner is distributed as the weights). Each candidate's score depends on
//! its own weight alone, hence:
//!
//! - raising one weight moves sessions only *into* that candidate, lowering it only *out*;
//! - a removed candidate moves only its own sessions; an added one only receives sessions.
//!
//! The hash is SipHash-1-3 under a fixed key, the same on every proxy and in every build: one flipped bit
//! here would move every session once. `ln` is the only floating-point function of this crate.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// Key of every hash of this module: the bytes of `headgate` and `rendezvo`, little-endian.
const KEY: (u64, u64) = (
    u64::from_le_bytes(*b"headgate"),
    u64::from_le_bytes(*b"rendezvo"),
);

/// A candidate of one level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    id: u64,
    weight: f64,
}

impl Candidate {
    /// A candidate known by `name` on a `level`. The level is part of the hash, so the choices of a session
    /// on different levels are independent. A candidate with a weight of 0 or less is never chosen.
    #[must_use]
    pub fn new(level: u8, name: &str, weight: f64) -> Self {
        let mut hasher = SipHasher13::new_with_keys(KEY.0, KEY.1);
        hasher.write(&[level]);
        hasher.write(name.as_bytes());
        Self {
            id: hasher.finish(),
            weight,
        }
    }

    fn score(&self, session: u64) -> f64 {
        let mut hasher = SipHasher13::new_with_keys(KEY.0, KEY.1);
        hasher.write_u64(session);
        hasher.write_u64(self.id);
        -uniform(hasher.finish()).ln() / self.weight
    }
}

/// The 53 upper bits as a number on (0, 1].
#[allow(clippy::cast_precision_loss)] // 53 bits: exact
fn uniform(hash: u64) -> f64 {
    ((hash >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

/// The index of the session's candidate; `None` if none has a weight. Equal scores go to the first.
#[must_use]
pub fn choose(session: u64, candidates: impl IntoIterator<Item = Candidate>) -> Option<usize> {
    let mut running = candidates
        .into_iter()
        .enumerate()
        .filter(|(_, candidate)| candidate.weight > 0.0);
    let (mut winner, first) = running.next()?;
    let mut least = None;
    for (index, candidate) in running {
        // One that is alone wins whatever its score.
        let best = *least.get_or_insert_with(|| first.score(session));
        let score = candidate.score(session);
        if score < best {
            (winner, least) = (index, Some(score));
        }
    }
    Some(winner)
}
