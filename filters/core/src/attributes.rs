//! The values of a request by their names: for keys of buckets, for the tenant and for tag rules.
//!
//! Invariant: a client chooses only headers, the path with its query, cookies, fields of the body, and the facts that follow from them.
//! Claims come from `jwt_authn`, which verified the token; the filter never reads a token.

mod api_key;

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use headgate_contract::{Attribute, BodyPath, Decimal, Network};
use sha2::{Digest, Sha256};

use crate::cost::tokens_of_bytes;
use crate::endpoint::{Class, decode, normalize};
use crate::facts::Facts;
use crate::headers::Headers;
use crate::host::Host;
use crate::refusal::Refusal;

/// Whole numbers below it have an exact double (2^53).
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Bytes per token of the estimated prompt, in millionths.
const BYTES_PER_TOKEN: u64 = 4 * Decimal::UNIT;

/// A request whose values are read.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a> {
    pub(crate) headers: &'a Headers,
    pub(crate) class: Class,
    /// `None` where only the client matters.
    pub(crate) facts: Option<&'a Facts<'a>>,
    pub(crate) stream: Option<bool>,
    /// The fields of the body that some attribute names, as far as the body has them.
    pub(crate) captured: &'a [(BodyPath, String)],
    pub(crate) host: &'a dyn Host,
    /// Empty if there is none.
    pub(crate) tenant: &'a str,
    /// The model's id; empty for a model outside of the plan.
    pub(crate) model: &'a str,
}

impl<'a> Attributes<'a> {
    /// The value of an attribute; `None` if the request has none, or an empty one. The version is not known here.
    ///
    /// # Errors
    /// The API key is ambiguous.
    pub(crate) fn value(
        &self,
        attribute: &Attribute,
    ) -> Result<Option<Cow<'a, str>>, Box<Refusal>> {
        let value = match attribute {
            Attribute::Tenant => Some(self.tenant.into()),
            Attribute::Model => Some(self.model.into()),
            Attribute::Version => None,
            Attribute::Dialect => self.operation().map(|name| {
                let (dialect, _) = name.split_once('.').unwrap_or((name, ""));
                dialect.into()
            }),
            Attribute::Operation => self.operation().map(Into::into),
            Attribute::Path => Some(String::from_utf8_lossy(self.target().0)),
            Attribute::PathSegment(n) => self.segment(*n),
            Attribute::Header(name) => self.header(name.as_str()),
            Attribute::Query(name) => self.query(name).map(Into::into),
            Attribute::Cookie(name) => self.cookie(name),
            Attribute::Body(path) => {
                let mut fields = self.captured.iter();
                let field = fields.find(|(known, _)| known == path);
                field.map(|(_, value)| value.as_str().into())
            }
            Attribute::JwtClaim(name) => {
                let claim = self.host.jwt_claim(name);
                claim.and_then(claim_text).map(Into::into)
            }
            Attribute::ApiKeySha256 => {
                let key = api_key::of(self.headers)?;
                key.map(|key| hexadecimal(&Sha256::digest(key)).into())
            }
            Attribute::PeerSpiffeId => spiffe_id(self.host).map(Into::into),
            Attribute::SourceIp => self.address().map(|address| address.to_string().into()),
            Attribute::SourceNetwork(v4, v6) => self.address().map(|address| {
                let bits = if address.is_ipv4() { *v4 } else { *v6 };
                Network::of(address, bits).to_string().into()
            }),
            Attribute::Stream => match self.stream {
                Some(true) => Some("true".into()),
                Some(false) => Some("false".into()),
                None => self.class.reads_body().then(|| "false".into()),
            },
            Attribute::MaxTokens
            | Attribute::N
            | Attribute::PromptTokens
            | Attribute::Temperature => self.number(attribute).map(Into::into),
        };
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// A fact that is a number.
    #[inline(never)]
    fn number(&self, attribute: &Attribute) -> Option<String> {
        let facts = self.facts?;
        let number = match attribute {
            Attribute::MaxTokens => facts.max_tokens?,
            Attribute::N => facts.n,
            Attribute::PromptTokens => {
                let text = tokens_of_bytes(facts.prompt_bytes, BYTES_PER_TOKEN);
                text.saturating_add(facts.prompt_tokens)
            }
            _ => return Some(Decimal::from_millionths(facts.temperature).to_string()),
        };
        Some(number.to_string())
    }

    fn operation(&self) -> Option<&'static str> {
        match self.class {
            Class::Call(operation) => Some(operation.name),
            _ => None,
        }
    }

    /// The path as it was sent, and its query.
    fn target(&self) -> (&'a [u8], &'a [u8]) {
        let target = self.headers.get(":path").unwrap_or_default();
        let mut parts = target.splitn(2, |byte| *byte == b'?');
        let path = parts.next().unwrap_or_default();
        (path, parts.next().unwrap_or_default())
    }

    #[inline(never)]
    fn segment(&self, n: u8) -> Option<Cow<'a, str>> {
        let path = normalize(self.target().0);
        let mut segments = path.split(|byte| *byte == b'/');
        let segment = segments.nth(n.into())?;
        Some(String::from_utf8_lossy(segment).into_owned().into())
    }

    /// The values of a header. Several are joined by `,`, as a list has it (RFC 9110, section 5.3).
    fn header(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut values = self.headers.get_all(name);
        let first = String::from_utf8_lossy(values.next()?);
        Some(values.fold(first, |list, value| {
            (list.into_owned() + "," + &String::from_utf8_lossy(value)).into()
        }))
    }

    /// The first parameter of this name. `+` stands for a space.
    #[inline(never)]
    fn query(&self, name: &str) -> Option<String> {
        let text = |part: &[u8]| {
            let spaces: Vec<u8> = part
                .iter()
                .map(|b| if *b == b'+' { b' ' } else { *b })
                .collect();
            decode(&spaces)
        };
        let mut pairs = self.target().1.split(|byte| *byte == b'&');
        pairs.find_map(|pair| {
            let mut parts = pair.splitn(2, |byte| *byte == b'=');
            let found = text(parts.next()?) == name;
            found.then(|| text(parts.next().unwrap_or_default()))
        })
    }

    /// The first cookie of this name (RFC 6265), without the quotes around its value.
    #[inline(never)]
    fn cookie(&self, name: &str) -> Option<Cow<'a, str>> {
        let cookies = self.headers.get_all("cookie");
        let mut pairs = cookies.flat_map(|list| list.split(|byte| *byte == b';'));
        let value = pairs.find_map(|pair| {
            let value = pair.trim_ascii().strip_prefix(name.as_bytes())?;
            value.strip_prefix(b"=")
        })?;
        let quoted = value
            .strip_prefix(b"\"")
            .and_then(|v| v.strip_suffix(b"\""));
        Some(String::from_utf8_lossy(quoted.unwrap_or(value)))
    }

    /// The client's address, as the proxy determined it. An IPv4-mapped IPv6 address is IPv4.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        let text = self.host.source_address()?;
        let with_port = text.parse::<SocketAddr>().map(|address| address.ip());
        let address = with_port.ok().or_else(|| text.parse().ok())?;
        Some(address.to_canonical())
    }
}

/// The verified SPIFFE id of the client.
#[inline(never)]
pub(crate) fn spiffe_id(host: &dyn Host) -> Option<String> {
    host.peer_uri().filter(|uri| uri.starts_with("spiffe://"))
}

/// A claim as text. The host gives text as it is and a number as a double in 8 bytes. Everything else is not a name.
fn claim_text(bytes: Vec<u8>) -> Option<String> {
    let number = <[u8; 8]>::try_from(&bytes[..]).map(f64::from_le_bytes);
    match String::from_utf8(bytes) {
        Ok(text) if text.is_empty() => None,
        Ok(text) if !text.chars().any(char::is_control) => Some(text),
        _ => {
            let number = number.ok()?;
            let whole = number.fract() == 0.0 && number.abs() < EXACT;
            // As an integer: the printing of doubles would add 20 KiB to the module.
            #[allow(clippy::cast_possible_truncation)]
            whole.then(|| (number as i64).to_string())
        }
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_text_or_a_whole_number() {
        let number = |n: f64| n.to_le_bytes().to_vec();
        for (bytes, text) in [
            (b"acme".to_vec(), Some("acme")),
            (b"12345678".to_vec(), Some("12345678")),
            ("Zürich".as_bytes().to_vec(), Some("Zürich")),
            (number(42.0), Some("42")),
            (number(0.0), Some("0")),
            (number(-7.0), Some("-7")),
            (number(9_007_199_254_740_991.0), Some("9007199254740991")),
            (number(1.5), None),
            (number(f64::NAN), None),
            (number(1e300), None),
            (Vec::new(), None),
            // `true`, and a list with one text, as protobuf.
            (vec![1], None),
            (vec![10, 3, 26, 1, b'a'], None),
        ] {
            assert_eq!(claim_text(bytes.clone()).as_deref(), text, "{bytes:?}");
        }
    }
}
