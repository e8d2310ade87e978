//! The tenant of a request: the sources of its name, and the previous hops whose tag is trusted.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::HeaderName;
use crate::ids::not_a_tag;
use crate::names;

/// Most sources of a tenant, and most patterns of trusted hops.
pub(crate) const MAX_TENANT_RULES: usize = 32;

/// Longest name of a claim, and longest pattern, in bytes.
const MAX_TEXT: usize = 256;

/// A source of the tenant's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TenantSource {
    /// The SPIFFE id in the certificate of the client, verified by the listener.
    PeerSpiffeId,
    /// A claim at the top level of the payload of a JSON Web Token that `jwt_authn` verified: text or a whole number.
    JwtClaim(String),
    /// SHA-256, in lower-case hexadecimal digits, of the API key.
    ApiKeySha256,
    /// A request header. A client can write anything in it.
    Header(HeaderName),
}

/// The previous hops from which the tenant header is accepted: clients with a SPIFFE id that matches, or all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TrustedHop {
    /// Whoever can connect, also without an identity.
    Any,
    /// A SPIFFE id, in which `*` matches any characters.
    SpiffeId(String),
}

impl TenantSource {
    /// The default: the header `x-tenant-id`.
    pub(crate) fn default_list() -> Vec<Self> {
        let header = HeaderName::try_from(names::DEFAULT_TENANT_HEADER);
        header.map(Self::Header).into_iter().collect()
    }
}

/// Checks the list of sources: at least one, each once.
pub(crate) fn tenant_sources(sources: &[TenantSource]) -> Result<(), String> {
    if !(1..=MAX_TENANT_RULES).contains(&sources.len()) {
        return Err(format!(
            "has {} sources: write 1 to {MAX_TENANT_RULES}",
            sources.len()
        ));
    }
    for (i, source) in sources.iter().enumerate() {
        if sources[..i].contains(source) {
            let text = String::from(source.clone());
            return Err(format!("{text:?} is given twice: remove one"));
        }
    }
    Ok(())
}

/// Deserializes and checks a list of sources.
pub(crate) fn sources<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<TenantSource>, D::Error> {
    let sources = Vec::deserialize(d)?;
    tenant_sources(&sources).map_err(D::Error::custom)?;
    Ok(sources)
}

impl TryFrom<String> for TenantSource {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("header:") {
            let name = HeaderName::try_from(name).map_err(|e| e.to_string())?;
            return not_a_tag(name).map(Self::Header);
        }
        if let Some(claim) = text.strip_prefix("jwtClaim:") {
            if !visible(claim) {
                return Err(format!(
                    "{claim:?} is not a valid name of a claim: write 1-{MAX_TEXT} visible ASCII characters"
                ));
            }
            return Ok(Self::JwtClaim(claim.to_owned()));
        }
        match text.as_str() {
            "peerSpiffeId" => Ok(Self::PeerSpiffeId),
            "apiKeySha256" => Ok(Self::ApiKeySha256),
            _ => Err(format!(
                "unknown source of a tenant {text:?}: write peerSpiffeId, jwtClaim:NAME, apiKeySha256 or header:NAME"
            )),
        }
    }
}

impl From<TenantSource> for String {
    fn from(source: TenantSource) -> Self {
        match source {
            TenantSource::PeerSpiffeId => "peerSpiffeId".to_owned(),
            TenantSource::ApiKeySha256 => "apiKeySha256".to_owned(),
            TenantSource::JwtClaim(claim) => format!("jwtClaim:{claim}"),
            TenantSource::Header(name) => format!("header:{name}"),
        }
    }
}

impl TryFrom<String> for TrustedHop {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text == "any" {
            return Ok(Self::Any);
        }
        if text.starts_with("spiffe://") && visible(&text) {
            return Ok(Self::SpiffeId(text));
        }
        Err(format!(
            "{text:?} is not a trusted hop: write a pattern of SPIFFE ids such as spiffe://example.org/ns/*/sa/gateway, or any"
        ))
    }
}

impl From<TrustedHop> for String {
    fn from(hop: TrustedHop) -> Self {
        match hop {
            TrustedHop::Any => "any".to_owned(),
            TrustedHop::SpiffeId(pattern) => pattern,
        }
    }
}

/// Whether it is 1–256 visible ASCII characters.
fn visible(text: &str) -> bool {
    (1..=MAX_TEXT).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for TenantSource {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TenantSource".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "peerSpiffeId, jwtClaim:NAME, apiKeySha256 or header:NAME",
            // The API server bounds the cost of a rule by the length of what it looks at.
            "maxLength": 265,
            "pattern": "^(peerSpiffeId|apiKeySha256|jwtClaim:[!-~]{1,256}|header:[a-z0-9_-]{1,128})$",
            "x-kubernetes-validations": crate::rules::of(&[crate::rules::NOT_A_TAG_SOURCE])
        })
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for TrustedHop {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TrustedHop".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A SPIFFE id in which `*` matches any characters, or `any`",
            "maxLength": 256,
            "pattern": "^(any|spiffe://[!-~]*)$"
        })
    }
}
