//! Statistics of a traffic split: the share of sessions of each version, and the sessions that changed version.
//!
//! Invariant: pure functions over counted sessions. A session is one key, however many requests it made, because shares are per
//! key and not per request.

use std::collections::{BTreeMap, BTreeSet};

/// The version that answered each session, by session key.
pub type Assignments = BTreeMap<String, String>;

/// Four standard deviations of the share that `keys` independent sessions show when each falls to a version
/// with probability `share`: `4·sqrt(share·(1 − share)/keys)`, as a fraction. A correct split exceeds this
/// bound once in 16 000 runs. Without keys the bound is infinite: nothing was measured.
#[must_use]
pub fn four_sigma(share: f64, keys: usize) -> f64 {
    if keys == 0 {
        return f64::INFINITY;
    }
    4.0 * (share * (1.0 - share) / keys as f64).sqrt()
}

/// A measured share and its target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeasuredShare {
    /// The target, a fraction (0–1).
    pub target: f64,
    /// The measured share, a fraction (0–1).
    pub measured: f64,
    /// The largest allowed difference, a fraction.
    pub bound: f64,
}

impl MeasuredShare {
    /// Compares `count` of `keys` sessions with the target fraction.
    #[must_use]
    pub fn new(target: f64, count: usize, keys: usize) -> Self {
        let measured = if keys == 0 {
            f64::NAN
        } else {
            count as f64 / keys as f64
        };
        Self {
            target,
            measured,
            bound: four_sigma(target, keys),
        }
    }

    /// Whether the measured share lies within four standard deviations of the target. False when nothing was measured.
    #[must_use]
    pub fn holds(&self) -> bool {
        (self.measured - self.target).abs() <= self.bound
    }
}

/// The number of sessions of each version.
#[must_use]
pub fn sessions_per_version(pass: &Assignments) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for version in pass.values() {
        *counts.entry(version.clone()).or_default() += 1;
    }
    counts
}

/// The share of `version`, compared with the target fraction.
#[must_use]
pub fn share_of(pass: &Assignments, version: &str, target: f64) -> MeasuredShare {
    let count = pass.values().filter(|v| *v == version).count();
    MeasuredShare::new(target, count, pass.len())
}

/// Sessions that saw more than one version, with these versions.
#[must_use]
pub fn flips<'a>(
    answers: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut versions_by_session: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (session, version) in answers {
        versions_by_session
            .entry(session.to_owned())
            .or_default()
            .insert(version.to_owned());
    }
    versions_by_session.retain(|_, versions| versions.len() > 1);
    versions_by_session
}

/// Sessions that changed version between two measurements.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionMoves {
    /// The number of sessions by (version before, version after), where these differ.
    pub moved: BTreeMap<(String, String), usize>,
    /// The number of sessions that kept their version.
    pub kept: usize,
}

impl SessionMoves {
    /// Compares the sessions that are in both measurements.
    #[must_use]
    pub fn between(before: &Assignments, after: &Assignments) -> Self {
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

    /// The number of sessions that moved.
    #[must_use]
    pub fn count(&self) -> usize {
        self.moved.values().sum()
    }

    /// Whether every move led to `version`. True when none moved.
    #[must_use]
    pub fn only_into(&self, version: &str) -> bool {
        self.moved.keys().all(|(_, to)| to == version)
    }

    /// Whether every move left `version`. True when none moved.
    #[must_use]
    pub fn only_out_of(&self, version: &str) -> bool {
        self.moved.keys().all(|(from, _)| from == version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(rows: &[(&str, &str)]) -> Assignments {
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
        for (target, count, keys, holds) in [
            (0.10, 200, 2000, true),
            (0.10, 253, 2000, true),
            (0.10, 254, 2000, false),
            (0.10, 147, 2000, true),
            (0.10, 146, 2000, false),
            (0.0, 0, 2000, true),
            (0.0, 1, 2000, false),
            (0.10, 0, 0, false),
        ] {
            let measured = MeasuredShare::new(target, count, keys);
            assert_eq!(measured.holds(), holds, "{measured:?}");
        }
    }

    #[test]
    fn sessions_are_counted_per_version() {
        let pass = pass(&[("a", "v1"), ("b", "v2"), ("c", "v1")]);
        let counts: Vec<_> = sessions_per_version(&pass).into_iter().collect();
        assert_eq!(counts, [("v1".to_owned(), 2), ("v2".to_owned(), 1)]);
        assert!((share_of(&pass, "v2", 0.3).measured - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_session_flips_only_with_two_versions() {
        let flipped = flips([("a", "v1"), ("b", "v1"), ("a", "v2"), ("b", "v1")]);
        assert_eq!(flipped.len(), 1);
        assert!(flipped["a"].contains("v2"));
    }

    #[test]
    fn the_direction_of_moves_is_detected() {
        let before = pass(&[("a", "v1"), ("b", "v1"), ("c", "v2"), ("gone", "v1")]);
        let into_v2 = pass(&[("a", "v1"), ("b", "v2"), ("c", "v2"), ("new", "v1")]);
        let moves = SessionMoves::between(&before, &into_v2);
        assert_eq!((moves.count(), moves.kept), (1, 2));
        assert!(moves.only_into("v2") && moves.only_out_of("v1"));

        let both_ways = pass(&[("a", "v2"), ("b", "v1"), ("c", "v1")]);
        let moves = SessionMoves::between(&before, &both_ways);
        assert_eq!(moves.count(), 2);
        assert!(!moves.only_into("v2") && !moves.only_out_of("v1"));

        assert!(SessionMoves::between(&before, &before).only_into("anything"));
    }
}
