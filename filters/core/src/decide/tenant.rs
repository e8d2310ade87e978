//! The tenant of a request: the tag of a trusted previous hop, else the first source in `tenantFrom` that the request has.
//!
//! Invariant: of what a client can write, only the sources `header:NAME` and `apiKeySha256` count; a hop that follows and does not
//! trust the previous one replaces its tag.

use std::borrow::Cow;
use std::rc::Rc;

use headgate_contract::pattern::matches;
use headgate_contract::{Role, Tagging, TenantSource, TrustedHop};
use sha2::{Digest, Sha256};

use super::Decider;
use crate::facts::{invalid, single};
use crate::headers::Headers;
use crate::host::Host;
use crate::refusal::Refusal;
use crate::tags::{self, HEADER_TENANT};

/// The headers of an API key, and whether the key comes after a scheme.
const KEY_HEADERS: [(&str, bool); 3] = [
    ("authorization", true),
    ("x-api-key", false),
    ("api-key", false),
];

/// Whole numbers below it have an exact double (2^53).
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Decider<'_> {
    /// The tenant, encoded.
    pub(super) fn tenant(&self, tagging: &Tagging) -> Result<Option<Rc<str>>, Box<Refusal>> {
        if self.claims_tenant() && self.trusts_hop(tagging) {
            let tenant = self.previous_hop_header(HEADER_TENANT);
            return Ok(tenant.map(Into::into));
        }
        for source in &tagging.tenant_from {
            if let Some(tenant) = self.tenant_of(source)? {
                return Ok(Some(tenant.as_ref().into()));
            }
        }
        Ok(None)
    }

    /// Whether this hop follows, and the request has a tenant's tag that it must not believe.
    pub(super) fn distrusts_tenant(&self, tagging: &Tagging) -> bool {
        self.config.role == Role::Follow
            && tags::claims_tenant(self.request.headers)
            && !self.trusts_hop(tagging)
    }

    /// Whether this hop follows, and the hop before names a tenant.
    fn claims_tenant(&self) -> bool {
        self.config.role == Role::Follow && self.request.headers.get(HEADER_TENANT).is_some()
    }

    fn trusts_hop(&self, tagging: &Tagging) -> bool {
        let hops = &tagging.trusted_hops;
        if hops.is_empty() || hops.contains(&TrustedHop::Any) {
            return !hops.is_empty();
        }
        let peer = spiffe_id(self.host);
        let trusts = |hop: &TrustedHop| match (hop, &peer) {
            (TrustedHop::SpiffeId(pattern), Some(id)) => matches(pattern, id),
            _ => false,
        };
        hops.iter().any(trusts)
    }

    fn tenant_of(&self, source: &TenantSource) -> Result<Option<Cow<'_, str>>, Box<Refusal>> {
        let headers = self.request.headers;
        match source {
            TenantSource::Header(name) => {
                let name = name.as_str();
                let Some(tenant) = single(headers, name)?.map(tags::encoded) else {
                    return Ok(None);
                };
                if tenant.len() > tags::MAX_VALUE {
                    return Err(invalid(name, "at most 128 bytes long, percent-encoded"));
                }
                Ok(Some(tenant))
            }
            TenantSource::PeerSpiffeId => Ok(spiffe_id(self.host).map(bounded)),
            TenantSource::JwtClaim(name) => {
                let claim = self.host.jwt_claim(name).and_then(claim_text);
                Ok(claim.map(bounded))
            }
            TenantSource::ApiKeySha256 => {
                Ok(api_key(headers)?.map(|key| hexadecimal(&Sha256::digest(key)).into()))
            }
        }
    }
}

/// The verified SPIFFE id of the client.
#[inline(never)]
fn spiffe_id(host: &dyn Host) -> Option<String> {
    host.peer_uri().filter(|uri| uri.starts_with("spiffe://"))
}

/// A verified value as a tenant. One that does not fit becomes its SHA-256: its owner cannot shorten it, and cut values collide.
#[inline(never)]
fn bounded(value: String) -> Cow<'static, str> {
    let encoded = tags::encoded(value.as_bytes());
    match encoded.len() > tags::MAX_VALUE {
        true => hexadecimal(&Sha256::digest(value)).into(),
        false => encoded.into_owned().into(),
    }
}

/// A claim as text. The host gives text as it is and a number as a double in 8 bytes. Everything else is not a name.
fn claim_text(bytes: Vec<u8>) -> Option<String> {
    let number = <[u8; 8]>::try_from(&bytes[..]).map(f64::from_le_bytes);
    match String::from_utf8(bytes) {
        Ok(text) if text.is_empty() => None,
        Ok(text) if !text.chars().any(char::is_control) => Some(text),
        _ => {
            let number = number.ok()?;
            (number.fract() == 0.0 && number.abs() < EXACT).then(|| format!("{number:.0}"))
        }
    }
}

/// The API key. A server reads one of the headers, and which one is not known here: so they must agree.
///
/// # Errors
/// There are several keys that differ.
fn api_key(headers: &Headers) -> Result<Option<&[u8]>, Box<Refusal>> {
    let mut found = None;
    for (name, scheme) in KEY_HEADERS {
        let Some(value) = single(headers, name)? else {
            continue;
        };
        let key = if scheme { bearer(value) } else { Some(value) };
        let key = key.map(<[u8]>::trim_ascii).filter(|key| !key.is_empty());
        match (found, key) {
            (Some(before), Some(key)) if before != key => {
                return Err(invalid(name, "the only API key, or the same as the others"));
            }
            (None, key) => found = key,
            _ => {}
        }
    }
    Ok(found)
}

/// The token after the scheme `Bearer` (RFC 6750), in any case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

fn hexadecimal(bytes: &[u8]) -> String {
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

    #[test]
    fn the_schema_of_a_bearer_token_is_in_any_case() {
        assert_eq!(bearer(b"Bearer k"), Some(&b"k"[..]));
        assert_eq!(bearer(b"bEARER k"), Some(&b"k"[..]));
        assert_eq!(bearer(b"Basic a2V5"), None);
        assert_eq!(bearer(b"Bear"), None);
    }
}
