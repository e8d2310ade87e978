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

use super::access::{Update, update};
use super::cell::{Cell, Delta, Settled};
use super::rule::{Fingerprint, Rule};
use super::table::Seat;
use crate::ports::Cells;

/// One reserve on the shared cell.
pub(super) struct Attempt<'a, C: ?Sized> {
    pub(super) cells: &'a C,
    pub(super) rule: &'a Rule,
    pub(super) key: Fingerprint,
    pub(super) now: u64,
    /// Cells to take; at most the window's burst.
    pub(super) amount: NonZeroU32,
    /// Earlier changes of this worker that could not be written.
    pub(super) pending: Delta,
    /// What is left of this worker's slice, on the lending line: it goes back with this write.
    pub(super) returned: (u64, u64),
    /// What to take beyond the amount as a slice, ns, if the bucket is full enough; or zero.
    pub(super) lend: u64,
}

/// What a reserve came to.
pub(super) enum Outcome {
    /// Written.
    Taken(Taken),
    /// Over budget for so many ns; nothing was written. `start` is where a reserve would begin.
    Refused { retry_after: u64, start: u64 },
    /// Within budget at last sight, but it could not be written.
    Contended { own_tat: u64 },
}

/// A written reserve.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// Arrival time after the amount, before the slice.
    pub(super) own_tat: u64,
    /// The slice taken along: from, to on the lending line; empty if none.
    pub(super) slice: (u64, u64),
    /// What the pending change came to.
    pub(super) carried: Settled,
    /// Another key lost its cell.
    pub(super) evicted: bool,
}

impl<C: Cells + ?Sized> Attempt<'_, C> {
    /// Asks governor.
    pub(super) fn run(self) -> Outcome {
        let (now, amount, window) = (self.now, self.amount, *self.rule.window());
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
            (_, Seen::Lost { own_tat }) => Outcome::Contended { own_tat },
            _ => Outcome::Contended {
                own_tat: now.saturating_add(took),
            },
        }
    }
}

/// What the store did, as governor has no place for it.
#[derive(Clone, Copy)]
enum Seen {
    Nothing,
    Declined { start: u64 },
    Lost { own_tat: u64 },
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
            cells, rule, key, ..
        } = self.attempt;
        let outcome = update(cells, rule, key, |seat| {
            let (start, carried, mut cell) = self.attempt.settle_first(seat);
            match f(Some(Nanos::from(start))) {
                Ok((positive, next)) => {
                    let taken = self.attempt.close(&mut cell, next.into(), carried);
                    Ok(((positive, taken), cell))
                }
                Err(negative) => Err((negative, start)),
            }
        });
        match outcome {
            Update::Written {
                value: (positive, taken),
                evicted,
            } => {
                self.seen.set(Seen::Taken(Taken { evicted, ..taken }));
                Ok(positive)
            }
            Update::Declined((negative, start)) => {
                self.seen.set(Seen::Declined { start });
                Err(negative)
            }
            Update::Exhausted(Some((positive, Taken { own_tat, .. }))) => {
                self.seen.set(Seen::Lost { own_tat });
                Ok(positive)
            }
            // No such set. governor wants a verdict all the same; the flag overrules it.
            Update::Exhausted(None) => f(None).map(|(positive, _)| positive),
        }
    }
}

impl<C: ?Sized> Attempt<'_, C> {
    /// The cell with this worker's unwritten changes and unused slice taken into account, and where
    /// a reserve would begin.
    fn settle_first(&self, seat: &Seat<Cell>) -> (u64, Settled, Cell) {
        let mut cell = seat.payload;
        let ceiling = self.rule.ceiling();
        let carried = if seat.found {
            // What is left of a slice was debited from this very cell, or from its predecessor, at
            // whose arrival time this one started.
            cell.take_back(self.returned);
            self.pending.apply(&mut cell, self.now, ceiling)
        } else {
            let owed = self.pending.owes();
            self.pending
                .apply_to_newcomer(&mut cell, self.now, ceiling, owed)
        };
        (cell.start(), carried, cell)
    }

    /// Writes governor's arrival time into the cell, and takes the slice if the bucket stays at
    /// least half full with it.
    fn close(&self, cell: &mut Cell, own_tat: u64, carried: Settled) -> Taken {
        let from = cell.lent.max(self.now);
        let tat = own_tat + self.lend;
        let lend = if tat - self.now <= self.rule.window().span() / 2 {
            self.lend
        } else {
            0
        };
        cell.tat = own_tat + lend;
        if lend > 0 {
            cell.lent = from + lend;
        }
        Taken {
            own_tat,
            slice: (from, from + lend),
            carried,
            evicted: false,
        }
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
