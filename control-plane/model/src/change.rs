//! What kind of change lies between two worlds: it decides how long a push may wait.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Carrier, CarrierKey, Objects};

/// Why the world is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// Only endpoints came, or what was not ready went: may be debounced.
    Churn,
    /// An endpoint is not ready any more, or gone: requests go there until proxies know.
    Loss,
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
        && old.groups == new.groups
        && old.served_models == new.served_models;
    if !policies || declared(&old.carriers) != declared(&new.carriers) {
        return Some(Change::Intent);
    }
    let changes = old.carriers.iter().filter_map(|(key, carrier)| {
        let now = new.carriers.get(key)?;
        Some(of_pods(carrier, now))
    });
    changes.max()
}

/// The change of a carrier of which only pods differ.
pub fn of_pods(old: &Carrier, new: &Carrier) -> Change {
    let ready = |carrier: &Carrier| -> BTreeSet<_> {
        let ready = carrier.pods.iter().filter(|pod| pod.ready);
        ready
            .map(|pod| (pod.address.clone(), pod.version.clone()))
            .collect()
    };
    if ready(old).is_subset(&ready(new)) {
        Change::Churn
    } else {
        Change::Loss
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
        owner_replicas: c.owner_replicas.clone(),
        min_ready_seconds: c.min_ready_seconds,
        pods: Vec::new(),
        unready_reasons: Vec::new(),
        origin: c.origin.clone(),
    };
    carriers.values().map(bare).collect()
}
