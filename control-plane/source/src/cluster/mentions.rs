//! References to the objects of findings, so that each can have Events.
//!
//! Invariant: after [`Store::settle`] every carrier has a reference, and so has every other existing object of a finding; no other
//! object has one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headgate_model::{CarrierKey, Finding, Subject};

use super::carriers::Built;
use super::groups::labels_of_pods;
use super::store::{Key, Store};
use headgate_model::reference::ByObject;

impl Store {
    /// What the API server calls the carriers, and the other objects that something is said about.
    pub(crate) fn references(&self) -> Arc<ByObject> {
        self.references.clone()
    }

    /// The models that the objects of findings have to do with, where these carry nothing themselves.
    pub(crate) fn concerned(&self, findings: &[Finding]) -> BTreeMap<CarrierKey, BTreeSet<String>> {
        let subjects = findings.iter().filter_map(|finding| match &finding.object {
            Subject::Carrier(key) => Some(key),
            _ => None,
        });
        let mute: BTreeSet<&CarrierKey> = subjects
            .filter(|key| !self.built.contains_key(key))
            .collect();
        let models = |key: &CarrierKey| {
            let models = self.models_around(&self.object_of(key)?.0);
            (!models.is_empty()).then(|| (key.clone(), models))
        };
        mute.into_iter().filter_map(models).collect()
    }

    /// The models that an object, its pods or its owners name, and those of the carriers of its pods.
    fn models_around(&self, key: &Key) -> BTreeSet<String> {
        let Some(object) = self.objects.get(key) else {
            return BTreeSet::new();
        };
        let label = &self.keys.model;
        let named = |key: &Key| {
            let object = self.objects.get(key)?;
            let written = [Some(&object.meta.labels), labels_of_pods(object)];
            let models = written
                .into_iter()
                .flatten()
                .filter_map(|all| all.get(label));
            Some(models.cloned().collect::<Vec<String>>())
        };
        let owners = self.above(key);
        let own = std::iter::once(key).chain(&owners).filter_map(named);
        let below = self.below(&object.meta.uid);
        let pods = std::iter::once(key).chain(&below);
        let homes = pods.filter_map(|pod| self.homes.get(pod)).flatten();
        let carried = homes.filter_map(|home| self.built.get(home)?.carrier.labels.get(label));
        own.flatten().chain(carried.cloned()).collect()
    }

    /// Counts whom the findings of a carrier are about; says whom those were, and are.
    pub(super) fn mention(&mut self, old: Option<&Built>, now: Option<&Built>) -> Vec<CarrierKey> {
        let (before, after) = (about(old), about(now));
        if before == after {
            return Vec::new();
        }
        for key in &after {
            *self.mentions.entry(key.clone()).or_default() += 1;
        }
        for key in &before {
            if let Some(count) = self.mentions.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    self.mentions.remove(key);
                }
            }
        }
        [before, after].concat()
    }

    /// Notes what the API server calls an object, and says whether that is new; most of what happens to one does not change it.
    pub(super) fn refer(&mut self, key: &CarrierKey) -> bool {
        let complained_of = || {
            let object = self.object_of(key);
            object.is_some_and(|(at, _)| self.complaints.contains_key(&at))
        };
        let needed =
            self.built.contains_key(key) || self.mentions.contains_key(key) || complained_of();
        let now = needed.then(|| self.reference(key)).flatten();
        let object = Subject::from(key.clone());
        if self.references.get(&object) == now.as_ref() {
            return false;
        }
        let references = Arc::make_mut(&mut self.references);
        match now {
            Some(now) => _ = references.insert(object, now),
            None => _ = references.remove(&object),
        }
        true
    }
}

/// The objects that the findings of a carrier are about, each as often as it is.
fn about(built: Option<&Built>) -> Vec<CarrierKey> {
    let findings = built.into_iter().flat_map(|built| &built.findings);
    let keys = findings.filter_map(|finding| match &finding.object {
        Subject::Carrier(key) => Some(key.clone()),
        _ => None,
    });
    keys.collect()
}
