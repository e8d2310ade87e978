//! The cell of one key, and what settlement does to it.
//!
//! A cell is one theoretical arrival time (TAT, of GCRA): until then the bucket pays off what it admitted. A reserve starts at
//! the later of it and of now; settlement moves it and nothing else:
//!
//! `tat += δ`, no clamp and no lift, so settlements of one instant commute. Only a reserve lifts.

use super::table::{Change, Payload, Set, word};

/// State of one bucket: its theoretical arrival time, in ns of the monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) tat: u64,
}

impl Payload for Cell {
    const LEN: usize = 8;

    fn encode(&self, out: &mut [u8]) {
        out[..8].copy_from_slice(&self.tat.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        Self { tat: word(bytes) }
    }

    fn spent_at(&self) -> u64 {
        self.tat
    }

    fn spent(at: u64) -> Self {
        Self { tat: at }
    }

    fn rescaled(&self, change: &Change) -> Self {
        Self {
            tat: change.arrival(self.tat),
        }
    }
}

/// A change that settlement makes to a cell, or still has to make. Lengths of time are in the window of `span`.
///
/// Several changes to one cell add up to one. A refund remembers the latest arrival time of the streams it came from, so that
/// what time gives back while it waits is not given twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delta {
    /// The window that it is in, ns, and how often that had changed; of a change of nothing, 0.
    span: u64,
    epoch: u32,
    /// To give back, ns.
    refund: u64,
    /// The latest `own_tat` among the streams refunded.
    until: u64,
    /// To take, ns.
    debit: u64,
    /// A reserve that was admitted unwritten, ns: taken as a reserve, from `owed_since` at least.
    owed: u64,
    owed_since: u64,
    /// Given up, ns: a refund that could not be brought into another window.
    lost: u64,
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
    /// Used but not taken: above the debt that the rule allows. Also the part of an evicted key's debt that nobody takes over.
    pub clipped: u64,
    /// Not written yet: compare-and-swap lost every try. Goes with the next write of this worker;
    /// see [`super::Ledger::carried`].
    pub unwritten: u64,
    /// Another key, whose bucket was not full, lost its cell to this one.
    pub evicted: bool,
}

impl Delta {
    /// The change for a stream that reserved and used so much; `own_tat` is the arrival time after its reserve. `None` if it
    /// used what it reserved.
    pub(super) fn of(
        (span, epoch): (u64, u32),
        reserved: u64,
        used: u64,
        own_tat: u64,
    ) -> Option<Self> {
        let nothing = Self {
            span,
            epoch,
            ..Self::default()
        };
        match reserved.cmp(&used) {
            core::cmp::Ordering::Equal => None,
            core::cmp::Ordering::Greater => Some(Self {
                refund: reserved - used,
                until: own_tat,
                ..nothing
            }),
            core::cmp::Ordering::Less => Some(Self {
                debit: used - reserved,
                ..nothing
            }),
        }
    }

    /// The change for a reserve that was let through without being written.
    pub(super) fn owed((span, epoch): (u64, u32), amount: u64, since: u64) -> Self {
        Self {
            span,
            epoch,
            owed: amount,
            owed_since: since,
            ..Self::default()
        }
    }

    /// Both changes as one. They are in one window.
    pub(super) fn and(self, other: Self) -> Self {
        let (span, epoch) = match self.span {
            0 => (other.span, other.epoch),
            span => (span, self.epoch),
        };
        Self {
            span,
            epoch,
            refund: self.refund.saturating_add(other.refund),
            until: self.until.max(other.until),
            debit: self.debit.saturating_add(other.debit),
            owed: self.owed.saturating_add(other.owed),
            owed_since: self.owed_since.max(other.owed_since),
            lost: self.lost.saturating_add(other.lost),
        }
    }

    /// Whether both can be added up as they are.
    pub(super) fn is_in_window_of(&self, other: &Self) -> bool {
        self.span == 0 || other.span == 0 || (self.span, self.epoch) == (other.span, other.epoch)
    }

    /// The same change in the window that a set is written in. A refund of a stream whose window changed more often than the set
    /// remembers is given up: nobody can tell how much of it time has given back.
    pub(super) fn within(self, set: &Set<Cell>) -> Self {
        if self.span == 0 || (self.span, self.epoch) == (set.span(), set.epoch()) {
            return self;
        }
        let whole = Change {
            at: 0,
            from: self.span,
            to: set.span(),
        };
        let until = set.changes_since(self.epoch).map(|changes| {
            let rescale = |tat: u64, change: &Change| change.arrival(tat);
            changes.iter().fold(self.until, rescale)
        });
        // Rounded down: what is given back never exceeds what was taken.
        let refund =
            u128::from(self.refund) * u128::from(set.span()) / u128::from(self.span.max(1));
        let refund = u64::try_from(refund).unwrap_or(u64::MAX);
        Self {
            span: set.span(),
            epoch: set.epoch(),
            refund: if until.is_some() { refund } else { 0 },
            until: until.unwrap_or(0),
            debit: whole.length(self.debit),
            owed: whole.length(self.owed),
            owed_since: self.owed_since,
            lost: whole
                .length(self.lost)
                .saturating_add(if until.is_some() { 0 } else { refund }),
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
            evaporated: self.refund.saturating_add(self.lost),
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
            cell.tat = cell.tat.max(self.owed_since);
        }
        // Refund first: a debit of the same batch is then clipped as late as possible.
        cell.tat = cell.tat.saturating_sub(refunded);
        let room = now.saturating_add(ceiling).saturating_sub(cell.tat);
        let debited = self.takes().min(room);
        cell.tat += debited;
        Settled {
            refunded,
            debited,
            evaporated: (self.refund - refunded).saturating_add(self.lost),
            clipped: self.takes() - debited,
            ..Settled::default()
        }
    }

    /// Applies the change where the bucket has no cell: a debit starts at now, and a refund is dropped, for what it would be
    /// given back to is gone. Only what is itself still `owed`, by this change or one just applied, can be given back: it was
    /// never taken.
    pub(super) fn apply_to_newcomer(
        &self,
        cell: &mut Cell,
        now: u64,
        ceiling: u64,
        owed: u64,
    ) -> Settled {
        cell.tat = cell.tat.max(now);
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
