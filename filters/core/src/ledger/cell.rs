//! The cell of one key: two points on the time line, and what settlement does to them.
//!
//! `tat` is the theoretical arrival time of GCRA: until then the bucket is paying off what it
//! admitted. `lent` is a second line, on which slices are laid end to end. A reserve starts at the
//! later of both and of now; settlement moves `tat` and nothing else:
//!
//! `tat += δ`, no clamp and no lift, so settlements of one instant commute. Only a reserve lifts.
//!
//! Why slices have a line of their own: a refund lowers `tat`, and without `lent` it could fall
//! below time that a worker still holds as a slice; the same stretch would then be sold again while
//! the slice is spent. On their own line slices never overlap, so all that is still spendable from
//! slices is at most `lent − now`, and no reserve begins before `lent`. The line moves only by
//! what is lent, so it holds back a refund by no more than the slices just handed out.

use super::table::{Payload, word};

/// State of one bucket, in ns of the monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    /// Theoretical arrival time.
    pub(super) tat: u64,
    /// End of the last slice handed out.
    pub(super) lent: u64,
}

impl Payload for Cell {
    const LEN: usize = 16;

    fn encode(&self, out: &mut [u8]) {
        out[..8].copy_from_slice(&self.tat.to_le_bytes());
        out[8..16].copy_from_slice(&self.lent.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        Self {
            tat: word(bytes),
            lent: word(&bytes[8..]),
        }
    }

    fn rank(&self) -> u64 {
        self.start()
    }

    /// Both lines start at the rank: the forgotten bucket may still have slices out.
    fn newcomer(rank: u64) -> Self {
        Self {
            tat: rank,
            lent: rank,
        }
    }
}

impl Cell {
    /// Where the next reserve begins, unless now is later.
    pub(super) fn start(&self) -> u64 {
        self.tat.max(self.lent)
    }

    /// Takes back what is left of a slice, `from` to `end` on the lending line. If it was the last
    /// one handed out, the line moves back too.
    pub(super) fn take_back(&mut self, (from, end): (u64, u64)) {
        self.tat = self.tat.saturating_sub(end - from);
        if self.lent == end {
            self.lent = from;
        }
    }
}

/// A change that settlement makes to a cell, or still has to make.
///
/// Several changes to one cell add up to one. A refund remembers the latest arrival time of the
/// streams it came from, so that what time gives back while it waits is not given twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delta {
    /// To give back, ns.
    refund: u64,
    /// The latest `own_tat` among the streams refunded.
    until: u64,
    /// To take, ns.
    debit: u64,
    /// A reserve that was admitted unwritten, ns: taken as a reserve, from `owed_since` at least.
    owed: u64,
    owed_since: u64,
}

/// What applying a [`Delta`] came to, in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Given back to the bucket.
    pub refunded: u64,
    /// Taken from the bucket after the fact.
    pub debited: u64,
    /// Unused but not given back: time had given it back already, or the cell was gone.
    pub evaporated: u64,
    /// Used but not taken: above the debt that the rule allows.
    pub clipped: u64,
    /// Not written yet: compare-and-swap lost every try. Goes with the next write of this worker;
    /// see [`super::Ledger::carried`].
    pub unwritten: u64,
    /// Another key lost its cell to this one.
    pub evicted: bool,
}

impl Delta {
    /// The change for a stream that reserved and used so much; `own_tat` is the arrival time after
    /// its reserve. `None` if it used what it reserved.
    pub(super) fn of(reserved: u64, used: u64, own_tat: u64) -> Option<Self> {
        match reserved.cmp(&used) {
            core::cmp::Ordering::Equal => None,
            core::cmp::Ordering::Greater => Some(Self {
                refund: reserved - used,
                until: own_tat,
                ..Self::default()
            }),
            core::cmp::Ordering::Less => Some(Self {
                debit: used - reserved,
                ..Self::default()
            }),
        }
    }

    /// The change for a reserve that was let through without being written.
    pub(super) fn owed(amount: u64, since: u64) -> Self {
        Self {
            owed: amount,
            owed_since: since,
            ..Self::default()
        }
    }

    /// Both changes as one.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            refund: self.refund.saturating_add(other.refund),
            until: self.until.max(other.until),
            debit: self.debit.saturating_add(other.debit),
            owed: self.owed.saturating_add(other.owed),
            owed_since: self.owed_since.max(other.owed_since),
        }
    }

    /// Everything it would move, ns.
    pub(super) fn volume(&self) -> u64 {
        self.refund.saturating_add(self.takes())
    }

    /// What it takes, ns.
    pub(super) fn takes(&self) -> u64 {
        self.debit.saturating_add(self.owed)
    }

    /// What may still be given back now.
    pub(super) fn refundable(&self, now: u64) -> u64 {
        self.refund.min(self.until.saturating_sub(now))
    }

    /// What it comes to where there is nothing left to take it from or give it to: no time or no
    /// cell. For changes that take nothing.
    pub(super) fn dropped(&self) -> Settled {
        Settled {
            evaporated: self.refund,
            ..Settled::default()
        }
    }

    /// What it comes to if nobody keeps it.
    pub(super) fn forgotten(&self) -> Settled {
        Settled {
            clipped: self.takes(),
            ..self.dropped()
        }
    }

    /// Applies the change to the bucket's own cell. No debit takes `tat` beyond `now + ceiling`.
    pub(super) fn apply(&self, cell: &mut Cell, now: u64, ceiling: u64) -> Settled {
        let refunded = self.refundable(now);
        if self.owed > 0 {
            cell.tat = cell.start().max(self.owed_since);
        }
        // Refund first: a debit of the same batch is then clipped as late as possible.
        cell.tat = cell.tat.saturating_sub(refunded);
        let room = now.saturating_add(ceiling).saturating_sub(cell.tat);
        let debited = self.takes().min(room);
        cell.tat += debited;
        Settled {
            refunded,
            debited,
            evaporated: self.refund - refunded,
            clipped: self.takes() - debited,
            ..Settled::default()
        }
    }

    /// Applies the change where the bucket has no cell: a debit starts at now, and a refund is
    /// dropped, as who lost the cell to others has nothing to be given back to. Only what is itself
    /// still `owed`, by this change or one just applied, can be given back: it was never taken.
    pub(super) fn apply_to_newcomer(
        &self,
        cell: &mut Cell,
        now: u64,
        ceiling: u64,
        owed: u64,
    ) -> Settled {
        cell.tat = cell.start().max(now);
        let refund = self.refund.min(owed);
        let settled = Self { refund, ..*self }.apply(cell, now, ceiling);
        Settled {
            evaporated: settled.evaporated + self.refund - refund,
            ..settled
        }
    }

    /// What it takes for reserves that were never written, ns.
    pub(super) fn owes(&self) -> u64 {
        self.owed
    }
}
