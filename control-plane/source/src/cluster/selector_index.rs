//! Maintenance of the selector indexes: one for Services that declare a variant, one for groups.
//!
//! Invariant: the selector of a Service that declares a variant is in the index of carriers, any other selector in that of groups, and
//! that of a Service with `headgate.dev/carrier: owner` in both. Whether a Service declares a variant may depend on the labels of its
//! controller, so a change of the controller indexes its Services again.

use headgate_model::prefers_owner;

use super::identity::Key;
use super::objects::{Body, Object};
use super::roles;
use super::store::Store;
use headgate_kubernetes::WatchedKind;

impl Store {
    /// Whether an object is a Service that declares a variant: it has both labels, and they are not copies by its controller.
    pub(super) fn declares(&self, object: &Object) -> bool {
        let labels = &object.meta.labels;
        matches!(object.body, Body::Service { .. })
            && labels.contains_key(&self.keys.model)
            && labels.contains_key(&self.keys.version)
            && !self.has_copies(object)
    }

    /// Whether the labels of a Service are copies by its controller. While the controller is not listed yet, they count as copies.
    pub(super) fn has_copies(&self, service: &Object) -> bool {
        let Some(controller) = &service.meta.controller else {
            return false;
        };
        if roles::is_in_copying_group(controller) {
            return true;
        }
        roles::is_copied_to_services(controller)
            && match self.uids.get(&controller.uid) {
                Some(owner) => self.names_model(owner),
                None => self.is_watched(&controller.group, &controller.kind),
            }
    }

    /// Whether a Service yields to the labelled owner of its pods, which becomes the carrier.
    pub(super) fn yields(&self, object: &Object) -> bool {
        matches!(object.body, Body::Service { .. }) && prefers_owner(&object.meta.annotations)
    }

    /// Adds the selector of an object to the indexes.
    pub(super) fn index(&mut self, key: &Key) {
        let Some(object) = self.objects.get(key) else {
            return;
        };
        let (declares, groups) = (self.declares(object), self.grouping(object).is_some());
        if let Body::Service { selector, .. } = &object.body
            && declares
        {
            self.selectors.insert(&key.1, selector);
        }
        if groups {
            self.groups.insert(key, &object.body);
        }
    }

    /// Removes the selector of an object from the indexes.
    pub(super) fn unindex(&mut self, key: &Key, body: &Body) {
        if let Body::Service { selector, .. } = body {
            self.selectors.remove(&key.1, selector);
        }
        self.groups.remove(key, body);
    }

    /// Indexes the Services of a controller again after it was added, deleted or relabelled.
    pub(super) fn reindex_services_of(&mut self, uid: &str) {
        let owned = self.children.get(uid).into_iter().flatten();
        let services = owned.filter(|key| key.0 == WatchedKind::Services).cloned();
        let services: Vec<Key> = services.collect();
        services.iter().for_each(|key| self.reindex(key));
    }

    /// Indexes every Service again after the set of served kinds changed.
    pub(super) fn reindex_all(&mut self) {
        let services = self
            .objects
            .keys()
            .filter(|(what, _)| *what == WatchedKind::Services);
        let services: Vec<Key> = services.cloned().collect();
        services.iter().for_each(|key| self.reindex(key));
    }

    fn reindex(&mut self, key: &Key) {
        let Some(object) = self.objects.get(key) else {
            return;
        };
        let Body::Service { selector, .. } = &object.body else {
            return;
        };
        let indexed = self.selectors.contains(&key.1, selector);
        if selector.is_empty() || indexed == self.declares(object) {
            return;
        }
        let body = object.body.clone();
        self.unindex(key, &body);
        self.index(key);
        self.mark(key.clone());
        // Before the first reconciliation, every object is stale.
        if self.reconciled {
            self.mark_namespace(&key.1.namespace);
        }
    }
}
