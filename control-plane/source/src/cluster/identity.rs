//! Identities of Kubernetes objects, and their labels.

use std::collections::BTreeMap;

use headgate_kubernetes::WatchedKind;

/// The identity of a watch.
pub(crate) type WatchId = headgate_kubernetes::update::WatchId<WatchedKind>;

/// The identity of an object: kind, namespace and name.
pub(crate) type Key = (WatchedKind, Name);

/// Labels of an object, or the pairs of a selector.
pub(crate) type Labels = BTreeMap<String, String>;

/// Namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// The owner of an object that is its controller (`controller: true`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Controller {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) uid: String,
}
