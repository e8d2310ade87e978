//! A rule of the ledger: its window, its table in shared memory and its policies.
//!
//! A [`Rule`] is what a stream keeps for its settlement: small, shared and independent of the
//! configuration it came from, so old configurations are freed while their streams go on.

use std::hash::Hasher;
use std::rc::Rc;

use siphasher::sip::SipHasher13;

use super::cell::Cell;
use super::table::Set;
use super::window::{MILLION, Window};
use crate::ports::{Cells, Entropy};

/// Format of keys and values in shared data; a module that changes either must change this, as the
/// data outlives modules.
const FORMAT: &str = "headgate.ledger/1";

/// How far ahead of now the ledger may ever put an arrival time, ns (146 years).
const MAX_CEILING_NS: u128 = 1 << 62;

/// Why a rule cannot be built or its table not be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// No sets or ways, or more than [`TableShape::MAX_SETS`] / [`TableShape::MAX_WAYS`].
    Shape {
        /// Sets asked for.
        sets: u32,
        /// Ways asked for.
        ways: u8,
    },
    /// The window times (1 + debt) is 2^62 ns or more.
    Debt {
        /// The debt asked for, in millionths of a window.
        max_debt: u64,
    },
    /// This VM may not create tables and nobody has created this rule's yet.
    NoTable {
        /// The rule's id.
        rule: String,
    },
}

impl core::fmt::Display for RuleError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Shape { sets, ways } => write!(
                f,
                "a table of {sets} sets × {ways} ways is outside 1–{} × 1–{}",
                TableShape::MAX_SETS,
                TableShape::MAX_WAYS
            ),
            Self::Debt { max_debt } => write!(
                f,
                "a debt of {max_debt} millionths of this window is too long"
            ),
            Self::NoTable { rule } => write!(f, "rule {rule} has no table in shared data yet"),
        }
    }
}

impl std::error::Error for RuleError {}

/// Size of a rule's table: `sets × (8 + ways × 24)` bytes, whatever the number of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableShape {
    sets: u32,
    ways: u8,
}

impl TableShape {
    /// Most sets of a table.
    pub const MAX_SETS: u32 = 1 << 16;
    /// Most ways of a set.
    pub const MAX_WAYS: u8 = 64;

    /// A table of `sets` shared values with room for `ways` keys each.
    ///
    /// # Errors
    /// [`RuleError::Shape`] if either is zero or above its maximum.
    pub fn new(sets: u32, ways: u8) -> Result<Self, RuleError> {
        let fits = (1..=Self::MAX_SETS).contains(&sets) && (1..=Self::MAX_WAYS).contains(&ways);
        fits.then_some(Self { sets, ways })
            .ok_or(RuleError::Shape { sets, ways })
    }

    /// Bytes of all values of the table.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.sets as usize * Set::<Cell>::empty(self.ways()).len()
    }

    pub(super) fn ways(&self) -> usize {
        usize::from(self.ways)
    }
}

impl Default for TableShape {
    /// 1024 × 8: 200 KB for up to 8192 live keys.
    fn default() -> Self {
        Self {
            sets: 1024,
            ways: 8,
        }
    }
}

/// What becomes of a request whose reserve cannot be written, because others won every
/// compare-and-swap (or the table is missing).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnContention {
    /// It is refused. Never over-admits.
    #[default]
    Refuse,
    /// It is admitted, and owed: the worker takes it from the bucket with its next write.
    Admit,
}

/// Whether workers may take slices of this rule's buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lending {
    /// Every reserve is a compare-and-swap on the shared cell.
    Never,
    /// A worker takes a few requests' worth at once while a bucket is at least half full; see
    /// [`super::slice`] for sizes.
    #[default]
    WhileFull,
}

/// Description of a rule, from which [`super::Ledger::configure`] makes a [`Rule`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSpec {
    /// Stable identity: namespace, policy and bucket. Two rules of one id share a table if their
    /// window and shape agree too.
    pub id: String,
    /// The window; part of the table's key, so a changed window starts fresh buckets.
    pub window: Window,
    /// How far settlement may push a bucket below empty, in millionths of a window.
    pub max_debt: u64,
    /// Size of the table; a changed shape starts fresh buckets.
    pub table: TableShape,
    /// What a reserve that cannot be written comes to.
    pub on_contention: OnContention,
    /// Whether workers may take slices.
    pub lending: Lending,
}

/// Keyed hash of what tells one bucket of a rule from another. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(pub(super) u64);

impl Fingerprint {
    /// The hash itself: what a table stores beside the cell.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

/// The key of the fingerprint hash, drawn once per process so that clients cannot aim at a set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(u64, u64);

impl Seed {
    /// Reads the seed; draws and stores one if there is none and this VM may.
    pub(super) fn load<C: Cells + ?Sized>(
        cells: &C,
        creator: Option<&dyn Entropy>,
    ) -> Option<Self> {
        let key = format!("{FORMAT}/seed");
        let stored = cells.get(&key).and_then(|(bytes, _)| {
            let (a, b) = bytes.split_at_checked(8)?;
            Some(Self(
                u64::from_le_bytes(a.try_into().ok()?),
                u64::from_le_bytes(b.try_into().ok()?),
            ))
        });
        stored.or_else(|| {
            let entropy = creator?;
            let seed = Self(entropy.next(), entropy.next());
            let bytes = [seed.0.to_le_bytes(), seed.1.to_le_bytes()].concat();
            cells.swap(&key, &bytes, None).ok().map(|()| seed)
        })
    }
}

/// Identity of a table within the process, for the maps of a worker.
pub(super) type TableId = u64;

/// A rule ready for use; a cheap handle.
#[derive(Clone, Debug)]
pub struct Rule(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    id: String,
    window: Window,
    ceiling: u64,
    shape: TableShape,
    on_contention: OnContention,
    lending: Lending,
    seed: Seed,
    table: String,
    table_id: TableId,
}

impl Rule {
    /// Makes the rule and sees to it that its table exists.
    pub(super) fn open<C: Cells + ?Sized>(
        spec: RuleSpec,
        seed: Seed,
        cells: &C,
        may_create: bool,
    ) -> Result<Self, RuleError> {
        let span = u128::from(spec.window.span());
        let ceiling = span + span * u128::from(spec.max_debt) / MILLION;
        let ceiling = u64::try_from(ceiling)
            .ok()
            .filter(|_| ceiling < MAX_CEILING_NS);
        let (n, d) = spec.window.exact();
        let (q, b) = (spec.window.period(), spec.window.burst());
        let TableShape { sets, ways } = spec.table;
        let table = format!("{FORMAT}/{}/{n}:{d}:{q}:{b}/{sets}x{ways}/", spec.id);
        create_table(&table, spec.table, cells, may_create)
            .then_some(())
            .ok_or(RuleError::NoTable {
                rule: spec.id.clone(),
            })?;
        Ok(Self(Rc::new(Inner {
            id: spec.id,
            window: spec.window,
            ceiling: ceiling.ok_or(RuleError::Debt {
                max_debt: spec.max_debt,
            })?,
            shape: spec.table,
            on_contention: spec.on_contention,
            lending: spec.lending,
            seed,
            table_id: {
                let mut key = Key::new(seed);
                key.part(&table);
                key.finish().0
            },
            table,
        })))
    }

    /// The rule's stable id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// x
    #[must_use]
    pub fn max_keys(&self) -> u32 {
        0
    }

    /// The rule's window.
    #[must_use]
    pub fn window(&self) -> &Window {
        &self.0.window
    }

    /// The key of one bucket, to be told the values of the rule's key parts in their order.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(self.0.seed)
    }

    /// The key of one bucket from all its parts.
    #[must_use]
    pub fn fingerprint(&self, parts: &[&str]) -> Fingerprint {
        let mut key = self.key();
        for part in parts {
            key.part(part);
        }
        key.finish()
    }

    pub(super) fn on_contention(&self) -> OnContention {
        self.0.on_contention
    }

    pub(super) fn lending(&self) -> Lending {
        self.0.lending
    }

    pub(super) fn shape(&self) -> TableShape {
        self.0.shape
    }

    pub(super) fn table_id(&self) -> TableId {
        self.0.table_id
    }

    /// How far beyond now settlement may push an arrival time: a full window and the debt, ns.
    pub(super) fn ceiling(&self) -> u64 {
        self.0.ceiling
    }

    /// The shared key of the set in which a fingerprint lives.
    pub(super) fn set_key(&self, fingerprint: Fingerprint) -> String {
        let set = (u128::from(fingerprint.0) * u128::from(self.0.shape.sets)) >> 64;
        set_key(&self.0.table, set)
    }
}

fn set_key(table: &str, set: u128) -> String {
    format!("{table}{set:x}")
}

/// True if the table exists or has been created now. The marker is written last, so whoever sees
/// it sees every set, and a VM that comes later does one read per rule.
fn create_table<C: Cells + ?Sized>(
    table: &str,
    shape: TableShape,
    cells: &C,
    may_create: bool,
) -> bool {
    let marker = format!("{table}created");
    if cells.get(&marker).is_some() {
        return true;
    }
    let empty = Set::<Cell>::empty(shape.ways());
    may_create
        && (0..shape.sets).all(|set| {
            cells
                .swap(&set_key(table, u128::from(set)), &empty, None)
                .is_ok()
        })
        && cells.swap(&marker, b"1", None).is_ok()
}

/// A key being hashed. Parts keep their borders: ("ab", "c") and ("a", "bc") differ.
#[derive(Debug)]
pub struct Key(SipHasher13);

impl Key {
    fn new(seed: Seed) -> Self {
        Self(SipHasher13::new_with_keys(seed.0, seed.1))
    }

    /// The next part.
    pub fn part(&mut self, part: &str) {
        self.0.write_u64(part.len() as u64);
        self.0.write(part.as_bytes());
    }

    /// All parts were told.
    #[must_use]
    pub fn finish(self) -> Fingerprint {
        Fingerprint(self.0.finish().max(1))
    }
}
