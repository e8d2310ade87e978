//! The reserve itself: governor's rate limiter on one shared cell.
//!
//! governor decides; this module gives it the clock and the cell. Three of its habits matter here:
//! it counts from its clock's *first* reading, so that reading is zero and the second is absolute;
//! its store has no way to report failure, so a lost write is flagged on the side; and it adds
//! times unchecked, which [`super::window`] and the rule's ceiling keep far from overflowing.
//! An idle bucket gives exactly its burst, no cell more: a regression test holds governor to that.

use core::cell::Cell as Flag;
use core::num::NonZeroU32;
use core::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use super::access::{Access, Into, Update};
use super::cell::{Cell, Delta, Settled};
use super::rule::{Fingerprint, Rule};
use super::table::{Set, Slot};
use crate::ports::Cells;

/// One reserve on the shared cell.
pub(super) struct Attempt<'a, C: ?Sized> {
    pub(super) access: Access<'a, C>,
    pub(super) rule: &'a Rule,
    pub(super) key: Fingerprint,
    /// Cells to take; at most the window's burst.
    pub(super) amount: NonZeroU32,
    /// Earlier changes of this worker that could not be written.
    pub(super) pending: Delta,
}

/// What a reserve came to.
pub(super) enum Outcome {
    /// Written.
    Taken(Taken),
    /// Over budget for so many ns; nothing was written. `start` is where a reserve would begin.
    Refused { retry_after: u64, start: u64 },
    /// Within budget at last sight, but it could not be written.
    Contended { own_tat: u64, epoch: u32 },
}

/// A written reserve.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// Arrival time after the amount.
    pub(super) own_tat: u64,
    /// How often the window of the set had changed.
    pub(super) epoch: u32,
    /// What the pending change came to.
    pub(super) carried: Settled,
    /// Another key lost its cell.
    pub(super) evicted: bool,
    /// The part of its debt that nobody takes over, ns.
    pub(super) clipped: u64,
}

impl<C: Cells + ?Sized> Attempt<'_, C> {
    /// Asks governor.
    pub(super) fn run(self) -> Outcome {
        let (now, amount, window) = (self.access.now, self.amount, *self.rule.window());
        let took = u64::from(amount.get()) * window.period();
        let seen = Flag::new(Seen::Nothing);
        let quota = Quota::with_period(Duration::from_nanos(window.period()))
            .unwrap_or(Quota::per_second(window.burst()))
            .allow_burst(window.burst());
        let account = Account {
            attempt: self,
            seen: &seen,
        };
        let limiter: RateLimiter<_, _, _, NoOpMiddleware<Nanos>> =
            RateLimiter::new(quota, account, FirstZero::new(now));
        match (limiter.check_n(amount), seen.get()) {
            (_, Seen::Taken(taken)) => Outcome::Taken(taken),
            (Ok(Err(until)), Seen::Declined { start }) => Outcome::Refused {
                retry_after: u64::from(until.earliest_possible()).saturating_sub(now),
                start,
            },
            (_, Seen::Lost { own_tat, epoch }) => Outcome::Contended { own_tat, epoch },
            _ => Outcome::Contended {
                own_tat: now.saturating_add(took),
                epoch: 0,
            },
        }
    }
}

/// What the store did, as governor has no place for it.
#[derive(Clone, Copy)]
enum Seen {
    Nothing,
    Declined { start: u64 },
    Lost { own_tat: u64, epoch: u32 },
    Taken(Taken),
}

/// governor's view of the shared cell.
struct Account<'a, C: ?Sized> {
    attempt: Attempt<'a, C>,
    seen: &'a Flag<Seen>,
}

impl<C: Cells + ?Sized> StateStore for Account<'_, C> {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let Attempt {
            access, rule, key, ..
        } = self.attempt;
        let outcome = access.update(rule, key, Into::TheRules, |set, slot| {
            let (carried, mut cell) = self.attempt.settle_first(set, slot);
            match f(Some(Nanos::from(cell.tat))) {
                Ok((positive, next)) => {
                    cell.tat = next.into();
                    let taken = Taken {
                        own_tat: cell.tat,
                        epoch: set.epoch(),
                        carried,
                        evicted: slot.evicts,
                        clipped: slot.clipped,
                    };
                    Ok(((positive, taken), cell))
                }
                Err(negative) => Err((negative, cell.tat)),
            }
        });
        match outcome {
            Update::Written {
                value: (positive, taken),
                ..
            } => {
                self.seen.set(Seen::Taken(taken));
                Ok(positive)
            }
            Update::Declined((negative, start)) => {
                self.seen.set(Seen::Declined { start });
                Err(negative)
            }
            Update::Exhausted(Some((positive, Taken { own_tat, epoch, .. }))) => {
                self.seen.set(Seen::Lost { own_tat, epoch });
                Ok(positive)
            }
            // Not a single try. governor wants a verdict all the same; the flag overrules it.
            Update::Exhausted(None) => f(None).map(|(positive, _)| positive),
        }
    }
}

impl<C: ?Sized> Attempt<'_, C> {
    /// The cell with this worker's unwritten changes taken into account, and what they come to.
    fn settle_first(&self, set: &Set<Cell>, slot: &Slot<Cell>) -> (Settled, Cell) {
        let mut cell = slot.payload;
        let (now, ceiling) = (self.access.now, self.rule.ceiling());
        let pending = self.pending.within(set);
        let carried = match slot.found {
            true => pending.apply(&mut cell, now, ceiling),
            false => pending.apply_to_newcomer(&mut cell, now, ceiling, pending.owes()),
        };
        (carried, cell)
    }
}

/// A clock that first reads zero and then now, so that governor's relative times are absolute.
struct FirstZero {
    now: u64,
    read: Flag<bool>,
}

impl FirstZero {
    fn new(now: u64) -> Self {
        Self {
            now,
            read: Flag::new(false),
        }
    }
}

impl Clock for FirstZero {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(if self.read.replace(true) { self.now } else { 0 })
    }
}
