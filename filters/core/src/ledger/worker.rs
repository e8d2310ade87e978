//! The ledger of one worker: reserve, settle, flush.
//!
//! One per VM, in a static: it outlives root contexts, as every configuration update makes new
//! ones. It holds the worker's slices and the changes it could not write yet; everything else is
//! in shared memory or with the stream.

use core::num::NonZeroU32;
use std::collections::BTreeMap;

use super::access::{Update, peek, update};
use super::cell::{Delta, Settled};
use super::gcra::{Attempt, Outcome, Taken};
use super::request::{Balance, Carried, Held, HeldSpend, Reason, Refused, Source, Spend};
use super::rule::{Fingerprint, Lending, OnContention, Rule, RuleError, RuleSpec, Seed, TableId};
use super::slice::{self, Slice, Slices};
use crate::ports::{Cells, Entropy};

/// When a cost is above the capacity only because that is scaled down: the control plane holds a
/// scale for at least so long, so asking again sooner is useless. In ns.
const SCALE_HOLD_NS: u64 = 10_000_000_000;

/// Most buckets for which a worker keeps unwritten changes; beyond it they are lost, and counted.
const MAX_PENDING: usize = 1024;

/// How much a flush gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Timer: write what is unwritten; slices stay.
    Tick,
    /// The VM is going away: slices go back as well.
    Done,
}

/// The ledger of one worker.
#[derive(Debug, Default)]
pub struct Ledger {
    slices: Slices,
    pending: BTreeMap<(TableId, Fingerprint), (Rule, Delta)>,
    carried: Vec<Carried>,
}

impl Ledger {
    /// A ledger that holds nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the rules of a configuration, in order, and sees to their tables. Idempotent: what is
    /// in shared memory, and what workers hold, survives configuration and code swaps as long as a
    /// rule's id, window and table shape stay.
    ///
    /// `creator` is entropy for the VM that may create tables: the one that is configured first,
    /// on the main thread. Two creators at once would overwrite each other.
    ///
    /// # Errors
    /// [`RuleError`] of the first rule that cannot be made.
    pub fn configure<C: Cells + ?Sized>(
        specs: Vec<RuleSpec>,
        cells: &C,
        creator: Option<&dyn Entropy>,
    ) -> Result<Vec<Rule>, RuleError> {
        let seed = Seed::load(cells, creator);
        specs
            .into_iter()
            .map(|spec| match seed {
                Some(seed) => Rule::open(spec, seed, cells, creator.is_some()),
                None => Err(RuleError::NoTable { rule: spec.id }),
            })
            .collect()
    }

    /// Takes all spends, or none: if a later one is refused, the earlier ones are given back. (A
    /// concurrent request may be refused meanwhile.) `now` is [`crate::ports::Clock::now`].
    ///
    /// # Errors
    /// [`Refused`], naming the spend.
    pub fn reserve<'a, C: Cells + ?Sized>(
        &mut self,
        spends: impl ExactSizeIterator<Item = Spend<'a>>,
        now: u64,
        cells: &C,
    ) -> Result<Held, Box<Refused>> {
        let mut held = Vec::with_capacity(spends.len());
        for spend in spends {
            match priced(&spend, now) {
                Ok(priced) => held.push(priced),
                Err(mut refused) => {
                    refused.which = held.len();
                    return Err(refused);
                }
            }
        }
        let failed = held
            .iter_mut()
            .enumerate()
            .find_map(|(which, spend)| Some((which, self.take(spend, now, cells).err()?)));
        let Some((which, mut refused)) = failed else {
            return Ok(Held(held));
        };
        held.truncate(which);
        self.give_back(held, now, cells);
        refused.which = which;
        Err(refused)
    }

    /// Brings each bucket from what the stream reserved to what it used, in cells, in the order of
    /// [`Held::spends`]; where `used` is shorter, the reservation stands. Once per stream, at its
    /// end.
    ///
    /// A refund is at most what time has not given back since the reserve; a debit is at most what
    /// the rule's debt allows.
    #[inline(never)]
    pub fn settle<C: Cells + ?Sized>(
        &mut self,
        held: Held,
        used: &[u64],
        now: u64,
        cells: &C,
    ) -> Vec<Settled> {
        let stands = core::iter::repeat(None);
        let used = used.iter().copied().map(Some).chain(stands);
        held.0
            .iter()
            .zip(used)
            .map(|(spend, used)| self.settle_one(spend, used.unwrap_or(spend.cells), now, cells))
            .collect()
    }

    /// Writes what is unwritten. On timer, and when the VM goes away.
    pub fn flush<C: Cells + ?Sized>(&mut self, now: u64, cells: &C) {
        let how = Flush::Tick;
        for ((_, key), (rule, delta)) in core::mem::take(&mut self.pending) {
            self.write(&rule, key, delta, Delta::default(), now, cells);
        }
        self.slices.sweep(now);
        if how == Flush::Done {
            for (rule, key, slice) in self.slices.take_all() {
                take_back(&rule, key, slice.rest(now), cells);
            }
        }
    }

    /// What changes that had been left unwritten came to, since the last call: they go with any
    /// later write of their bucket, or with a flush.
    pub fn carried(&mut self) -> Vec<Carried> {
        core::mem::take(&mut self.carried)
    }

    /// Slices held, and buckets with unwritten changes; both are bounded.
    #[must_use]
    pub fn holdings(&self) -> (usize, usize) {
        (self.slices.len(), self.pending.len())
    }

    /// Takes a spend that is priced.
    fn take<C: Cells + ?Sized>(
        &mut self,
        spend: &mut HeldSpend,
        now: u64,
        cells: &C,
    ) -> Result<(), Box<Refused>> {
        let (rule, key) = (&spend.rule, spend.key);
        let Some(amount) = spend.amount() else {
            spend.balance = untouched(rule, key, now, cells);
            return Ok(());
        };
        if let Some(slice) = self.slices.get(rule.table_id(), key) {
            let before = slice.x;
            if let Some(own_tat) = slice.spend(rule.window().ns(spend.cells), now) {
                let left = slice.left(now);
                spend.balance = balance(rule, spend.cells, slice.tat, left, now, Source::Slice);
                spend.own_tat = own_tat;
                spend.undo = Some((before, slice.x));
                return Ok(());
            }
        }
        self.take_shared(spend, amount, now, cells)
    }

    /// The same, of the shared cell.
    #[inline(never)]
    fn take_shared<C: Cells + ?Sized>(
        &mut self,
        spend: &mut HeldSpend,
        amount: NonZeroU32,
        now: u64,
        cells: &C,
    ) -> Result<(), Box<Refused>> {
        let (rule, key, count) = (&spend.rule, spend.key, spend.cells);
        let id = (rule.table_id(), key);
        let took = rule.window().ns(count);
        let slice = self.slices.get(id.0, key);
        let pending = self.pending.get(&id).map_or(Delta::default(), |p| p.1);
        let outcome = Attempt {
            cells,
            rule,
            key,
            now,
            amount,
            pending,
            returned: slice.map_or((0, 0), |slice| slice.rest(now)),
            lend: match rule.lending() {
                Lending::WhileFull => slice::size(took, rule.window().span()),
                Lending::Never => 0,
            },
        }
        .run();
        (spend.own_tat, spend.balance) = match outcome {
            Outcome::Taken(taken) => {
                self.pending.remove(&id);
                self.carry(rule, key, pending, taken.carried);
                (taken.own_tat, self.accept(rule, key, count, &taken, now))
            }
            Outcome::Refused { retry_after, start } => {
                let reason = Reason::OverBudget {
                    retry_after_ns: retry_after,
                };
                return Err(refused(rule, count, start, now, reason));
            }
            Outcome::Contended { own_tat } => {
                let owed = pending.and(Delta::owed(took, now));
                if rule.on_contention() != OnContention::Admit || !self.keep(rule, key, owed) {
                    return Err(refused(rule, count, own_tat, now, Reason::Contention));
                }
                let balance = balance(rule, count, own_tat, 0, now, Source::Owed);
                (own_tat, balance)
            }
        };
        Ok(())
    }

    /// Books a written reserve: the old slice went back with it, a new one may have come.
    fn accept(
        &mut self,
        rule: &Rule,
        key: Fingerprint,
        count: u64,
        taken: &Taken,
        now: u64,
    ) -> Balance {
        let (x, end) = taken.slice;
        let lent = end - x;
        if lent > 0 {
            let slice = Slice::new(x, end, taken.own_tat + lent);
            self.slices.put(rule, key, slice);
        } else {
            self.slices.remove(rule.table_id(), key);
        }
        Balance {
            evicted: taken.evicted,
            ..balance(rule, count, taken.own_tat, 0, now, Source::Cell)
        }
    }

    /// Undoes the spends of a request that is refused after all, the last first.
    #[cold]
    fn give_back<C: Cells + ?Sized>(&mut self, held: Vec<HeldSpend>, now: u64, cells: &C) {
        for spend in held.into_iter().rev() {
            let slice = self.slices.get(spend.rule.table_id(), spend.key);
            match (spend.undo, slice) {
                (Some((before, after)), Some(slice)) if slice.x == after => slice.x = before,
                (Some((_, after)), _) if unspend(&spend, after, cells) => {}
                _ => {
                    self.settle_one(&spend, 0, now, cells);
                }
            }
        }
    }

    fn settle_one<C: Cells + ?Sized>(
        &mut self,
        spend: &HeldSpend,
        used: u64,
        now: u64,
        cells: &C,
    ) -> Settled {
        let window = spend.rule.window();
        let Some(own) = Delta::of(window.ns(spend.cells), window.ns(used), spend.own_tat) else {
            return Settled::default();
        };
        if own.refundable(now) == 0 && own.takes() == 0 {
            return own.dropped();
        }
        let id = (spend.rule.table_id(), spend.key);
        let prior = self.pending.remove(&id).map_or(Delta::default(), |p| p.1);
        self.write(&spend.rule, spend.key, prior, own, now, cells)
    }

    /// Writes an earlier change and a new one; returns what the new one came to.
    fn write<C: Cells + ?Sized>(
        &mut self,
        rule: &Rule,
        key: Fingerprint,
        prior: Delta,
        own: Delta,
        now: u64,
        cells: &C,
    ) -> Settled {
        let ceiling = rule.ceiling();
        let outcome = update(cells, rule, key, |seat| {
            let mut cell = seat.payload;
            if seat.found {
                let first = prior.apply(&mut cell, now, ceiling);
                Ok(((first, own.apply(&mut cell, now, ceiling)), cell))
            } else if prior.takes() == 0 && own.takes() == 0 {
                Err((prior.dropped(), own.dropped()))
            } else {
                let owed = prior.owes();
                let first = prior.apply_to_newcomer(&mut cell, now, ceiling, owed);
                let owed = owed.saturating_sub(first.refunded);
                let second = own.apply_to_newcomer(&mut cell, now, ceiling, owed);
                Ok(((first, second), cell))
            }
        });
        let ((first, second), evicted) = match outcome {
            Update::Written { value, evicted } => (value, evicted),
            Update::Declined(value) => (value, false),
            Update::Exhausted(_) => return self.keep_both(rule, key, prior, own),
        };
        self.carry(rule, key, prior, first);
        Settled { evicted, ..second }
    }

    /// Keeps an earlier change and a new one for the next write.
    fn keep_both(&mut self, rule: &Rule, key: Fingerprint, prior: Delta, own: Delta) -> Settled {
        if self.keep(rule, key, prior.and(own)) {
            return Settled {
                unwritten: own.volume(),
                ..Settled::default()
            };
        }
        self.carry(rule, key, prior, prior.forgotten());
        own.forgotten()
    }

    /// Keeps a change for the next write; false if there is no room.
    fn keep(&mut self, rule: &Rule, key: Fingerprint, delta: Delta) -> bool {
        let id = (rule.table_id(), key);
        let room = self.pending.len() < MAX_PENDING || self.pending.contains_key(&id);
        if room && delta.volume() > 0 {
            self.pending.insert(id, (rule.clone(), delta));
        }
        room
    }

    fn carry(&mut self, rule: &Rule, key: Fingerprint, delta: Delta, settled: Settled) {
        if delta.volume() > 0 {
            self.carried.push(Carried {
                rule: rule.clone(),
                key,
                settled,
            });
        }
    }
}

/// A spend in cells, not taken yet; or why it cannot pass however full the bucket is.
fn priced(spend: &Spend<'_>, now: u64) -> Result<HeldSpend, Box<Refused>> {
    let window = spend.rule.window();
    let cells = window.cells(spend.cost, spend.capacity);
    let burst = u64::from(window.burst().get());
    if cells > burst {
        return Err(exceeds(spend, cells, burst));
    }
    Ok(HeldSpend {
        rule: spend.rule.clone(),
        key: spend.key,
        cells,
        own_tat: now,
        undo: None,
        balance: Balance::default(),
    })
}

#[cold]
fn exceeds(spend: &Spend<'_>, cells: u64, limit: u64) -> Box<Refused> {
    let reason = if spend.cost > spend.unscaled_capacity {
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

/// A bucket whose next reserve would begin at `start`, of which `slice` ns are this worker's.
fn balance(rule: &Rule, cells: u64, start: u64, slice: u64, now: u64, source: Source) -> Balance {
    let window = rule.window();
    let backlog = start.saturating_sub(now);
    let left = window.span().saturating_sub(backlog).saturating_add(slice);
    let limit = u64::from(window.burst().get());
    Balance {
        cells,
        remaining: (left / window.period()).min(limit),
        limit,
        reset_ns: backlog,
        source,
        owed: source == Source::Owed,
        clipped_ns: 0,
        evicted: false,
    }
}

#[cold]
fn refused(rule: &Rule, cells: u64, start: u64, now: u64, reason: Reason) -> Box<Refused> {
    let seen = balance(rule, cells, start, 0, now, Source::Nothing);
    Box::new(Refused {
        which: 0,
        reason,
        cells,
        remaining: seen.remaining,
        limit: seen.limit,
        reset_ns: seen.reset_ns,
    })
}

/// The bucket of which nothing is taken.
#[inline(never)]
fn untouched<C: Cells + ?Sized>(rule: &Rule, key: Fingerprint, now: u64, cells: &C) -> Balance {
    let start = peek(cells, rule, key).map_or(now, |s| s.payload.start());
    balance(rule, 0, start, 0, now, Source::Nothing)
}

/// Gives back what was spent, up to `after` on the lending line, of a slice that has itself gone
/// back since; false if that cannot be written.
fn unspend<C: Cells + ?Sized>(spend: &HeldSpend, after: u64, cells: &C) -> bool {
    let amount = spend.rule.window().ns(spend.cells);
    let from = after.saturating_sub(amount);
    take_back(&spend.rule, spend.key, (from, after), cells)
}

/// Gives back a stretch of the lending line; true unless every try was lost.
fn take_back<C: Cells + ?Sized>(
    rule: &Rule,
    key: Fingerprint,
    stretch: (u64, u64),
    cells: &C,
) -> bool {
    let outcome = update(cells, rule, key, |seat| {
        let mut cell = seat.payload;
        cell.take_back(stretch);
        if seat.found { Ok(((), cell)) } else { Err(()) }
    });
    !matches!(outcome, Update::Exhausted(_))
}
