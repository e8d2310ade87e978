//! Command lines and variables of a container: the expansion of `$(NAME)`, and listen addresses.
//!
//! Invariant: pure functions.
//!
//! In a cluster, a pod has a network namespace of its own, so a program listens on all of its interfaces: `:18000`. Here all pods share
//! the loopback interface and each has one address of it, so two pods with the same port would collide. A listen address that names
//! all interfaces is therefore replaced by the pod's own address.

use std::net::IpAddr;

/// The listen address of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PodAddress {
    pub(super) ip: IpAddr,
    /// Added to each port on which a program listens on all interfaces, so that a sidecar can have the port itself.
    pub(super) port_offset: u16,
}

impl PodAddress {
    /// The port on which a program listens that was told to listen on `port` of all interfaces.
    pub(super) fn port(&self, port: u16) -> u16 {
        port.saturating_add(self.port_offset)
    }
}

/// A word with each `$(NAME)` replaced by its value, as Kubernetes does: an unknown name stays as it is, and `$$(NAME)` is `$(NAME)`.
pub(super) fn expand(word: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::new();
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(escaped) = after.strip_prefix('$') {
            expanded.push('$');
            rest = escaped;
            continue;
        }
        let name = after
            .strip_prefix('(')
            .and_then(|open| Some(open.split_once(')')?.0));
        match name {
            Some(name) => {
                let unknown = || format!("$({name})");
                expanded.push_str(&value(name).unwrap_or_else(unknown));
                rest = &after[name.len() + 2..];
            }
            None => {
                expanded.push('$');
                rest = after;
            }
        }
    }
    expanded + rest
}

/// A word in which a listen address on all interfaces is replaced by the pod's: the word itself, or what follows its first `=`.
pub(super) fn on_pod_address(word: &str, pod: PodAddress) -> String {
    let (flag, value) = match word.split_once('=') {
        Some((flag, value)) => (Some(flag), value),
        None => (None, word),
    };
    let port = ["0.0.0.0:", "[::]:", ":"]
        .iter()
        .find_map(|any| value.strip_prefix(any)?.parse::<u16>().ok());
    match (port, flag) {
        (None, _) => word.to_owned(),
        (Some(port), None) => listen(pod, port),
        (Some(port), Some(flag)) => format!("{flag}={}", listen(pod, port)),
    }
}

fn listen(pod: PodAddress, port: u16) -> String {
    std::net::SocketAddr::from((pod.ip, pod.port(port))).to_string()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn pod(port_offset: u16) -> PodAddress {
        PodAddress {
            ip: Ipv4Addr::new(127, 20, 0, 7).into(),
            port_offset,
        }
    }

    #[test]
    fn variables_are_expanded_as_kubernetes_does() {
        let value = |name: &str| (name == "IP").then(|| "127.20.0.7".to_owned());
        for (word, expected) in [
            ("--at=$(IP):80", "--at=127.20.0.7:80"),
            ("$(IP)$(IP)", "127.20.0.7127.20.0.7"),
            ("$$(IP)", "$(IP)"),
            ("$$$(IP)", "$127.20.0.7"),
            ("$(OTHER)", "$(OTHER)"),
            ("$IP $( $", "$IP $( $"),
            ("", ""),
        ] {
            assert_eq!(expand(word, value), expected, "{word}");
        }
    }

    #[test]
    fn listen_addresses_on_all_interfaces_become_the_pods() {
        for (word, expected) in [
            ("--xds-address=:18000", "--xds-address=127.20.0.7:18000"),
            (":18000", "127.20.0.7:18000"),
            ("0.0.0.0:80", "127.20.0.7:80"),
            ("--listen=[::]:80", "--listen=127.20.0.7:80"),
            // Not listen addresses.
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("--label=a:80", "--label=a:80"),
            (":http", ":http"),
            ("--url=http://a:80", "--url=http://a:80"),
        ] {
            assert_eq!(on_pod_address(word, pod(0)), expected, "{word}");
        }
        assert_eq!(on_pod_address(":80", pod(10_000)), "127.20.0.7:10080");
    }
}
