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

use headgate_kubernetes::WatchedKind;
use headgate_model::{Carrier, CarrierKey, Finding, LabelKeys};

use super::carriers::Built;
use super::external::AllowedEndpoint;
use super::groups::Groups;
use super::objects::{Name, Object};
use super::selectors::Selectors;
use super::settled::{Settled, between};
use headgate_kubernetes::kinds::Kind;
use headgate_kubernetes::update::Event;
use headgate_model::Change;
use headgate_model::reference::ByObject;

/// One watch of these.
pub(crate) type WatchId = headgate_kubernetes::update::WatchId<WatchedKind>;

/// An object among all.
pub(crate) type Key = (WatchedKind, Name);

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
    /// Endpoints that may be written on a Service although they are refused by default.
    pub(super) allowed: Vec<AllowedEndpoint>,
    watches: BTreeMap<WatchId, Listing>,
    pub(super) objects: BTreeMap<Key, Object>,
    pub(super) uids: HashMap<String, Key>,
    /// By the UID of their controller.
    pub(super) children: HashMap<String, BTreeSet<Key>>,
    /// By the owner that a label names, where the controller is of a kind that is not watched.
    pub(super) named: BTreeMap<Key, BTreeSet<Key>>,
    /// Of the Services that declare a variant.
    pub(super) selectors: Selectors,
    pub(super) groups: Groups,
    /// The carriers that a pod belongs to, or the Services that select the pods an owner makes.
    pub(super) homes: BTreeMap<Key, BTreeSet<CarrierKey>>,
    /// The same, the other way round.
    pub(super) members: BTreeMap<CarrierKey, BTreeSet<Key>>,
    /// Objects whose homes may be others now.
    pub(super) stale: BTreeSet<Key>,
    /// Carriers that may be others now.
    pub(super) dirty: BTreeSet<CarrierKey>,
    pub(super) built: BTreeMap<CarrierKey, Built>,
    /// Of the carriers that are built, and of all that something is said about.
    pub(super) references: Arc<ByObject>,
    /// How many findings of carriers are about each object.
    pub(super) mentions: BTreeMap<CarrierKey, usize>,
    /// What is wrong with objects, whether or not they carry anything.
    pub(super) complaints: BTreeMap<Key, Vec<Finding>>,
    /// Whether another finding is to be told of, or one less.
    said: bool,
    /// Whether it was ever settled; before that, everything is stale.
    pub(super) settled: bool,
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
            allowed: Vec::new(),
            watches: watches
                .into_iter()
                .map(|id| (id, Listing::default()))
                .collect(),
            objects: BTreeMap::new(),
            uids: HashMap::new(),
            children: HashMap::new(),
            named: BTreeMap::new(),
            selectors: Selectors::default(),
            groups: Groups::default(),
            homes: BTreeMap::new(),
            members: BTreeMap::new(),
            stale: BTreeSet::new(),
            dirty: BTreeSet::new(),
            built: BTreeMap::new(),
            references: Arc::default(),
            mentions: BTreeMap::new(),
            complaints: BTreeMap::new(),
            said: false,
            settled: false,
        }
    }

    /// The same with endpoints that may be written although they are refused by default.
    pub(crate) fn allowing(self, allowed: Vec<AllowedEndpoint>) -> Self {
        Self { allowed, ..self }
    }

    /// Whether all Pods and Services are known. An owner's kind that is not read keeps back the pods that it may own, and
    /// nothing else; InferencePools that are not read keep back nothing.
    pub(crate) fn synced(&self) -> bool {
        let mut needed = self.watches.iter().filter(|(id, _)| !id.what.is_optional());
        needed.all(|(_, watch)| watch.synced)
    }

    /// The kind of these objects, in lower case.
    pub(crate) fn kind(&self, what: WatchedKind) -> Option<String> {
        match what {
            WatchedKind::Pods => Some("pod".to_owned()),
            WatchedKind::Services => Some("service".to_owned()),
            WatchedKind::Pools | WatchedKind::ExperimentalPools => Some("inferencepool".to_owned()),
            WatchedKind::Owners(place) => self.kinds.get(place).map(Kind::lower),
        }
    }

    /// Whether InferencePools of a namespace may be there that were never listed.
    pub(super) fn may_hide_pools(&self, namespace: &str) -> bool {
        let mut watches = self.watches.iter().filter(|(id, _)| id.what.is_pool());
        watches.any(|(id, listing)| {
            let here = id.namespace.as_ref().is_none_or(|ns| ns == namespace);
            here && !listing.synced
        })
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
                let first = !std::mem::replace(&mut listing.synced, true);
                let seen = listing.seen.take();
                // What waited for an object of this kind waits no more.
                if std::mem::take(&mut listing.absent) || (first && self.settled) {
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

    /// A kind is read in another version: so the API server calls its objects from now on.
    pub(crate) fn read_in(&mut self, what: WatchedKind, version: String) {
        let WatchedKind::Owners(place) = what else {
            return;
        };
        if let Some(kind) = self.kinds.get_mut(place) {
            kind.version = version;
            self.said = true;
        }
        let its = self.objects.keys().filter(|(of, _)| *of == what);
        let its: Vec<Key> = its.cloned().collect();
        its.into_iter().for_each(|key| self.mark(key));
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
            .filter(|(id, _)| id.what == WatchedKind::Owners(place));
        watches.any(|(_, listing)| !listing.absent)
    }

    /// Whether an object that is not there may be told of yet: its kind, in its namespace, is not listed.
    pub(super) fn may_come(&self, (what, name): &Key) -> bool {
        let of = |id: &WatchId| {
            let here = id.namespace.as_ref().is_none_or(|ns| *ns == name.namespace);
            id.what == *what && here
        };
        let mut watches = self.watches.iter();
        watches.any(|(id, listing)| of(id) && !listing.synced)
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

    fn put(&mut self, what: WatchedKind, object: Object) {
        let key = (what, object.meta.name.clone());
        if self.objects.get(&key) == Some(&object) {
            return;
        }
        let before = self.take(&key);
        if let Some(owner) = self.named_owner(&object) {
            self.named.entry(owner).or_default().insert(key.clone());
        }
        let meta = &object.meta;
        self.uids.insert(meta.uid.clone(), key.clone());
        if let Some(controller) = &meta.controller {
            self.children
                .entry(controller.uid.clone())
                .or_default()
                .insert(key.clone());
        }
        let uid = meta.uid.clone();
        let complaints = self.complaints(&key, &object);
        if !complaints.is_empty() {
            self.said = true;
            self.complaints.insert(key.clone(), complaints);
        }
        self.objects.insert(key.clone(), object);
        self.file(&key);
        self.touched(&key);
        if let Some(before) = before.filter(|before| *before != uid) {
            self.refile_of(&before);
        }
        self.refile_of(&uid);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(uid) = self.take(key) {
            self.refile_of(&uid);
        }
    }

    /// Takes an object out, and returns its UID.
    fn take(&mut self, key: &Key) -> Option<String> {
        self.touched(key);
        let object = self.objects.remove(key)?;
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
        if let Some(owner) = self.named_owner(&object)
            && let Some(siblings) = self.named.get_mut(&owner)
        {
            siblings.remove(key);
            if siblings.is_empty() {
                self.named.remove(&owner);
            }
        }
        self.unfile(key, &object.body);
        self.said |= self.complaints.remove(key).is_some();
        Some(object.meta.uid)
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
        let mut spoken_of = BTreeSet::new();
        for key in std::mem::take(&mut self.dirty) {
            let (old, now) = (self.built.remove(&key), self.build(&key));
            settled = settled.and(between(old.as_ref(), now.as_ref()));
            spoken_of.extend(self.mention(old.as_ref(), now.as_ref()));
            if let Some(now) = now {
                self.built.insert(key.clone(), now);
            }
            spoken_of.insert(key);
        }
        for key in &spoken_of {
            settled.findings |= self.refer(key);
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

    /// What is to be said about objects, sorted.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let built = self.built.values().flat_map(|built| &built.findings);
        let mut all: Vec<Finding> = built
            .chain(self.complaints.values().flatten())
            .cloned()
            .collect();
        all.sort();
        all
    }
}
