//! The ledger of one worker: reserve, settle, flush.
//!
//! One per VM, in a static: it outlives root contexts, as every configuration update makes new ones. It holds the changes that it
//! could not write yet; everything else is in shared memory or with the stream.

use core::cell::Cell as Counter;
use std::collections::BTreeMap;

use super::access::{Access, Into, Update};
use super::cell::{Delta, Settled};
use super::gcra::{Attempt, Outcome};
use super::request::{Balance, Carried, Held, HeldSpend, Reason, Refused, Spend};
use super::rule::{Fingerprint, OnContention, Rule, RuleError, RuleSpec, Seed, TableId};
use super::table::Change;
use crate::ports::{Cells, Entropy};

/// When a cost is above the capacity only because that is scaled down: the control plane holds a
/// scale for at least so long, so asking again sooner is useless. In ns.
const SCALE_HOLD_NS: u64 = 10_000_000_000;

/// Most buckets for which a worker keeps unwritten changes; beyond it they are lost, and counted.
const MAX_PENDING: usize = 1024;

/// The ledger of one worker.
#[derive(Debug, Default)]
pub struct Ledger {
    pending: BTreeMap<(TableId, Fingerprint), (Rule, Delta)>,
    carried: Vec<Carried>,
    /// Tries that other workers won.
    lost: Counter<u64>,
}

impl Ledger {
    /// A ledger that holds nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the rules of a configuration, in order. Idempotent: what is in shared memory, and what workers hold, survives
    /// configuration and code swaps as long as a rule's id and key stay.
    ///
    /// # Errors
    /// [`RuleError`] of the first rule that cannot be made.
    pub fn configure<C: Cells + ?Sized>(
        specs: Vec<RuleSpec>,
        cells: &C,
        entropy: &dyn Entropy,
    ) -> Result<Vec<Rule>, RuleError> {
        let seed = Seed::load(cells, entropy).ok_or(RuleError::NoMemory)?;
        specs
            .into_iter()
            .map(|spec| Rule::open(spec, seed, cells))
            .collect()
    }

    /// Takes all spends, or none: if a later one is refused, the earlier ones are given back. (A
    /// concurrent request may be refused meanwhile.) `now` is [`crate::ports::Clock::now`].
    ///
    /// # Errors
    /// [`Refused`], naming the first spend that was refused; its wait is the longest of all.
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
        let Some((which, refused)) = failed else {
            return Ok(Held(held));
        };
        Err(self.refuse(held, which, refused, now, cells))
    }

    /// Gives back what was taken before a refusal, and waits for what was not asked yet as well.
    #[cold]
    fn refuse<C: Cells + ?Sized>(
        &mut self,
        mut held: Vec<HeldSpend>,
        which: usize,
        mut refused: Box<Refused>,
        now: u64,
        cells: &C,
    ) -> Box<Refused> {
        refused.which = which;
        if let Reason::OverBudget { retry_after_ns } = &mut refused.reason {
            for later in held.iter().skip(which + 1) {
                *retry_after_ns = self.wait(later, now, cells).max(*retry_after_ns);
            }
        }
        held.truncate(which);
        for spend in held.iter().rev() {
            self.settle_one(spend, 0, now, cells);
        }
        refused
    }

    /// How long a spend that was not tried would have to wait, ns.
    fn wait<C: Cells + ?Sized>(&self, spend: &HeldSpend, now: u64, cells: &C) -> u64 {
        let (rule, window) = (&spend.rule, spend.rule.window());
        let slot = self.access(now, cells).peek(rule, spend.key);
        let full = slot
            .payload
            .tat
            .max(now)
            .saturating_add(window.ns(spend.cells));
        full.saturating_sub(now.saturating_add(window.span()))
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
        for ((_, key), (rule, delta)) in core::mem::take(&mut self.pending) {
            self.write(&rule, key, delta, Delta::default(), now, cells);
        }
    }

    /// What changes that had been left unwritten came to, since the last call: they go with any
    /// later write of their bucket, or with a flush.
    pub fn carried(&mut self) -> Vec<Carried> {
        core::mem::take(&mut self.carried)
    }

    /// Buckets with unwritten changes; bounded.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        self.pending.len()
    }

    /// Tries of a compare-and-swap that other workers won, since the last call.
    pub fn lost_tries(&mut self) -> u64 {
        self.lost.take()
    }

    fn access<'a, C: Cells + ?Sized>(&'a self, now: u64, cells: &'a C) -> Access<'a, C> {
        Access {
            cells,
            lost: &self.lost,
            now,
        }
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
            let slot = self.access(now, cells).peek(rule, key);
            spend.balance = balance(rule, 0, slot.payload.tat, now);
            return Ok(());
        };
        let id = (rule.table_id(), key);
        let pending = self.pending.get(&id).map_or(Delta::default(), |p| p.1);
        let outcome = Attempt {
            access: self.access(now, cells),
            rule,
            key,
            amount,
            pending,
        }
        .run();
        match outcome {
            Outcome::Taken(taken) => {
                if !self.pending.is_empty() {
                    self.pending.remove(&id);
                    self.carry(rule, key, pending, taken.carried);
                }
                spend.own_tat = taken.own_tat;
                spend.epoch = taken.epoch;
                spend.balance = Balance {
                    evicted: taken.evicted,
                    clipped_ns: taken.clipped,
                    ..balance(rule, spend.cells, taken.own_tat, now)
                };
                Ok(())
            }
            Outcome::Refused { retry_after, start } => {
                let reason = Reason::OverBudget {
                    retry_after_ns: retry_after,
                };
                Err(refused(rule, spend.cells, start, now, reason))
            }
            Outcome::Contended { own_tat, epoch } => self.contended(spend, own_tat, epoch, now),
        }
    }

    /// A reserve that could not be written: refused, or admitted and owed.
    #[cold]
    fn contended(
        &mut self,
        spend: &mut HeldSpend,
        own_tat: u64,
        epoch: u32,
        now: u64,
    ) -> Result<(), Box<Refused>> {
        let (rule, window) = (&spend.rule, spend.rule.window());
        let owed = Delta::owed((window.span(), epoch), window.ns(spend.cells), now);
        let admits = rule.on_contention() == OnContention::Admit;
        if !admits || !self.keep(rule, spend.key, owed) {
            return Err(refused(rule, spend.cells, own_tat, now, Reason::Contention));
        }
        (spend.own_tat, spend.epoch) = (own_tat, epoch);
        spend.balance = Balance {
            owed: true,
            ..balance(rule, spend.cells, own_tat, now)
        };
        Ok(())
    }

    fn settle_one<C: Cells + ?Sized>(
        &mut self,
        spend: &HeldSpend,
        used: u64,
        now: u64,
        cells: &C,
    ) -> Settled {
        let window = spend.rule.window();
        let (reserved, used) = (window.ns(spend.cells), window.ns(used));
        let Some(own) = Delta::of((window.span(), spend.epoch), reserved, used, spend.own_tat)
        else {
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
        let access = self.access(now, cells);
        let outcome = access.update(rule, key, Into::ItsOwn, |set, slot| {
            let mut cell = slot.payload;
            let (prior, own) = (prior.within(set), own.within(set));
            let ceiling = ceiling(rule, set.span());
            if slot.found {
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
        let ((first, mut second), evicted, clipped) = match outcome {
            Update::Written {
                value,
                evicted,
                clipped,
            } => (value, evicted, clipped),
            Update::Declined(value) => (value, false, 0),
            Update::Exhausted(_) => return self.keep_both(rule, key, prior, own),
        };
        self.carry(rule, key, prior, first);
        second.evicted = evicted;
        second.clipped = second.clipped.saturating_add(clipped);
        second
    }

    /// Keeps an earlier change and a new one for the next write.
    #[cold]
    fn keep_both(&mut self, rule: &Rule, key: Fingerprint, prior: Delta, own: Delta) -> Settled {
        if self.keep(rule, key, prior) && self.keep(rule, key, own) {
            return Settled {
                unwritten: own.volume(),
                ..Settled::default()
            };
        }
        self.carry(rule, key, prior, prior.forgotten());
        own.forgotten()
    }

    /// Keeps a change for the next write, with what is kept already; false if there is no room, or if the window changed in
    /// between.
    fn keep(&mut self, rule: &Rule, key: Fingerprint, delta: Delta) -> bool {
        let id = (rule.table_id(), key);
        let kept = self.pending.get(&id).map_or(Delta::default(), |p| p.1);
        let room = self.pending.len() < MAX_PENDING || self.pending.contains_key(&id);
        let fits = room && kept.is_in_window_of(&delta);
        if fits && delta.volume() > 0 {
            self.pending.insert(id, (rule.clone(), kept.and(delta)));
        }
        fits
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

/// The rule's ceiling, in the window of a set.
fn ceiling(rule: &Rule, span: u64) -> u64 {
    let from = rule.window().span();
    match from == span {
        true => rule.ceiling(),
        false => Change {
            at: 0,
            from,
            to: span,
        }
        .length(rule.ceiling()),
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
        epoch: 0,
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

/// A bucket whose next reserve would begin at `start`.
fn balance(rule: &Rule, cells: u64, start: u64, now: u64) -> Balance {
    let window = rule.window();
    let backlog = start.saturating_sub(now);
    let left = window.span().saturating_sub(backlog);
    let limit = u64::from(window.burst().get());
    Balance {
        cells,
        remaining: (left / window.period()).min(limit),
        limit,
        reset_ns: backlog,
        ..Balance::default()
    }
}

#[cold]
fn refused(rule: &Rule, cells: u64, start: u64, now: u64, reason: Reason) -> Box<Refused> {
    let seen = balance(rule, cells, start, now);
    Box::new(Refused {
        which: 0,
        reason,
        cells,
        remaining: seen.remaining,
        limit: seen.limit,
        reset_ns: seen.reset_ns,
    })
}
