//! An index of selectors: finds the Services or InferencePools that select given labels.
//!
//! Invariant: a selector is indexed by one of its pairs, so all labels that it matches have that pair. An empty selector selects
//! nothing, as in Kubernetes.

use std::collections::{BTreeMap, BTreeSet};

use super::identity::{Labels, Name};

/// The selectors, by namespace and one pair.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selectors(BTreeMap<(String, String, String), BTreeMap<Name, Labels>>);

impl Selectors {
    pub(crate) fn insert(&mut self, service: &Name, selector: &Labels) {
        if let Some(place) = place(&service.namespace, selector) {
            self.0
                .entry(place)
                .or_default()
                .insert(service.clone(), selector.clone());
        }
    }

    pub(crate) fn remove(&mut self, service: &Name, selector: &Labels) {
        if let Some(place) = place(&service.namespace, selector)
            && let Some(filed) = self.0.get_mut(&place)
        {
            filed.remove(service);
            if filed.is_empty() {
                self.0.remove(&place);
            }
        }
    }

    /// Whether the index has this selector of a Service.
    pub(crate) fn contains(&self, service: &Name, selector: &Labels) -> bool {
        let place = place(&service.namespace, selector);
        let filed = place.and_then(|place| self.0.get(&place));
        filed.is_some_and(|filed| filed.contains_key(service))
    }

    /// The names in a namespace whose selectors match these labels.
    pub(crate) fn matching(&self, namespace: &str, labels: &Labels) -> BTreeSet<Name> {
        if self.0.is_empty() {
            return BTreeSet::new();
        }
        labels
            .iter()
            .filter_map(|(key, value)| {
                self.0
                    .get(&(namespace.to_owned(), key.clone(), value.clone()))
            })
            .flatten()
            .filter(|(_, selector)| selects(selector, labels))
            .map(|(service, _)| service.clone())
            .collect()
    }
}

/// Whether a selector selects an object with these labels; an empty one selects nothing.
pub(crate) fn selects(selector: &Labels, labels: &Labels) -> bool {
    let mut pairs = selector.iter();
    !selector.is_empty() && pairs.all(|(key, value)| labels.get(key) == Some(value))
}

fn place(namespace: &str, selector: &Labels) -> Option<(String, String, String)> {
    let (key, value) = selector.first_key_value()?;
    Some((namespace.to_owned(), key.clone(), value.clone()))
}
