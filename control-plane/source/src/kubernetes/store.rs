//! What the watches told → the carriers. Synchronous and pure: events come in, [`Objects`]' carriers come out.
//!
//! ```text
//! event ──▶ put, remove ──▶ stale (who may belong elsewhere) ──▶ settle: homes, groups ──▶ those that are dirty ──▶ built anew
//! ```
//!
//! Invariant: after [`Store::settle`] the carriers are a function of the objects as they are, whatever events led to them;
//! an event costs what it touches, not what there is.
//!
//! [`Objects`]: headgate_model::Objects

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use headgate_model::{Carrier, CarrierKey, Finding, LabelKeys, Subject};

use super::carriers::Built;
use super::groups::Groups;
use super::kinds::Kind;
use super::objects::{Body, Name, Object};
use super::selectors::Selectors;
use super::settled::{Settled, between};
use super::watch::Event;
use crate::change::Change;
use crate::reference::ByObject;

/// What a watch watches. Kinds go by their place in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum What {
    Pods,
    Services,
    Pools,
    Owners(usize),
}

/// One watch of these.
pub(crate) type WatchId = super::watch::WatchId<What>;

/// An object among all.
pub(crate) type Key = (What, Name);

/// How far a watch is.
#[derive(Debug, Clone, Default)]
struct Listing {
    /// Whether it has told all there is at least once.
    synced: bool,
    absent: bool,
    /// The objects of the list that is under way.
    seen: Option<BTreeSet<Name>>,
}

/// All objects, stripped, and what is made of them.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(super) kinds: Vec<Kind>,
    pub(super) keys: LabelKeys,
    watches: BTreeMap<WatchId, Listing>,
    pub(super) objects: BTreeMap<Key, Object>,
    pub(super) uids: HashMap<String, Key>,
    /// By the UID of their controller.
    pub(super) children: HashMap<String, BTreeSet<Key>>,
    /// Of the Services that declare a variant.
    pub(super) selectors: Selectors,
    pub(super) groups: Groups,
    /// The carriers that a pod belongs to, or the Services that select the pods an owner makes.
    pub(super) homes: BTreeMap<Key, BTreeSet<CarrierKey>>,
    /// The same, the other way round.
    pub(super) members: BTreeMap<CarrierKey, BTreeSet<Key>>,
    /// Objects whose homes may be others now.
    stale: BTreeSet<Key>,
    /// Carriers that may be others now.
    dirty: BTreeSet<CarrierKey>,
    built: BTreeMap<CarrierKey, Built>,
    /// Of the carriers that are built.
    references: Arc<ByObject>,
    /// Of objects that could not be read in full.
    unreadable: BTreeMap<Key, Vec<Finding>>,
    /// Whether another finding is to be told of, or one less.
    said: bool,
    /// Whether it was ever settled; before that, everything is stale.
    settled: bool,
}

impl Store {
    pub(crate) fn new(
        kinds: Vec<Kind>,
        keys: LabelKeys,
        watches: impl IntoIterator<Item = WatchId>,
    ) -> Self {
        Self {
            kinds,
            keys,
            watches: watches
                .into_iter()
                .map(|id| (id, Listing::default()))
                .collect(),
            objects: BTreeMap::new(),
            uids: HashMap::new(),
            children: HashMap::new(),
            selectors: Selectors::default(),
            groups: Groups::default(),
            homes: BTreeMap::new(),
            members: BTreeMap::new(),
            stale: BTreeSet::new(),
            dirty: BTreeSet::new(),
            built: BTreeMap::new(),
            references: Arc::default(),
            unreadable: BTreeMap::new(),
            said: false,
            settled: false,
        }
    }

    /// Whether every watch has told all there is at least once.
    pub(crate) fn synced(&self) -> bool {
        self.watches.values().all(|watch| watch.synced)
    }

    /// Takes in what a watch told.
    pub(crate) fn reduce(&mut self, id: &WatchId, event: Event<Object>) {
        match event {
            Event::Begin => {
                self.watches.entry(id.clone()).or_default().seen = Some(BTreeSet::new());
            }
            Event::Listed(object) => {
                if let Some(seen) = self.watches.entry(id.clone()).or_default().seen.as_mut() {
                    seen.insert(object.meta.name.clone());
                }
                self.put(id.what, object);
            }
            Event::Done => {
                let listing = self.watches.entry(id.clone()).or_default();
                listing.synced = true;
                let seen = listing.seen.take();
                if std::mem::take(&mut listing.absent) {
                    self.everything_is_stale();
                }
                if let Some(seen) = seen {
                    self.keep(id, &seen);
                }
            }
            Event::Applied(object) => self.put(id.what, object),
            Event::Deleted(gone) => {
                let key = (id.what, gone.meta.name);
                let there = self.objects.get(&key);
                if there.is_some_and(|there| there.meta.uid == gone.meta.uid) {
                    self.remove(&key);
                }
            }
            Event::Absent => {
                let listing = self.watches.entry(id.clone()).or_default();
                listing.synced = true;
                listing.seen = None;
                if !std::mem::replace(&mut listing.absent, true) {
                    self.keep(id, &BTreeSet::new());
                    self.everything_is_stale();
                }
            }
        }
    }

    /// Whether objects of this kind would be known, were they there.
    pub(super) fn sees(&self, group: &str, kind: &str) -> bool {
        if group.is_empty() && kind == "Pod" {
            return true;
        }
        let Some(place) = self.kinds.iter().position(|k| k.is(group, kind)) else {
            return false;
        };
        let mut watches = self
            .watches
            .iter()
            .filter(|(id, _)| id.what == What::Owners(place));
        watches.any(|(_, listing)| !listing.absent)
    }

    /// Removes the objects of a watch that are not in its list.
    fn keep(&mut self, id: &WatchId, listed: &BTreeSet<Name>) {
        let from = (
            id.what,
            Name {
                namespace: id.namespace.clone().unwrap_or_default(),
                name: String::new(),
            },
        );
        let gone: Vec<Key> = self
            .objects
            .range(from..)
            .map(|(key, _)| key)
            .take_while(|(what, name)| {
                *what == id.what && id.namespace.as_ref().is_none_or(|ns| *ns == name.namespace)
            })
            .filter(|(_, name)| !listed.contains(name))
            .cloned()
            .collect();
        for key in gone {
            self.remove(&key);
        }
    }

    fn put(&mut self, what: What, object: Object) {
        let key = (what, object.meta.name.clone());
        if self.objects.get(&key) == Some(&object) {
            return;
        }
        self.remove(&key);
        let meta = &object.meta;
        self.uids.insert(meta.uid.clone(), key.clone());
        if let Some(controller) = &meta.controller {
            self.children
                .entry(controller.uid.clone())
                .or_default()
                .insert(key.clone());
        }
        match &object.body {
            Body::Service { selector } if self.declares(&object) => {
                self.selectors.insert(&meta.name, selector);
            }
            body => self.groups.insert(&meta.name, body),
        }
        if !object.unreadable.is_empty() {
            self.said = true;
            self.unreadable
                .insert(key.clone(), self.complaints(&key, &object));
        }
        self.objects.insert(key.clone(), object);
        self.touched(&key);
    }

    fn remove(&mut self, key: &Key) {
        self.touched(key);
        let Some(object) = self.objects.remove(key) else {
            return;
        };
        if self.uids.get(&object.meta.uid) == Some(key) {
            self.uids.remove(&object.meta.uid);
        }
        if let Some(controller) = &object.meta.controller
            && let Some(siblings) = self.children.get_mut(&controller.uid)
        {
            siblings.remove(key);
            if siblings.is_empty() {
                self.children.remove(&controller.uid);
            }
        }
        if let Body::Service { selector } = &object.body {
            self.selectors.remove(&key.1, selector);
        }
        self.groups.remove(&key.1, &object.body);
        self.said |= self.unreadable.remove(key).is_some();
    }

    /// Marks what may change because an object is, or was, as it is now.
    fn touched(&mut self, key: &Key) {
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

    fn mark(&mut self, key: Key) {
        self.dirty.insert(self.carrier_key(&key));
        self.stale.insert(key);
    }

    fn everything_is_stale(&mut self) {
        let all: Vec<Key> = self.objects.keys().cloned().collect();
        all.into_iter().for_each(|key| self.mark(key));
    }

    /// Whether an object is a Service that declares a variant: one with both labels.
    pub(super) fn declares(&self, object: &Object) -> bool {
        let labels = &object.meta.labels;
        matches!(object.body, Body::Service { .. })
            && labels.contains_key(&self.keys.model)
            && labels.contains_key(&self.keys.version)
    }

    /// Brings the carriers up to date, and says what became of them.
    pub(crate) fn settle(&mut self) -> Settled {
        self.settled = true;
        for key in std::mem::take(&mut self.stale) {
            self.rehome(key);
        }
        let mut settled = Settled {
            change: None,
            findings: std::mem::take(&mut self.said),
        };
        for key in std::mem::take(&mut self.dirty) {
            let (old, now) = (self.built.remove(&key), self.build(&key));
            settled = settled.and(between(old.as_ref(), now.as_ref()));
            self.refer(&key, now.is_some());
            if let Some(now) = now {
                self.built.insert(key, now);
            }
        }
        let regrouped = self.settle_groups().then_some(Change::Intent);
        settled.and(Settled {
            change: regrouped,
            findings: false,
        })
    }

    fn rehome(&mut self, key: Key) {
        self.regroup(&key);
        let now = self.homes_of(&key);
        let before = self.homes.remove(&key).unwrap_or_default();
        for left in before.difference(&now) {
            if let Some(members) = self.members.get_mut(left) {
                members.remove(&key);
                if members.is_empty() {
                    self.members.remove(left);
                }
            }
        }
        for home in &now {
            self.members
                .entry(home.clone())
                .or_default()
                .insert(key.clone());
        }
        self.dirty
            .extend(before.into_iter().chain(now.iter().cloned()));
        if !now.is_empty() {
            self.homes.insert(key, now);
        }
    }

    /// The carriers as they were last settled.
    pub(crate) fn carriers(&self) -> BTreeMap<CarrierKey, Carrier> {
        self.built
            .iter()
            .map(|(key, built)| (key.clone(), built.carrier.clone()))
            .collect()
    }

    /// What the API server calls the carriers.
    pub(crate) fn references(&self) -> Arc<ByObject> {
        self.references.clone()
    }

    /// Notes what the API server calls a carrier; most of what happens to one does not change that.
    fn refer(&mut self, key: &CarrierKey, there: bool) {
        let object = Subject::from(key.clone());
        let now = self.reference(key).filter(|_| there);
        if self.references.get(&object) == now.as_ref() {
            return;
        }
        let references = Arc::make_mut(&mut self.references);
        match now {
            Some(now) => _ = references.insert(object, now),
            None => _ = references.remove(&object),
        }
    }

    /// What is to be said about objects, sorted.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let built = self.built.values().flat_map(|built| &built.findings);
        let mut all: Vec<Finding> = built
            .chain(self.unreadable.values().flatten())
            .cloned()
            .collect();
        all.sort();
        all
    }
}
