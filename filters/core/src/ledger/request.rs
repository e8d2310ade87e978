//! Requests to the ledger and its answers: costs, balances, refusals, and the reservations that a stream holds until it settles.

use core::num::NonZeroU32;

use super::cell::Settled;
use super::fingerprint::Fingerprint;
use super::rule::Rule;
use super::timeline::Timeline;

/// The cost of a request in one bucket. Costs and capacities are millionths of the bucket's unit.
#[derive(Clone, Copy, Debug)]
pub struct BucketCost<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// The bucket.
    pub key: Fingerprint,
    /// The amount to reserve. Zero takes nothing.
    pub cost: u128,
    /// The current capacity, scale included.
    pub capacity: u128,
    /// The capacity at scale 1.
    pub unscaled_capacity: u128,
}

/// The reservations of an admitted request, which its stream keeps until it settles. Not `Clone`: a reserve is settled once.
#[derive(Debug, Default)]
pub struct Reservations(pub(super) Vec<Reservation>);

impl Reservations {
    /// The reservations, in the order of the costs.
    #[must_use]
    pub fn as_slice(&self) -> &[Reservation] {
        &self.0
    }

    /// Appends the reservations of further buckets.
    pub fn append(&mut self, mut more: Self) {
        self.0.append(&mut more.0);
    }
}

/// A reservation in one bucket.
#[derive(Debug)]
pub struct Reservation {
    pub(super) rule: Rule,
    pub(super) key: Fingerprint,
    pub(super) cells: u64,
    /// The arrival time after this reserve, ns: refunds end there.
    pub(super) own_tat: u64,
    /// The time line of that.
    pub(super) timeline: Timeline,
    pub(super) balance: Balance,
}

impl Reservation {
    /// The rule, for pricing the usage with its window.
    #[must_use]
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Cells reserved.
    #[must_use]
    pub fn cells(&self) -> u64 {
        self.cells
    }

    /// The same; `None` for a cost of zero.
    pub(super) fn amount(&self) -> Option<NonZeroU32> {
        u32::try_from(self.cells).ok().and_then(NonZeroU32::new)
    }

    /// The bucket after this reserve.
    #[must_use]
    pub fn balance(&self) -> &Balance {
        &self.balance
    }
}

/// A bucket after a reserve, as the shared cell has it. [`super::Window::units`] turns cells into the bucket's
/// unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Cells reserved; zero for a cost of zero.
    pub cells: u64,
    /// Cells left.
    pub remaining: u64,
    /// Cells of a full bucket.
    pub limit: u64,
    /// Until the bucket is full again if nothing is spent, ns.
    pub reset_ns: u64,
    /// Admitted under contention: not written yet, and taken with this worker's next write.
    pub owed: bool,
    /// A key whose bucket was not full lost its cell to this one: there are more live keys than the
    /// table is made for. To be counted; the remedy is a greater `maxKeys`.
    pub evicted: bool,
    /// Debt that was dropped by this write, in ns of the rule's window: of the evicted key beyond one
    /// window, or above the rule's debt after its window changed.
    pub clipped_ns: u64,
}

impl Balance {
    /// A bucket whose next reserve would begin at `start`.
    pub(super) fn at(rule: &Rule, cells: u64, start: u64, now: u64) -> Self {
        let window = rule.window();
        let reset_ns = start.saturating_sub(now);
        Self {
            cells,
            remaining: window.span().saturating_sub(reset_ns) / window.period(),
            limit: u64::from(window.burst().get()),
            reset_ns,
            ..Self::default()
        }
    }
}

/// A refused request. Nothing is reserved, in any bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Index of the cost that was refused.
    pub which: usize,
    /// Why.
    pub reason: Reason,
    /// Cells the request would have taken.
    pub cells: u64,
    /// Cells left in that bucket.
    pub remaining: u64,
    /// Cells of a full bucket.
    pub limit: u64,
    /// Until that bucket is full again if nothing is spent, ns.
    pub reset_ns: u64,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The balance of the bucket is too low (429).
    OverBudget {
        /// Time until all buckets of the request have enough if nobody else spends, ns: the longest wait of
        /// all of them.
        retry_after_ns: u64,
    },
    /// The cost is above the capacity at scale 1 and can never pass (400).
    ExceedsCapacity,
    /// The cost is above the scaled capacity, but not above the capacity at scale 1 (503).
    ExceedsScaledCapacity {
        /// Time until the scale may have changed, ns.
        retry_after_ns: u64,
    },
    /// The reserve could not be written, and the rule says to refuse then.
    Contention,
}

/// The result of changes that could not be written at first; or the eviction by a reserve that was given back, because a later bucket
/// refused.
#[derive(Clone, Debug)]
pub struct DeferredSettlement {
    /// The rule.
    pub rule: Rule,
    /// The bucket.
    pub key: Fingerprint,
    /// The result, in ns of that rule's window.
    pub settled: Settled,
}
