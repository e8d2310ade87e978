//! Desired replicas of a carrier.
//!
//! Invariant: each desired replica counts once. An owner of pods has a number of desired replicas, and an owner above it limits that
//! number. A Service counts the replicas that it selects, and no others. If several carriers have pods of one owner, each
//! names the owner and the owner's desired replicas, so that the model counts them once.

use std::collections::BTreeSet;

use headgate_model::{CarrierKey, OwnerReplicas, OwnerShare};

use super::identity::Key;
use super::objects::{Body, Object};
use super::owners::LONGEST;
use super::store::Store;
use headgate_kubernetes::WatchedKind;

impl Store {
    /// The desired replicas of a carrier: for a Service, the sum over the owners of the pods that it selects. Also the share of each owner
    /// that other carriers may have pods of, too.
    pub(super) fn desired(
        &self,
        at: &Key,
        key: &CarrierKey,
        serving: &BTreeSet<&Key>,
    ) -> (u32, OwnerReplicas) {
        if at.0 != WatchedKind::Services {
            let part = self.wants(at, serving, LONGEST).unwrap_or(1);
            return (part, self.share_of_an_owner(at, part));
        }
        let none = BTreeSet::new();
        let selected = self.members.get(key).unwrap_or(&none);
        let mut tops: BTreeSet<Key> = selected.iter().map(|member| self.top(member)).collect();
        tops.retain(|top| !self.is_below_a_pod(top) || self.serves(top, serving));
        let tops = self.without_idle(tops.iter().collect(), serving);
        let mut owner_replicas = OwnerReplicas::new();
        for top in tops {
            self.owner_replicas(top, selected, serving, LONGEST, &mut owner_replicas);
        }
        let parts = owner_replicas.values().map(|share| share.desired);
        (parts.fold(0, u32::saturating_add), owner_replicas)
    }

    /// The share of a carrier that is not a Service, if an owner above it has a number of replicas.
    fn share_of_an_owner(&self, at: &Key, part: u32) -> OwnerReplicas {
        let above = self.above(at).into_iter();
        let above: Vec<Key> = above
            .take_while(|owner| owner.0 != WatchedKind::Pods)
            .collect();
        let mut outermost_first = above.iter().rev();
        let share = outermost_first.find_map(|owner| {
            let whole = self.number(owner)?;
            Some((
                self.carrier_key(owner).identity(),
                OwnerShare {
                    desired: part,
                    total: whole,
                },
            ))
        });
        share.into_iter().collect()
    }

    /// Adds the selected share of each outermost owner, or pod, that has a number of replicas.
    fn owner_replicas(
        &self,
        key: &Key,
        selected: &BTreeSet<Key>,
        serving: &BTreeSet<&Key>,
        depth: usize,
        owner_replicas: &mut OwnerReplicas,
    ) {
        if let Some(whole) = self.number(key) {
            if let Some(part) = self.selected_part(key, selected, serving, depth) {
                let owner = self.carrier_key(key).identity();
                owner_replicas.insert(
                    owner,
                    OwnerShare {
                        desired: part,
                        total: whole,
                    },
                );
            }
            return;
        }
        let (Some(object), Some(depth)) = (self.objects.get(key), depth.checked_sub(1)) else {
            return;
        };
        for child in self.busy_children(object, serving) {
            self.owner_replicas(child, selected, serving, depth, owner_replicas);
        }
    }

    /// The desired replicas that an object declares; 1 for a pod.
    fn number(&self, key: &Key) -> Option<u32> {
        match &self.objects.get(key)?.body {
            Body::Pod { .. } => Some(1),
            Body::Owner { replicas, .. } => *replicas,
            _ => None,
        }
    }

    /// The outermost owner whose replicas are pods. Owners above a pod that owns other pods, such as the leader of a group, count
    /// groups.
    fn top(&self, key: &Key) -> Key {
        let above = self.above(key).into_iter();
        let counted = above.take_while(|owner| owner.0 != WatchedKind::Pods);
        counted.last().unwrap_or_else(|| key.clone())
    }

    fn is_below_a_pod(&self, key: &Key) -> bool {
        self.above(key)
            .iter()
            .any(|owner| owner.0 == WatchedKind::Pods)
    }

    /// The desired replicas of an object among the selected pods: all if all its pods are selected; else the sum over its parts, at most
    /// its own number.
    fn selected_part(
        &self,
        key: &Key,
        selected: &BTreeSet<Key>,
        serving: &BTreeSet<&Key>,
        depth: usize,
    ) -> Option<u32> {
        let object = self.objects.get(key)?;
        let most = match &object.body {
            Body::Pod { .. } => return (selected.contains(key) && object.is_live()).then_some(1),
            Body::Owner { replicas, .. } => *replicas,
            _ => None,
        };
        if most.is_some() && self.is_selected_whole(key, selected, depth) {
            return most;
        }
        let depth = depth.checked_sub(1)?;
        let parts = self.busy_children(object, serving).into_iter();
        let parts = parts.filter_map(|child| self.selected_part(child, selected, serving, depth));
        let sum = parts.reduce(u32::saturating_add)?;
        Some(most.map_or(sum, |most| sum.min(most)))
    }

    /// Whether all pods that an owner has or makes are selected.
    fn is_selected_whole(&self, key: &Key, selected: &BTreeSet<Key>, depth: usize) -> bool {
        let Some(depth) = depth.checked_sub(1) else {
            return false;
        };
        let uid = self.objects.get(key).map(|object| &object.meta.uid);
        let children = uid.into_iter().flat_map(|uid| self.children(uid));
        let mut counted = children
            .filter(|child| self.has_or_desires_pods(child))
            .peekable();
        if counted.peek().is_none() {
            return selected.contains(key);
        }
        // A pod that is selected by a label of its own, not of its template, counts as one pod, even if it is the only one.
        let by_template = !self.has_template(key) || selected.contains(key);
        counted.all(|child| match child.0 {
            WatchedKind::Pods => by_template && selected.contains(child),
            _ => self.is_selected_whole(child, selected, depth),
        })
    }

    /// Whether an owner makes its pods from a template that is read.
    pub(super) fn has_template(&self, key: &Key) -> bool {
        let body = self.objects.get(key).map(|object| &object.body);
        matches!(body, Some(Body::Owner { template, .. }) if !template.is_empty())
    }

    /// Whether an object is a live pod, or an owner that has or desires one.
    pub(super) fn has_or_desires_pods(&self, key: &Key) -> bool {
        let Some(object) = self.objects.get(key) else {
            return false;
        };
        let live = |key: &Key| {
            key.0 == WatchedKind::Pods && self.objects.get(key).is_some_and(Object::is_live)
        };
        match &object.body {
            Body::Pod { .. } => object.is_live(),
            Body::Owner {
                replicas: Some(0), ..
            } => self.below(&object.meta.uid).iter().any(live),
            Body::Owner { .. } => true,
            _ => false,
        }
    }

    /// The desired replicas of an object: its own number, else the sum over the objects that it owns; `None` if unknown.
    fn wants(&self, key: &Key, serving: &BTreeSet<&Key>, depth: usize) -> Option<u32> {
        let object = self.objects.get(key)?;
        match &object.body {
            Body::Pod { .. } => object.is_live().then_some(1),
            Body::Owner {
                replicas: Some(replicas),
                ..
            } => Some(*replicas),
            _ => {
                let depth = depth.checked_sub(1)?;
                let children = self.busy_children(object, serving).into_iter();
                let wanted = children.filter_map(|child| self.wants(child, serving, depth));
                wanted.reduce(u32::saturating_add)
            }
        }
    }

    /// The objects that an object owns, filtered by [`Store::without_idle`].
    fn busy_children(&self, object: &Object, serving: &BTreeSet<&Key>) -> Vec<&Key> {
        let children = self.children(&object.meta.uid);
        self.without_idle(children.collect(), serving)
    }

    /// Owners some of whose pods serve; all owners if no pod serves.
    fn without_idle<'a>(&self, mut all: Vec<&'a Key>, serving: &BTreeSet<&Key>) -> Vec<&'a Key> {
        if all.iter().any(|one| !self.idle(one, serving)) {
            all.retain(|one| !self.idle(one, serving));
        }
        all
    }

    /// Whether an object has pods, or is one, and none of them serves. An owner whose pods are not created yet is not idle.
    pub(super) fn idle(&self, key: &Key, serving: &BTreeSet<&Key>) -> bool {
        let mut pods = self.live_pods(key).peekable();
        pods.peek().is_some() && !pods.any(|pod| serving.contains(&pod))
    }

    /// Whether a pod of an object, or it itself, serves.
    fn serves(&self, key: &Key, serving: &BTreeSet<&Key>) -> bool {
        self.live_pods(key).any(|pod| serving.contains(&pod))
    }

    /// The live pods of an object, including itself.
    fn live_pods(&self, key: &Key) -> impl Iterator<Item = Key> {
        let uid = self.objects.get(key).map(|object| &object.meta.uid);
        let mut all = uid.map(|uid| self.below(uid)).unwrap_or_default();
        all.insert(key.clone());
        let live = |key: &Key| self.objects.get(key).is_some_and(Object::is_live);
        all.into_iter()
            .filter(move |key| key.0 == WatchedKind::Pods && live(key))
    }
}
