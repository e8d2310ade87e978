//! The kind of change between two sets of objects. It determines how long a push may wait.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Carrier, CarrierKey, CarrierMesh, Objects};

/// The kind of a change, the least urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// Endpoints were added, or unready ones removed: the push may be debounced.
    Churn,
    /// An endpoint is no longer ready, or gone: proxies send requests to it until they get the change.
    Loss,
    /// A user edited a label, an annotation, a replica count or a policy: the push goes out at once.
    Intent,
}

/// The change from `old` to `new`; `None` if the objects are equal.
#[must_use]
pub fn between(old: &Objects, new: &Objects) -> Option<Change> {
    if old == new {
        return None;
    }
    let policies = old.policies == new.policies
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

/// The change of a carrier if only its pods differ.
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

/// A carrier without its pods, and without what is known of them.
#[must_use]
pub fn without_pods(carrier: &Carrier) -> Carrier {
    Carrier {
        key: carrier.key.clone(),
        created: carrier.created,
        labels: carrier.labels.clone(),
        annotations: carrier.annotations.clone(),
        desired: carrier.desired,
        owner_replicas: carrier.owner_replicas.clone(),
        min_ready_seconds: carrier.min_ready_seconds,
        pods: Vec::new(),
        mesh: CarrierMesh {
            pods: BTreeSet::new(),
            ..carrier.mesh.clone()
        },
        unready_reasons: Vec::new(),
        origin: carrier.origin.clone(),
    }
}

fn declared(carriers: &BTreeMap<CarrierKey, Carrier>) -> Vec<Carrier> {
    carriers.values().map(without_pods).collect()
}
