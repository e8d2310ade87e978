//! Groups of carriers, which policies can target: a Service without the labels or an InferencePool (the carriers of the pods that it
//! selects), and a Deployment (the carriers of its pods).

use std::collections::{BTreeMap, BTreeSet};

use headgate_model::CarrierKey;

use super::identity::{Key, Labels, Name};
use super::objects::Body;
use super::selectors::Selectors;
use headgate_kubernetes::WatchedKind;

/// All groups, and the index of the objects that they select.
#[derive(Debug, Clone, Default)]
pub(crate) struct Groups {
    /// Selectors of Services that do not declare a variant.
    services: Selectors,
    pools: Selectors,
    experimental_pools: Selectors,
    /// The groups that select an object, or the pods that it makes.
    of: BTreeMap<Key, BTreeSet<CarrierKey>>,
    /// The inverse of `of`.
    pub(super) members: BTreeMap<CarrierKey, BTreeSet<Key>>,
    /// Groups that may have changed.
    pub(super) dirty: BTreeSet<CarrierKey>,
    /// The carriers of each group.
    pub(super) built: BTreeMap<CarrierKey, BTreeSet<CarrierKey>>,
}

impl Groups {
    pub(super) fn insert(&mut self, (what, name): &Key, body: &Body) {
        match body {
            Body::Service { selector, .. } => self.services.insert(name, selector),
            Body::Pool { selector, .. } => self.pools_of(*what).insert(name, selector),
            _ => {}
        }
    }

    pub(super) fn remove(&mut self, (what, name): &Key, body: &Body) {
        match body {
            Body::Service { selector, .. } => self.services.remove(name, selector),
            Body::Pool { selector, .. } => self.pools_of(*what).remove(name, selector),
            _ => {}
        }
    }

    /// The Services and pools of a namespace that select these labels, without the Services that declare a variant.
    pub(super) fn selecting(
        &self,
        namespace: &str,
        labels: &Labels,
    ) -> (BTreeSet<Name>, BTreeSet<Key>) {
        let keyed = |what, names: BTreeSet<Name>| names.into_iter().map(move |name| (what, name));
        let pools = keyed(WatchedKind::Pools, self.pools.matching(namespace, labels));
        let experimental = self.experimental_pools.matching(namespace, labels);
        (
            self.services.matching(namespace, labels),
            pools
                .chain(keyed(WatchedKind::ExperimentalPools, experimental))
                .collect(),
        )
    }

    fn pools_of(&mut self, what: WatchedKind) -> &mut Selectors {
        match what {
            WatchedKind::ExperimentalPools => &mut self.experimental_pools,
            _ => &mut self.pools,
        }
    }

    pub(super) fn mark(&mut self, group: CarrierKey) {
        self.dirty.insert(group);
    }

    /// Replaces the groups of an object.
    pub(super) fn enter(&mut self, key: &Key, now: BTreeSet<CarrierKey>) {
        let before = self.of.remove(key).unwrap_or_default();
        for left in before.difference(&now) {
            if let Some(members) = self.members.get_mut(left) {
                members.remove(key);
                if members.is_empty() {
                    self.members.remove(left);
                }
            }
        }
        for group in &now {
            self.members
                .entry(group.clone())
                .or_default()
                .insert(key.clone());
        }
        self.dirty
            .extend(before.into_iter().chain(now.iter().cloned()));
        if !now.is_empty() {
            self.of.insert(key.clone(), now);
        }
    }

    /// Sizes of the maps.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 3] {
        [self.of.len(), self.members.len(), self.built.len()]
    }
}
