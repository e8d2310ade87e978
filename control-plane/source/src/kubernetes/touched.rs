//! Objects and carriers that a change of one object may affect. So the cost of an event depends on what it affects.

use std::collections::BTreeSet;

use headgate_model::CarrierKey;

use super::objects::{Body, Name, Object};
use super::store::{Key, Store, What};

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
        if key.0 == What::Services && self.settled {
            let readers = self.owners_that_read(&key.1);
            readers.into_iter().for_each(|key| self.mark(key));
        }
        self.mark(key.clone());
        let above = self.above(key);
        if let Some(outermost) = above.last() {
            self.dirty.extend(self.services_of(outermost));
        }
        above.into_iter().for_each(|above| self.mark(above));
        for below in self.below(&uid) {
            self.mark(below);
        }
        if key.0 == What::Services && service {
            let around = self.objects.keys().filter(|(what, name)| {
                *what != What::Services && name.namespace == key.1.namespace
            });
            let around: Vec<Key> = around.cloned().collect();
            around.into_iter().for_each(|key| self.mark(key));
        }
    }

    /// The Services of what an object owns: they want what it wants, for pods too that they do not select.
    fn services_of(&self, owner: &Key) -> BTreeSet<CarrierKey> {
        let uid = self.objects.get(owner).map(|object| &object.meta.uid);
        let below = uid.map(|uid| self.below(uid)).unwrap_or_default();
        let homes = below.iter().filter_map(|key| self.homes.get(key));
        let services = homes.flatten().filter(|home| home.kind == "service");
        services.cloned().collect()
    }

    pub(super) fn mark(&mut self, key: Key) {
        self.dirty.insert(self.carrier_key(&key));
        self.stale.insert(key);
    }

    pub(super) fn everything_is_stale(&mut self) {
        let all: Vec<Key> = self.objects.keys().cloned().collect();
        all.into_iter().for_each(|key| self.mark(key));
    }

    /// The owners that read from a Service which of their generations takes traffic.
    fn owners_that_read(&self, service: &Name) -> Vec<Key> {
        let reads = |object: &Object| match &object.body {
            Body::Owner {
                generations: Some(generations),
                ..
            } => generations.service.as_ref() == Some(&service.name),
            _ => false,
        };
        let all = self.objects.iter();
        all.filter(|(key, object)| key.1.namespace == service.namespace && reads(object))
            .map(|(key, _)| key.clone())
            .collect()
    }
}
