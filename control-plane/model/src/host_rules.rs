//! The rules of hosts: the DNS domain of Services, and the domains of each namespace.
//!
//! Invariant: at most one namespace owns a host.

use std::collections::BTreeMap;

/// The rules of hosts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostRules {
    /// The DNS domain of Services: `cluster.local`. `None`: Services are no hosts.
    pub cluster_domain: Option<String>,
    /// The domains of each namespace, in lower case: `ai.example.com`, `*.example.com` or `*`.
    pub domains: BTreeMap<String, Vec<String>>,
}

impl HostRules {
    /// The host of a Service.
    #[must_use]
    pub fn of_service(&self, namespace: &str, service: &str) -> Option<String> {
        let domain = self.cluster_domain.as_ref()?;
        Some(format!("{service}.{namespace}.svc.{domain}"))
    }

    /// The namespace whose domain contains a host. As in Envoy, an exact domain wins, then the longest wildcard.
    pub(crate) fn owner(&self, host: &str) -> Option<&str> {
        let domains = self.domains.iter().flat_map(|(namespace, domains)| {
            let domains = domains.iter().filter(|domain| contains(domain, host));
            domains.map(move |domain| (!domain.starts_with('*'), domain.len(), namespace))
        });
        let (_, _, namespace) = domains.max()?;
        Some(namespace)
    }

    /// Whether a host is in the cluster domain, so that it names a Service.
    #[must_use]
    pub fn names_service(&self, host: &str) -> bool {
        let domain = self.cluster_domain.as_ref();
        domain.is_some_and(|domain| host.ends_with(&format!(".svc.{domain}")))
    }
}

/// Whether a domain of Envoy contains a host: the same name, `*.suffix`, or `*`.
fn contains(domain: &str, host: &str) -> bool {
    match domain.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => domain == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_contains_itself_and_a_wildcard_contains_names_below_it() {
        for (domain, host, expected) in [
            ("a.example", "a.example", true),
            ("a.example", "b.a.example", false),
            ("*.example", "a.example", true),
            ("*.example", "a.b.example", true),
            ("*.example", "example", false),
            ("*.example", ".example", false),
            ("*", "a.example", true),
        ] {
            assert_eq!(contains(domain, host), expected, "{domain} {host}");
        }
    }

    #[test]
    fn the_longest_domain_decides_which_namespace_owns_a_host() {
        let domains = [
            ("any", vec!["*"]),
            ("team", vec!["*.ai.example"]),
            ("llama", vec!["llama.ai.example"]),
        ];
        let owned = |(namespace, list): (&str, Vec<&str>)| {
            let list = list.into_iter().map(str::to_owned).collect();
            (namespace.to_owned(), list)
        };
        let rules = HostRules {
            cluster_domain: None,
            domains: domains.map(owned).into(),
        };
        assert_eq!(rules.owner("llama.ai.example"), Some("llama"));
        assert_eq!(rules.owner("phi.ai.example"), Some("team"));
        assert_eq!(rules.owner("ai.example"), Some("any"));
        assert_eq!(HostRules::default().owner("ai.example"), None);
    }
}
