//! Which namespace answers for which domain: configured, never inferred from what appears.

use std::collections::BTreeMap;

use crate::cli::InputArgs;

/// The domains of each namespace's virtual host, in lower case: Envoy tells them apart no other way.
///
/// # Errors
/// A message that names the flag, when two namespaces claim one domain (Envoy would refuse the whole table).
pub(crate) fn of(args: &InputArgs) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut domains: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (namespace, list) in &args.domains {
        domains
            .entry(namespace.clone())
            .or_default()
            .extend(list.iter().map(|domain| domain.to_ascii_lowercase()));
    }
    if !domains.values().flatten().any(|d| d == "*") {
        domains
            .entry(args.default_namespace().to_owned())
            .or_default()
            .push("*".to_owned());
    }
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for (namespace, list) in &domains {
        for domain in list {
            if let Some(other) = owners.insert(domain, namespace) {
                return Err(format!(
                    "--domain: {domain:?} is given to {other} and to {namespace}: remove it from one"
                ));
            }
        }
    }
    Ok(domains)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser as _;

    use crate::cli::{Cli, Command, InputArgs};

    fn input(flags: &[&str]) -> InputArgs {
        let mut words = vec!["headgate", "translate", "--models", "m"];
        words.extend(flags);
        match Cli::try_parse_from(words).unwrap().command {
            Command::Translate(args) => args.input,
            _ => unreachable!(),
        }
    }

    #[test]
    fn the_default_namespace_owns_everything_unless_another_is_given_it() {
        let alone = super::of(&input(&[])).unwrap();
        assert_eq!(alone["default"], ["*"]);
        let given = super::of(&input(&[
            "--domain",
            "team=*",
            "--domain",
            "default=a.example",
        ]))
        .unwrap();
        assert_eq!(given["team"], ["*"]);
        assert_eq!(given["default"], ["a.example"]);
    }

    #[test]
    fn a_domain_given_twice_is_refused_by_name_however_it_is_written() {
        for again in ["b=x.example", "b=X.Example"] {
            let flags = ["--domain", "a=x.example", "--domain", again];
            let error = super::of(&input(&flags)).unwrap_err();
            assert!(
                error.contains("x.example") && error.contains("--domain"),
                "{error}"
            );
        }
    }
}
