//! Slices: virtual time that a worker has already debited and may spend without the shared cell.
//!
//! A slice is an interval `[x, end]`. Spending `r` needs `max(x, now) + r ≤ end`; so what is not
//! spent in time evaporates, at the rate at which the bucket refills, and a slice that is lost
//! with its VM harms nobody. Slices of a bucket lie end to end on a line of their own (see
//! [`super::cell`]), so at no instant is more than `end − now` spendable from all of them together.
//!
//! Size: a sixty-fourth of the window, but at least four requests like the one that takes it,
//! rounded down to whole requests of that cost so that steady traffic leaves no crumbs; and at most a
//! sixteenth of the window, else there is no slice. So a hot bucket of small requests costs one
//! compare-and-swap per sixty-fourth of a window and worker, one of larger requests one in five,
//! and what a worker can sit on unseen by others is bounded. Slices are taken only while the
//! bucket stays at least half full, slice included: near the edge every worker is exact.

use std::collections::BTreeMap;

use super::rule::{Fingerprint, Rule, TableId};

/// A slice, or what is left of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    /// Start of what is unspent, on the lending line.
    pub(super) x: u64,
    /// End, on the lending line.
    pub(super) end: u64,
    /// Where `end` lies on the line of arrival times: the bucket's when the slice was taken.
    pub(super) tat: u64,
    /// For forgetting the one unused longest.
    used: u64,
}

impl Slice {
    pub(super) fn new(x: u64, end: u64, tat: u64) -> Self {
        Self {
            x,
            end,
            tat,
            used: 0,
        }
    }

    /// What can still be spent, ns.
    pub(super) fn left(&self, now: u64) -> u64 {
        let (from, end) = self.rest(now);
        end - from
    }

    /// What can still be spent, from and to on the lending line.
    pub(super) fn rest(&self, now: u64) -> (u64, u64) {
        (self.x.max(now).min(self.end), self.end)
    }

    /// Spends `amount` ns if it is there; returns the arrival time after it, measured on the line
    /// of arrival times as that of any other reserve.
    pub(super) fn spend(&mut self, amount: u64, now: u64) -> Option<u64> {
        (amount <= self.left(now)).then(|| {
            self.x = self.x.max(now) + amount;
            self.tat - (self.end - self.x)
        })
    }
}

/// Most slices a worker holds; beyond it the one unused longest is forgotten, and evaporates.
const MAX_SLICES: usize = 256;

/// How much to take beyond `amount`, in ns of a window of `span` ns; zero for no slice.
pub(super) fn size(amount: u64, span: u64) -> u64 {
    if amount == 0 {
        return 0;
    }
    let requests = (span / 64 / amount).max(4);
    let size = amount.saturating_mul(requests);
    if size <= span / 16 { size } else { 0 }
}

/// The slices of one worker.
#[derive(Debug, Default)]
pub(super) struct Slices {
    held: BTreeMap<(TableId, Fingerprint), (Rule, Slice)>,
    turn: u64,
}

impl Slices {
    /// The worker's slice of a bucket.
    pub(super) fn get(&mut self, table: TableId, key: Fingerprint) -> Option<&mut Slice> {
        self.turn += 1;
        let (_, slice) = self.held.get_mut(&(table, key))?;
        slice.used = self.turn;
        Some(slice)
    }

    /// Puts a slice in the place of the bucket's old one.
    pub(super) fn put(&mut self, rule: &Rule, key: Fingerprint, slice: Slice) {
        self.turn += 1;
        let used = self.turn;
        let slice = Slice { used, ..slice };
        self.held
            .insert((rule.table_id(), key), (rule.clone(), slice));
        if self.held.len() > MAX_SLICES {
            let oldest = self.held.iter().min_by_key(|(_, (_, slice))| slice.used);
            if let Some(key) = oldest.map(|(key, _)| *key) {
                self.held.remove(&key);
            }
        }
    }

    /// Forgets the bucket's slice.
    pub(super) fn remove(&mut self, table: TableId, key: Fingerprint) {
        self.held.remove(&(table, key));
    }

    /// Forgets what has evaporated.
    pub(super) fn sweep(&mut self, now: u64) {
        self.held.retain(|_, (_, slice)| slice.left(now) > 0);
    }

    /// Hands over all slices.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = (Rule, Fingerprint, Slice)> + use<> {
        core::mem::take(&mut self.held)
            .into_iter()
            .map(|((_, key), (rule, slice))| (rule, key, slice))
    }

    /// Number of slices held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
}
