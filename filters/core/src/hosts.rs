//! Hosts of all namespaces, for the lookup of a virtual host's name.
//!
//! Istio names a virtual host after its host and port: `llama3-70b.models.svc.cluster.local:8000`, `*.example.com:443`,
//! `[fd00::1]:8000`. Hosts of `VirtualServices` are in lower case there, those of a `ServiceEntry` as they were written.

use std::borrow::Cow;
use std::collections::BTreeMap;

use headgate_contract::{NamespaceConfig, names};

/// The hosts, each with the index of its namespace; sorted.
#[derive(Debug)]
pub(crate) struct Hosts(Vec<(String, usize)>);

impl Hosts {
    /// The hosts of a configuration, whose parser has checked that they are in lower case and each in one namespace.
    pub(crate) fn new(namespaces: &BTreeMap<String, NamespaceConfig>) -> Self {
        let namespaces = namespaces.values().enumerate();
        let hosts = namespaces.flat_map(|(i, n)| n.hosts.iter().map(move |h| (h.clone(), i)));
        let mut hosts: Vec<_> = hosts.collect();
        hosts.sort_unstable();
        Self(hosts)
    }

    /// Whether no namespace has a host.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The index of the namespace that has this virtual host.
    pub(crate) fn namespace(&self, virtual_host: &str) -> Option<usize> {
        let mut host = Cow::Borrowed(names::host_of(virtual_host));
        if host.bytes().any(|b| b.is_ascii_uppercase()) {
            host.to_mut().make_ascii_lowercase();
        }
        let found = self
            .0
            .binary_search_by(|(known, _)| known.as_str().cmp(&host));
        Some(self.0.get(found.ok()?)?.1)
    }
}
