//! The identity of a client behind a proxy that terminates its TLS: the header `x-forwarded-client-cert`, as Envoy writes it.
//!
//! The header is a list of elements, separated by commas, one for each hop. The last one is of the hop that sent the request to
//! this server. An element is a list of `key=value`, separated by semicolons. A value may be quoted; `\` escapes a character
//! inside of quotes.
//!
//! Invariant: only the last element counts, whatever a client wrote before it. The header is read from its end, so a quote that
//! a client opens does not reach into the last element.

use std::net::SocketAddr;

use ipnet::IpNet;
use tonic::metadata::MetadataMap;

use crate::connection::{ConnectionInfo, PeerIdentity};

/// The name of the header.
pub const HEADER: &str = "x-forwarded-client-cert";

/// The header cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("header {HEADER} is malformed: {0}")]
pub struct MalformedHeader(&'static str);

/// The connection with the identity of the client. A peer in `trusted` forwards requests of others, so the header of each
/// request decides about the identity, also if it is missing. The header of any other peer is ignored.
pub(crate) fn identify(
    connection: ConnectionInfo,
    metadata: &MetadataMap,
    trusted: &[IpNet],
) -> Result<ConnectionInfo, MalformedHeader> {
    let is_trusted = |address: SocketAddr| {
        let ip = address.ip().to_canonical();
        trusted.iter().any(|network| network.contains(&ip))
    };
    if !connection.address.is_some_and(is_trusted) {
        return Ok(connection);
    }
    let last = metadata.get_all(HEADER).iter().next_back();
    let identity = match last {
        None => None,
        Some(value) => {
            let text = value
                .to_str()
                .map_err(|_| MalformedHeader("it is not ASCII"))?;
            last_identity(text)?
        }
    };
    Ok(ConnectionInfo {
        identity,
        ..connection
    })
}

/// The identity in the last element: the values of all its keys `URI`. `None` if there is none.
///
/// # Errors
/// [`MalformedHeader`].
pub fn last_identity(header: &str) -> Result<Option<PeerIdentity>, MalformedHeader> {
    let mut uris = Vec::new();
    for pair in pairs(last_element(header)?) {
        if pair.trim().is_empty() {
            continue;
        }
        let (key, value) = pair
            .split_once('=')
            .ok_or(MalformedHeader("a part has no `=`"))?;
        if key.trim().eq_ignore_ascii_case("URI") {
            let uri = unquote(value.trim());
            if !uri.is_empty() {
                uris.push(uri);
            }
        }
    }
    Ok((!uris.is_empty()).then_some(PeerIdentity {
        uris,
        is_forwarded: true,
    }))
}

/// The text after the last comma that is not in quotes.
fn last_element(header: &str) -> Result<&str, MalformedHeader> {
    let bytes = header.as_bytes();
    let mut is_quoted = false;
    for (at, byte) in bytes.iter().enumerate().rev() {
        match byte {
            b'"' => {
                let before = bytes[..at].iter().rev();
                let backslashes = before.take_while(|b| **b == b'\\').count();
                // Inside of quotes, an odd number of backslashes escapes this one.
                if !is_quoted || backslashes % 2 == 0 {
                    is_quoted = !is_quoted;
                }
            }
            b',' if !is_quoted => return Ok(&header[at + 1..]),
            _ => {}
        }
    }
    if is_quoted {
        return Err(MalformedHeader("a quote does not begin"));
    }
    Ok(header)
}

/// The parts of an element between semicolons that are not in quotes.
fn pairs(element: &str) -> Vec<&str> {
    let mut pairs = Vec::new();
    let (mut begin, mut is_quoted, mut is_escaped) = (0, false, false);
    for (at, c) in element.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ';' if !is_quoted => {
                pairs.push(&element[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    pairs.push(&element[begin..]);
    pairs
}

fn unquote(value: &str) -> String {
    let quoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    let Some(quoted) = quoted else {
        return value.to_owned();
    };
    let mut plain = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => chars.next().unwrap_or('\\'),
            c => c,
        });
    }
    plain
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever a client sends, the proxy in front appends its own element.
        #[test]
        fn the_last_element_is_independent_of_what_is_before_it(client in "[ -~]{0,40}") {
            let header = format!("{client},{ENVOY}");
            prop_assert_eq!(uris(&header), ["spiffe://td/ns/a/sa/gateway"]);
        }
    }

    fn uris(header: &str) -> Vec<String> {
        let identity = last_identity(header).unwrap();
        identity.map(|identity| identity.uris).unwrap_or_default()
    }

    const ENVOY: &str = r#"By=spiffe://td/ns/headgate-system/sa/headgate;Hash=ab12;Subject="O=\"a;b,c\",CN=x";URI=spiffe://td/ns/a/sa/gateway"#;

    #[test]
    fn the_uri_of_the_last_element_is_the_identity() {
        assert_eq!(uris(ENVOY), ["spiffe://td/ns/a/sa/gateway"]);
        let two = format!("By=spiffe://td/x;URI=spiffe://td/ns/evil/sa/evil,{ENVOY}");
        assert_eq!(uris(&two), ["spiffe://td/ns/a/sa/gateway"]);
        assert_eq!(
            uris("By=a;uri=\"spiffe://td/q\\\"uoted\""),
            ["spiffe://td/q\"uoted"]
        );
    }

    #[test]
    fn no_uri_in_the_last_element_is_no_identity() {
        for header in ["", "By=spiffe://td/a;Hash=1", "URI=spiffe://td/a,By=b;URI="] {
            assert_eq!(last_identity(header).unwrap(), None, "{header}");
        }
    }

    #[test]
    fn two_uris_are_both_kept_so_that_the_identity_is_ambiguous() {
        assert_eq!(
            uris("URI=spiffe://td/a;URI=spiffe://td/b"),
            ["spiffe://td/a", "spiffe://td/b"]
        );
    }

    #[test]
    fn what_a_client_sends_before_the_last_element_never_becomes_the_identity() {
        let evil = "spiffe://td/ns/evil/sa/evil";
        let before = [
            format!("{ENVOY},Subject=\"a\\"),
            format!("URI={evil}"),
            format!("URI={evil}\""),
            format!("Subject=\"a;URI={evil}"),
            format!("Subject=\"a\\\";URI={evil}"),
            format!("\\\"URI={evil};"),
            "\"".to_owned(),
            "\\".to_owned(),
        ];
        for client in before {
            let header = format!("{client},{ENVOY}");
            assert_eq!(uris(&header), ["spiffe://td/ns/a/sa/gateway"], "{header}");
        }
    }
}
