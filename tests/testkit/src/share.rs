//! The statistics that judge a traffic split: did a version get its share of sessions, and who moved where.
//!
//! Invariant: pure functions over counted sessions; a session is one key, however many requests it made, since
//! shares are per key and not per request.

use std::collections::{BTreeMap, BTreeSet};

/// One pass of traffic: which version answered each session.
pub type Pass = BTreeMap<String, String>;

/// Four standard deviations of the share that `keys` independent sessions show when each falls to a version
/// with probability `share`: `4·sqrt(share·(1 − share)/keys)`, as a fraction. A correct split leaves this
/// bound once in 16 000 runs. With no keys at all the bound is infinite: nothing was measured.
#[must_use]
pub fn four_sigma(share: f64, keys: usize) -> f64 {
    if keys == 0 {
        return f64::INFINITY;
    }
    4.0 * (share * (1.0 - share) / keys as f64).sqrt()
}

/// A share that was measured, beside the one that was wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// The fraction wanted, 0–1.
    pub wanted: f64,
    /// The fraction seen, 0–1.
    pub seen: f64,
    /// How far they may differ, a fraction.
    pub bound: f64,
}

impl Measured {
    /// Compares `count` of `keys` sessions with the `wanted` fraction.
    #[must_use]
    pub fn new(wanted: f64, count: usize, keys: usize) -> Self {
        let seen = if keys == 0 {
            f64::NAN
        } else {
            count as f64 / keys as f64
        };
        Self {
            wanted,
            seen,
            bound: four_sigma(wanted, keys),
        }
    }

    /// Whether the share seen lies within four standard deviations of the one wanted. False when nothing was
    /// measured.
    #[must_use]
    pub fn holds(&self) -> bool {
        (self.seen - self.wanted).abs() <= self.bound
    }
}

/// Sessions per version.
#[must_use]
pub fn per_version(pass: &Pass) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for version in pass.values() {
        *counts.entry(version.clone()).or_default() += 1;
    }
    counts
}

/// The share of `version` in a pass, beside the `wanted` fraction.
#[must_use]
pub fn share_of(pass: &Pass, version: &str, wanted: f64) -> Measured {
    let count = pass.values().filter(|v| *v == version).count();
    Measured::new(wanted, count, pass.len())
}

/// Sessions that saw more than one version, with the versions they saw.
#[must_use]
pub fn flips<'a>(
    answers: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (session, version) in answers {
        seen.entry(session.to_owned())
            .or_default()
            .insert(version.to_owned());
    }
    seen.retain(|_, versions| versions.len() > 1);
    seen
}

/// Who changed version between two passes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moves {
    /// Sessions by (version before, version after), where these differ.
    pub moved: BTreeMap<(String, String), usize>,
    /// Sessions in both passes that kept their version.
    pub kept: usize,
}

impl Moves {
    /// Compares the sessions that are in both passes.
    #[must_use]
    pub fn between(before: &Pass, after: &Pass) -> Self {
        let mut moves = Self::default();
        for (session, from) in before {
            match after.get(session) {
                Some(to) if to == from => moves.kept += 1,
                Some(to) => *moves.moved.entry((from.clone(), to.clone())).or_default() += 1,
                None => {}
            }
        }
        moves
    }

    /// How many sessions moved.
    #[must_use]
    pub fn count(&self) -> usize {
        self.moved.values().sum()
    }

    /// Whether every session that moved went into `version`. True when none moved.
    #[must_use]
    pub fn only_into(&self, version: &str) -> bool {
        self.moved.keys().all(|(_, to)| to == version)
    }

    /// Whether every session that moved left `version`. True when none moved.
    #[must_use]
    pub fn only_out_of(&self, version: &str) -> bool {
        self.moved.keys().all(|(from, _)| from == version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(rows: &[(&str, &str)]) -> Pass {
        rows.iter()
            .map(|(s, v)| ((*s).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn four_sigma_of_known_shares() {
        for (share, keys, points) in [
            (0.10, 2000, 2.683),
            (0.30, 2000, 4.099),
            (0.50, 400, 10.0),
            (0.01, 10_000, 0.398),
            (0.0, 100, 0.0),
            (1.0, 100, 0.0),
        ] {
            let bound = four_sigma(share, keys) * 100.0;
            assert!((bound - points).abs() < 0.001, "{share} of {keys}: {bound}");
        }
        assert!(four_sigma(0.5, 0).is_infinite());
    }

    #[test]
    fn a_share_holds_up_to_its_bound_and_never_without_a_measurement() {
        for (wanted, count, keys, holds) in [
            (0.10, 200, 2000, true),
            (0.10, 253, 2000, true),
            (0.10, 254, 2000, false),
            (0.10, 147, 2000, true),
            (0.10, 146, 2000, false),
            (0.0, 0, 2000, true),
            (0.0, 1, 2000, false),
            (0.10, 0, 0, false),
        ] {
            let measured = Measured::new(wanted, count, keys);
            assert_eq!(measured.holds(), holds, "{measured:?}");
        }
    }

    #[test]
    fn sessions_are_counted_per_version() {
        let pass = pass(&[("a", "v1"), ("b", "v2"), ("c", "v1")]);
        let counts: Vec<_> = per_version(&pass).into_iter().collect();
        assert_eq!(counts, [("v1".to_owned(), 2), ("v2".to_owned(), 1)]);
        assert!((share_of(&pass, "v2", 0.3).seen - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn only_a_session_with_two_versions_flipped() {
        let flipped = flips([("a", "v1"), ("b", "v1"), ("a", "v2"), ("b", "v1")]);
        assert_eq!(flipped.len(), 1);
        assert!(flipped["a"].contains("v2"));
    }

    #[test]
    fn moves_know_their_direction() {
        let before = pass(&[("a", "v1"), ("b", "v1"), ("c", "v2"), ("gone", "v1")]);
        let into_v2 = pass(&[("a", "v1"), ("b", "v2"), ("c", "v2"), ("new", "v1")]);
        let moves = Moves::between(&before, &into_v2);
        assert_eq!((moves.count(), moves.kept), (1, 2));
        assert!(moves.only_into("v2") && moves.only_out_of("v1"));

        let both_ways = pass(&[("a", "v2"), ("b", "v1"), ("c", "v1")]);
        let moves = Moves::between(&before, &both_ways);
        assert_eq!(moves.count(), 2);
        assert!(!moves.only_into("v2") && !moves.only_out_of("v1"));

        assert!(Moves::between(&before, &before).only_into("anything"));
    }
}
