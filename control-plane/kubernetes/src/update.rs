//! Updates that a watch sends to its reducer.
//!
//! Invariant: between [`Event::Init`] and [`Event::InitDone`] of one watch, every object of its kind is listed once.

use crate::fault::Failure;
use crate::object::MissingIdentity;
use crate::pruning::Pruned;

/// One watch: a kind, in one namespace or in the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchId<K> {
    /// The kind.
    pub kind: K,
    /// The namespace; `None` for the whole cluster.
    pub namespace: Option<String>,
}

impl<K: Clone> WatchId<K> {
    /// A watch of each kind in each of the namespaces; without namespaces, in the whole cluster.
    pub fn all(kinds: &[K], namespaces: &[String]) -> Vec<Self> {
        let mut namespaces: Vec<Option<String>> = namespaces.iter().cloned().map(Some).collect();
        namespaces.sort();
        namespaces.dedup();
        if namespaces.is_empty() {
            namespaces.push(None);
        }
        let watches = |namespace: Option<String>| {
            kinds.iter().cloned().map(move |kind| Self {
                kind,
                namespace: namespace.clone(),
            })
        };
        namespaces.into_iter().flat_map(watches).collect()
    }
}

/// A change of the objects of a kind. The names are those of `kube::runtime::watcher::Event`.
#[derive(Debug, Clone)]
pub enum Event<T> {
    /// A list begins. An earlier list that did not complete is void.
    Init,
    /// An object of the list.
    InitApply(T),
    /// The list is complete: objects that are not in it do not exist.
    InitDone,
    /// An object was added or changed.
    Apply(T),
    /// An object was deleted.
    Delete(T),
    /// The API server does not serve the kind.
    Absent,
}

/// An update of a watch: a change of its objects, or of its own state.
#[derive(Debug)]
// Nearly all updates are events, so boxing the variant saves nothing.
#[allow(clippy::large_enum_variant)]
pub enum WatchUpdate<T> {
    /// A change of the objects.
    Event(Event<T>),
    /// The API server answers the watch.
    Answered,
    /// The API server does not answer the watch, and why.
    Lost(Failure),
    /// The API server no longer serves a kind that was listed. The kind is absent only if it stays away.
    KindMissing,
    /// The kind is read in this API version from now on.
    Version(String),
}

/// Parses the JSON that is kept of an object.
pub type Parse<S, T> = Box<dyn Fn(&Pruned<S>) -> Result<T, MissingIdentity> + Send + Sync>;
