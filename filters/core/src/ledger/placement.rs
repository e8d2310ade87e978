//! The set of a key, also after `maxKeys` was raised.
//!
//! A table has 2^w sets, and the w highest bits of a fingerprint are its set. A configuration with more keys
//! makes w grow, in one shared record that every VM reads; a smaller w takes effect when Envoy restarts, so no
//! bucket is ever reset. A set of the new width begins with its part of the set that held its keys before.
//! That one is closed first: it records the width that its keys moved to, so workers that do not have the new
//! configuration yet, and streams that reserved before it, find them.

use super::TRIES;
use super::fingerprint::Fingerprint;
use crate::ports::Cells;

/// Keys per set: a quarter of its ways, so that no set overflows by chance.
const KEYS_PER_SET: u32 = 16;

/// The greatest width, for [`super::RuleSpec::MAX_KEYS`].
const MAX_WIDTH: u8 = 20;

/// The sets of one table.
#[derive(Debug)]
pub(super) struct Placement {
    /// Prefix of all shared keys of the table.
    table: String,
    /// Bits of a fingerprint that are the number of its set: of all configurations so far, ascending.
    widths: Vec<u8>,
}

impl Placement {
    /// Reads the widths of a table, and adds the one for so many keys if it is greater than all of them. `None`: the shared record
    /// can neither be read nor be written.
    pub(super) fn load<C: Cells + ?Sized>(table: String, max_keys: u32, cells: &C) -> Option<Self> {
        let sets = max_keys.div_ceil(KEYS_PER_SET).next_power_of_two();
        let width = sets.trailing_zeros() as u8;
        let record = format!("{table}widths");
        for _ in 0..TRIES {
            let (mut widths, cas) = match cells.get(&record) {
                Some((widths, cas)) => (widths, Some(cas)),
                None => (Vec::new(), None),
            };
            if !widths.is_sorted() || widths.last() > Some(&MAX_WIDTH) {
                break;
            }
            if widths.last() >= Some(&width) {
                return Some(Self { table, widths });
            }
            widths.push(width);
            if cells.swap(&record, &widths, cas).is_ok() {
                return Some(Self { table, widths });
            }
        }
        None
    }

    /// The current width.
    pub(super) fn width(&self) -> u8 {
        self.widths.last().copied().unwrap_or(0)
    }

    /// The width before this one.
    pub(super) fn before(&self, width: u8) -> Option<u8> {
        let earlier = self.widths.iter().rev();
        earlier.copied().find(|earlier| *earlier < width)
    }

    /// The shared key of the set of a fingerprint.
    pub(super) fn set_key(&self, fingerprint: Fingerprint, width: u8) -> String {
        let set = set(fingerprint.get(), width);
        format!("{}{width}/{set:x}", self.table)
    }
}

/// The number of the set of a fingerprint.
pub(super) fn set(fingerprint: u64, width: u8) -> u64 {
    let below = 64_u32.saturating_sub(u32::from(width));
    fingerprint.checked_shr(below).unwrap_or_default()
}
