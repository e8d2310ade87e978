//! Owner chains.
//!
//! Invariant: an owner that is not listed yet may be the carrier, so its objects wait for it. An owner whose kind is not watched, or
//! that does not exist, is skipped, unless a label of its operator names the owner above it.

use std::collections::BTreeSet;

use super::identity::{Controller, Key, Name};
use super::objects::{Body, Object};
use super::roles;
use super::store::Store;
use headgate_kubernetes::WatchedKind;

/// Longest owner chain that is followed; bounds cycles.
pub(super) const LONGEST: usize = 16;

/// The direct owner of an object.
enum Parent {
    Known(Key),
    /// It may be listed later.
    Pending,
    None,
}

impl Store {
    fn parent(&self, key: &Key) -> Parent {
        let Some(object) = self.objects.get(key) else {
            return Parent::None;
        };
        let Some(controller) = &object.meta.controller else {
            return Parent::None;
        };
        if let Some(owner) = self.uids.get(&controller.uid) {
            return Parent::Known(owner.clone());
        }
        if self.is_watched(&controller.group, &controller.kind) {
            return Parent::Pending;
        }
        match self.named_owner(object) {
            Some(owner) if self.objects.contains_key(&owner) => Parent::Known(owner),
            Some(owner) if self.may_be_listed_later(&owner) => Parent::Pending,
            _ => Parent::None,
        }
    }

    /// The owner that a label names, where the kind of the controller, which is between the two, is not watched.
    pub(super) fn named_owner(&self, object: &Object) -> Option<Key> {
        let Body::Owner { template, .. } = &object.body else {
            return None;
        };
        let controller = object.meta.controller.as_ref()?;
        let watched =
            |kind: &headgate_kubernetes::kinds::Kind| kind.is(&controller.group, &controller.kind);
        if self.kinds.iter().any(watched) || controller.kind == "Pod" {
            return None;
        }
        let labels = [&object.meta.labels, template];
        let named = labels.into_iter().find_map(roles::named_owner);
        let (group, kind, name) = named?;
        let place = self.kinds.iter().position(|k| k.is(group, kind))?;
        let name = Name {
            namespace: object.meta.name.namespace.clone(),
            name: name.to_owned(),
        };
        Some((WatchedKind::Owners(place), name))
    }

    /// The owners of an object, from the direct to the outermost one, and whether the last of them has an owner that may be listed later.
    pub(super) fn chain(&self, key: &Key) -> (Vec<Key>, bool) {
        let mut chain: Vec<Key> = Vec::new();
        while chain.len() < LONGEST {
            match self.parent(chain.last().unwrap_or(key)) {
                Parent::Known(owner) => chain.push(owner),
                Parent::Pending => return (chain, true),
                Parent::None => return (chain, false),
            }
        }
        (chain, false)
    }

    /// The owner of a pod, if its kind is not watched. The Node of a static pod does not count.
    pub(super) fn unwatched_owner<'a>(
        &self,
        key: &Key,
        object: &'a Object,
    ) -> Option<&'a Controller> {
        let owner = object.meta.controller.as_ref()?;
        let watched = self.kinds.iter().any(|k| k.is(&owner.group, &owner.kind));
        let node = owner.group.is_empty() && owner.kind == "Node";
        (key.0 == WatchedKind::Pods && !watched && !node).then_some(owner)
    }

    /// All known owners of an object, from the direct to the outermost one.
    pub(super) fn above(&self, key: &Key) -> Vec<Key> {
        self.chain(key).0
    }

    /// The objects that an object owns directly.
    pub(super) fn children(&self, uid: &str) -> impl Iterator<Item = &Key> {
        let own = self.children.get(uid).into_iter().flatten();
        let named = self.uids.get(uid).and_then(|key| self.named.get(key));
        own.chain(named.into_iter().flatten())
    }

    /// The objects that an object owns, directly or not.
    pub(super) fn below(&self, uid: &str) -> BTreeSet<Key> {
        let mut found = BTreeSet::new();
        let mut uids = vec![uid.to_owned()];
        while let Some(uid) = uids.pop() {
            for child in self.children(&uid) {
                if found.insert(child.clone())
                    && let Some(object) = self.objects.get(child)
                {
                    uids.push(object.meta.uid.clone());
                }
            }
        }
        found
    }

    /// The outermost owner, or the object itself; `None` while it is not known.
    pub(super) fn outermost(&self, key: &Key) -> Option<Key> {
        let (mut chain, waits) = self.chain(key);
        (!waits).then(|| chain.pop().unwrap_or_else(|| key.clone()))
    }
}
