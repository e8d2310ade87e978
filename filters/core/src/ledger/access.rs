//! Access to one cell of a table, by compare-and-swap with bounded attempts.

use super::TRIES;
use super::cell::Cell;
use super::fingerprint::Fingerprint;
use super::rule::Rule;
use super::table::{Set, Slot};
use super::timeline::Timeline;
use crate::ports::Cells;

/// The window of an access.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AccessWindow {
    /// That of the rule: a set with another window is rescaled first, in the same write.
    Rule,
    /// That of the set: the caller scales its amounts to it.
    Set,
}

/// The cell of a key, or the one that a new key would get.
pub(super) struct View {
    pub(super) slot: Slot<Cell>,
    /// The time line of the cell.
    pub(super) timeline: Timeline,
    /// Debt that writing it drops: of an evicted key, or above the ceiling after a rescale. In ns of that
    /// time line.
    pub(super) clipped: u64,
}

/// The result of an attempt to change a cell.
pub(super) enum Update<T, E> {
    /// Written.
    Written {
        value: T,
        /// A key whose bucket was not full lost its cell.
        evicted: bool,
        /// Debt that was dropped, as [`View::clipped`].
        clipped: u64,
    },
    /// The decision was not to write.
    Declined(E),
    /// Every attempt lost, with the decision of the last one; `None` if the stored value is not a set.
    Exhausted(Option<T>),
}

/// Reads the cell, lets `decide` change it and writes it back, until no other writer interferes.
/// `decide` may be called several times.
pub(super) fn update<C: Cells + ?Sized, T, E>(
    cells: &C,
    rule: &Rule,
    key: Fingerprint,
    (now, window): (u64, AccessWindow),
    decide: impl Fn(&View) -> Result<(T, Cell), E>,
) -> Update<T, E> {
    let mut last = None;
    for _ in 0..TRIES {
        let (set_key, mut set, cas) = match find(cells, rule, key, Close::Yes) {
            Ok(found) => found,
            Err(Failed::Lost) => continue,
            Err(Failed::NoSet) => break,
        };
        let view = view(&mut set, rule, key, (now, window));
        let (value, cell) = match decide(&view) {
            Ok(decision) => decision,
            Err(declined) => return Update::Declined(declined),
        };
        set.put(key.0, &view.slot, &cell);
        if cells.swap(&set_key, set.bytes(), cas).is_ok() {
            return Update::Written {
                value,
                evicted: view.slot.evicts,
                clipped: view.clipped,
            };
        }
        last = Some(value);
    }
    Update::Exhausted(last)
}

/// The cell of a key in the rule's window, as it is or as it would start; `None` if the stored value is not a set.
pub(super) fn peek<C: Cells + ?Sized>(
    cells: &C,
    rule: &Rule,
    key: Fingerprint,
    now: u64,
) -> Option<View> {
    let (_, mut set, _) = find(cells, rule, key, Close::No).ok()?;
    Some(view(&mut set, rule, key, (now, AccessWindow::Rule)))
}

fn view(
    set: &mut Set<Cell>,
    rule: &Rule,
    key: Fingerprint,
    (now, window): (u64, AccessWindow),
) -> View {
    let cut = match window {
        AccessWindow::Rule => set.rescale(rule.window().span(), now, rule.ceiling()),
        AccessWindow::Set => 0,
    };
    let slot = set.slot(key.0, now);
    View {
        slot,
        timeline: set.timeline(),
        clipped: cut.saturating_add(slot.clipped),
    }
}

/// Why a set cannot be read.
enum Failed {
    /// Another writer was faster: try again.
    Lost,
    /// The stored value is not a set.
    NoSet,
}

/// Whether a set of a smaller table is closed when a set of a larger table takes its part from it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Close {
    Yes,
    /// Read only.
    No,
}

/// The key, the set and its version; without a version, it is to be created.
type LocatedSet = (String, Set<Cell>, Option<u32>);

/// The set in which a key's cell is.
fn find<C: Cells + ?Sized>(
    cells: &C,
    rule: &Rule,
    key: Fingerprint,
    close: Close,
) -> Result<LocatedSet, Failed> {
    let mut width = rule.placement().width();
    let mut found = read(cells, rule, key, width, close)?;
    // Another VM has a configuration with more keys. A set only moves to a greater width, so this ends.
    while let Some(moved) = found.1.moved_to() {
        if moved <= width {
            return Err(Failed::NoSet);
        }
        width = moved;
        let set_key = rule.placement().set_key(key, width);
        found = match cells.get(&set_key) {
            Some(value) => stored(set_key, value)?,
            None => (set_key, found.1.part(key.get(), width), None),
        };
    }
    Ok(found)
}

fn stored(set_key: String, (bytes, cas): (Vec<u8>, u32)) -> Result<LocatedSet, Failed> {
    let set = Set::parse(bytes).ok_or(Failed::NoSet)?;
    Ok((set_key, set, Some(cas)))
}

/// The set of a key in a table of that width. A new one begins with its part of the set of the previous width, which is closed.
fn read<C: Cells + ?Sized>(
    cells: &C,
    rule: &Rule,
    key: Fingerprint,
    width: u8,
    close: Close,
) -> Result<LocatedSet, Failed> {
    let placement = rule.placement();
    let set_key = placement.set_key(key, width);
    if let Some(value) = cells.get(&set_key) {
        return stored(set_key, value);
    }
    let Some(before) = placement.before(width) else {
        return Ok((set_key, Set::new(rule.timeline()), None));
    };
    let (old_key, mut old, cas) = read(cells, rule, key, before, close)?;
    let part = old.part(key.get(), width);
    if close == Close::Yes && old.moved_to().is_none() {
        old.close(width);
        let closed = cells.swap(&old_key, old.bytes(), cas);
        closed.map_err(|_| Failed::Lost)?;
    }
    Ok((set_key, part, None))
}
