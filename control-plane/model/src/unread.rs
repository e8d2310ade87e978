//! Objects that a source cannot read: carriers that may exist although no object declares them.
//!
//! Invariant: it changes no plan. It only keeps the stored base and names of such a carrier from expiring.

use std::collections::BTreeSet;

use crate::memory::Memory;

/// Carriers that may exist although no object declares them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unread {
    /// Any carrier may exist: a file or a directory cannot be read.
    pub anything: bool,
    /// Kinds of carriers and of targets of policies, in lower case, that cannot be listed in this namespace; `None` means all
    /// namespaces.
    pub kinds: BTreeSet<(Option<String>, String)>,
}

impl Unread {
    /// Whether a carrier, as `kind/name`, may exist unread.
    #[must_use]
    pub fn may_hide(&self, namespace: &str, carrier: &str) -> bool {
        let kind = carrier.split_once('/').map_or(carrier, |(kind, _)| kind);
        self.anything || self.has_kind(namespace, kind)
    }

    /// Whether a kind, in lower case, is not read in a namespace.
    pub(crate) fn has_kind(&self, namespace: &str, kind: &str) -> bool {
        let hides = |(within, unread): &(Option<String>, String)| {
            unread == kind && within.as_deref().is_none_or(|within| within == namespace)
        };
        self.kinds.iter().any(hides)
    }

    /// Whether any carrier in a model's memory may exist unread.
    #[must_use]
    pub fn may_hide_any(&self, namespace: &str, memory: &Memory) -> bool {
        let base = memory.base.keys().chain(memory.previous.keys());
        let names = memory.names.values().flat_map(|name| &name.carriers);
        let mut carriers = base.chain(&memory.full_share).chain(names);
        self.anything || carriers.any(|carrier| self.may_hide(namespace, carrier))
    }
}
