//! A rule of the ledger: its window, its table in shared memory and its policies.
//!
//! A [`Rule`] is what a stream keeps for its settlement: small, shared and independent of the
//! configuration it came from, so old configurations are freed while their streams go on.

use std::rc::Rc;

use super::FORMAT;
use super::fingerprint::{Fingerprint, Key, Seed};
use super::placement::Placement;
use super::timeline::Timeline;
use super::window::Window;
use crate::ports::Cells;

/// Greatest distance of an arrival time from now, ns (146 years).
const MAX_CEILING_NS: u64 = 1 << 62;

/// Why a rule cannot be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// 0 keys, or more than [`RuleSpec::MAX_KEYS`].
    Keys {
        /// The configured number.
        max_keys: u32,
    },
    /// The window and the debt together are 2^62 ns or more.
    Debt {
        /// The configured debt, ns.
        max_debt: u64,
    },
    /// Shared data, which all VMs use, can neither be read nor be written.
    SharedData,
}

impl core::fmt::Display for RuleError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Keys { max_keys } => write!(
                f,
                "a table for {max_keys} keys is outside 1–{}",
                RuleSpec::MAX_KEYS
            ),
            Self::Debt { max_debt } => {
                write!(f, "a debt of {max_debt} ns is too long for this window")
            }
            Self::SharedData => f.write_str("shared data cannot be read or written"),
        }
    }
}

impl std::error::Error for RuleError {}

/// The policy for a request whose reserve cannot be written, because other workers won every compare-and-swap.
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
    /// Stable identity: namespace, policy and bucket. Rules of one id and [`RuleSpec::key`] share a table.
    pub id: String,
    /// The attributes of a bucket's key, such as `tenant,model`. Rules with another key have other buckets.
    pub key: String,
    /// The window. A changed one keeps the share of every bucket that is used.
    pub window: Window,
    /// How far settlement may drive a bucket beyond empty, ns; see [`Window::debt`].
    pub max_debt: u64,
    /// Live keys up to which no bucket loses its cell to another, 1 to [`RuleSpec::MAX_KEYS`]. Memory is
    /// spent on the keys that exist: 16 bytes each, and some 250 a set of 16.
    ///
    /// A greater value takes effect at once and keeps every balance; a smaller one when Envoy restarts.
    pub max_keys: u32,
    /// The policy for a reserve that cannot be written.
    pub on_contention: OnContention,
}

impl RuleSpec {
    /// The greatest [`RuleSpec::max_keys`].
    pub const MAX_KEYS: u32 = 1 << 24;
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
    on_contention: OnContention,
    seed: Seed,
    placement: Placement,
    table_id: TableId,
}

impl Rule {
    /// Creates the rule. A set is created with its first key.
    pub(super) fn new<C: Cells + ?Sized>(
        spec: RuleSpec,
        seed: Seed,
        cells: &C,
    ) -> Result<Self, RuleError> {
        let RuleSpec {
            max_debt, max_keys, ..
        } = spec;
        if !(1..=RuleSpec::MAX_KEYS).contains(&max_keys) {
            return Err(RuleError::Keys { max_keys });
        }
        let ceiling = spec.window.span().checked_add(max_debt);
        let table = format!("{FORMAT}/{}({})/", spec.id, spec.key);
        let mut key = Key::new(seed);
        key.part(&table);
        Ok(Self(Rc::new(Inner {
            id: spec.id,
            window: spec.window,
            ceiling: ceiling
                .filter(|ceiling| *ceiling < MAX_CEILING_NS)
                .ok_or(RuleError::Debt { max_debt })?,
            max_keys,
            on_contention: spec.on_contention,
            seed,
            table_id: key.finish().get(),
            placement: Placement::load(table, max_keys, cells).ok_or(RuleError::SharedData)?,
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

    /// Live keys up to which no bucket loses its cell to another.
    #[must_use]
    pub fn max_keys(&self) -> u32 {
        self.0.max_keys
    }

    /// Starts the key of one bucket: hash the values of the rule's key parts into it, in their order.
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

    pub(super) fn table_id(&self) -> TableId {
        self.0.table_id
    }

    /// The time line of a set that is created under this rule.
    pub(super) fn timeline(&self) -> Timeline {
        Timeline::new(self.0.window.span())
    }

    /// Greatest distance of an arrival time from now after a settlement: a full window and the debt, ns.
    pub(super) fn ceiling(&self) -> u64 {
        self.0.ceiling
    }

    /// The same share of the window that a set is written in, ns.
    pub(super) fn ceiling_on(&self, timeline: &Timeline) -> u64 {
        let own = self.timeline();
        own.scale_up(self.0.ceiling, timeline.span())
            .min(MAX_CEILING_NS)
    }

    /// The sets of its keys.
    pub(super) fn placement(&self) -> &Placement {
        &self.0.placement
    }
}
