//! Domains of namespaces. They are always configured, never inferred from objects.

use std::collections::BTreeMap;

use crate::config::InputConfig;

/// The domains of the virtual host of each namespace, in lower case because Envoy compares them without case.
///
/// # Errors
/// Two namespaces have the same domain, so Envoy would reject the whole route configuration. The message names the flag.
pub(crate) fn domains(input: &InputConfig) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut domains = given_domains(input)?;
    if !domains.values().flatten().any(|d| d == "*") {
        domains
            .entry(input.default_namespace.clone())
            .or_default()
            .push("*".to_owned());
    }
    Ok(domains)
}

/// The domains of `--domain` alone: without `*` for the default namespace.
///
/// # Errors
/// As [`domains`].
pub(crate) fn given_domains(input: &InputConfig) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut domains: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (namespace, list) in &input.domains {
        domains
            .entry(namespace.clone())
            .or_default()
            .extend(list.iter().map(|domain| domain.to_ascii_lowercase()));
    }
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for (namespace, list) in &domains {
        for domain in list {
            if let Some(other) = owners.insert(domain, namespace) {
                return Err(format!(
                    "--domain: {domain:?} is assigned to {other} and to {namespace}: remove one of them"
                ));
            }
        }
    }
    Ok(domains)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{domains, given_domains};
    use crate::config::tests::input;

    fn with(given: &[(&str, &str)]) -> crate::config::InputConfig {
        let mut input = input();
        let pairs = given
            .iter()
            .map(|(namespace, domain)| ((*namespace).to_owned(), vec![(*domain).to_owned()]));
        input.domains = pairs.collect();
        input
    }

    #[test]
    fn the_default_namespace_has_every_domain_unless_another_namespace_has_it() {
        let alone = domains(&with(&[])).unwrap();
        assert_eq!(alone["default"], ["*"]);
        let given = domains(&with(&[("team", "*"), ("default", "a.example")])).unwrap();
        assert_eq!(given["team"], ["*"]);
        assert_eq!(given["default"], ["a.example"]);
    }

    #[test]
    fn a_mesh_gives_no_namespace_the_catch_all_virtual_hosts_of_gateways_unasked() {
        assert!(given_domains(&with(&[])).unwrap().is_empty());
        let given = given_domains(&with(&[("team", "*")])).unwrap();
        assert_eq!(given["team"], ["*"]);
    }

    #[test]
    fn a_domain_given_twice_in_any_case_is_refused_by_name() {
        for again in ["x.example", "X.Example"] {
            let error = domains(&with(&[("a", "x.example"), ("b", again)])).unwrap_err();
            assert!(
                error.contains("x.example") && error.contains("--domain"),
                "{error}"
            );
        }
    }
}
