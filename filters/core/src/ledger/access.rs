//! Reading and changing one cell of a table, by compare-and-swap with bounded tries.

use core::cell::Cell as Counter;

use super::cell::Cell;
use super::rule::{Fingerprint, Rule};
use super::table::{Set, Slot};
use crate::ports::Cells;

/// Tries before a write is given up. With two workers on one hot key 4–15 % of single tries are lost to the other; with eight,
/// fewer than one write in 100 000 loses so many in a row.
const TRIES: u32 = 32;

/// What came of an attempt to change a cell.
pub(super) enum Update<T, E> {
    /// Written. `evicted`: another key lost its cell; `clipped` ns of its debt nobody took over.
    Written {
        value: T,
        evicted: bool,
        clipped: u64,
    },
    /// The decision was not to write.
    Declined(E),
    /// Every try was lost, with what the last one would have decided.
    Exhausted(Option<T>),
}

/// Which window a set is brought into before it is changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Into {
    /// The rule's: a reserve is priced in it.
    TheRules,
    /// None: a settlement comes as it is, into the window that is there.
    ItsOwn,
}

/// The shared cells as one worker uses them, with a count of the tries that others won.
pub(super) struct Access<'a, C: ?Sized> {
    pub(super) cells: &'a C,
    pub(super) lost: &'a Counter<u64>,
    pub(super) now: u64,
}

impl<C: ?Sized> Clone for Access<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C: ?Sized> Copy for Access<'_, C> {}

impl<C: Cells + ?Sized> Access<'_, C> {
    /// Reads the cell, lets `decide` change it and writes it back, until no other writer interferes. `decide` sees a newcomer's
    /// cell if the key has none, and may be called several times.
    pub(super) fn update<T, E>(
        &self,
        rule: &Rule,
        key: Fingerprint,
        into: Into,
        decide: impl Fn(&Set<Cell>, &Slot<Cell>) -> Result<(T, Cell), E>,
    ) -> Update<T, E> {
        let set_key = rule.set_key(key);
        let mut last = None;
        for _ in 0..TRIES {
            let (mut set, cas) = self.read(rule, &set_key);
            if into == Into::TheRules {
                set.rescale(rule.window().span(), self.now);
            }
            let slot = set.find(key.0, self.now, rule.ways());
            let (value, cell) = match decide(&set, &slot) {
                Ok(decision) => decision,
                Err(declined) => return Update::Declined(declined),
            };
            set.put(key.0, &slot, &cell);
            if self.cells.swap(&set_key, set.bytes(), cas).is_ok() {
                return Update::Written {
                    value,
                    evicted: slot.evicts,
                    clipped: slot.clipped,
                };
            }
            self.lost.set(self.lost.get().saturating_add(1));
            last = Some(value);
        }
        Update::Exhausted(last)
    }

    /// The cell of a key as it is in the rule's window, or as it would start.
    pub(super) fn peek(&self, rule: &Rule, key: Fingerprint) -> Slot<Cell> {
        let (mut set, _) = self.read(rule, &rule.set_key(key));
        set.rescale(rule.window().span(), self.now);
        set.find(key.0, self.now, rule.ways())
    }

    /// A set that was never written is empty: who writes it first creates it. What is no set is replaced.
    fn read(&self, rule: &Rule, set_key: &str) -> (Set<Cell>, Option<u32>) {
        let new = || Set::new(rule.window().span());
        match self.cells.get(set_key) {
            Some((bytes, cas)) => (Set::parse(bytes).unwrap_or_else(new), Some(cas)),
            None => (new(), None),
        }
    }
}
