//! References to objects of the API server, to which Events are attached.
//!
//! Invariant: a reference names the object that exists now; a recreated object of the same name has another UID.

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

/// References by the subject of a [`Finding`](crate::Finding).
pub type ByObject = BTreeMap<Subject, Reference>;

/// The references of all sources. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct References(Vec<Arc<ByObject>>);

impl References {
    /// The references of one source.
    #[must_use]
    pub fn of(references: Arc<ByObject>) -> Self {
        Self(vec![references])
    }

    /// The references of both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self([self.0.as_slice(), &other.0].concat())
    }

    /// The reference to an object; `None` if the object comes from a file or is gone.
    #[must_use]
    pub fn get(&self, object: &Subject) -> Option<&Reference> {
        self.0.iter().find_map(|references| references.get(object))
    }
}
