//! Which Services, or InferencePools, select an object's labels, without asking every one.
//!
//! Invariant: a selector is filed under one of its own pairs, so whatever it matches has that pair. An empty
//! selector selects nothing, as in Kubernetes.

use std::collections::{BTreeMap, BTreeSet};

use super::objects::Name;

pub(crate) type Labels = BTreeMap<String, String>;

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

    /// Whether a selector of this Service is filed.
    pub(crate) fn contains(&self, service: &Name, selector: &Labels) -> bool {
        let place = place(&service.namespace, selector);
        let filed = place.and_then(|place| self.0.get(&place));
        filed.is_some_and(|filed| filed.contains_key(service))
    }

    /// Those of the namespace that select these labels.
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
