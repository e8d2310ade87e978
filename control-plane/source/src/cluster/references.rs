//! References to the objects of findings, so that Events can be recorded on them.
//!
//! Invariant: after [`Store::reconcile`] every carrier has a reference, and so has every other existing object of a finding; no other
//! object has one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headgate_model::{CarrierKey, Finding, Subject};

use super::carrier_change::BuiltCarrier;
use super::identity::Key;
use super::store::Store;
use headgate_model::reference::ByObject;

impl Store {
    /// References to the carriers, and to other objects with findings.
    pub(crate) fn references(&self) -> Arc<ByObject> {
        self.references.clone()
    }

    /// The models that are related to the objects of findings, where these objects are not carriers.
    pub(crate) fn related_models(
        &self,
        findings: &[Finding],
    ) -> BTreeMap<CarrierKey, BTreeSet<String>> {
        let subjects = findings.iter().filter_map(|finding| match &finding.object {
            Subject::Carrier(key) => Some(key),
            _ => None,
        });
        let others: BTreeSet<&CarrierKey> = subjects
            .filter(|key| !self.built.contains_key(key))
            .collect();
        let models = |key: &CarrierKey| {
            let models = self.models_around(&self.object_of(key)?.0);
            (!models.is_empty()).then(|| (key.clone(), models))
        };
        others.into_iter().filter_map(models).collect()
    }

    /// The models in the labels of an object, its pod template and its owners, and those of the carriers of its pods.
    fn models_around(&self, key: &Key) -> BTreeSet<String> {
        let Some(object) = self.objects.get(key) else {
            return BTreeSet::new();
        };
        let label = &self.keys.model;
        let named = |key: &Key| {
            let object = self.objects.get(key)?;
            let written = [Some(&object.meta.labels), object.pod_labels()];
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
        let memberships = pods.filter_map(|pod| self.memberships.get(pod)).flatten();
        let carried =
            memberships.filter_map(|carrier| self.built.get(carrier)?.carrier.labels.get(label));
        own.flatten().chain(carried.cloned()).collect()
    }

    /// Counts the objects of a carrier's findings. Returns the objects whose count may have changed.
    pub(super) fn count_subjects(
        &mut self,
        old: Option<&BuiltCarrier>,
        now: Option<&BuiltCarrier>,
    ) -> Vec<CarrierKey> {
        let (before, after) = (subjects(old), subjects(now));
        if before == after {
            return Vec::new();
        }
        for key in &after {
            *self.subjects.entry(key.clone()).or_default() += 1;
        }
        for key in &before {
            if let Some(count) = self.subjects.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    self.subjects.remove(key);
                }
            }
        }
        [before, after].concat()
    }

    /// Updates the reference to an object. Returns whether it changed, which is rare.
    pub(super) fn update_reference(&mut self, key: &CarrierKey) -> bool {
        let complained_of = || {
            let object = self.object_of(key);
            object.is_some_and(|(at, _)| self.object_findings.contains_key(&at))
        };
        let needed =
            self.built.contains_key(key) || self.subjects.contains_key(key) || complained_of();
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

/// The objects of a carrier's findings, with repetitions.
fn subjects(built: Option<&BuiltCarrier>) -> Vec<CarrierKey> {
    let findings = built.into_iter().flat_map(|built| &built.findings);
    let keys = findings.filter_map(|finding| match &finding.object {
        Subject::Carrier(key) => Some(key.clone()),
        _ => None,
    });
    keys.collect()
}
