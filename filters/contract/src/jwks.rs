//! Public keys of an issuer: a JSON Web Key Set (RFC 7517) as text, and the address where one is published.
//!
//! Invariant: an [`InlineJwks`] has no secret, and at least one key with which Envoy can verify a token.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Longest text of a key set, in bytes.
const MAX_JWKS: usize = 64 << 10;
/// Longest address, in bytes.
const MAX_URI: usize = 2048;
/// Fewest bytes of the modulus of an RSA key (RFC 7518, section 3.3).
const MIN_RSA: usize = 256;
/// The members that only private and symmetric keys have (RFC 7518, section 6).
const SECRETS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A JSON Web Key Set of public keys, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InlineJwks(String);

impl InlineJwks {
    /// The JSON text, as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for InlineJwks {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text.len() > MAX_JWKS {
            return Err(format!(
                "has {} bytes: give at most {MAX_JWKS}, or publish the keys at a `uri`",
                text.len()
            ));
        }
        let set: Value = serde_json::from_str(&text)
            .map_err(|e| format!("is not JSON ({e}): paste the issuer's key set"))?;
        let Some(Value::Array(keys)) = set.get("keys") else {
            return Err("has no list `keys`: write a JSON Web Key Set, {\"keys\": [...]}".into());
        };
        let mut usable = 0;
        for (i, key) in keys.iter().enumerate() {
            let fault = |why: String| format!("`keys[{i}]`: {why}");
            usable += usize::from(is_usable(key).map_err(fault)?);
        }
        if usable == 0 {
            return Err("has no key that verifies tokens: give one of `kty` RSA, EC (P-256, P-384, P-521) or OKP (Ed25519)".into());
        }
        Ok(Self(text))
    }
}

impl From<InlineJwks> for String {
    fn from(jwks: InlineJwks) -> Self {
        jwks.0
    }
}

/// Whether a key verifies tokens. Keys for encryption, and of types that Envoy does not know, are allowed and ignored (RFC 7517, section 5).
///
/// # Errors
/// The key is a secret, or malformed.
fn is_usable(key: &Value) -> Result<bool, String> {
    let Value::Object(key) = key else {
        return Err("is not an object: paste the issuer's key set".into());
    };
    let kty = text(key, "kty")?;
    if kty == "oct" {
        return Err("is a symmetric key: who can read it can sign tokens. Use an issuer that signs with RSA, EC or Ed25519".into());
    }
    if let Some(secret) = SECRETS.iter().find(|name| key.contains_key(**name)) {
        return Err(format!(
            "is a private key, as it has `{secret}`: give the public key only, and replace this key pair"
        ));
    }
    if key.get("use").and_then(Value::as_str) == Some("enc") {
        return Ok(false);
    }
    match kty {
        "RSA" => {
            let bytes = octets(key, "n")?;
            octets(key, "e")?;
            match bytes < MIN_RSA {
                true => Err(format!(
                    "is an RSA key of {} bits: use one of at least 2048",
                    bytes * 8
                )),
                false => Ok(true),
            }
        }
        "EC" => {
            let size = match text(key, "crv")? {
                "P-256" => 32,
                "P-384" => 48,
                "P-521" => 66,
                _ => return Ok(false),
            };
            exactly(key, "x", size)?;
            exactly(key, "y", size)?;
            Ok(true)
        }
        "OKP" if text(key, "crv")? == "Ed25519" => {
            exactly(key, "x", 32)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

fn text<'a>(key: &'a Map<String, Value>, name: &str) -> Result<&'a str, String> {
    let value = key.get(name).and_then(Value::as_str);
    value.ok_or_else(|| format!("has no text `{name}`: paste the issuer's key set"))
}

/// The number of octets of a member in base64url without padding (RFC 7515, section 2).
fn octets(key: &Map<String, Value>, name: &str) -> Result<usize, String> {
    let value = text(key, name)?;
    let digit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    match value.is_empty() || value.len() % 4 == 1 || !value.bytes().all(digit) {
        true => Err(format!(
            "`{name}` is not base64url without padding: paste the issuer's key set"
        )),
        false => Ok(value.len() * 6 / 8),
    }
}

fn exactly(key: &Map<String, Value>, name: &str, size: usize) -> Result<(), String> {
    match octets(key, name)? {
        n if n == size => Ok(()),
        n => Err(format!(
            "`{name}` has {n} bytes, and its curve needs {size}"
        )),
    }
}

/// Where a key set is published: `https://HOST[:PORT][/PATH]`, or the same with `http`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JwksUri {
    text: String,
    tls: bool,
    host: String,
    port: u16,
}

impl JwksUri {
    /// The whole address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is fetched over TLS.
    #[must_use]
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// The host in lower case: a DNS name, or an IP address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 443 or 80 if the address has none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    fn parse(text: &str) -> Option<Self> {
        let (tls, rest) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("http://")?),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path_is_sound = path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => {
                let (address, port) = bracketed.split_once(']')?;
                let digit = |b: u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
                let sound = !address.is_empty() && address.bytes().all(digit);
                (sound.then_some(address)?, port)
            }
            None => {
                let end = authority.find(':').unwrap_or(authority.len());
                let (host, port) = authority.split_at(end);
                (is_host(host).then_some(host)?, port)
            }
        };
        let port = match port.strip_prefix(':') {
            Some(digits) if digits.starts_with(|c: char| ('1'..='9').contains(&c)) => {
                let digits = digits
                    .bytes()
                    .all(|b| b.is_ascii_digit())
                    .then_some(digits)?;
                digits.parse().ok()?
            }
            None if port.is_empty() => {
                if tls {
                    443
                } else {
                    80
                }
            }
            _ => return None,
        };
        (path_is_sound && text.len() <= MAX_URI).then(|| Self {
            text: text.to_owned(),
            tls,
            host: host.to_ascii_lowercase(),
            port,
        })
    }
}

/// Whether it is a DNS name or an IPv4 address: labels of letters, digits, `-` and `_` with dots between them.
fn is_host(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let label = |label: &str| !label.is_empty() && label.bytes().all(letter);
    text.len() <= 253 && text.split('.').all(label)
}

impl TryFrom<String> for JwksUri {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| {
            format!(
                "{text:?} is not the address of a key set: write https://HOST[:PORT]/PATH (or http://…) without a user, a fragment and spaces"
            )
        })
    }
}

impl From<JwksUri> for String {
    fn from(uri: JwksUri) -> Self {
        uri.text
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for InlineJwks {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "InlineJwks".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "minLength": 1, "maxLength": MAX_JWKS })
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for JwksUri {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "JwksUri".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let port =
            "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]";
        schemars::json_schema!({
            "type": "string",
            "maxLength": MAX_URI,
            "pattern": format!(
                r#"^https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)(:({port}))?(/[!"$-~]*)?$"#
            ),
        })
    }
}
