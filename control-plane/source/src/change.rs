//! What kind of change lies between two worlds: it decides how long a push may wait.

use std::collections::BTreeMap;

use headgate_model::{Carrier, CarrierKey, Objects};

/// Why the world is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// Only endpoints came, went, or changed their readiness: may be debounced.
    Churn,
    /// Somebody edited a label, an annotation, a replica count or a policy: goes out at once.
    Intent,
}

/// The change from `old` to `new`; `None` where a plan would not differ.
#[must_use]
pub fn between(old: &Objects, new: &Objects) -> Option<Change> {
    if old == new {
        return None;
    }
    let policies = old.bucket_policies == new.bucket_policies
        && old.tag_policies == new.tag_policies
        && old.groups == new.groups;
    if policies && declared(&old.carriers) == declared(&new.carriers) {
        Some(Change::Churn)
    } else {
        Some(Change::Intent)
    }
}

/// The carriers without their pods.
fn declared(carriers: &BTreeMap<CarrierKey, Carrier>) -> Vec<Carrier> {
    let bare = |c: &Carrier| Carrier {
        key: c.key.clone(),
        created: c.created,
        labels: c.labels.clone(),
        annotations: c.annotations.clone(),
        desired: c.desired,
        pods: Vec::new(),
        origin: c.origin.clone(),
    };
    carriers.values().map(bare).collect()
}
