//! Everything that the proxies of one scope should run: immutable and consistent.
//!
//! Invariant: keys are unique and every required resource is present, so a client that holds a snapshot routes to nothing that
//! is missing. A snapshot is built once per scope; all streams of the scope share it.

use std::sync::Arc;

use crate::resource::{Kind, Resource, ResourceKey, content_hash};

/// The reason why a set of resources is not a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inconsistent {
    /// Two resources have the same kind and name.
    #[error("{0} appears twice")]
    Duplicate(ResourceKey),
    /// A resource requires one that is not in the set.
    #[error("{resource} requires {missing}, which is not in the snapshot")]
    Missing {
        /// The resource with the requirement.
        resource: ResourceKey,
        /// The required resource.
        missing: ResourceKey,
    },
}

/// An immutable, consistent set of resources. Cheap to share as `Arc<Snapshot>`.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Sorted by name: a sorted list of shared resources is the smallest form for thousands of them.
    kinds: [Vec<Arc<Resource>>; 6],
    versions: [Arc<str>; 6],
}

impl Snapshot {
    /// Builds a snapshot.
    ///
    /// # Errors
    /// [`Inconsistent`] if a key appears twice or a required resource is missing.
    pub fn new(
        resources: impl IntoIterator<Item = impl Into<Arc<Resource>>>,
    ) -> Result<Self, Inconsistent> {
        let mut kinds: [Vec<Arc<Resource>>; 6] = Default::default();
        for resource in resources {
            let resource: Arc<Resource> = resource.into();
            kinds[resource.kind().index()].push(resource);
        }
        for list in &mut kinds {
            list.sort_by(|a, b| a.name().cmp(b.name()));
            let mut pairs = list.windows(2);
            if let Some(twice) = pairs.find(|pair| pair[0].name() == pair[1].name()) {
                return Err(Inconsistent::Duplicate(twice[0].key().clone()));
            }
        }
        let versions = Kind::PUSH_ORDER.map(|_| Arc::from(""));
        let mut snapshot = Self { kinds, versions };
        snapshot.check_requirements()?;
        for kind in Kind::PUSH_ORDER {
            snapshot.versions[kind.index()] = snapshot.hash(kind).into();
        }
        Ok(snapshot)
    }

    fn check_requirements(&self) -> Result<(), Inconsistent> {
        // Routes and filters share one list of all clusters: it is checked once.
        let mut last: &[ResourceKey] = &[];
        for resource in Kind::PUSH_ORDER.into_iter().flat_map(|kind| self.of(kind)) {
            let requires = resource.requires();
            if std::ptr::eq(requires, last) {
                continue;
            }
            last = requires;
            for key in requires {
                if self.get(key.kind, &key.name).is_none() {
                    return Err(Inconsistent::Missing {
                        resource: resource.key().clone(),
                        missing: key.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    fn hash(&self, kind: Kind) -> String {
        content_hash(
            self.of(kind)
                .flat_map(|r| [r.name().as_bytes(), r.version().as_bytes()]),
        )
    }

    /// The resource of `kind` called `name`.
    #[must_use]
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Resource>> {
        let list = &self.kinds[kind.index()];
        let at = list.binary_search_by(|resource| resource.name().cmp(name));
        list.get(at.ok()?)
    }

    /// All resources of `kind`, by name.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Arc<Resource>> {
        self.kinds[kind.index()].iter()
    }

    /// The number of resources of `kind`.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.kinds[kind.index()].len()
    }

    /// The content hash over names and versions of all resources of `kind`: 32 hex digits.
    #[must_use]
    pub fn version(&self, kind: Kind) -> &str {
        &self.versions[kind.index()]
    }

    /// The same, shared.
    pub(crate) fn shared_version(&self, kind: Kind) -> &Arc<str> {
        &self.versions[kind.index()]
    }

    /// Whether both hold the same resources at the same versions.
    #[must_use]
    pub fn same_content(&self, other: &Snapshot) -> bool {
        self.versions == other.versions
    }

    /// Whether both hold the same resources at the same versions, made from the same objects.
    ///
    /// A snapshot of the same content with other origins is worth publishing: it sends nothing, and sessions learn the origins.
    #[must_use]
    pub fn same_origins(&self, other: &Snapshot) -> bool {
        let mut pairs = self
            .kinds
            .iter()
            .flatten()
            .zip(other.kinds.iter().flatten());
        self.same_content(other)
            && pairs.all(|(a, b)| Arc::ptr_eq(a, b) || a.origin() == b.origin())
    }

    /// Whether both hold the very same resources of a kind, in memory. If not, they may still be equal.
    pub(crate) fn shares_resources(&self, other: &Snapshot, kind: Kind) -> bool {
        let (own, others) = (&self.kinds[kind.index()], &other.kinds[kind.index()]);
        let mut pairs = own.iter().zip(others);
        own.len() == others.len() && pairs.all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// The names of the endpoints that belong to a cluster: those it requires, else those of its own name.
    pub(crate) fn endpoints_of<'a>(&'a self, cluster: &'a Resource) -> Vec<&'a Arc<str>> {
        let mut names: Vec<&Arc<str>> = cluster
            .requires()
            .iter()
            .filter(|key| key.kind == Kind::Endpoints)
            .map(|key| &key.name)
            .collect();
        if names.is_empty() && self.get(Kind::Endpoints, cluster.name()).is_some() {
            names.push(&cluster.key().name);
        }
        names
    }
}
