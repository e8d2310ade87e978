//! Reading and changing one cell of a table, by compare-and-swap with bounded tries.

use super::cell::Cell;
use super::rule::{Fingerprint, Rule};
use super::table::{Seat, Set};
use crate::ports::Cells;

/// Tries before a write is given up. With two workers on one hot key 4–15 % of single tries fail;
/// eight in a row means something is wrong beyond contention.
const TRIES: usize = 8;

/// What came of an attempt to change a cell.
pub(super) enum Update<T, E> {
    /// Written. `evicted`: another key lost its cell.
    Written { value: T, evicted: bool },
    /// The decision was not to write.
    Declined(E),
    /// Every try lost, with what the last one would have decided; `None` if there is no such set.
    Exhausted(Option<T>),
}

/// Reads the cell, lets `decide` change it and writes it back, until no other writer interferes.
/// `decide` sees a newcomer's cell if the key has none, and may be called several times.
pub(super) fn update<C: Cells + ?Sized, T, E>(
    cells: &C,
    rule: &Rule,
    key: Fingerprint,
    decide: impl Fn(&Seat<Cell>) -> Result<(T, Cell), E>,
) -> Update<T, E> {
    let set_key = rule.set_key(key);
    let mut last = None;
    for _ in 0..TRIES {
        let Some((mut set, cas)) = read(cells, rule, &set_key) else {
            break;
        };
        let seat = set.seat(key.0);
        let (value, cell) = match decide(&seat) {
            Ok(decision) => decision,
            Err(declined) => return Update::Declined(declined),
        };
        set.put(key.0, &seat, &cell);
        if cells.swap(&set_key, set.bytes(), Some(cas)).is_ok() {
            return Update::Written {
                value,
                evicted: seat.evicts,
            };
        }
        last = Some(value);
    }
    Update::Exhausted(last)
}

/// The cell of a key as it is, or as it would start; `None` if there is no such set.
pub(super) fn peek<C: Cells + ?Sized>(
    cells: &C,
    rule: &Rule,
    key: Fingerprint,
) -> Option<Seat<Cell>> {
    let (set, _) = read(cells, rule, &rule.set_key(key))?;
    Some(set.seat(key.0))
}

fn read<C: Cells + ?Sized>(cells: &C, rule: &Rule, set_key: &str) -> Option<(Set<Cell>, u32)> {
    let (bytes, cas) = cells.get(set_key)?;
    Some((Set::parse(bytes, rule.shape().ways())?, cas))
}
