//! Which Services declare a variant, and where their selectors are filed.
//!
//! Invariant: the selector of a Service that declares a variant is in the index of carriers, any other selector in that of groups, and
//! that of a Service with `headgate.dev/carrier: owner` in both. Whether a Service declares a variant may depend on the labels of its
//! controller, so a change of the controller indexes its Services again.

use headgate_model::prefers_owner;

use super::objects::{Body, Object};
use super::roles;
use super::store::{Key, Store};
use headgate_kubernetes::WatchedKind;

impl Store {
    /// Whether an object is a Service that declares a variant: one with both labels, which its controller did not copy.
    pub(super) fn declares(&self, object: &Object) -> bool {
        let labels = &object.meta.labels;
        matches!(object.body, Body::Service { .. })
            && labels.contains_key(&self.keys.model)
            && labels.contains_key(&self.keys.version)
            && !self.has_copies(object)
    }

    /// Whether the labels of a Service are copies that its controller made. While the controller is not listed yet, they are taken for
    /// copies.
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
                None => self.sees(&controller.group, &controller.kind),
            }
    }

    /// Whether a Service lets the labelled owner of its pods carry in its place.
    pub(super) fn yields(&self, object: &Object) -> bool {
        matches!(object.body, Body::Service { .. }) && prefers_owner(&object.meta.annotations)
    }

    /// Files the selector of an object.
    pub(super) fn file(&mut self, key: &Key) {
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

    /// Removes the selector of an object from wherever it is filed.
    pub(super) fn unfile(&mut self, key: &Key, body: &Body) {
        if let Body::Service { selector, .. } = body {
            self.selectors.remove(&key.1, selector);
        }
        self.groups.remove(key, body);
    }

    /// Files the Services of a controller anew, which came, went or has other labels.
    pub(super) fn refile_of(&mut self, uid: &str) {
        let owned = self.children.get(uid).into_iter().flatten();
        let services = owned.filter(|key| key.0 == WatchedKind::Services).cloned();
        let services: Vec<Key> = services.collect();
        services.iter().for_each(|key| self.refile(key));
    }

    /// Files every Service anew: another kind is watched, or one less.
    pub(super) fn refile_all(&mut self) {
        let services = self
            .objects
            .keys()
            .filter(|(what, _)| *what == WatchedKind::Services);
        let services: Vec<Key> = services.cloned().collect();
        services.iter().for_each(|key| self.refile(key));
    }

    fn refile(&mut self, key: &Key) {
        let Some(object) = self.objects.get(key) else {
            return;
        };
        let Body::Service { selector, .. } = &object.body else {
            return;
        };
        let filed = self.selectors.contains(&key.1, selector);
        if selector.is_empty() || filed == self.declares(object) {
            return;
        }
        let body = object.body.clone();
        self.unfile(key, &body);
        self.file(key);
        self.mark(key.clone());
        // Before, everything is stale.
        if self.settled {
            self.mark_around(&key.1.namespace);
        }
    }
}
