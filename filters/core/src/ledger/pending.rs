//! Changes of buckets that are not written yet: compare-and-swap lost every attempt. They go with the bucket's next write.
//!
//! Invariant: at most one change per bucket, and at most 1024 buckets. Nearly always there are none.

use super::cell::Delta;
use super::fingerprint::Fingerprint;
use super::rule::{Rule, TableId};

/// Most buckets with unwritten changes; further changes are lost, and counted.
const MAX_BUCKETS: usize = 1024;

/// The unwritten changes of one worker.
#[derive(Debug, Default)]
pub(super) struct Pending(Vec<((TableId, Fingerprint), (Rule, Delta))>);

impl Pending {
    /// Buckets with unwritten changes.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The change of a bucket; one that does nothing if there is none.
    pub(super) fn delta(&self, rule: &Rule, key: Fingerprint) -> Delta {
        match self.place(rule, key) {
            Ok(place) => self.0[place].1.1,
            Err(_) => Delta::none(rule.timeline()),
        }
    }

    /// Whether a change of this bucket can be kept.
    pub(super) fn has_room(&self, rule: &Rule, key: Fingerprint) -> bool {
        self.len() < MAX_BUCKETS || self.place(rule, key).is_ok()
    }

    /// Replaces the change of a bucket.
    pub(super) fn set(&mut self, rule: &Rule, key: Fingerprint, delta: Delta) {
        let entry = (rule.clone(), delta);
        match self.place(rule, key) {
            Ok(place) => self.0[place].1 = entry,
            Err(place) => self.0.insert(place, ((rule.table_id(), key), entry)),
        }
    }

    /// Removes the change of a bucket.
    pub(super) fn remove(&mut self, rule: &Rule, key: Fingerprint) -> Option<(Rule, Delta)> {
        let place = self.place(rule, key).ok()?;
        Some(self.0.remove(place).1)
    }

    /// Removes all changes, in order of table and key.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (Fingerprint, (Rule, Delta))> + use<> {
        let all = core::mem::take(&mut self.0);
        all.into_iter().map(|((_, key), entry)| (key, entry))
    }

    fn place(&self, rule: &Rule, key: Fingerprint) -> Result<usize, usize> {
        let id = (rule.table_id(), key);
        self.0.binary_search_by(|(known, _)| known.cmp(&id))
    }
}
