//! Reconciliation of the groups: the objects that each group selects, and the carriers of those objects.
//!
//! Invariant: after [`Store::reconcile`] a group is a function of the current objects. It also has the carriers of owners without
//! pods, so a limit stays when a model is scaled to zero.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::TargetKind;
use headgate_kubernetes::WatchedKind;
use headgate_model::CarrierKey;

use super::identity::{Key, Labels, Name};
use super::objects::{Body, Object};
use super::selectors::selects;
use super::store::Store;

impl Store {
    /// The selector of an object that makes it a group.
    pub(super) fn grouping<'a>(&self, object: &'a Object) -> Option<&'a Labels> {
        match &object.body {
            Body::Service { selector, .. } => {
                (!self.declares(object) || self.yields(object)).then_some(selector)
            }
            Body::Pool { selector, .. } => Some(selector),
            _ => None,
        }
    }

    /// The objects of a namespace that a selector selects, or that make pods that it selects.
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
            object
                .pod_labels()
                .is_some_and(|labels| selects(selector, labels))
        };
        let selected = around.filter(selected);
        selected.map(|(key, _)| key.clone()).collect()
    }

    /// Updates the groups of an object.
    pub(super) fn regroup(&mut self, key: &Key) {
        if self.is_deployment(key.0) || key.0 == WatchedKind::Services || key.0.is_pool() {
            self.groups.mark(self.carrier_key(key));
        }
        let labels = self.objects.get(key).and_then(Object::pod_labels);
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

    /// Reconciles the groups. Returns whether one has other carriers now.
    pub(super) fn reconcile_groups(&mut self) -> bool {
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

    /// The carriers of an object, even if it has no pods.
    fn carried_by(&self, key: &Key) -> BTreeSet<CarrierKey> {
        let memberships = self.memberships.get(key).cloned().unwrap_or_default();
        if !memberships.is_empty() || key.0 == WatchedKind::Pods {
            return memberships;
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

    /// The carriers of each group, as of the last reconciliation.
    pub(crate) fn groups(&self) -> BTreeMap<CarrierKey, BTreeSet<CarrierKey>> {
        self.groups.built.clone()
    }
}
