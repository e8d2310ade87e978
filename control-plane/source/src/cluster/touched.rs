//! Objects and carriers that a change of one object may affect. So the cost of an event depends on what it affects.

use std::collections::BTreeSet;

use headgate_model::CarrierKey;

use super::objects::{Name, Object};
use super::store::{Key, Store};
use headgate_kubernetes::WatchedKind;

impl Store {
    /// Marks what may change because an object is, or was, as it is now.
    pub(super) fn touched(&mut self, key: &Key) {
        let Some(object) = self.objects.get(key) else {
            return;
        };
        let service = self.settled && self.declares(object);
        let uid = object.meta.uid.clone();
        let grouped = self.grouping(object).filter(|_| self.settled);
        let grouped = grouped.map(|selector| self.selected(&key.1.namespace, selector));
        if let Some(grouped) = grouped {
            grouped.into_iter().for_each(|key| self.mark(key));
        }
        if key.0 == WatchedKind::Services && self.settled {
            for (reader, uid) in self.owners_that_read(&key.1) {
                // Carriers of the pods below this owner depend on the Service too.
                self.below(&uid).into_iter().for_each(|key| self.mark(key));
                self.mark(reader);
            }
        }
        self.mark(key.clone());
        let above = self.above(key);
        if let Some(outermost) = above.last() {
            let homes = self.homes_below(outermost);
            let services = homes.into_iter().filter(|home| home.kind == "service");
            self.dirty.extend(services.collect::<Vec<_>>());
        }
        // Which generation takes traffic may depend on what there is of the others.
        if let Some(owner) = above.iter().find(|owner| self.generations(owner).is_some()) {
            self.dirty.extend(self.homes_below(owner));
        }
        above.into_iter().for_each(|above| self.mark(above));
        for below in self.below(&uid) {
            self.mark(below);
        }
        if key.0 == WatchedKind::Services && service {
            self.mark_around(&key.1.namespace);
        }
    }

    /// Marks everything of a namespace that a Service may select, or that owns it.
    pub(super) fn mark_around(&mut self, namespace: &str) {
        let around = self.objects.keys();
        let around = around
            .filter(|(what, name)| *what != WatchedKind::Services && name.namespace == namespace);
        let around: Vec<Key> = around.cloned().collect();
        around.into_iter().for_each(|key| self.mark(key));
    }

    /// The carriers of what an object owns. Services among them want what it wants, for pods too that they do not select.
    fn homes_below(&self, owner: &Key) -> BTreeSet<CarrierKey> {
        let uid = self.objects.get(owner).map(|object| &object.meta.uid);
        let below = uid.map(|uid| self.below(uid)).unwrap_or_default();
        let homes = below.iter().filter_map(|key| self.homes.get(key));
        homes.flatten().cloned().collect()
    }

    pub(super) fn mark(&mut self, key: Key) {
        self.dirty.insert(self.carrier_key(&key));
        self.stale.insert(key);
    }

    pub(super) fn everything_is_stale(&mut self) {
        let all: Vec<Key> = self.objects.keys().cloned().collect();
        all.into_iter().for_each(|key| self.mark(key));
        self.refile_all();
    }

    /// The owners that read from a Service which of their generations takes traffic, with their UIDs.
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
