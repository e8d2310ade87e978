//! The tenant of a request: the sources of its name, and the previous hops whose tag is trusted.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::ids::not_a_tag;
use crate::names;
use crate::{Attribute, HeaderName};

/// Most sources of a tenant, and most patterns of trusted hops.
pub(crate) const MAX_TENANT_RULES: usize = 32;

/// Longest name of a claim, and longest pattern, in bytes.
const MAX_TEXT: usize = 256;

/// The previous hops from which the tenant header is accepted: clients with a SPIFFE id that matches, or all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TrustedHop {
    /// Whoever can connect, also without an identity.
    Any,
    /// A SPIFFE id, in which `*` matches any characters.
    SpiffeId(String),
}

/// The default sources: the header `x-tenant-id`.
pub(crate) fn default_sources() -> Vec<Attribute> {
    let header = HeaderName::try_from(names::DEFAULT_TENANT_HEADER);
    header.map(Attribute::Header).into_iter().collect()
}

/// Checks that an attribute can name the tenant.
fn names_tenant(source: &Attribute) -> Result<(), String> {
    match source {
        Attribute::Header(name) => not_a_tag(name.clone()).map(|_| ()),
        Attribute::Query(_)
        | Attribute::Cookie(_)
        | Attribute::Body(_)
        | Attribute::Path
        | Attribute::PathSegment(_)
        | Attribute::JwtClaim(_)
        | Attribute::ApiKeySha256
        | Attribute::PeerSpiffeId
        | Attribute::SourceIp
        | Attribute::SourceNetwork(..) => Ok(()),
        _ => Err(format!(
            "{:?} does not tell who the tenant is: write peerSpiffeId, jwtClaim:NAME, apiKeySha256, header:NAME, query:NAME, cookie:NAME, body:PATH, path, path:N, sourceIp or sourceNetwork:IPV4_BITS/IPV6_BITS",
            String::from(source.clone())
        )),
    }
}

/// Checks the list of sources: at least one, each once.
fn tenant_sources(sources: &[Attribute]) -> Result<(), String> {
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

/// An attribute that can name the tenant.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Source(Attribute);

impl TryFrom<String> for Source {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let source = Attribute::try_from(text)?;
        names_tenant(&source)?;
        Ok(Self(source))
    }
}

/// Deserializes and checks a list of sources.
pub(crate) fn sources<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Attribute>, D::Error> {
    checked(Vec::deserialize(d)?).map_err(D::Error::custom)
}

/// The same, where the list may be absent.
pub(crate) fn some_sources<'de, D: Deserializer<'de>>(
    d: D,
) -> Result<Option<Vec<Attribute>>, D::Error> {
    let sources: Option<Vec<Source>> = Option::deserialize(d)?;
    let sources = sources.map(checked).transpose();
    sources.map_err(D::Error::custom)
}

fn checked(sources: Vec<Source>) -> Result<Vec<Attribute>, String> {
    let sources: Vec<_> = sources.into_iter().map(|source| source.0).collect();
    tenant_sources(&sources)?;
    Ok(sources)
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

/// The schema of a source.
#[cfg(feature = "schema")]
pub(crate) fn source_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let plain = ["peerSpiffeId", "apiKeySha256", "path", "sourceIp"];
    let description = "peerSpiffeId, jwtClaim:NAME, apiKeySha256, header:NAME, query:NAME, cookie:NAME, body:PATH, path, path:N, sourceIp or sourceNetwork:IPV4_BITS/IPV6_BITS";
    let mut schema = crate::attribute::schema(&plain, description);
    schema.insert(
        "x-kubernetes-validations".into(),
        crate::rules::of(&[crate::rules::NOT_A_TAG_SOURCE]),
    );
    schema
}

/// The schema of a list of sources.
#[cfg(feature = "schema")]
pub(crate) fn sources_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let items = source_schema(generator);
    schemars::json_schema!({ "type": "array", "items": items })
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
