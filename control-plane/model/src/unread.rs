//! Kinds of objects that a source cannot read, so carriers may exist that no known object declares.
//!
//! Invariant: it changes no plan. It only keeps the stored base and names of such a carrier from expiring.

use std::collections::BTreeSet;

/// Kinds of objects that a source cannot read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unread {
    /// A file or a directory cannot be read, so any carrier may exist.
    pub anything: bool,
    /// Kinds of carriers and of policy targets, in lower case, that cannot be listed, each with the namespace; `None` means all
    /// namespaces.
    pub kinds: BTreeSet<(Option<String>, String)>,
}

impl Unread {
    /// Whether a carrier, as `kind/name`, may exist although the source did not read it.
    #[must_use]
    pub fn may_hide(&self, namespace: &str, carrier: &str) -> bool {
        let kind = carrier.split_once('/').map_or(carrier, |(kind, _)| kind);
        self.anything || self.has_kind(namespace, kind)
    }

    /// Whether a kind, in lower case, cannot be read in a namespace.
    pub(crate) fn has_kind(&self, namespace: &str, kind: &str) -> bool {
        self.kinds.iter().any(|(within, unread)| {
            unread == kind && within.as_deref().is_none_or(|within| within == namespace)
        })
    }
}
