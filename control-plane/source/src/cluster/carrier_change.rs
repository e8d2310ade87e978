//! Changes of carriers: they decide how soon a new observation is published.

use headgate_model::{Carrier, Change, Finding, change};

/// A carrier with its findings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuiltCarrier {
    pub(crate) carrier: Carrier,
    pub(crate) findings: Vec<Finding>,
}

/// A change of the carriers since the last observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StoreChange {
    /// The class of the change, if any.
    pub(crate) change: Option<Change>,
    /// Whether findings or references changed.
    pub(crate) findings: bool,
}

impl StoreChange {
    /// Both changes, one after the other.
    pub(crate) fn and(self, next: Self) -> Self {
        Self {
            change: self.change.max(next.change),
            findings: self.findings || next.findings,
        }
    }
}

/// The change of one carrier.
pub(super) fn between(old: Option<&BuiltCarrier>, now: Option<&BuiltCarrier>) -> StoreChange {
    let count = |built: Option<&BuiltCarrier>| built.map_or(0, |built| built.findings.len());
    let (Some(old), Some(now)) = (old, now) else {
        let change = (old.is_some() || now.is_some()).then_some(Change::Intent);
        return StoreChange {
            change,
            findings: count(old) + count(now) > 0,
        };
    };
    let without_pods = |built: &BuiltCarrier| change::without_pods(&built.carrier);
    let change = if old.carrier == now.carrier {
        None
    } else if without_pods(old) == without_pods(now) {
        Some(change::of_pods(&old.carrier, &now.carrier))
    } else {
        Some(Change::Intent)
    };
    StoreChange {
        change,
        findings: old.findings != now.findings,
    }
}
