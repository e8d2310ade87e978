//! Endpoints that an annotation of a Service lists: servers without pods, for example outside the cluster.
//!
//! Invariant: an annotation cannot send a proxy to addresses of the node or the cloud, or to a DNS name, without `--allow-endpoint`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use headgate_contract::names;
use headgate_model::{Address, Pod, PortSource, Protocol, Severity, addresses, reason};

use super::findings::CarrierFindings;

/// Endpoints that an annotation may list although they are refused by default: a block of addresses, or DNS names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedEndpoint {
    /// A block of addresses: its first address and the length of its prefix, in bits.
    Block(IpAddr, u8),
    /// A DNS name and all names below it; empty for all names.
    Names(String),
}

/// The text is neither a block of addresses nor a DNS suffix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither a block of addresses nor a DNS suffix: write for example 169.254.10.0/24, api.example.com, or * for all names"
)]
pub struct InvalidAllowed(String);

impl FromStr for AllowedEndpoint {
    type Err = InvalidAllowed;

    fn from_str(text: &str) -> Result<Self, InvalidAllowed> {
        let invalid = || InvalidAllowed(text.to_owned());
        if text == "*" {
            return Ok(Self::Names(String::new()));
        }
        if let Some((address, bits)) = text.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| invalid())?;
            let bits: u8 = bits.parse().map_err(|_| invalid())?;
            let longest = if address.is_ipv4() { 32 } else { 128 };
            return (bits <= longest)
                .then_some(Self::Block(address, bits))
                .ok_or_else(invalid);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            return Ok(Self::Block(address, bits));
        }
        let suffix = text.strip_prefix("*.").unwrap_or(text);
        let suffix = suffix.strip_prefix('.').unwrap_or(suffix);
        // An address needs a port.
        match format!("{suffix}:1").parse::<Address>() {
            Ok(Address::Name { host, .. }) => Ok(Self::Names(host)),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for AllowedEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(address, bits) => write!(f, "{address}/{bits}"),
            Self::Names(suffix) if suffix.is_empty() => f.write_str("*"),
            Self::Names(suffix) => f.write_str(suffix),
        }
    }
}

impl AllowedEndpoint {
    fn holds(&self, address: &Address) -> bool {
        match (self, address) {
            (Self::Block(block, bits), Address::Ip(address)) => {
                within(address.ip().to_canonical(), block.to_canonical(), *bits)
            }
            (Self::Names(suffix), Address::Name { host, .. }) => {
                let rest = host.strip_suffix(suffix.as_str());
                rest.is_some_and(|rest| rest.is_empty() || suffix.is_empty() || rest.ends_with('.'))
            }
            _ => false,
        }
    }
}

fn within(address: IpAddr, block: IpAddr, bits: u8) -> bool {
    let same = |a: u128, b: u128, width: u32| {
        let shift = width.saturating_sub(u32::from(bits));
        a.checked_shr(shift).unwrap_or(0) == b.checked_shr(shift).unwrap_or(0)
    };
    match (address, block) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

/// The reason why an address is refused by default; `None` if it is not.
fn refusal(address: &Address) -> Option<&'static str> {
    match address {
        Address::Name { .. } => Some("a DNS name, which may resolve to any address"),
        Address::Ip(address) => match address.ip().to_canonical() {
            IpAddr::V4(ip) => special_v4(ip),
            IpAddr::V6(ip) => special_v6(ip),
        },
    }
}

/// Addresses of cloud metadata services outside the link-local block: Alibaba, Azure, Oracle.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

fn special_v4(ip: Ipv4Addr) -> Option<&'static str> {
    if ip.is_loopback() {
        Some("a loopback address of the proxy")
    } else if ip.is_link_local() {
        Some("a link-local address, which clouds use for metadata")
    } else if METADATA_V4.contains(&ip) {
        Some("the address of a cloud metadata service")
    } else if ip.is_multicast() || ip.is_broadcast() {
        Some("a multicast or broadcast address")
    } else if ip.octets()[0] == 0 {
        Some("an unspecified address")
    } else {
        None
    }
}

fn special_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let [a, b, .., y, z] = ip.segments();
    // NAT64, and the deprecated IPv4-compatible form: both embed an IPv4 address.
    let bare = ip.segments()[..6] == [0; 6] && !ip.is_loopback() && !ip.is_unspecified();
    if bare || ip.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return special_v4(Ipv4Addr::from_bits(u32::from(y) << 16 | u32::from(z)));
    }
    if ip.is_loopback() {
        Some("a loopback address of the proxy")
    } else if ip.is_unicast_link_local() {
        Some("a link-local address")
    } else if (a, b) == (0xfd00, 0xec2) || (a, b, z) == (0xfd20, 0xce, 0x254) {
        Some("the address of a cloud metadata service")
    } else if ip.is_multicast() {
        Some("a multicast address")
    } else if ip.is_unspecified() {
        Some("an unspecified address")
    } else {
        None
    }
}

/// The endpoints of an annotation. Unusable entries become findings, and the rest is used.
pub(super) fn endpoints(
    name: &str,
    list: &str,
    allowed: &[AllowedEndpoint],
    protocol: Protocol,
    findings: &mut CarrierFindings<'_>,
) -> Vec<Pod> {
    let (addresses, invalid) = addresses(list);
    for (text, why) in invalid {
        let command = findings
            .key
            .annotate_command(names::ANNOTATION_ENDPOINTS, "IP:PORT,NAME:PORT");
        let message = format!(
            "annotation `{}`: {text:?} {why}. The other endpoints are used. Correct the list: {command}",
            names::ANNOTATION_ENDPOINTS
        );
        findings.add(reason::INVALID_ENDPOINT, Severity::Error, message);
    }
    let mut pods: Vec<Pod> = Vec::new();
    for address in addresses {
        let refused = refusal(&address).filter(|_| !allowed.iter().any(|a| a.holds(&address)));
        if let Some(why) = refused {
            let message = refused_message(&address, why);
            findings.add(reason::ENDPOINT_REFUSED, Severity::Error, message);
            continue;
        }
        pods.push(Pod {
            protocol,
            port_source: PortSource::Annotation,
            ..Pod::at(format!("{name}-{}", pods.len()), address)
        });
    }
    pods
}

fn refused_message(address: &Address, why: &str) -> String {
    let allow = match address {
        Address::Ip(address) => address.ip().to_string(),
        Address::Name { host, .. } => host.clone(),
    };
    format!(
        "annotation `{}`: {address} is {why}. Headgate refuses it unless it is started with --allow-endpoint {allow}",
        names::ANNOTATION_ENDPOINTS
    )
}

/// Messages on the addresses of an annotation that are refused by default.
pub(crate) fn refused_by_default(list: &str) -> Vec<String> {
    let (addresses, _) = addresses(list);
    let refused = addresses.iter();
    let refused = refused.filter_map(|address| Some(refused_message(address, refusal(address)?)));
    refused.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn usable(text: &str, allowed: &[&str]) -> bool {
        let address: Address = text.parse().unwrap();
        let mut allowed = allowed
            .iter()
            .map(|t| t.parse::<AllowedEndpoint>().unwrap());
        refusal(&address).is_none() || allowed.any(|a| a.holds(&address))
    }

    #[test]
    fn addresses_of_the_node_and_the_cloud_are_refused() {
        for good in [
            "10.9.8.7:8000",
            "192.168.1.1:80",
            "8.8.8.8:443",
            "[fd00::1]:8000",
            "[2001:db8::1]:8000",
            "[64:ff9b::a09:807]:80",
        ] {
            assert!(usable(good, &[]), "{good}");
        }
        for bad in [
            "127.0.0.1:8000",
            "127.9.9.9:8000",
            "169.254.169.254:80",
            "169.254.1.1:80",
            "100.100.100.200:80",
            "168.63.129.16:80",
            "224.0.0.1:80",
            "255.255.255.255:80",
            "0.0.0.0:80",
            "0.1.2.3:80",
            "[::1]:80",
            "[::]:80",
            "[fe80::1]:80",
            "[ff02::1]:80",
            "[fd00:ec2::254]:80",
            "[fd20:ce::254]:80",
            "[::ffff:127.0.0.1]:80",
            "[::ffff:169.254.169.254]:80",
            "[::169.254.169.254]:80",
            "[64:ff9b::a9fe:a9fe]:80",
            "api.example.com:443",
            "localhost:80",
        ] {
            assert!(!usable(bad, &[]), "{bad}");
        }
    }

    #[test]
    fn a_block_or_a_suffix_of_whole_labels_is_allowed() {
        let rows = [
            ("127.0.0.1:80", "127.0.0.0/8", true),
            ("127.0.0.1:80", "127.0.0.1", true),
            ("127.0.0.2:80", "127.0.0.1", false),
            ("169.254.169.254:80", "169.254.10.0/24", false),
            ("[::ffff:127.0.0.1]:80", "127.0.0.0/8", true),
            ("[fe80::1]:80", "fe80::/10", true),
            ("[fe80::1]:80", "0.0.0.0/0", false),
            ("127.0.0.1:80", "0.0.0.0/0", true),
            ("api.example.com:443", "example.com", true),
            ("api.example.com:443", "*.example.com", true),
            ("API.example.com:443", "Api.Example.COM.", true),
            ("api.badexample.com:443", "example.com", false),
            ("example.com.evil.net:443", "example.com", false),
            ("localhost:80", "*", true),
            ("127.0.0.1:80", "*", false),
        ];
        for (address, allowed, wanted) in rows {
            assert_eq!(usable(address, &[allowed]), wanted, "{address} {allowed}");
        }
        for bad in ["", "/8", "10.0.0.0/33", "a..b", "10.0.0.0/", "a b", "*.*"] {
            assert!(bad.parse::<AllowedEndpoint>().is_err(), "{bad:?}");
        }
    }
}
