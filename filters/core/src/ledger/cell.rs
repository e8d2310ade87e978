//! The cell of one key, and the changes that settlement makes to it.
//!
//! A cell stores the theoretical arrival time (TAT) of GCRA in ns: the time at which the bucket is full
//! again. A reserve starts at the later of TAT and now. A settlement only adds to TAT (`tat += δ`, δ may be
//! negative) and never raises it to now. So the order of settlements at one instant does not matter.

use super::encoding::word;
use super::table::Payload;
use super::timeline::Timeline;

/// State of one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    /// Theoretical arrival time, ns of the monotonic clock.
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

    fn end(&self) -> u64 {
        self.tat
    }

    fn ending(end: u64) -> Self {
        Self { tat: end }
    }
}

/// A change that settlement makes to a cell, or still has to make.
///
/// Several changes to one cell add up to one. A refund remembers the latest arrival time of the
/// streams it came from, so that what time gives back while it waits is not given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delta {
    /// The time line of the amounts and of `until`.
    timeline: Timeline,
    /// To give back, ns.
    refund: u64,
    /// The latest `own_tat` among the streams refunded.
    until: u64,
    /// To take, ns.
    debit: u64,
    /// Reserves that were admitted unwritten, ns: taken as reserves, from `owed_since` at least.
    owed: u64,
    owed_since: u64,
}

/// The result of a settlement, in ns of the rule of the reserve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Given back to the bucket.
    pub refunded: u64,
    /// Taken from the bucket afterwards.
    pub debited: u64,
    /// Unused but not given back: time had given it back already, or the cell was gone.
    pub evaporated: u64,
    /// Dropped: used but not taken, above the debt that the rule allows; and what a live eviction
    /// does not pass on of the evicted key's debt.
    pub clipped: u64,
    /// Not written yet: compare-and-swap lost every attempt. Goes with the next write of this worker;
    /// see [`super::Ledger::take_deferred`].
    pub unwritten: u64,
    /// A key whose bucket was not full lost its cell to this one: there are more live keys than the
    /// table is made for.
    pub evicted: bool,
}

impl Delta {
    /// The change that does nothing.
    pub(super) fn none(timeline: Timeline) -> Self {
        Self {
            timeline,
            refund: 0,
            until: 0,
            debit: 0,
            owed: 0,
            owed_since: 0,
        }
    }

    /// The change for a stream that reserved and used so much; `own_tat` is the arrival time after
    /// its reserve. `None` if it used what it reserved.
    pub(super) fn of(timeline: Timeline, reserved: u64, used: u64, own_tat: u64) -> Option<Self> {
        match reserved.cmp(&used) {
            core::cmp::Ordering::Equal => None,
            core::cmp::Ordering::Greater => Some(Self {
                refund: reserved - used,
                until: own_tat,
                ..Self::none(timeline)
            }),
            core::cmp::Ordering::Less => Some(Self {
                debit: used - reserved,
                ..Self::none(timeline)
            }),
        }
    }

    /// The change for a reserve that was admitted without being written.
    pub(super) fn owed(timeline: Timeline, amount: u64, since: u64) -> Self {
        Self {
            owed: amount,
            owed_since: since,
            ..Self::none(timeline)
        }
    }

    /// The same shares on another time line of the set. Rounded against the client.
    pub(super) fn on(self, timeline: Timeline) -> Self {
        let from = self.timeline;
        if from == timeline || self.volume() == 0 {
            return Self { timeline, ..self };
        }
        let span = timeline.span();
        Self {
            timeline,
            refund: from.scale_down(self.refund, span),
            until: from.translate(self.until, &timeline),
            debit: from.scale_up(self.debit, span),
            owed: from.scale_up(self.owed, span),
            owed_since: self.owed_since,
        }
    }

    /// Both changes as one, on the time line of the later one.
    pub(super) fn and(self, later: Self) -> Self {
        if later.volume() == 0 {
            return self;
        }
        let earlier = self.on(later.timeline);
        Self {
            timeline: later.timeline,
            refund: earlier.refund.saturating_add(later.refund),
            until: earlier.until.max(later.until),
            debit: earlier.debit.saturating_add(later.debit),
            owed: earlier.owed.saturating_add(later.owed),
            owed_since: earlier.owed_since.max(later.owed_since),
        }
    }

    /// Everything it would move, ns.
    pub(super) fn volume(&self) -> u64 {
        self.refund.saturating_add(self.takes())
    }

    /// The amount that it takes, ns.
    pub(super) fn takes(&self) -> u64 {
        self.debit.saturating_add(self.owed)
    }

    /// The result where nothing can be given back: time did already, or there is no cell. For changes that take nothing.
    pub(super) fn dropped(&self) -> Settled {
        Settled {
            evaporated: self.refund,
            ..Settled::default()
        }
    }

    /// The result if it is lost.
    pub(super) fn forgotten(&self) -> Settled {
        Settled {
            clipped: self.takes(),
            ..self.dropped()
        }
    }

    /// The amount that it takes for reserves that were never written, ns.
    pub(super) fn owes(&self) -> u64 {
        self.owed
    }

    /// Applies the change to the bucket's own cell, which is on this time line. No debit takes `tat` beyond
    /// `now + ceiling`.
    pub(super) fn apply(&self, cell: &mut Cell, now: u64, ceiling: u64) -> Settled {
        let refunded = self.refund.min(self.until.saturating_sub(now));
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
            evaporated: self.refund - refunded,
            clipped: self.takes() - debited,
            ..Settled::default()
        }
    }

    /// Applies the change where the bucket has no cell: a debit starts at now, and a refund is
    /// dropped, as its cell is gone. Only what is itself still `owed`, by this change or one just
    /// applied, can be given back: it was never taken.
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

    /// The result of this change in ns of its own time line; `settled` is in ns of the time line `on`.
    pub(super) fn reported(&self, settled: Settled, on: Timeline) -> Settled {
        if self.timeline == on || self.volume() == 0 {
            return settled;
        }
        let span = self.timeline.span();
        let refunded = on.scale_down(settled.refunded, span).min(self.refund);
        let debited = on.scale_up(settled.debited, span).min(self.takes());
        Settled {
            refunded,
            debited,
            evaporated: self.refund - refunded,
            clipped: self.takes() - debited,
            ..settled
        }
    }
}
