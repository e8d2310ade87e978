//! What became of the carriers since they were last looked at: it decides how soon the world is published.

use headgate_model::Carrier;

use super::carriers::Built;
use headgate_model::{Change, change};

/// What became of the carriers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Settled {
    /// What kind of change it was, if any.
    pub(crate) change: Option<Change>,
    /// Whether something else is to be said about objects.
    pub(crate) findings: bool,
}

impl Settled {
    /// Both, one after the other.
    pub(crate) fn and(self, next: Self) -> Self {
        Self {
            change: self.change.max(next.change),
            findings: self.findings || next.findings,
        }
    }
}

/// What became of a carrier.
pub(super) fn between(old: Option<&Built>, now: Option<&Built>) -> Settled {
    let says = |built: Option<&Built>| built.map_or(0, |built| built.findings.len());
    let (Some(old), Some(now)) = (old, now) else {
        let change = (old.is_some() || now.is_some()).then_some(Change::Intent);
        return Settled {
            change,
            findings: says(old) + says(now) > 0,
        };
    };
    let bare = |built: &Built| Carrier {
        pods: Vec::new(),
        unready_reasons: Vec::new(),
        ..built.carrier.clone()
    };
    let change = if old.carrier == now.carrier {
        None
    } else if bare(old) == bare(now) {
        Some(change::of_pods(&old.carrier, &now.carrier))
    } else {
        Some(Change::Intent)
    };
    Settled {
        change,
        findings: old.findings != now.findings,
    }
}
