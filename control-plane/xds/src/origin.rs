//! Provenance: the objects that a resource was made from.
//!
//! A caller attaches an [`Origin`] to a [`Resource`](crate::Resource). The server does not interpret it. It keeps the origin
//! beside each version of a resource and hands it back with every ACK and NACK, so the caller finds the objects to blame
//! whichever version a proxy rejects.
//!
//! Invariant: an origin takes no part in a resource's version. Equal bytes have equal versions, whatever they were made from.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// An object that a resource was made from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OriginObject {
    /// Kind, as the caller writes it, such as `deployment`.
    pub kind: String,
    /// Namespace; empty for an object without one.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The revision of the part of the object that the resource uses. Equal revisions mean equal parts.
    pub revision: String,
}

impl fmt::Display for OriginObject {
    /// `kind namespace/name`, without the revision.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            namespace,
            name,
            ..
        } = self;
        match namespace.as_str() {
            "" => write!(f, "{kind} {name}"),
            _ => write!(f, "{kind} {namespace}/{name}"),
        }
    }
}

/// The objects that one version of a resource was made from, in the caller's order. Cheap to clone: the list is shared, and
/// so may be its objects.
///
/// The default is an origin without objects, which means that it is not known.
///
/// ```
/// use headgate_xds::{Origin, OriginObject};
///
/// let object = |name: &str, revision: &str| OriginObject {
///     kind: "deployment".to_owned(),
///     namespace: "default".to_owned(),
///     name: name.to_owned(),
///     revision: revision.to_owned(),
/// };
/// let running = Origin::new([object("a", "1"), object("b", "1")]);
/// let rejected = Origin::new([object("a", "1"), object("b", "2"), object("c", "1")]);
/// let blamed = rejected.changed_since(&running);
/// let names: Vec<String> = blamed.iter().map(|object| object.to_string()).collect();
/// assert_eq!(names, ["deployment default/b", "deployment default/c"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin(Option<Arc<[Arc<OriginObject>]>>);

impl Origin {
    /// An origin of these objects.
    pub fn new(objects: impl IntoIterator<Item = impl Into<Arc<OriginObject>>>) -> Self {
        let objects: Arc<[_]> = objects.into_iter().map(Into::into).collect();
        Self(Some(objects).filter(|objects| !objects.is_empty()))
    }

    /// Whether it names an object.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// Its objects, in the caller's order.
    #[must_use]
    pub fn objects(&self) -> &[Arc<OriginObject>] {
        self.0.as_deref().unwrap_or_default()
    }

    /// The objects that `earlier` does not have at the same revision: what a version takes that the earlier one did not.
    #[must_use]
    pub fn changed_since(&self, earlier: &Origin) -> Vec<&OriginObject> {
        let earlier: HashSet<&OriginObject> = earlier.objects().iter().map(|o| &**o).collect();
        let objects = self.objects().iter().map(|object| &**object);
        objects.filter(|object| !earlier.contains(object)).collect()
    }

    /// The objects to blame if a client rejects the version of this origin: those that changed since the version that it runs.
    ///
    /// All objects, if it runs none (`None`) or the origin of the version that it runs is not known. None, if both versions were
    /// made from the same objects: then the difference comes from elsewhere, such as the caller's own settings.
    #[must_use]
    pub fn blamed(&self, running: Option<&Origin>) -> Vec<&OriginObject> {
        let unknown = Self::default();
        self.changed_since(running.unwrap_or(&unknown))
    }
}
