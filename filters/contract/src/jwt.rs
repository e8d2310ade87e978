//! Providers of JSON Web Tokens: the issuer, its keys, and where requests carry its tokens.

use serde::{Deserialize, Serialize};

use crate::Duration;
use crate::jwks::{InlineJwks, JwksUri};

/// Most audiences of a provider, and most places of each sort where requests carry tokens.
const MAX_ENTRIES: usize = 32;
/// Longest issuer and longest audience, in bytes.
const MAX_TEXT: usize = 1024;
/// Longest name of a header, cookie or query parameter, and longest prefix, in bytes.
const MAX_NAME: usize = 128;
/// The usual prefix of a token in `authorization` (RFC 6750).
pub(crate) const BEARER: &str = "Bearer ";

/// An issuer of tokens, and how they are verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "raw::JwtProvider", into = "raw::JwtProvider")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "raw::JwtProvider"))]
pub struct JwtProvider {
    /// The claim `iss`, exactly. 1–1024 visible ASCII characters.
    pub issuer: String,
    /// A token must name one of them in `aud`. Empty: every audience, also other applications of the issuer.
    pub audiences: Vec<String>,
    /// The public keys.
    pub jwks: Jwks,
    /// The headers that carry a token.
    pub headers: Vec<TokenHeader>,
    /// The cookies that carry a token.
    pub cookies: Vec<String>,
    /// The query parameters that carry a token.
    pub params: Vec<String>,
    /// Tolerance for the clocks of issuer and proxy when `exp` and `nbf` are checked. 1 s–10 min.
    pub clock_skew: Duration,
    /// Whether the model server gets the token too.
    pub forward: bool,
}

/// The source of public keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jwks {
    /// The keys themselves.
    Inline(InlineJwks),
    /// A server that publishes them. Each proxy fetches them.
    Remote {
        /// Where.
        uri: JwksUri,
        /// How long fetched keys are used. 1 s–24 h.
        refresh: Duration,
    },
}

/// A header that carries a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "raw::TokenHeader", into = "raw::TokenHeader")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "raw::TokenHeader"))]
pub struct TokenHeader {
    /// Its name, in lower case.
    pub name: String,
    /// The text before the token.
    pub prefix: String,
}

impl TokenHeader {
    /// `authorization: Bearer TOKEN`.
    fn bearer() -> Self {
        Self {
            name: "authorization".to_owned(),
            prefix: BEARER.to_owned(),
        }
    }
}

/// Whether it is of a length from 1 to `most`, in visible ASCII.
fn visible(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Whether it can name a header, a cookie or a query parameter.
fn is_name(text: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(token)
}

mod raw {
    use serde::{Deserialize, Serialize};

    use super::{BEARER, MAX_ENTRIES, MAX_NAME, MAX_TEXT, is_name, visible};
    use crate::Duration;
    use crate::jwks::{InlineJwks, JwksUri};

    /// Default of `clockSkew`.
    const CLOCK_SKEW: Duration = Duration::from_seconds(60);
    /// Default of `refresh`.
    const REFRESH: Duration = Duration::from_seconds(300);
    /// Most seconds of `clockSkew`.
    const MAX_SKEW: u64 = 600;
    /// Most seconds of `refresh`.
    const MAX_REFRESH: u64 = 86_400;

    /// An issuer of tokens, and how they are verified.
    #[derive(Serialize, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[cfg_attr(feature = "schema", schemars(rename = "JwtProvider"))]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub(super) struct JwtProvider {
        /// The claim `iss` of its tokens, exactly, with or without a slash at the end.
        #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_TEXT), regex(pattern = r"^[!-~]+$")))]
        issuer: String,
        /// A token must name one of them in `aud`; others are 403. Default: every audience, also tokens that the issuer made for other
        /// applications.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "schema", schemars(length(max = MAX_ENTRIES), inner(length(min = 1, max = MAX_TEXT), regex(pattern = r"^[!-~]+$"))))]
        audiences: Vec<String>,
        /// Its public keys.
        jwks: Jwks,
        /// The headers that may carry a token. Default, if `fromCookies` and `fromParams` are absent too: `authorization: Bearer TOKEN`.
        /// All tokens of a request must be valid.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "schema", schemars(length(max = MAX_ENTRIES)))]
        from_headers: Vec<super::TokenHeader>,
        /// The cookies that may carry a token.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "schema", schemars(length(max = MAX_ENTRIES), inner(length(min = 1, max = MAX_NAME), regex(pattern = r"^[A-Za-z0-9._-]+$"))))]
        from_cookies: Vec<String>,
        /// The query parameters that may carry a token. They are in access logs.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "schema", schemars(length(max = MAX_ENTRIES), inner(length(min = 1, max = MAX_NAME), regex(pattern = r"^[A-Za-z0-9._-]+$"))))]
        from_params: Vec<String>,
        /// Tolerance for the clocks of issuer and proxy when `exp` and `nbf` are checked. 1s–10m, default `1m`.
        #[serde(default = "clock_skew")]
        #[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = crate::rules::of(&[(
            "duration(self) >= duration('1s') && duration(self) <= duration('10m')",
            "write 1s to 10m",
        )]))))]
        clock_skew: Duration,
        /// Whether the model server gets the token too. Default false.
        #[serde(default, skip_serializing_if = "is_false")]
        forward: bool,
    }

    /// The public keys of an issuer, as a JSON Web Key Set (RFC 7517): either `inline`, or from a `uri`.
    #[derive(Serialize, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = crate::rules::of(&[(
        "has(self.inline) != has(self.uri)",
        "needs exactly one of `inline` and `uri`",
    ), (
        "!has(self.refresh) || has(self.uri)",
        "`refresh` is for keys from a `uri`: remove it",
    )]))))]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub(super) struct Jwks {
        /// The JSON text of the set, with public keys only (RSA of at least 2048 bits, P-256, P-384, P-521, Ed25519). At most 64 KiB.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inline: Option<InlineJwks>,
        /// Where the issuer publishes the set: `https://HOST[:PORT]/PATH`, or `http://…` within a trusted network. Each proxy fetches it;
        /// certificates are verified with the proxy's CA file (`--upstream-ca`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uri: Option<JwksUri>,
        /// How long a proxy uses fetched keys before it fetches them again: a new key of the issuer is known after this time at the latest.
        /// 1s–24h, default `5m`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = crate::rules::of(&[(
            "duration(self) >= duration('1s') && duration(self) <= duration('24h')",
            "write 1s to 24h",
        )]))))]
        refresh: Option<Duration>,
    }

    /// A header that may carry a token.
    #[derive(Serialize, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[cfg_attr(feature = "schema", schemars(rename = "TokenHeader"))]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub(super) struct TokenHeader {
        /// Its name, in any case.
        #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_NAME), regex(pattern = r"^[A-Za-z0-9._-]+$")))]
        name: String,
        /// The text before the token. Default: `Bearer ` (also in lower case) for `authorization`, nothing for others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(length(max = MAX_NAME), regex(pattern = r"^[ -~]*$")))]
        prefix: Option<String>,
    }

    const fn clock_skew() -> Duration {
        CLOCK_SKEW
    }

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    fn is_false(flag: &bool) -> bool {
        !*flag
    }

    impl TryFrom<JwtProvider> for super::JwtProvider {
        type Error = String;
        fn try_from(raw: JwtProvider) -> Result<Self, String> {
            if !visible(&raw.issuer, MAX_TEXT) {
                return Err(format!(
                    "`issuer` is {:?}: write the claim `iss` of its tokens, 1-{MAX_TEXT} visible ASCII characters",
                    raw.issuer
                ));
            }
            at_most("audiences", raw.audiences.len())?;
            for (i, audience) in raw.audiences.iter().enumerate() {
                if !visible(audience, MAX_TEXT) {
                    return Err(format!(
                        "`audiences[{i}]` is {audience:?}: write 1-{MAX_TEXT} visible ASCII characters"
                    ));
                }
            }
            at_most("fromHeaders", raw.from_headers.len())?;
            for (field, names) in [
                ("fromCookies", &raw.from_cookies),
                ("fromParams", &raw.from_params),
            ] {
                at_most(field, names.len())?;
                if let Some(i) = names.iter().position(|name| !is_name(name)) {
                    return Err(bad_name(&format!("{field}[{i}]"), &names[i]));
                }
            }
            if !(1000..=MAX_SKEW * 1000).contains(&raw.clock_skew.millis()) {
                return Err(format!(
                    "`clockSkew` is {}: write 1s to 10m",
                    raw.clock_skew
                ));
            }
            let mut headers = raw.from_headers;
            if headers.is_empty() && raw.from_cookies.is_empty() && raw.from_params.is_empty() {
                headers.push(super::TokenHeader::bearer());
            }
            Ok(Self {
                issuer: raw.issuer,
                audiences: raw.audiences,
                jwks: raw.jwks.try_into()?,
                headers,
                cookies: raw.from_cookies,
                params: raw.from_params,
                clock_skew: raw.clock_skew,
                forward: raw.forward,
            })
        }
    }

    impl TryFrom<Jwks> for super::Jwks {
        type Error = String;
        fn try_from(raw: Jwks) -> Result<Self, String> {
            match (raw.inline, raw.uri, raw.refresh) {
                (Some(_), None, Some(_)) => {
                    Err("`jwks.refresh` is for keys from a `uri`: remove it".into())
                }
                (Some(inline), None, None) => Ok(Self::Inline(inline)),
                (None, Some(uri), refresh) => {
                    let refresh = refresh.unwrap_or(REFRESH);
                    if !(1000..=MAX_REFRESH * 1000).contains(&refresh.millis()) {
                        return Err(format!("`jwks.refresh` is {refresh}: write 1s to 24h"));
                    }
                    Ok(Self::Remote { uri, refresh })
                }
                _ => Err("`jwks` needs exactly one of `inline` and `uri`".into()),
            }
        }
    }

    impl TryFrom<TokenHeader> for super::TokenHeader {
        type Error = String;
        fn try_from(raw: TokenHeader) -> Result<Self, String> {
            if !is_name(&raw.name) {
                return Err(bad_name("name", &raw.name));
            }
            let name = raw.name.to_ascii_lowercase();
            let default = match name == "authorization" {
                true => BEARER,
                false => "",
            };
            let prefix = raw.prefix.unwrap_or_else(|| default.to_owned());
            let printable = |b: u8| (b' '..=b'~').contains(&b);
            if prefix.len() > MAX_NAME || !prefix.bytes().all(printable) {
                return Err(format!(
                    "`prefix` is {prefix:?}: write at most {MAX_NAME} printable ASCII characters"
                ));
            }
            Ok(Self { name, prefix })
        }
    }

    fn at_most(field: &str, len: usize) -> Result<(), String> {
        match len > MAX_ENTRIES {
            true => Err(format!(
                "`{field}` has {len} entries: give at most {MAX_ENTRIES}"
            )),
            false => Ok(()),
        }
    }

    fn bad_name(field: &str, name: &str) -> String {
        format!("`{field}` is {name:?}: write 1-{MAX_NAME} letters, digits, '-', '_' or '.'")
    }

    impl From<super::JwtProvider> for JwtProvider {
        fn from(provider: super::JwtProvider) -> Self {
            let (inline, uri, refresh) = match provider.jwks {
                super::Jwks::Inline(inline) => (Some(inline), None, None),
                super::Jwks::Remote { uri, refresh } => (None, Some(uri), Some(refresh)),
            };
            Self {
                issuer: provider.issuer,
                audiences: provider.audiences,
                jwks: Jwks {
                    inline,
                    uri,
                    refresh,
                },
                from_headers: provider.headers,
                from_cookies: provider.cookies,
                from_params: provider.params,
                clock_skew: provider.clock_skew,
                forward: provider.forward,
            }
        }
    }

    impl From<super::TokenHeader> for TokenHeader {
        fn from(header: super::TokenHeader) -> Self {
            Self {
                name: header.name,
                prefix: Some(header.prefix),
            }
        }
    }
}
