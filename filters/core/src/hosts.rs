//! Hosts of all namespaces, for the lookup of a virtual host's name.
//!
//! Istio names a virtual host after its host and port: `llama3-70b.models.svc.cluster.local:8000`, `*.example.com:443`,
//! `[fd00::1]:8000`. Hosts of `VirtualServices` are in lower case there, those of a `ServiceEntry` as they were written.

use headgate_contract::names;

/// The hosts, each with the index of its namespace; sorted.
#[derive(Debug)]
pub(crate) struct Hosts(Vec<(String, usize)>);

impl Hosts {
    /// These hosts, each with the index of its namespace. The parser of the configuration has checked that they are in lower case and
    /// each in one namespace.
    pub(crate) fn new(mut hosts: Vec<(String, usize)>) -> Self {
        hosts.sort_unstable();
        Self(hosts)
    }

    /// Whether no namespace has a host.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The index of the namespace that has this virtual host.
    pub(crate) fn namespace(&self, virtual_host: &str) -> Option<usize> {
        let host = names::host_of(virtual_host).as_bytes();
        let lower = |b: &u8| b.to_ascii_lowercase();
        let found = self.0.binary_search_by(|(known, _)| {
            let known = known.as_bytes().iter();
            known.copied().cmp(host.iter().map(lower))
        });
        Some(self.0.get(found.ok()?)?.1)
    }
}
