//! Invalidation: marks the objects and carriers that a change of one object may affect.

use std::collections::BTreeSet;

use headgate_model::CarrierKey;

use super::identity::{Key, Name};
use super::objects::Object;
use super::store::Store;
use headgate_kubernetes::WatchedKind;

impl Store {
    /// Marks what depends on an object as it is now.
    pub(super) fn invalidate(&mut self, key: &Key) {
        let Some(object) = self.objects.get(key) else {
            return;
        };
        let service = self.reconciled && self.declares(object);
        let uid = object.meta.uid.clone();
        let grouped = self.grouping(object).filter(|_| self.reconciled);
        let grouped = grouped.map(|selector| self.selected(&key.1.namespace, selector));
        if let Some(grouped) = grouped {
            grouped.into_iter().for_each(|key| self.mark(key));
        }
        if key.0 == WatchedKind::Services && self.reconciled {
            for (reader, uid) in self.owners_that_read(&key.1) {
                // Carriers of the pods below this owner depend on the Service too.
                self.below(&uid).into_iter().for_each(|key| self.mark(key));
                self.mark(reader);
            }
        }
        self.mark(key.clone());
        let above = self.above(key);
        if let Some(outermost) = above.last() {
            let memberships = self.memberships_below(outermost);
            let services = memberships
                .into_iter()
                .filter(|carrier| carrier.kind == "service");
            self.dirty.extend(services.collect::<Vec<_>>());
        }
        // The generation that takes traffic may depend on the pods of the others.
        if let Some(owner) = above.iter().find(|owner| self.generations(owner).is_some()) {
            self.dirty.extend(self.memberships_below(owner));
        }
        above.into_iter().for_each(|above| self.mark(above));
        for below in self.below(&uid) {
            self.mark(below);
        }
        if key.0 == WatchedKind::Services && service {
            self.mark_namespace(&key.1.namespace);
        }
    }

    /// Marks all objects of a namespace except Services.
    pub(super) fn mark_namespace(&mut self, namespace: &str) {
        let around = self.objects.keys();
        let around = around
            .filter(|(what, name)| *what != WatchedKind::Services && name.namespace == namespace);
        let around: Vec<Key> = around.cloned().collect();
        around.into_iter().for_each(|key| self.mark(key));
    }

    /// The carriers of the objects that an object owns. The desired replicas of Services among them depend on the owner.
    fn memberships_below(&self, owner: &Key) -> BTreeSet<CarrierKey> {
        let uid = self.objects.get(owner).map(|object| &object.meta.uid);
        let below = uid.map(|uid| self.below(uid)).unwrap_or_default();
        let memberships = below.iter().filter_map(|key| self.memberships.get(key));
        memberships.flatten().cloned().collect()
    }

    pub(super) fn mark(&mut self, key: Key) {
        self.dirty.insert(self.carrier_key(&key));
        self.stale.insert(key);
    }

    pub(super) fn invalidate_all(&mut self) {
        let all: Vec<Key> = self.objects.keys().cloned().collect();
        all.into_iter().for_each(|key| self.mark(key));
        self.reindex_all();
    }

    /// The owners whose active generation is selected by a Service, with their UIDs.
    fn owners_that_read(&self, service: &Name) -> Vec<(Key, String)> {
        let reads = |(key, object): &(&Key, &Object)| {
            let named = object.generations().and_then(|g| g.service.as_ref());
            key.1.namespace == service.namespace && named == Some(&service.name)
        };
        let all = self.objects.iter().filter(reads);
        all.map(|(key, object)| (key.clone(), object.meta.uid.clone()))
            .collect()
    }
}
