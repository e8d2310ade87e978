//! What the API server calls an object that something is said about, so that an Event can be attached to it.
//!
//! Invariant: a reference names the object that is there now; one that was made anew under its name has another UID.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Subject;

/// An object of the API server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// `apps/v1`, `v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// References by what a [`Finding`](crate::Finding) is about.
pub type ByObject = BTreeMap<Subject, Reference>;

/// The references of every source that has some. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct References(Vec<Arc<ByObject>>);

impl References {
    /// Those of one source.
    #[must_use]
    pub fn of(references: Arc<ByObject>) -> Self {
        Self(vec![references])
    }

    /// Those of both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self([self.0.as_slice(), &other.0].concat())
    }

    /// What the API server calls this object; `None` for one of a file, or that is gone.
    #[must_use]
    pub fn get(&self, object: &Subject) -> Option<&Reference> {
        self.0.iter().find_map(|references| references.get(object))
    }
}
