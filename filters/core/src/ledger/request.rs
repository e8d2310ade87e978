//! What is asked of the ledger and what it answers: spends in, balances or a refusal out, and what
//! a stream holds in between.

use core::num::NonZeroU32;

use super::cell::Settled;
use super::rule::{Fingerprint, Rule};

/// What one bucket is asked for. Costs and capacities are millionths of the bucket's unit.
#[derive(Clone, Copy, Debug)]
pub struct Spend<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// The bucket.
    pub key: Fingerprint,
    /// The price of the request. Zero takes nothing.
    pub cost: u128,
    /// The capacity in force, scale included.
    pub capacity: u128,
    /// The capacity at scale 1.
    pub unscaled_capacity: u128,
}

/// A request that may go upstream: what its stream keeps until it settles. Not `Clone`: a reserve is settled once.
#[derive(Debug, Default)]
pub struct Held(pub(super) Vec<HeldSpend>);

impl Held {
    /// The spends, in the order in which they were reserved.
    #[must_use]
    pub fn spends(&self) -> &[HeldSpend] {
        &self.0
    }
}

/// One spend of a stream.
#[derive(Debug)]
pub struct HeldSpend {
    pub(super) rule: Rule,
    pub(super) key: Fingerprint,
    pub(super) cells: u64,
    /// The arrival time after this spend, ns: refunds end there.
    pub(super) own_tat: u64,
    /// How often the window of the set had changed by then.
    pub(super) epoch: u32,
    pub(super) balance: Balance,
}

impl HeldSpend {
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

/// A bucket after a reserve, as the shared cell has it. [`super::Window::units`] turns cells into the bucket's unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Cells reserved.
    pub cells: u64,
    /// Cells left.
    pub remaining: u64,
    /// Cells of a full bucket.
    pub limit: u64,
    /// Until the bucket is full again if nothing is spent, ns.
    pub reset_ns: u64,
    /// Not written: admitted under contention, and owed.
    pub owed: bool,
    /// Another key, whose bucket was not full, lost its cell to this one.
    pub evicted: bool,
    /// The part of that key's debt that this one did not take over, ns.
    pub clipped_ns: u64,
}

/// A request that may not go upstream. Nothing is reserved, in any bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Index of the spend that was refused.
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
    /// The bucket has not enough left (429).
    OverBudget {
        /// When it, and every other bucket of the request, will have, if nobody else spends, ns from now.
        retry_after_ns: u64,
    },
    /// The cost is above the capacity at scale 1 and can never pass (400).
    ExceedsCapacity,
    /// The cost is above the capacity only as it is scaled now (503).
    ExceedsScaledCapacity {
        /// When the scale may have changed, ns from now.
        retry_after_ns: u64,
    },
    /// The reserve could not be written, and the rule says to refuse then.
    Contention,
}

/// What became of changes that had been left unwritten.
#[derive(Clone, Debug)]
pub struct Carried {
    /// The rule.
    pub rule: Rule,
    /// The bucket.
    pub key: Fingerprint,
    /// What they came to.
    pub settled: Settled,
}
