//! Endpoint addresses: `ip:port` and `name:port`.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// The address of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A DNS name, which Envoy resolves, and a port.
    Name {
        /// The name, in lower case, without a final dot.
        host: String,
        /// 1–65535.
        port: u16,
    },
}

impl Address {
    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Ip(address) => address.port(),
            Self::Name { port, .. } => *port,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

/// `10.0.0.1:8000`, `[fd00::1]:8000`, `api.example.com:443`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// The text is not an address; the message shows the valid forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is neither ip:port nor name:port: write it like 127.0.0.1:8101, [::1]:8101 or api.example.com:443"
)]
pub struct InvalidAddress;

/// `10.0.0.1:8000`, `[fd00::1]:8000`, `api.example.com:443`. The port is 1–65535.
impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return match address.port() {
                0 => Err(InvalidAddress),
                _ => Ok(Self::Ip(address)),
            };
        }
        let (host, port) = text.rsplit_once(':').ok_or(InvalidAddress)?;
        let digits = port.bytes().all(|c| c.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port > 0);
        let host = dns_name(host).ok_or(InvalidAddress)?;
        Ok(Self::Name {
            host,
            port: port.ok_or(InvalidAddress)?,
        })
    }
}

/// Parses a comma-separated list: the addresses, each once, and the entries that are not addresses.
#[must_use]
pub fn addresses(list: &str) -> (Vec<Address>, Vec<(&str, InvalidAddress)>) {
    let (mut addresses, mut invalid) = (Vec::new(), Vec::new());
    let texts = list.split(',').map(str::trim);
    for text in texts.filter(|text| !text.is_empty()) {
        match text.parse::<Address>() {
            Ok(address) if addresses.contains(&address) => {}
            Ok(address) => addresses.push(address),
            Err(error) => invalid.push((text, error)),
        }
    }
    (addresses, invalid)
}

/// A DNS name in lower case, without its final dot. `None` if the text is not a DNS name. A name whose last label begins
/// with a digit is refused, because it may be a spelling of an IPv4 address (`127.1`, `0x7f.1`).
pub(crate) fn dns_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let letter = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(letter)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let number = last.starts_with(|c: char| c.is_ascii_digit());
    let valid = name.len() <= 253 && name.split('.').all(label) && !number;
    valid.then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_displayed_as_it_was_parsed() {
        for text in [
            "127.0.0.1:8101",
            "[::1]:8101",
            "api.example.com:443",
            "localhost:1",
            "my_service.ns:65535",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        let address: Address = "API.Example.com.:443".parse().unwrap();
        assert_eq!(address.to_string(), "api.example.com:443");
    }

    #[test]
    fn invalid_addresses_are_refused() {
        let long = format!("{}:80", "a".repeat(64));
        for text in [
            "",
            ":80",
            "host",
            "host:",
            "host:0",
            "host:65536",
            "host:+1",
            "127.0.0.1",
            "127.0.0.1:0",
            "10.0.0.256:80",
            "::1:80",
            "a..b:80",
            "-a:80",
            "a-:80",
            "a b:80",
            "http://a:80",
            "ä:80",
            "127.1:80",
            "0x7f.0x1:80",
            &long,
        ] {
            assert_eq!(text.parse::<Address>(), Err(InvalidAddress), "{text}");
        }
    }

    #[test]
    fn a_list_yields_each_address_once_and_its_invalid_entries() {
        let (found, invalid) = addresses(" 10.0.0.1:80,,10.0.0.1:80, x ,API.example.com:443,");
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.1:80", "api.example.com:443"]);
        assert_eq!(invalid, [("x", InvalidAddress)]);
    }
}
