//! The ledger of one worker: reserve, settle, flush.
//!
//! There is one for each filter of a worker, and it outlives configurations. It holds the changes that it could not write yet;
//! everything else is in shared memory or with the stream.

use super::access::{AccessWindow, Update, peek, update};
use super::cell::{Delta, Settled};
use super::fingerprint::{Fingerprint, Seed};
use super::gcra::{Attempt, Outcome, wait};
use super::pending::Pending;
use super::request::{
    Balance, BucketCost, DeferredSettlement, Reason, Refused, Reservation, Reservations,
};
use super::rule::{OnContention, Rule, RuleError, RuleSpec};
use crate::ports::{Cells, Entropy};

/// `Retry-After` for a cost above the scaled capacity, ns: the control plane keeps a scale for at least so long, so an earlier retry
/// is useless.
const SCALE_HOLD_NS: u64 = 10_000_000_000;

/// The ledger of one worker.
#[derive(Debug, Default)]
pub struct Ledger {
    pending: Pending,
    deferred: Vec<DeferredSettlement>,
}

impl Ledger {
    /// A ledger that holds nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates the rules of a configuration, in order. Any VM may be the first, and several may do it at once. Balances survive new
    /// configurations and new code as long as the id and the key of the rule stay; [`RuleSpec`] describes other changes.
    ///
    /// # Errors
    /// [`RuleError`] of the first rule that cannot be created.
    pub fn configure<C: Cells + ?Sized>(
        specs: Vec<RuleSpec>,
        cells: &C,
        entropy: &dyn Entropy,
    ) -> Result<Vec<Rule>, RuleError> {
        if specs.is_empty() {
            return Ok(Vec::new());
        }
        let seed = Seed::load(cells, entropy).ok_or(RuleError::SharedData)?;
        specs
            .into_iter()
            .map(|spec| Rule::new(spec, seed, cells))
            .collect()
    }

    /// Takes all costs, or none: if a later one is refused, the earlier ones are given back. (A
    /// concurrent request may be refused meanwhile.) `now` is [`crate::ports::Clock::now`].
    ///
    /// # Errors
    /// [`Refused`], naming the first cost that was refused.
    pub fn reserve<'a, C: Cells + ?Sized>(
        &mut self,
        mut costs: impl ExactSizeIterator<Item = BucketCost<'a>>,
        now: u64,
        cells: &C,
    ) -> Result<Reservations, Box<Refused>> {
        let mut held = Vec::with_capacity(costs.len());
        while let Some(cost) = costs.next() {
            match priced(&cost, now) {
                Ok(priced) => held.push(priced),
                Err(mut refused) => {
                    refused.which = held.len();
                    let rest = costs.filter_map(|cost| priced(&cost, now).ok());
                    held.extend(rest);
                    self.wait_longest(&mut refused.reason, &held, now, cells);
                    return Err(refused);
                }
            }
        }
        let failed = held
            .iter_mut()
            .enumerate()
            .find_map(|(which, reservation)| {
                Some((which, self.take(reservation, now, cells).err()?))
            });
        let Some((which, mut refused)) = failed else {
            return Ok(Reservations(held));
        };
        refused.which = which;
        self.wait_longest(&mut refused.reason, &held[which + 1..], now, cells);
        held.truncate(which);
        self.give_back(held, now, cells);
        Err(refused)
    }

    /// Brings each bucket from what the stream reserved to what it used, in cells, in the order of
    /// [`Reservations::as_slice`]; where `used` is shorter, the reservation stands. Once per stream, at its
    /// end.
    ///
    /// A refund is at most what time has not given back since the reserve; a debit is at most what
    /// the rule's debt allows.
    #[inline(never)]
    pub fn settle<C: Cells + ?Sized>(
        &mut self,
        held: Reservations,
        used: &[u64],
        now: u64,
        cells: &C,
    ) -> Vec<Settled> {
        let stands = core::iter::repeat(None);
        let used = used.iter().copied().map(Some).chain(stands);
        held.0
            .iter()
            .zip(used)
            .map(|(reservation, used)| {
                self.settle_one(reservation, used.unwrap_or(reservation.cells), now, cells)
            })
            .collect()
    }

    /// Adds cells to the reservation of a request that was admitted. The request goes on, so what its bucket does not have becomes debt.
    #[inline(never)]
    pub fn debit<C: Cells + ?Sized>(
        &mut self,
        held: &mut Reservations,
        more: &[u64],
        now: u64,
        cells: &C,
    ) -> Vec<Settled> {
        let mut settled = Vec::with_capacity(held.0.len());
        for (reservation, more) in held.0.iter_mut().zip(more) {
            let used = reservation.cells.saturating_add(*more);
            settled.push(self.settle_one(reservation, used, now, cells));
            reservation.cells = used;
        }
        settled
    }

    /// Writes what is unwritten. On timer, and when the VM goes away.
    pub fn flush<C: Cells + ?Sized>(&mut self, now: u64, cells: &C) {
        for (key, prior) in self.pending.take() {
            let (rule, none) = (prior.0.clone(), Delta::none(prior.0.timeline()));
            self.write(&rule, key, Some(prior), none, now, cells);
        }
    }

    /// The results, since the last call, of changes that were unwritten before: they are written with any later write of their
    /// bucket, or with a flush.
    pub fn take_deferred(&mut self) -> Vec<DeferredSettlement> {
        core::mem::take(&mut self.deferred)
    }

    /// Buckets with unwritten changes; at most 1024.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        self.pending.len()
    }

    /// Takes a priced cost.
    #[inline(never)]
    fn take<C: Cells + ?Sized>(
        &mut self,
        reservation: &mut Reservation,
        now: u64,
        cells: &C,
    ) -> Result<(), Box<Refused>> {
        let Some(attempt) = self.attempt(reservation, now, cells) else {
            reservation.balance = untouched(&reservation.rule, reservation.key, now, cells);
            return Ok(());
        };
        let pending = attempt.pending;
        let outcome = attempt.run();
        let (rule, key, count) = (&reservation.rule, reservation.key, reservation.cells);
        match outcome {
            Outcome::Reserved(reserved) => {
                let written = self.pending.remove(rule, key);
                self.defer(key, written, reserved.settled);
                (reservation.own_tat, reservation.timeline) = (reserved.own_tat, reserved.timeline);
                reservation.balance = Balance {
                    evicted: reserved.evicted,
                    clipped_ns: reserved.clipped,
                    ..Balance::at(rule, count, reserved.own_tat, now)
                };
            }
            Outcome::Refused { retry_after, start } => {
                let reason = Reason::OverBudget {
                    retry_after_ns: retry_after,
                };
                return Err(refused(rule, count, start, now, reason));
            }
            Outcome::Contended { own_tat, timeline } => {
                let owed = Delta::owed(timeline, rule.window().ns(count), now);
                let admits = rule.on_contention() == OnContention::Admit;
                if !admits || !self.keep(rule, key, pending.and(owed)) {
                    return Err(refused(rule, count, own_tat, now, Reason::Contention));
                }
                (reservation.own_tat, reservation.timeline) = (own_tat, timeline);
                reservation.balance = Balance {
                    owed: true,
                    ..Balance::at(rule, count, own_tat, now)
                };
            }
        }
        Ok(())
    }

    /// The attempt to take a cost from the shared cell; `None` for a cost of zero.
    fn attempt<'a, C: Cells + ?Sized>(
        &self,
        reservation: &'a Reservation,
        now: u64,
        cells: &'a C,
    ) -> Option<Attempt<'a, C>> {
        Some(Attempt {
            cells,
            rule: &reservation.rule,
            key: reservation.key,
            now,
            amount: reservation.amount()?,
            pending: self.pending.delta(&reservation.rule, reservation.key),
        })
    }

    /// Time until the bucket of a reservation has enough for it, ns.
    #[cold]
    fn wait<C: Cells + ?Sized>(&self, reservation: &Reservation, now: u64, cells: &C) -> u64 {
        let attempt = self.attempt(reservation, now, cells);
        attempt.map_or(0, |attempt| wait(&attempt))
    }

    /// Raises the wait to that of the other buckets, so that a client that retries after it passes all of them.
    #[cold]
    fn wait_longest<C: Cells + ?Sized>(
        &self,
        reason: &mut Reason,
        others: &[Reservation],
        now: u64,
        cells: &C,
    ) {
        let (Reason::OverBudget { retry_after_ns }
        | Reason::ExceedsScaledCapacity { retry_after_ns }) = reason
        else {
            return;
        };
        for other in others {
            *retry_after_ns = self.wait(other, now, cells).max(*retry_after_ns);
        }
    }

    /// Undoes the reserves of a request that a later bucket refused, the last first.
    #[cold]
    fn give_back<C: Cells + ?Sized>(&mut self, held: Vec<Reservation>, now: u64, cells: &C) {
        for reservation in held.into_iter().rev() {
            self.settle_one(&reservation, 0, now, cells);
            let Balance {
                evicted,
                clipped_ns: clipped,
                ..
            } = reservation.balance;
            if evicted || clipped > 0 {
                let settled = Settled {
                    evicted,
                    clipped,
                    ..Settled::default()
                };
                self.deferred.push(DeferredSettlement {
                    rule: reservation.rule,
                    key: reservation.key,
                    settled,
                });
            }
        }
    }

    fn settle_one<C: Cells + ?Sized>(
        &mut self,
        reservation: &Reservation,
        used: u64,
        now: u64,
        cells: &C,
    ) -> Settled {
        let window = reservation.rule.window();
        let (reserved, used) = (window.ns(reservation.cells), window.ns(used));
        let Some(own) = Delta::of(reservation.timeline, reserved, used, reservation.own_tat) else {
            return Settled::default();
        };
        let prior = self.pending.remove(&reservation.rule, reservation.key);
        self.write(&reservation.rule, reservation.key, prior, own, now, cells)
    }

    /// Writes an earlier change and a new one; returns the result of the new one.
    fn write<C: Cells + ?Sized>(
        &mut self,
        rule: &Rule,
        key: Fingerprint,
        prior: Option<(Rule, Delta)>,
        second: Delta,
        now: u64,
        cells: &C,
    ) -> Settled {
        let first = prior.as_ref().map(|(_, delta)| *delta);
        let first = first.unwrap_or(Delta::none(rule.timeline()));
        let outcome = update(cells, rule, key, (now, AccessWindow::Set), |view| {
            let (line, mut cell) = (view.timeline, view.slot.payload);
            let ceiling = rule.ceiling_on(&line);
            let (prior, own) = (first.on(line), second.on(line));
            let (one, two) = if view.slot.found {
                let one = prior.apply(&mut cell, now, ceiling);
                (one, own.apply(&mut cell, now, ceiling))
            } else if prior.takes() == 0 && own.takes() == 0 {
                return Err((first.dropped(), second.dropped()));
            } else {
                let owed = prior.owes();
                let one = prior.apply_to_newcomer(&mut cell, now, ceiling, owed);
                let owed = owed.saturating_sub(one.refunded);
                (one, own.apply_to_newcomer(&mut cell, now, ceiling, owed))
            };
            let came_to = (first.reported(one, line), second.reported(two, line));
            if view.slot.found && cell == view.slot.payload {
                // Time has given everything back already.
                return Err(came_to);
            }
            Ok(((came_to, line), cell))
        });
        let ((mut one, mut two), evicted, clipped) = match outcome {
            Update::Declined(value) => (value, false, 0),
            Update::Exhausted(_) => return self.keep_both(rule, key, prior, second),
            Update::Written {
                value: (value, line),
                evicted,
                clipped,
            } => {
                let clipped = line.scale_up(clipped, rule.window().span());
                (value, evicted, clipped)
            }
        };
        // With a flush there is only the earlier change.
        let counts = if second.volume() > 0 {
            &mut two
        } else {
            &mut one
        };
        counts.evicted = evicted;
        counts.clipped = counts.clipped.saturating_add(clipped);
        self.defer(key, prior, one);
        two
    }

    /// Keeps an earlier change and a new one for the next write.
    fn keep_both(
        &mut self,
        rule: &Rule,
        key: Fingerprint,
        prior: Option<(Rule, Delta)>,
        own: Delta,
    ) -> Settled {
        let first = prior.as_ref().map(|(_, delta)| *delta);
        let both = first.map_or(own, |first| first.and(own));
        if self.keep(rule, key, both) {
            return Settled {
                unwritten: own.volume(),
                ..Settled::default()
            };
        }
        let lost = first.map_or(Settled::default(), |first| first.forgotten());
        self.defer(key, prior, lost);
        own.forgotten()
    }

    /// Keeps a change for the next write; false if there is no room.
    fn keep(&mut self, rule: &Rule, key: Fingerprint, delta: Delta) -> bool {
        let room = self.pending.has_room(rule, key);
        if room && delta.volume() > 0 {
            self.pending.set(rule, key, delta);
        }
        room
    }

    fn defer(&mut self, key: Fingerprint, written: Option<(Rule, Delta)>, settled: Settled) {
        self.deferred
            .extend(written.map(|(rule, _)| DeferredSettlement { rule, key, settled }));
    }
}

/// A cost in cells, not taken yet; or why even a full bucket refuses it.
fn priced(cost: &BucketCost<'_>, now: u64) -> Result<Reservation, Box<Refused>> {
    let window = cost.rule.window();
    let cells = window.cells(cost.cost, cost.capacity);
    let burst = u64::from(window.burst().get());
    if cells > burst {
        return Err(exceeds(cost, cells, burst));
    }
    Ok(Reservation {
        rule: cost.rule.clone(),
        key: cost.key,
        cells,
        own_tat: now,
        timeline: cost.rule.timeline(),
        balance: Balance::default(),
    })
}

#[cold]
fn exceeds(cost: &BucketCost<'_>, cells: u64, limit: u64) -> Box<Refused> {
    let reason = if cost.cost > cost.unscaled_capacity {
        Reason::ExceedsCapacity
    } else {
        Reason::ExceedsScaledCapacity {
            retry_after_ns: SCALE_HOLD_NS,
        }
    };
    Box::new(Refused {
        which: 0,
        reason,
        cells,
        remaining: 0,
        limit,
        reset_ns: 0,
    })
}

#[cold]
fn refused(rule: &Rule, cells: u64, start: u64, now: u64, reason: Reason) -> Box<Refused> {
    let seen = Balance::at(rule, cells, start, now);
    Box::new(Refused {
        which: 0,
        reason,
        cells,
        remaining: seen.remaining,
        limit: seen.limit,
        reset_ns: seen.reset_ns,
    })
}

/// The balance of a bucket from which nothing is reserved.
#[inline(never)]
fn untouched<C: Cells + ?Sized>(rule: &Rule, key: Fingerprint, now: u64, cells: &C) -> Balance {
    let start = peek(cells, rule, key, now).map_or(now, |view| view.slot.payload.tat);
    Balance::at(rule, 0, start, now)
}
