//! What stands for carriers: a Service without the labels and an InferencePool for those whose pods they select, a Deployment
//! for those that carry for its pods. Policies can be attached to them; nothing else asks.
//!
//! Invariant: after [`Store::settle`] a group is a function of the objects as they are. What it selects counts also where no
//! pod of it is there: a limit does not go when a model is scaled to zero.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::TargetKind;
use headgate_model::CarrierKey;

use super::objects::{Body, Name, Object};
use super::selectors::{Labels, Selectors, selects};
use super::store::{Key, Store};
use headgate_kubernetes::WatchedKind;

/// The groups.
#[derive(Debug, Clone, Default)]
pub(crate) struct Groups {
    /// Selectors of Services that declare nothing.
    services: Selectors,
    pools: Selectors,
    experimental_pools: Selectors,
    /// The groups that select an object, or the pods it makes.
    of: BTreeMap<Key, BTreeSet<CarrierKey>>,
    /// The same, the other way round.
    members: BTreeMap<CarrierKey, BTreeSet<Key>>,
    /// Those that may stand for others now.
    dirty: BTreeSet<CarrierKey>,
    built: BTreeMap<CarrierKey, BTreeSet<CarrierKey>>,
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

    /// An object is in these groups now.
    fn enter(&mut self, key: &Key, now: BTreeSet<CarrierKey>) {
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

    /// How much is kept.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 3] {
        [self.of.len(), self.members.len(), self.built.len()]
    }
}

/// The labels of the pods that an object is, or makes.
pub(super) fn labels_of_pods(object: &Object) -> Option<&Labels> {
    match &object.body {
        Body::Pod { .. } => Some(&object.meta.labels),
        Body::Owner { template, .. } => Some(template),
        Body::Service { .. } | Body::Pool { .. } => None,
    }
}

impl Store {
    /// The selector of an object that is a group by it.
    pub(super) fn grouping<'a>(&self, object: &'a Object) -> Option<&'a Labels> {
        match &object.body {
            Body::Service { selector, .. } => {
                (!self.declares(object) || self.yields(object)).then_some(selector)
            }
            Body::Pool { selector, .. } => Some(selector),
            _ => None,
        }
    }

    /// The objects of a namespace that a selector selects, or whose pods it would.
    pub(super) fn selected(&self, namespace: &str, selector: &Labels) -> Vec<Key> {
        if selector.is_empty() {
            return Vec::new();
        }
        let owners = (0..self.kinds.len()).map(WatchedKind::Owners);
        let around = owners.chain([WatchedKind::Pods]).flat_map(|what| {
            let from = Name {
                namespace: namespace.to_owned(),
                name: String::new(),
            };
            let within =
                move |(key, _): &(&Key, &Object)| key.0 == what && key.1.namespace == namespace;
            self.objects.range((what, from)..).take_while(within)
        });
        let selected = |(_, object): &(&Key, &Object)| {
            labels_of_pods(object).is_some_and(|labels| selects(selector, labels))
        };
        let selected = around.filter(selected);
        selected.map(|(key, _)| key.clone()).collect()
    }

    /// Puts an object into the groups where it belongs now.
    pub(super) fn regroup(&mut self, key: &Key) {
        if self.is_deployment(key.0) || key.0 == WatchedKind::Services || key.0.is_pool() {
            self.groups.mark(self.carrier_key(key));
        }
        let labels = self.objects.get(key).and_then(labels_of_pods);
        let namespace = &key.1.namespace;
        let in_them = labels.map(|labels| {
            let (services, pools) = self.groups.selecting(namespace, labels);
            let services = services
                .into_iter()
                .map(|name| (WatchedKind::Services, name));
            services
                .chain(pools)
                .map(|group| self.carrier_key(&group))
                .collect()
        });
        self.groups.enter(key, in_them.unwrap_or_default());
    }

    /// Brings the groups up to date; says whether one stands for others now.
    pub(super) fn settle_groups(&mut self) -> bool {
        let mut changed = false;
        for key in std::mem::take(&mut self.groups.dirty) {
            let now = self.build_group(&key);
            let before = self.groups.built.remove(&key).unwrap_or_default();
            changed |= before != now;
            if !now.is_empty() {
                self.groups.built.insert(key, now);
            }
        }
        changed
    }

    fn build_group(&self, key: &CarrierKey) -> BTreeSet<CarrierKey> {
        let Some((at, object)) = self.object_of(key) else {
            return BTreeSet::new();
        };
        let members: BTreeSet<Key> = if self.is_deployment(at.0) {
            let mut below = self.below(&object.meta.uid);
            below.insert(at);
            below
        } else if self.grouping(object).is_some() {
            self.groups.members.get(key).cloned().unwrap_or_default()
        } else {
            BTreeSet::new()
        };
        let carriers = members.iter().flat_map(|member| self.carried_by(member));
        carriers.filter(|carrier| carrier != key).collect()
    }

    /// Who carries for an object, also where none of its pods is there.
    fn carried_by(&self, key: &Key) -> BTreeSet<CarrierKey> {
        let homes = self.homes.get(key).cloned().unwrap_or_default();
        if !homes.is_empty() || key.0 == WatchedKind::Pods {
            return homes;
        }
        let owner = self.owner_that_carries(key);
        owner
            .map(|owner| self.carrier_key(&owner))
            .into_iter()
            .collect()
    }

    fn is_deployment(&self, what: WatchedKind) -> bool {
        let WatchedKind::Owners(place) = what else {
            return false;
        };
        let target = TargetKind::Deployment;
        self.kinds
            .get(place)
            .is_some_and(|kind| kind.is(target.group(), target.as_str()))
    }

    /// The groups as they were last settled.
    pub(crate) fn groups(&self) -> BTreeMap<CarrierKey, BTreeSet<CarrierKey>> {
        self.groups.built.clone()
    }
}
