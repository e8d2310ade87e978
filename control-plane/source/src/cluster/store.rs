//! The reducer of watch events to carriers. It is synchronous and pure: events come in, the carriers of [`Objects`] come out.
//!
//! ```text
//! event ──▶ put, remove ──▶ stale objects ──▶ reconcile: memberships, groups ──▶ dirty carriers ──▶ rebuilt carriers
//! ```
//!
//! Invariant: after [`Store::reconcile`] the carriers are a function of the current objects, whatever events led to them.
//! The cost of an event depends on what it affects, not on the number of objects.
//!
//! [`Objects`]: headgate_model::Objects

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use headgate_kubernetes::WatchedKind;
use headgate_model::{Carrier, CarrierKey, Finding, LabelKeys};

use super::carrier_change::{BuiltCarrier, StoreChange, between};
use super::external::AllowedEndpoint;
use super::groups::Groups;
use super::identity::{Key, Name, WatchId};
use super::objects::Object;
use super::selectors::Selectors;
use headgate_kubernetes::kinds::Kind;
use headgate_kubernetes::listing::Listing;
use headgate_kubernetes::update::Event;
use headgate_model::Change;
use headgate_model::reference::ByObject;

/// All objects, pruned, and the carriers and groups that follow from them.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(super) kinds: Vec<Kind>,
    pub(super) keys: LabelKeys,
    /// Endpoints that an annotation may list although they are refused by default.
    pub(super) allowed: Vec<AllowedEndpoint>,
    watches: BTreeMap<WatchId, Listing<Name>>,
    pub(super) objects: BTreeMap<Key, Object>,
    pub(super) uids: HashMap<String, Key>,
    /// Objects by the UID of their controller.
    pub(super) children: HashMap<String, BTreeSet<Key>>,
    /// Objects by the owner that a label names, where the kind of the controller is not watched.
    pub(super) named: BTreeMap<Key, BTreeSet<Key>>,
    /// Selectors of the Services that declare a variant.
    pub(super) selectors: Selectors,
    pub(super) groups: Groups,
    /// The carriers of each pod, and the Services that select the pods that an owner makes.
    pub(super) memberships: BTreeMap<Key, BTreeSet<CarrierKey>>,
    /// The inverse of `memberships`.
    pub(super) members: BTreeMap<CarrierKey, BTreeSet<Key>>,
    /// Objects whose memberships may have changed.
    pub(super) stale: BTreeSet<Key>,
    /// Carriers that may have changed.
    pub(super) dirty: BTreeSet<CarrierKey>,
    pub(super) built: BTreeMap<CarrierKey, BuiltCarrier>,
    /// References to carriers, and to other objects with findings.
    pub(super) references: Arc<ByObject>,
    /// The number of carrier findings on each object.
    pub(super) subjects: BTreeMap<CarrierKey, usize>,
    /// Findings on objects that do not depend on a carrier.
    pub(super) object_findings: BTreeMap<Key, Vec<Finding>>,
    /// Whether `object_findings` or a reference changed since the last reconciliation.
    findings_changed: bool,
    /// Whether the store was ever reconciled; before that, every object is stale.
    pub(super) reconciled: bool,
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
            memberships: BTreeMap::new(),
            members: BTreeMap::new(),
            stale: BTreeSet::new(),
            dirty: BTreeSet::new(),
            built: BTreeMap::new(),
            references: Arc::default(),
            subjects: BTreeMap::new(),
            object_findings: BTreeMap::new(),
            findings_changed: false,
            reconciled: false,
        }
    }

    /// Allows endpoints that are refused by default.
    pub(crate) fn allowing(self, allowed: Vec<AllowedEndpoint>) -> Self {
        Self { allowed, ..self }
    }

    /// Whether all Pods and Services are known. Other kinds are optional.
    pub(crate) fn synced(&self) -> bool {
        let mut needed = self.watches.iter().filter(|(id, _)| !id.kind.is_optional());
        needed.all(|(_, listing)| listing.is_synced())
    }

    /// The kind in lower case.
    pub(crate) fn kind(&self, what: WatchedKind) -> Option<String> {
        match what {
            WatchedKind::Pods => Some("pod".to_owned()),
            WatchedKind::Services => Some("service".to_owned()),
            WatchedKind::Pools | WatchedKind::ExperimentalPools => Some("inferencepool".to_owned()),
            WatchedKind::Owners(place) => self.kinds.get(place).map(Kind::lower),
        }
    }

    /// Whether a namespace may have InferencePools that were never listed.
    pub(super) fn may_hide_pools(&self, namespace: &str) -> bool {
        let mut watches = self.watches.iter().filter(|(id, _)| id.kind.is_pool());
        watches.any(|(id, listing)| {
            let here = id.namespace.as_ref().is_none_or(|ns| ns == namespace);
            here && !listing.is_synced()
        })
    }

    /// Takes in an event of a watch.
    pub(crate) fn reduce(&mut self, id: &WatchId, event: Event<Object>) {
        match event {
            Event::Init => self.watches.entry(id.clone()).or_default().begin(),
            Event::InitApply(object) => {
                let listing = self.watches.entry(id.clone()).or_default();
                listing.add(object.meta.name.clone());
                self.put(id.kind, object);
            }
            Event::InitDone => {
                let listing = self.watches.entry(id.clone()).or_default();
                let (first, was_absent) = (!listing.is_synced(), listing.is_absent());
                let listed = listing.complete();
                // Objects that waited for an owner of this kind wait no longer.
                if was_absent || (first && self.reconciled) {
                    self.invalidate_all();
                }
                self.keep(id, &listed);
            }
            Event::Apply(object) => self.put(id.kind, object),
            Event::Delete(gone) => {
                let key = (id.kind, gone.meta.name);
                let there = self.objects.get(&key);
                if there.is_some_and(|there| there.meta.uid == gone.meta.uid) {
                    self.remove(&key);
                }
            }
            Event::Absent => {
                let listing = self.watches.entry(id.clone()).or_default();
                let was_absent = listing.is_absent();
                listing.set_absent();
                if !was_absent {
                    self.keep(id, &BTreeSet::new());
                    self.invalidate_all();
                }
            }
        }
    }

    /// A kind is read in another version from now on; references name that version.
    pub(crate) fn set_version(&mut self, what: WatchedKind, version: String) {
        let WatchedKind::Owners(place) = what else {
            return;
        };
        if let Some(kind) = self.kinds.get_mut(place) {
            kind.version = version;
            self.findings_changed = true;
        }
        let its = self.objects.keys().filter(|(of, _)| *of == what);
        let its: Vec<Key> = its.cloned().collect();
        its.into_iter().for_each(|key| self.mark(key));
    }

    /// Whether the kind is watched and served, so that its objects are known.
    pub(super) fn is_watched(&self, group: &str, kind: &str) -> bool {
        if group.is_empty() && kind == "Pod" {
            return true;
        }
        let Some(place) = self.kinds.iter().position(|k| k.is(group, kind)) else {
            return false;
        };
        let mut watches = self
            .watches
            .iter()
            .filter(|(id, _)| id.kind == WatchedKind::Owners(place));
        watches.any(|(_, listing)| !listing.is_absent())
    }

    /// Whether an unknown object may be listed later: its kind is not listed in its namespace yet.
    pub(super) fn may_be_listed_later(&self, (what, name): &Key) -> bool {
        let of = |id: &WatchId| {
            let here = id.namespace.as_ref().is_none_or(|ns| *ns == name.namespace);
            id.kind == *what && here
        };
        let mut watches = self.watches.iter();
        watches.any(|(id, listing)| of(id) && !listing.is_synced())
    }

    /// Removes the objects of a watch that are not in its list.
    fn keep(&mut self, id: &WatchId, listed: &BTreeSet<Name>) {
        let from = (
            id.kind,
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
                *what == id.kind && id.namespace.as_ref().is_none_or(|ns| *ns == name.namespace)
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
        let object_findings = self.object_findings(&key, &object);
        if !object_findings.is_empty() {
            self.findings_changed = true;
            self.object_findings.insert(key.clone(), object_findings);
        }
        self.objects.insert(key.clone(), object);
        self.index(&key);
        self.invalidate(&key);
        if let Some(before) = before.filter(|before| *before != uid) {
            self.reindex_services_of(&before);
        }
        self.reindex_services_of(&uid);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(uid) = self.take(key) {
            self.reindex_services_of(&uid);
        }
    }

    /// Removes an object from all indexes, and returns its UID.
    fn take(&mut self, key: &Key) -> Option<String> {
        self.invalidate(key);
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
        self.unindex(key, &object.body);
        self.findings_changed |= self.object_findings.remove(key).is_some();
        Some(object.meta.uid)
    }

    /// Rebuilds the dirty carriers, and returns the change.
    pub(crate) fn reconcile(&mut self) -> StoreChange {
        self.reconciled = true;
        for key in std::mem::take(&mut self.stale) {
            self.reassign(key);
        }
        let mut changes = StoreChange {
            change: None,
            findings: std::mem::take(&mut self.findings_changed),
        };
        let mut subjects = BTreeSet::new();
        for key in std::mem::take(&mut self.dirty) {
            let (old, now) = (self.built.remove(&key), self.build(&key));
            changes = changes.and(between(old.as_ref(), now.as_ref()));
            subjects.extend(self.count_subjects(old.as_ref(), now.as_ref()));
            if let Some(now) = now {
                self.built.insert(key.clone(), now);
            }
            subjects.insert(key);
        }
        for key in &subjects {
            changes.findings |= self.update_reference(key);
        }
        let regrouped = self.reconcile_groups().then_some(Change::Intent);
        changes.and(StoreChange {
            change: regrouped,
            findings: false,
        })
    }

    fn reassign(&mut self, key: Key) {
        self.regroup(&key);
        let now = self.memberships_of(&key);
        let before = self.memberships.remove(&key).unwrap_or_default();
        for left in before.difference(&now) {
            if let Some(members) = self.members.get_mut(left) {
                members.remove(&key);
                if members.is_empty() {
                    self.members.remove(left);
                }
            }
        }
        for carrier in &now {
            self.members
                .entry(carrier.clone())
                .or_default()
                .insert(key.clone());
        }
        self.dirty
            .extend(before.into_iter().chain(now.iter().cloned()));
        if !now.is_empty() {
            self.memberships.insert(key, now);
        }
    }

    /// The carriers as of the last reconciliation.
    pub(crate) fn carriers(&self) -> BTreeMap<CarrierKey, Carrier> {
        self.built
            .iter()
            .map(|(key, built)| (key.clone(), built.carrier.clone()))
            .collect()
    }

    /// All findings, sorted.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let built = self.built.values().flat_map(|built| &built.findings);
        let mut all: Vec<Finding> = built
            .chain(self.object_findings.values().flatten())
            .cloned()
            .collect();
        all.sort();
        all
    }
}
