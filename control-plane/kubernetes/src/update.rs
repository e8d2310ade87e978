//! Updates that watches send to the reducers of objects.
//!
//! Invariant: between [`Event::Begin`] and [`Event::Done`] of one watch, every object of its kind is listed once.

use crate::fault::Loss;
use crate::object::Nameless;
use crate::pruning::Pruned;

/// One watch: of a namespace, or of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchId<W> {
    /// The kind.
    pub what: W,
    /// The namespace; `None` for the whole cluster.
    pub namespace: Option<String>,
}

impl<W: Clone> WatchId<W> {
    /// These kinds in each of the namespaces, or with none in the cluster.
    pub fn all(whats: &[W], namespaces: &[String]) -> Vec<Self> {
        let mut namespaces: Vec<Option<String>> = namespaces.iter().cloned().map(Some).collect();
        namespaces.sort();
        namespaces.dedup();
        if namespaces.is_empty() {
            namespaces.push(None);
        }
        let of = |namespace: Option<String>| {
            whats.iter().cloned().map(move |what| Self {
                what,
                namespace: namespace.clone(),
            })
        };
        namespaces.into_iter().flat_map(of).collect()
    }
}

/// What a watch tells of objects.
#[derive(Debug, Clone)]
pub enum Event<T> {
    /// A list begins. What an earlier one, cut short, has listed does not count.
    Begin,
    /// An object of the list.
    Listed(T),
    /// The list is whole: what is not in it is gone.
    Done,
    /// An object was added or changed.
    Applied(T),
    /// The object is gone.
    Deleted(T),
    /// The API server has no such kind.
    Absent,
}

/// What a watch has to say.
#[derive(Debug)]
// Nearly all news are events, so there is nothing to be saved.
#[allow(clippy::large_enum_variant)]
pub enum News<T> {
    /// About objects.
    Event(Event<T>),
    /// The API server answers it.
    Found,
    /// The API server does not, and why.
    Lost(Loss),
    /// The kind that it told of is no longer served. It may come back, and is absent only if it does not.
    Missing,
    /// The kind is read in this API version, not in the one that was asked for before.
    Version(String),
}

/// Reads what was kept of an object.
pub type Read<S, T> = Box<dyn Fn(&Pruned<S>) -> Result<T, Nameless> + Send + Sync>;
