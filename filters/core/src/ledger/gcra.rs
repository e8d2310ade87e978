//! The reserve itself: governor's rate limiter on one shared cell.
//!
//! `governor` decides; this module provides its clock and its cell.
//!
//! 1. `governor` measures time from the first reading of its clock, so the clock first returns 0, then now.
//! 2. Its store cannot return an error, so a lost write sets a flag.
//! 3. It adds times without overflow checks; [`super::window`] and the ceiling of the rule keep them small.
//!
//! An idle bucket gives exactly its burst, no cell more: a regression test checks this.

use core::cell::Cell as Flag;
use core::num::NonZeroU32;
use core::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use super::access::{AccessWindow, Update, View, peek, update};
use super::cell::{Cell, Delta, Settled};
use super::fingerprint::Fingerprint;
use super::rule::Rule;
use super::timeline::Timeline;
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
}

/// The result of a reserve.
pub(super) enum Outcome {
    /// Written.
    Reserved(Reserved),
    /// Over budget for `retry_after` ns; nothing was written. `start` is where a reserve would begin.
    Refused { retry_after: u64, start: u64 },
    /// Within budget in the last attempt, but it could not be written.
    Contended { own_tat: u64, timeline: Timeline },
}

/// A written reserve.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reserved {
    /// Arrival time after it.
    pub(super) own_tat: u64,
    /// The time line of that.
    pub(super) timeline: Timeline,
    /// The result of the pending change.
    pub(super) settled: Settled,
    /// A key whose bucket was not full lost its cell.
    pub(super) evicted: bool,
    /// Debt that was dropped with it, ns.
    pub(super) clipped: u64,
}

impl<C: Cells + ?Sized> Attempt<'_, C> {
    /// Runs governor.
    pub(super) fn run(self) -> Outcome {
        let (now, amount, window) = (self.now, self.amount, *self.rule.window());
        let took = u64::from(amount.get()) * window.period();
        let timeline = self.rule.timeline();
        let stored = Flag::new(StoreOutcome::Nothing);
        let quota = Quota::with_period(Duration::from_nanos(window.period()))
            .unwrap_or(Quota::per_second(window.burst()))
            .allow_burst(window.burst());
        let account = Account {
            attempt: self,
            stored: &stored,
        };
        let limiter: RateLimiter<_, _, _, NoOpMiddleware<Nanos>> =
            RateLimiter::new(quota, account, FirstZero::new(now));
        match (limiter.check_n(amount), stored.get()) {
            (_, StoreOutcome::Reserved(reserved)) => Outcome::Reserved(reserved),
            (Ok(Err(until)), StoreOutcome::Declined { start }) => Outcome::Refused {
                retry_after: u64::from(until.earliest_possible()).saturating_sub(now),
                start,
            },
            (_, StoreOutcome::Contended { own_tat, timeline }) => {
                Outcome::Contended { own_tat, timeline }
            }
            _ => Outcome::Contended {
                own_tat: now.saturating_add(took),
                timeline,
            },
        }
    }
}

/// Time until the reserve is admitted if nobody else spends, ns. Nothing is written.
pub(super) fn wait<C: Cells + ?Sized>(attempt: &Attempt<'_, C>) -> u64 {
    let Attempt {
        cells, rule, key, ..
    } = *attempt;
    let Some(view) = peek(cells, rule, key, attempt.now) else {
        return 0;
    };
    let (cell, _) = attempt.settle_first(&view);
    let window = rule.window();
    let end = cell.tat.max(attempt.now) + window.ns(u64::from(attempt.amount.get()));
    end.saturating_sub(attempt.now)
        .saturating_sub(window.span())
}

/// The result of the store, which governor does not return.
#[derive(Clone, Copy)]
enum StoreOutcome {
    Nothing,
    Declined { start: u64 },
    Contended { own_tat: u64, timeline: Timeline },
    Reserved(Reserved),
}

/// governor's view of the shared cell.
struct Account<'a, C: ?Sized> {
    attempt: Attempt<'a, C>,
    stored: &'a Flag<StoreOutcome>,
}

impl<C: Cells + ?Sized> StateStore for Account<'_, C> {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let Attempt {
            cells,
            rule,
            key,
            now,
            ..
        } = self.attempt;
        let outcome = update(cells, rule, key, (now, AccessWindow::Rule), |view| {
            let (mut cell, settled) = self.attempt.settle_first(view);
            match f(Some(Nanos::from(cell.tat))) {
                Ok((positive, next)) => {
                    cell.tat = next.into();
                    let reserved = Reserved {
                        own_tat: cell.tat,
                        timeline: view.timeline,
                        settled,
                        evicted: false,
                        clipped: 0,
                    };
                    Ok(((positive, reserved), cell))
                }
                Err(negative) => Err((negative, cell.tat)),
            }
        });
        match outcome {
            Update::Written {
                value: (positive, reserved),
                evicted,
                clipped,
            } => {
                self.stored.set(StoreOutcome::Reserved(Reserved {
                    evicted,
                    clipped,
                    ..reserved
                }));
                Ok(positive)
            }
            Update::Declined((negative, start)) => {
                self.stored.set(StoreOutcome::Declined { start });
                Err(negative)
            }
            Update::Exhausted(Some((positive, reserved))) => {
                let Reserved {
                    own_tat, timeline, ..
                } = reserved;
                self.stored
                    .set(StoreOutcome::Contended { own_tat, timeline });
                Ok(positive)
            }
            // No set. governor still needs a decision; the flag overrides it.
            Update::Exhausted(None) => f(None).map(|(positive, _)| positive),
        }
    }
}

impl<C: ?Sized> Attempt<'_, C> {
    /// The cell with this worker's unwritten changes applied, and their result.
    fn settle_first(&self, view: &View) -> (Cell, Settled) {
        let mut cell = view.slot.payload;
        let ceiling = self.rule.ceiling();
        let pending = self.pending.on(view.timeline);
        let settled = if view.slot.found {
            pending.apply(&mut cell, self.now, ceiling)
        } else {
            pending.apply_to_newcomer(&mut cell, self.now, ceiling, pending.owes())
        };
        (cell, self.pending.reported(settled, view.timeline))
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
