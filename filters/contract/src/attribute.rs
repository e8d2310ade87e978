//! An attribute: the name of one value of a request. Keys of buckets, sources of the tenant and conditions of tag rules name values by it.

use serde::{Deserialize, Serialize};

use crate::HeaderName;
use crate::body_path::BodyPath;

/// Longest name of a claim, of a parameter and of a cookie, in bytes.
const MAX_TEXT: usize = 256;
/// Greatest number of a path segment.
const MAX_SEGMENT: u8 = 32;

/// A value of a request. It is text, or absent; an empty value is absent.
///
/// A client chooses `header:NAME`, `query:NAME`, `cookie:NAME`, `body:PATH`, `path`, `path:N` and the facts. Everything else comes from
/// what Envoy verified, or from the configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Attribute {
    /// The tenant.
    Tenant,
    /// The model's id.
    Model,
    /// The version that was picked.
    Version,
    /// The API of the request: the part of the operation before the point, such as `openai`.
    Dialect,
    /// The operation, such as `openai.chat`.
    Operation,
    /// The path without its query, as it was sent.
    Path,
    /// A segment of the path, decoded. 1 is the first, up to 32.
    PathSegment(u8),
    /// A request header. Several values are joined by `,`.
    Header(HeaderName),
    /// The first parameter of this name in the query, decoded.
    Query(String),
    /// The first cookie of this name.
    Cookie(String),
    /// A field of the JSON body: text, number or boolean, up to 256 bytes.
    Body(BodyPath),
    /// A claim at the top level of the payload of a JSON Web Token that `jwt_authn` verified: text or a whole number.
    JwtClaim(String),
    /// SHA-256, in lower-case hexadecimal digits, of the API key.
    ApiKeySha256,
    /// The SPIFFE id in the certificate of the client, verified by the listener.
    PeerSpiffeId,
    /// The client's address as Envoy determined it. An IPv4-mapped IPv6 address is IPv4.
    SourceIp,
    /// The network of the client's address, such as `10.1.2.0/24`: so many bits of an IPv4 address, and of an IPv6 address.
    SourceNetwork(u8, u8),
    /// Most tokens to generate, if the request limits them.
    MaxTokens,
    /// Whether the response is streamed: `true` or `false`.
    Stream,
    /// The number of sequences to generate.
    N,
    /// The prompt's tokens as estimated, at four bytes each.
    PromptTokens,
    /// The temperature, such as `0.7`.
    Temperature,
}

/// The attributes without a parameter.
const PLAIN: [(&str, Attribute); 14] = [
    ("tenant", Attribute::Tenant),
    ("model", Attribute::Model),
    ("version", Attribute::Version),
    ("dialect", Attribute::Dialect),
    ("operation", Attribute::Operation),
    ("path", Attribute::Path),
    ("apiKeySha256", Attribute::ApiKeySha256),
    ("peerSpiffeId", Attribute::PeerSpiffeId),
    ("sourceIp", Attribute::SourceIp),
    ("maxTokens", Attribute::MaxTokens),
    ("stream", Attribute::Stream),
    ("n", Attribute::N),
    ("promptTokens", Attribute::PromptTokens),
    ("temperature", Attribute::Temperature),
];

/// The attributes with a parameter, for error messages.
const PARAMETERS: &str = "path:N, header:NAME, query:NAME, cookie:NAME, body:PATH, jwtClaim:NAME or sourceNetwork:IPV4_BITS/IPV6_BITS";

impl TryFrom<String> for Attribute {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if let Some((_, attribute)) = PLAIN.iter().find(|(name, _)| *name == text) {
            return Ok(attribute.clone());
        }
        let unknown = || {
            let names = PLAIN.each_ref().map(|(name, _)| *name).join(", ");
            format!("unknown attribute {text:?}: write {names}, {PARAMETERS}")
        };
        let (kind, name) = text.split_once(':').ok_or_else(unknown)?;
        match kind {
            "header" => {
                let name = HeaderName::try_from(name).map_err(|e| e.to_string())?;
                Ok(Self::Header(name))
            }
            "query" => visible(name, "a parameter", b"&=#+%").map(Self::Query),
            "cookie" => visible(name, "a cookie", b"=;,\"").map(Self::Cookie),
            "jwtClaim" => visible(name, "a claim", b"").map(Self::JwtClaim),
            "body" => BodyPath::try_from(name.to_owned()).map(Self::Body),
            "path" => match number(name, MAX_SEGMENT) {
                Some(n) if n > 0 => Ok(Self::PathSegment(n)),
                _ => Err(format!(
                    "{text:?} is not a segment of the path: write path:1 to path:{MAX_SEGMENT}"
                )),
            },
            "sourceNetwork" => {
                let bits = name.split_once('/');
                let bits = bits.and_then(|(v4, v6)| Some((number(v4, 32)?, number(v6, 128)?)));
                match bits {
                    Some((v4, v6)) => Ok(Self::SourceNetwork(v4, v6)),
                    None => Err(format!(
                        "{text:?} needs the bits of IPv4 (0 to 32) and of IPv6 (0 to 128): write sourceNetwork:24/56"
                    )),
                }
            }
            _ => Err(unknown()),
        }
    }
}

impl From<Attribute> for String {
    fn from(attribute: Attribute) -> Self {
        match attribute {
            Attribute::Header(name) => format!("header:{name}"),
            Attribute::Query(name) => format!("query:{name}"),
            Attribute::Cookie(name) => format!("cookie:{name}"),
            Attribute::JwtClaim(name) => format!("jwtClaim:{name}"),
            Attribute::Body(path) => format!("body:{}", path.as_str()),
            Attribute::PathSegment(n) => format!("path:{n}"),
            Attribute::SourceNetwork(v4, v6) => format!("sourceNetwork:{v4}/{v6}"),
            plain => {
                let found = PLAIN.iter().find(|(_, attribute)| *attribute == plain);
                found.map_or_else(Self::new, |(name, _)| (*name).to_owned())
            }
        }
    }
}

/// A decimal number without leading zeros, up to `most`.
fn number(text: &str, most: u8) -> Option<u8> {
    let number: u8 = text.parse().ok()?;
    (number <= most && number.to_string() == text).then_some(number)
}

/// Checks a name: 1–256 visible ASCII characters except these.
fn visible(name: &str, what: &str, except: &[u8]) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_graphic() && !except.contains(&byte);
    if (1..=MAX_TEXT).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(name.to_owned());
    }
    let except = String::from_utf8_lossy(except);
    let without = if except.is_empty() { "" } else { " without " };
    Err(format!(
        "{name:?} is not a valid name of {what}: write 1-{MAX_TEXT} visible ASCII characters{without}{except}"
    ))
}

/// The schema of an attribute: one of these plain names, or one that has a parameter.
#[cfg(feature = "schema")]
pub(crate) fn schema(plain: &[&str], description: &str) -> schemars::Schema {
    let pattern = format!(
        "^({}|path:([1-9]|[12][0-9]|3[0-2])|header:[a-z0-9_-]{{1,128}}|query:[!-\"$'-*,-<>-~]{{1,256}}|cookie:[!#-+\\--:<>-~]{{1,256}}|jwtClaim:[!-~]{{1,256}}|body:{}|sourceNetwork:([0-9]|[12][0-9]|3[0-2])/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))$",
        plain.join("|"),
        crate::body_path::PATTERN
    );
    schemars::json_schema!({
        "type": "string",
        "description": description,
        // The API server bounds the cost of a rule by the length of what it looks at.
        "maxLength": 265,
        "pattern": pattern
    })
}

/// The schema of an attribute of a rule, which applies before the version is picked.
#[cfg(feature = "schema")]
pub(crate) fn of_rules() -> schemars::Schema {
    let names = PLAIN.iter().map(|(name, _)| *name);
    let names: Vec<_> = names.filter(|name| *name != "version").collect();
    schema(&names, &format!("{}, {PARAMETERS}", names.join(", ")))
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Attribute {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Attribute".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names = PLAIN.each_ref().map(|(name, _)| *name);
        let description = format!("{}, {PARAMETERS}", names.join(", "));
        schema(&names, &description)
    }
}
