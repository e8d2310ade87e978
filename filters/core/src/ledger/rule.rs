//! A rule of the ledger: its window, its table in shared memory and its policies.
//!
//! A [`Rule`] is what a stream keeps for its settlement: small, shared and independent of the
//! configuration it came from, so old configurations are freed while their streams go on.

use std::hash::Hasher;
use std::rc::Rc;

use siphasher::sip::SipHasher13;

use super::window::Window;
use crate::ports::{Cells, Entropy};

/// Format of keys and values in shared data; a module that changes either must change this, as the
/// data outlives modules.
const FORMAT: &str = "headgate.ledger/2";

/// How far ahead of now the ledger may ever put an arrival time, ns (146 years).
const MAX_CEILING_NS: u64 = 1 << 62;

/// Keys that a set holds on average when there are as many as the rule may have. With four times as many ways, `maxKeys` keys
/// overflow some set with probability 2·10⁻¹⁵ (Poisson tail, over 65 536 sets).
const KEYS_PER_SET: u32 = 16;
/// Ways of a set, in keys that it holds on average.
const HEADROOM: u32 = 4;
/// Ways that a set may have whatever its rule says: a set is read and written whole.
const WAYS: core::ops::RangeInclusive<u32> = 8..=1024;

/// Why a rule cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// No keys, or more than [`RuleSpec::MAX_KEYS`].
    Keys {
        /// Keys asked for.
        max_keys: u32,
    },
    /// The window and the debt together are 2^62 ns or more.
    Debt {
        /// The debt asked for, ns.
        debt: u64,
    },
    /// Shared memory could neither be read nor written.
    NoMemory,
}

impl core::fmt::Display for RuleError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Keys { max_keys } => {
                write!(f, "{max_keys} keys are outside 1–{}", RuleSpec::MAX_KEYS)
            }
            Self::Debt { debt } => write!(f, "a debt of {debt} ns is too long for this window"),
            Self::NoMemory => f.write_str("the proxy's shared data cannot be written"),
        }
    }
}

impl std::error::Error for RuleError {}

/// What becomes of a request whose reserve cannot be written, because others won every compare-and-swap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnContention {
    /// It is refused. Never over-admits.
    #[default]
    Refuse,
    /// It is admitted, and owed: the worker takes it from the bucket with its next write.
    Admit,
}

/// Description of a rule, from which [`super::Ledger::configure`] makes a [`Rule`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSpec {
    /// Stable identity: namespace, policy and bucket. Two rules of one id and one key share a table.
    pub id: String,
    /// The attributes that partition the bucket, as configured: another key starts full buckets.
    pub key: String,
    /// The window. Another one keeps the share that is used of each bucket.
    pub window: Window,
    /// How far settlement may push a bucket below empty, ns: see [`Window::debt`].
    pub debt: u64,
    /// Keys of which none is evicted by another. 1–[`RuleSpec::MAX_KEYS`].
    pub max_keys: u32,
    /// What a reserve that cannot be written comes to.
    pub on_contention: OnContention,
}

impl RuleSpec {
    /// Most keys of a rule.
    pub const MAX_KEYS: u32 = 1 << 24;
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
    /// Reads the seed, or draws and stores one. Of several VMs that draw at once, the first one's counts.
    pub(super) fn load<C: Cells + ?Sized>(cells: &C, entropy: &dyn Entropy) -> Option<Self> {
        let key = format!("{FORMAT}/seed");
        let stored = || Self::parse(&cells.get(&key)?.0);
        stored().or_else(|| {
            let drawn = [entropy.next().to_le_bytes(), entropy.next().to_le_bytes()];
            // Whether it was written or another one was: what is there counts.
            let _ = cells.swap(&key, &drawn.concat(), None);
            stored()
        })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (a, b) = bytes.split_at_checked(8)?;
        Some(Self(
            u64::from_le_bytes(a.try_into().ok()?),
            u64::from_le_bytes(b.try_into().ok()?),
        ))
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
    max_keys: u32,
    sets: u32,
    ways: usize,
    on_contention: OnContention,
    seed: Seed,
    table: String,
    table_id: TableId,
}

impl Rule {
    /// Makes the rule, and finds out how many sets its table has.
    pub(super) fn open<C: Cells + ?Sized>(
        spec: RuleSpec,
        seed: Seed,
        cells: &C,
    ) -> Result<Self, RuleError> {
        if !(1..=RuleSpec::MAX_KEYS).contains(&spec.max_keys) {
            return Err(RuleError::Keys {
                max_keys: spec.max_keys,
            });
        }
        let ceiling = spec.window.span().saturating_add(spec.debt);
        if ceiling >= MAX_CEILING_NS {
            return Err(RuleError::Debt { debt: spec.debt });
        }
        let name = format!("{FORMAT}/{}/{}/", spec.id, spec.key);
        let sets = sets(&name, spec.max_keys, cells).ok_or(RuleError::NoMemory)?;
        let ways = ways(spec.max_keys, sets);
        let table = format!("{name}{sets:x}/");
        let mut key = Key::new(seed);
        key.part(&table);
        Ok(Self(Rc::new(Inner {
            id: spec.id,
            window: spec.window,
            ceiling,
            max_keys: spec.max_keys,
            sets,
            ways: usize::try_from(ways).unwrap_or(usize::MAX),
            on_contention: spec.on_contention,
            seed,
            table_id: key.finish().0,
            table,
        })))
    }

    /// The rule's stable id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The rule's window.
    #[must_use]
    pub fn window(&self) -> &Window {
        &self.0.window
    }

    /// Keys of which none is evicted by another.
    #[must_use]
    pub fn max_keys(&self) -> u32 {
        self.0.max_keys
    }

    /// The key of one bucket, made of the values of the rule's key parts in their order.
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

    /// Most ways of a set.
    pub(super) fn ways(&self) -> usize {
        self.0.ways
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
        let set = (u128::from(fingerprint.0) * u128::from(self.0.sets)) >> 64;
        format!("{}{set:x}", self.0.table)
    }
}

/// How many sets a table has: as many as its first configuration wanted, for as long as the proxy runs, so that another `maxKeys`
/// moves no key to another set and thereby out of sight. Only where that is far too few does the table start anew.
fn sets<C: Cells + ?Sized>(name: &str, max_keys: u32, cells: &C) -> Option<u32> {
    let key = format!("{name}sets");
    let wanted = max_keys.div_ceil(KEYS_PER_SET);
    let stored = || {
        let (bytes, cas) = cells.get(&key)?;
        let sets = u32::from_le_bytes(*bytes.first_chunk()?);
        (sets > 0).then_some((sets, cas))
    };
    let enough = |sets: u32| needed(max_keys, sets) <= *WAYS.end();
    match stored() {
        Some((sets, _)) if enough(sets) => return Some(sets),
        Some((_, cas)) => drop(cells.swap(&key, &wanted.to_le_bytes(), Some(cas))),
        None => drop(cells.swap(&key, &wanted.to_le_bytes(), None)),
    }
    // Whether this VM wrote it or another one: what is there counts.
    stored().map(|(sets, _)| sets).filter(|sets| enough(*sets))
}

/// Ways that each set needs.
fn needed(max_keys: u32, sets: u32) -> u32 {
    let each = max_keys.div_ceil(sets.max(1));
    each.saturating_mul(HEADROOM)
}

fn ways(max_keys: u32, sets: u32) -> u32 {
    needed(max_keys, sets).clamp(*WAYS.start(), *WAYS.end())
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

    /// The fingerprint of all parts.
    #[must_use]
    pub fn finish(self) -> Fingerprint {
        Fingerprint(self.0.finish().max(1))
    }
}
