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

    /// The index of the namespace that has this virtual host: by its host, else by the longest wildcard that contains it. `*` is
    /// only the catch-all virtual host, whose name is `*`.
    pub(crate) fn namespace(&self, virtual_host: &str) -> Option<usize> {
        let host = names::host_of(virtual_host).as_bytes();
        let wildcards = host.iter().enumerate().filter(|(_, b)| **b == b'.');
        let mut wildcards = wildcards.filter(|(at, _)| *at > 0);
        self.find(&[], host)
            .or_else(|| wildcards.find_map(|(at, _)| self.find(b"*", host.get(at..)?)))
    }

    /// The index of the namespace with the host that consists of these two parts, in any case.
    fn find(&self, first: &[u8], last: &[u8]) -> Option<usize> {
        let found = self.0.binary_search_by(|(known, _)| {
            let wanted = first.iter().chain(last).map(u8::to_ascii_lowercase);
            known.bytes().cmp(wanted)
        });
        Some(self.0.get(found.ok()?)?.1)
    }
}

#[cfg(test)]
mod tests {
    use super::Hosts;

    #[test]
    fn the_longest_host_that_contains_a_virtual_host_decides_its_namespace() {
        let hosts = ["ai.example.com", "*.example.com", "*.ai.example.com", "*"];
        let hosts = hosts.into_iter().enumerate();
        let hosts = Hosts::new(
            hosts
                .map(|(index, host)| (host.to_owned(), index))
                .collect(),
        );
        for (virtual_host, expected) in [
            ("ai.example.com:80", Some(0)),
            ("AI.Example.com:80", Some(0)),
            ("chat.example.com:443", Some(1)),
            ("a.b.example.com", Some(1)),
            ("*.example.com:80", Some(1)),
            ("chat.ai.example.com:80", Some(2)),
            ("*:80", Some(3)),
            // `*` is the catch-all virtual host, and no other service belongs to it.
            ("example.com:80", None),
            (".example.com:80", None),
            ("users.models.svc.cluster.local:8000", None),
        ] {
            assert_eq!(hosts.namespace(virtual_host), expected, "{virtual_host}");
        }
    }
}
