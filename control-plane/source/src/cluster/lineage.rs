//! Chains of owners.
//!
//! Invariant: an owner that is not listed yet may be the carrier, so it is waited for. An owner whose kind is not watched, or that
//! does not exist, is skipped, unless a label of its operator names the owner above it.

use std::collections::BTreeSet;

use super::objects::{Body, Controller, Name, Object};
use super::roles;
use super::store::{Key, Store};
use headgate_kubernetes::WatchedKind;

/// Longest chain of owners that is followed. Nobody needs so many; a circle has no end.
pub(super) const LONGEST: usize = 16;

/// What stands directly above an object.
enum Parent {
    Known(Key),
    /// It may be told yet.
    Awaited,
    Nobody,
}

impl Store {
    fn parent(&self, key: &Key) -> Parent {
        let Some(object) = self.objects.get(key) else {
            return Parent::Nobody;
        };
        let Some(controller) = &object.meta.controller else {
            return Parent::Nobody;
        };
        if let Some(owner) = self.uids.get(&controller.uid) {
            return Parent::Known(owner.clone());
        }
        if self.sees(&controller.group, &controller.kind) {
            return Parent::Awaited;
        }
        match self.named_owner(object) {
            Some(owner) if self.objects.contains_key(&owner) => Parent::Known(owner),
            Some(owner) if self.may_come(&owner) => Parent::Awaited,
            _ => Parent::Nobody,
        }
    }

    /// The owner that a label names, where the controller is of a kind that is not watched: what it is controlled by stands between.
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

    /// The owners of an object, from its own to the outermost, and whether the last of them has one that is not told yet.
    pub(super) fn chain(&self, key: &Key) -> (Vec<Key>, bool) {
        let mut chain: Vec<Key> = Vec::new();
        while chain.len() < LONGEST {
            match self.parent(chain.last().unwrap_or(key)) {
                Parent::Known(owner) => chain.push(owner),
                Parent::Awaited => return (chain, true),
                Parent::Nobody => return (chain, false),
            }
        }
        (chain, false)
    }

    /// The owner of a pod, if its kind is not watched. The Node that owns a static pod is none.
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

    /// All owners of an object that are known.
    pub(super) fn above(&self, key: &Key) -> Vec<Key> {
        self.chain(key).0
    }

    /// What an object owns directly.
    pub(super) fn children(&self, uid: &str) -> impl Iterator<Item = &Key> {
        let own = self.children.get(uid).into_iter().flatten();
        let named = self.uids.get(uid).and_then(|key| self.named.get(key));
        own.chain(named.into_iter().flatten())
    }

    /// Everything that an object owns, and what that owns.
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

    /// The outermost owner, or the object itself; `None` while that is not known.
    pub(super) fn outermost(&self, key: &Key) -> Option<Key> {
        let (mut chain, waits) = self.chain(key);
        (!waits).then(|| chain.pop().unwrap_or_else(|| key.clone()))
    }
}
