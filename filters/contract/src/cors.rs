//! Cross-origin requests: the web pages that may call the models of a namespace from a browser.

use serde::{Deserialize, Serialize};

use crate::Duration;

/// Most origins, and most headers.
const MAX_ENTRIES: usize = 64;
/// Longest entry, bytes.
const MAX_LENGTH: usize = 253;
/// Longest pattern of subdomains, bytes: Envoy rejects a regular expression of more than 100 instructions, and with it the whole
/// route table.
const MAX_PATTERN: usize = 80;

/// The answer to a browser's preflight request (`OPTIONS` with `Access-Control-Request-Method`).
///
/// Responses expose `retry-after`, `x-ratelimit-*`, `x-should-retry` and `x-model*` to the page, refusals too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "raw::Cors", into = "raw::Cors")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "raw::Cors"))]
pub struct Cors {
    /// The origins that may call. 1–64.
    pub allow_origins: Vec<OriginPattern>,
    /// Request headers that a page may send, in lower case, or `*`. Empty: the headers of the common SDKs and, without
    /// credentials, every other one.
    pub allow_headers: Vec<String>,
    /// Whether a page may send the browser's cookies and HTTP authentication.
    pub allow_credentials: bool,
    /// How long a browser may keep the answer.
    pub max_age: Duration,
}

/// An origin, or a pattern of origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPattern {
    /// `*`: every origin.
    Any,
    /// `https://chat.example`, exactly.
    Exact(String),
    /// `https://*.example.com`: every subdomain, at any depth. The two parts around the `*`.
    Subdomains(String, String),
}

impl OriginPattern {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let (scheme, host) = text.split_once("://")?;
        let scheme_is_sound = !scheme.is_empty()
            && scheme
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'+');
        let (wildcard, name) = match host.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, host),
        };
        let host_is_sound = !name.is_empty()
            && name
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-._:[]".contains(&c));
        let longest = if wildcard { MAX_PATTERN } else { MAX_LENGTH };
        if !scheme_is_sound || !host_is_sound || text.len() > longest {
            return None;
        }
        Some(match wildcard {
            true => Self::Subdomains(format!("{scheme}://"), format!(".{name}")),
            false => Self::Exact(text.to_owned()),
        })
    }

    /// Whether a request of this `Origin` may call.
    #[must_use]
    pub fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact == origin,
            Self::Subdomains(before, after) => origin
                .strip_prefix(before.as_str())
                .and_then(|rest| rest.strip_suffix(after.as_str()))
                .is_some_and(|sub| !sub.is_empty() && !sub.contains('/')),
        }
    }
}

impl From<&OriginPattern> for String {
    fn from(pattern: &OriginPattern) -> Self {
        match pattern {
            OriginPattern::Any => "*".into(),
            OriginPattern::Exact(origin) => origin.clone(),
            OriginPattern::Subdomains(before, after) => format!("{before}*{after}"),
        }
    }
}

mod raw {
    use serde::{Deserialize, Serialize};

    use super::{Duration, MAX_ENTRIES, MAX_LENGTH, MAX_PATTERN, OriginPattern};

    /// The answer to a browser's preflight request. The virtual host answers it with Envoy's CORS filter; in Istio, the
    /// `corsPolicy` of the VirtualService does.
    #[derive(Serialize, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[cfg_attr(feature = "schema", schemars(rename = "Cors"))]
    #[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = crate::rules::of(&[(
        "self.allowOrigins.all(o, !o.contains('://*.') || size(o) <= 80)",
        "`allowOrigins` has a pattern of more than 80 characters, which Envoy does not take: write a shorter domain, or the origins",
    ), (
        "!has(self.allowCredentials) || !self.allowCredentials || !self.allowOrigins.exists(o, o == '*')",
        "`allowCredentials` with the origin `*` would let every web page use the user's credentials: list the origins",
    )]))))]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub(super) struct Cors {
        /// The origins that may call: `https://chat.example`, `https://*.example.com` (every subdomain; at most 80
        /// characters) or `*`.
        #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_ENTRIES), inner(length(max = MAX_LENGTH), regex(pattern = r"^(\*|[a-z0-9+-]+://(\*\.)?[a-z0-9._:\[\]-]+)$"))))]
        allow_origins: Vec<String>,
        /// Request headers that a page may send, or `*`, which stands for every header but `authorization`. Default: the
        /// headers of the common SDKs and, without `allowCredentials`, every other one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "schema", schemars(length(max = MAX_ENTRIES), inner(length(max = MAX_LENGTH), regex(pattern = r"^(\*|[A-Za-z0-9_-]+)$"))))]
        allow_headers: Vec<String>,
        /// Whether a page may send the browser's cookies and HTTP authentication. Not with the origin `*`. Default false.
        #[serde(default, skip_serializing_if = "is_false")]
        allow_credentials: bool,
        /// How long a browser may keep the answer. Default `10m`, at most `24h`.
        #[serde(default = "ten_minutes")]
        #[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = crate::rules::of(&[crate::rules::UP_TO_A_DAY]))))]
        max_age: Duration,
    }

    const fn ten_minutes() -> Duration {
        Duration::from_seconds(600)
    }

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    fn is_false(flag: &bool) -> bool {
        !*flag
    }

    impl TryFrom<Cors> for super::Cors {
        type Error = String;
        fn try_from(raw: Cors) -> Result<Self, String> {
            if raw.allow_origins.is_empty() {
                return Err("`cors.allowOrigins` is empty: name an origin, such as \"https://chat.example\"".into());
            }
            for (field, list) in [
                ("allowOrigins", &raw.allow_origins),
                ("allowHeaders", &raw.allow_headers),
            ] {
                if list.len() > MAX_ENTRIES {
                    return Err(format!(
                        "`cors.{field}` has {} entries: give at most {MAX_ENTRIES}",
                        list.len()
                    ));
                }
            }
            let mut allow_origins = Vec::with_capacity(raw.allow_origins.len());
            for (i, origin) in raw.allow_origins.iter().enumerate() {
                allow_origins.push(OriginPattern::parse(origin).ok_or_else(|| {
                    format!(
                        "`cors.allowOrigins[{i}]` is {origin:?}: write an origin as browsers send it, such as \"https://chat.example\", \"https://*.example.com\" (at most {MAX_PATTERN} characters) or \"*\""
                    )
                })?);
            }
            if raw.allow_credentials && allow_origins.contains(&OriginPattern::Any) {
                return Err("`cors.allowCredentials` with the origin \"*\" would let every web page use the user's credentials: list the origins".into());
            }
            let mut allow_headers = Vec::with_capacity(raw.allow_headers.len());
            for (i, name) in raw.allow_headers.iter().enumerate() {
                let token = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
                let sound = (1..=MAX_LENGTH).contains(&name.len()) && name.bytes().all(token);
                if name != "*" && !sound {
                    return Err(format!(
                        "`cors.allowHeaders[{i}]` is {name:?}: write a header name or \"*\""
                    ));
                }
                allow_headers.push(name.to_ascii_lowercase());
            }
            if raw.max_age > Duration::from_seconds(86_400) {
                return Err(format!("`cors.maxAge` is {}: write 0s to 24h", raw.max_age));
            }
            Ok(Self {
                allow_origins,
                allow_headers,
                allow_credentials: raw.allow_credentials,
                max_age: raw.max_age,
            })
        }
    }

    impl From<super::Cors> for Cors {
        fn from(cors: super::Cors) -> Self {
            Self {
                allow_origins: cors.allow_origins.iter().map(String::from).collect(),
                allow_headers: cors.allow_headers,
                allow_credentials: cors.allow_credentials,
                max_age: cors.max_age,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cors, OriginPattern};

    fn parse(json: &str) -> Result<Cors, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn a_pattern_matches_subdomains_and_nothing_else() {
        let pattern = OriginPattern::parse("https://*.example.com").unwrap();
        assert!(pattern.matches("https://a.example.com"));
        assert!(pattern.matches("https://a.b.example.com"));
        for other in [
            "https://example.com",
            "http://a.example.com",
            "https://a.example.com.evil.org",
            "https://aexample.com",
            "https://evil.org/.example.com",
        ] {
            assert!(!pattern.matches(other), "{other}");
        }
    }

    #[test]
    fn invalid_values_are_refused_with_their_field() {
        for (json, field) in [
            (r#"{"allowOrigins":[]}"#, "allowOrigins"),
            (r#"{"allowOrigins":["chat.example"]}"#, "allowOrigins[0]"),
            (
                r#"{"allowOrigins":["https://chat.example/"]}"#,
                "allowOrigins[0]",
            ),
            (
                r#"{"allowOrigins":["*"],"allowCredentials":true}"#,
                "allowCredentials",
            ),
            (
                r#"{"allowOrigins":["*"],"allowHeaders":["a b"]}"#,
                "allowHeaders[0]",
            ),
            (r#"{"allowOrigins":["*"],"maxAge":"25h"}"#, "maxAge"),
            (r#"{"allowOrigins":["*"],"maxage":"1h"}"#, "maxage"),
        ] {
            let error = parse(json).unwrap_err();
            assert!(error.contains(field), "{error}");
        }
        let cors = parse(
            r#"{"allowOrigins":["https://*.a.example","null://x"],"allowHeaders":["X-Model"]}"#,
        )
        .unwrap();
        assert_eq!(parse(&serde_json::to_string(&cors).unwrap()), Ok(cors));
        // As long as Envoy takes a pattern, and as a name may be.
        for (star, name, sound) in [("*.", 70, true), ("*.", 71, false), ("", 200, true)] {
            let name = "a".repeat(name);
            let json = format!(r#"{{"allowOrigins":["https://{star}{name}"]}}"#);
            assert_eq!(parse(&json).is_ok(), sound, "{json}");
        }
    }
}
