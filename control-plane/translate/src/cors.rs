//! Cross-origin requests: Envoy's CORS filter, and the policy of a virtual host.
//!
//! Every listener has the filter. It does nothing if the virtual host has no policy, so an edit of a policy sends routes and never a
//! listener. It comes before Headgate's filter, so error responses also carry its headers.

use envoy_types::pb::envoy::extensions::filters::http::cors::v3::{
    Cors as CorsFilter, CorsPolicy,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher};
use envoy_types::pb::google::protobuf::{Any, BoolValue};
use envoy_types::util::pack_any;
use headgate_contract::{Cors, OriginPattern};

use crate::matching::{any_of, is, matches};
use crate::ordered::Predicate;
use crate::view::View;

/// The filter's name, which a virtual host uses for its policy.
pub(crate) const FILTER: &str = "envoy.filters.http.cors";

/// The request header with the origin of the page.
pub(crate) const ORIGIN: &str = "origin";

/// The request header that makes an `OPTIONS` request a preflight.
pub(crate) const REQUEST_METHOD: &str = "access-control-request-method";

/// Allowed methods: those of the paths under which models are served.
const METHODS: &str = "GET, HEAD, POST, OPTIONS";

/// Response headers that a page may read, besides those that every page may read.
const EXPOSED: [&str; 14] = [
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "x-ratelimit-limit-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "ratelimit",
    "ratelimit-policy",
    "x-model",
    "x-model-version",
    "x-request-id",
];

/// Request headers that the common SDKs send, and those that Headgate reads.
const SDK_HEADERS: [&str; 26] = [
    "authorization",
    "content-type",
    "x-api-key",
    "api-key",
    "anthropic-version",
    "anthropic-beta",
    "anthropic-dangerous-direct-browser-access",
    "openai-organization",
    "openai-project",
    "openai-beta",
    "x-goog-api-key",
    "x-model",
    "x-model-version",
    "x-session-id",
    "x-conversation-id",
    "x-tenant-id",
    "idempotency-key",
    "x-stainless-lang",
    "x-stainless-package-version",
    "x-stainless-os",
    "x-stainless-arch",
    "x-stainless-runtime",
    "x-stainless-runtime-version",
    "x-stainless-retry-count",
    "x-stainless-timeout",
    "x-stainless-helper-method",
];

/// All headers. In the Fetch standard it covers all headers except `authorization`, and only for requests without credentials.
const WILDCARD: &str = "*";
const AUTHORIZATION: &str = "authorization";

/// The filter in the listener.
pub(crate) fn filter() -> HttpFilter {
    HttpFilter {
        name: FILTER.to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack_any(CorsFilter::default()))),
        ..HttpFilter::default()
    }
}

/// The CORS policy of a namespace: that of its tagging for all models.
pub(crate) fn of<'a>(view: &View<'a>) -> Option<&'a Cors> {
    let mut rules = view.tagging.iter();
    let for_all = rules.find(|rule| rule.models.is_none())?;
    for_all.tagging.cors.as_ref()
}

/// The policy on a virtual host.
pub(crate) fn policy(cors: &Cors) -> Any {
    pack_any(CorsPolicy {
        allow_origin_string_match: cors.allow_origins.iter().map(origin).collect(),
        allow_methods: METHODS.to_owned(),
        allow_headers: allow_headers(cors).join(", "),
        expose_headers: EXPOSED.join(", "),
        max_age: cors.max_age.seconds().to_string(),
        allow_credentials: Some(BoolValue {
            value: cors.allow_credentials,
        }),
        // Headgate's filter answers it with 403 and names the field.
        forward_not_matching_preflights: Some(BoolValue { value: true }),
        ..CorsPolicy::default()
    })
}

/// The response headers that let a page read a direct response, to which the CORS filter adds none.
pub(crate) fn response_headers(cors: &Cors) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("access-control-allow-origin", "%REQ(ORIGIN)%".to_owned()),
        ("access-control-expose-headers", EXPOSED.join(", ")),
    ];
    if cors.allow_credentials {
        headers.push(("access-control-allow-credentials", "true".to_owned()));
    }
    headers
}

/// Whether a request has an allowed origin.
pub(crate) fn allows_origin(cors: &Cors) -> Predicate {
    let origins = cors.allow_origins.iter();
    any_of(
        origins
            .map(|pattern| match origin_match(pattern) {
                OriginMatch::Exact(origin) => is(ORIGIN, &origin),
                OriginMatch::Regex(regex) => matches(ORIGIN, &regex),
            })
            .collect(),
    )
}

fn allow_headers(cors: &Cors) -> Vec<&str> {
    if cors.allow_headers.is_empty() {
        let any = (!cors.allow_credentials).then_some(WILDCARD);
        return SDK_HEADERS.into_iter().chain(any).collect();
    }
    let mut headers: Vec<&str> = cors.allow_headers.iter().map(String::as_str).collect();
    if headers.contains(&WILDCARD) && !headers.contains(&AUTHORIZATION) {
        headers.push(AUTHORIZATION);
    }
    headers
}

fn origin(pattern: &OriginPattern) -> StringMatcher {
    let matches = match origin_match(pattern) {
        OriginMatch::Exact(origin) => MatchPattern::Exact(origin),
        OriginMatch::Regex(regex) => MatchPattern::SafeRegex(RegexMatcher {
            regex,
            ..RegexMatcher::default()
        }),
    };
    StringMatcher {
        match_pattern: Some(matches),
        ..StringMatcher::default()
    }
}

/// An origin pattern in a form that Envoy matches.
enum OriginMatch {
    Exact(String),
    /// Matches the whole text.
    Regex(String),
}

fn origin_match(pattern: &OriginPattern) -> OriginMatch {
    match pattern {
        OriginPattern::Any => OriginMatch::Regex(".*".to_owned()),
        OriginPattern::Exact(origin) => OriginMatch::Exact(origin.clone()),
        OriginPattern::Subdomains(before, after) => {
            OriginMatch::Regex(format!("{}[^/]+{}", literal(before), literal(after)))
        }
    }
}

/// Text as a regular expression that matches only itself.
fn literal(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_punctuation() && !matches!(c, '/' | ':' | '-' | '_') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
