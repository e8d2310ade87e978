//! Desired replicas of a carrier.
//!
//! Invariant: each desired replica counts once. An owner of pods has a number of desired replicas, and an owner above it limits that
//! number. A Service counts the replicas that it selects, and no others. Where several carriers stand for pods of one owner, each names
//! the owner and what that one wants of all its pods, so that the model counts the replicas once.

use std::collections::BTreeSet;

use headgate_model::{CarrierKey, OwnerReplicas, OwnerShare};

use super::lineage::LONGEST;
use super::objects::{Body, Object};
use super::serving::lives;
use super::store::{Key, Store};
use headgate_kubernetes::WatchedKind;

impl Store {
    /// Replicas that a carrier wants: of a Service, what the owners of the pods that it selects want together. And the parts of
    /// them that are of owners for which other carriers may stand too.
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

    /// The share of a carrier that is not a Service in the replicas of an owner above it.
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

    /// Adds what is selected of each outermost owner, or pod, that says how many it wants.
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

    /// Replicas that an object says that it wants; a pod is one.
    fn number(&self, key: &Key) -> Option<u32> {
        match &self.objects.get(key)?.body {
            Body::Pod { .. } => Some(1),
            Body::Owner { replicas, .. } => *replicas,
            _ => None,
        }
    }

    /// The outermost owner that counts pods as an object's own owner does. A pod that owns others, as the leader of a group does,
    /// is counted in groups by what is above it.
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

    /// What an object wants of the pods that are selected: all where they all are, else what its parts want, and never more.
    fn selected_part(
        &self,
        key: &Key,
        selected: &BTreeSet<Key>,
        serving: &BTreeSet<&Key>,
        depth: usize,
    ) -> Option<u32> {
        let object = self.objects.get(key)?;
        let most = match &object.body {
            Body::Pod { .. } => return (selected.contains(key) && lives(object)).then_some(1),
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
            .filter(|child| self.has_or_wants_pods(child))
            .peekable();
        if counted.peek().is_none() {
            return selected.contains(key);
        }
        // One that is selected by more than its template says, as by its own name, is one pod, also while it is the only one.
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

    /// Whether an object is a pod that lives, or an owner that has one or wants one.
    pub(super) fn has_or_wants_pods(&self, key: &Key) -> bool {
        let Some(object) = self.objects.get(key) else {
            return false;
        };
        let live =
            |key: &Key| key.0 == WatchedKind::Pods && self.objects.get(key).is_some_and(lives);
        match &object.body {
            Body::Pod { .. } => lives(object),
            Body::Owner {
                replicas: Some(0), ..
            } => self.below(&object.meta.uid).iter().any(live),
            Body::Owner { .. } => true,
            _ => false,
        }
    }

    /// What an object says that it wants, else what those that it owns want. `None` where nothing says.
    fn wants(&self, key: &Key, serving: &BTreeSet<&Key>, depth: usize) -> Option<u32> {
        let object = self.objects.get(key)?;
        match &object.body {
            Body::Pod { .. } => lives(object).then_some(1),
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

    /// What an object owns, as [`Store::without_idle`] leaves it.
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

    /// Whether an object has pods, or is one, and none of them serves. One whose pods are still to be made is wanted.
    pub(super) fn idle(&self, key: &Key, serving: &BTreeSet<&Key>) -> bool {
        let mut pods = self.live_pods(key).peekable();
        pods.peek().is_some() && !pods.any(|pod| serving.contains(&pod))
    }

    /// Whether a pod of an object, or it itself, serves.
    fn serves(&self, key: &Key, serving: &BTreeSet<&Key>) -> bool {
        self.live_pods(key).any(|pod| serving.contains(&pod))
    }

    /// The pods of an object, and it itself where it is one, that live.
    fn live_pods(&self, key: &Key) -> impl Iterator<Item = Key> {
        let uid = self.objects.get(key).map(|object| &object.meta.uid);
        let mut all = uid.map(|uid| self.below(uid)).unwrap_or_default();
        all.insert(key.clone());
        let live = |key: &Key| self.objects.get(key).is_some_and(lives);
        all.into_iter()
            .filter(move |key| key.0 == WatchedKind::Pods && live(key))
    }
}
