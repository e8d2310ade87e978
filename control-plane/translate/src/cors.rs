//! Cross-origin requests: Envoy's CORS filter, and the policy of a virtual host.
//!
//! The filter stands in every listener and does nothing where the virtual host has no policy, so that an edit of a policy
//! sends routes and never a listener. It stands before ours, so that refusals carry its headers too.

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
use crate::validate::View;

/// The filter's name, by which a virtual host finds it.
pub(crate) const FILTER: &str = "envoy.filters.http.cors";

/// What a browser says of the page.
pub(crate) const ORIGIN: &str = "origin";

/// What makes an `OPTIONS` request a preflight.
pub(crate) const ASKED_METHOD: &str = "access-control-request-method";

/// Methods of the paths under which models are served.
const METHODS: &str = "GET, HEAD, POST, OPTIONS";

/// Headers of answers that a page may read, besides those that every page may.
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

/// Headers of requests that the common SDKs send, and those that this gateway reads.
const OF_SDKS: [&str; 26] = [
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

/// Every header. The Fetch standard has it cover all but `authorization`, and only where no credentials are sent.
const WILDCARD: &str = "*";
const AUTHORIZATION: &str = "authorization";

/// The filter, as it stands in the listener.
pub(crate) fn filter() -> HttpFilter {
    HttpFilter {
        name: FILTER.to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack_any(CorsFilter::default()))),
        ..HttpFilter::default()
    }
}

/// What a namespace says of cross-origin requests: its tagging for all models does.
pub(crate) fn of<'a>(view: &View<'a>) -> Option<&'a Cors> {
    let mut rules = view.tagging.iter();
    let for_all = rules.find(|rule| rule.models.is_none())?;
    for_all.tagging.cors.as_ref()
}

/// The policy, as it stands on a virtual host.
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
        // Our filter answers it with 403, and names the field.
        forward_not_matching_preflights: Some(BoolValue { value: true }),
        ..CorsPolicy::default()
    })
}

/// The headers of an answer that a page may read, where the filter writes none.
pub(crate) fn answers(cors: &Cors) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("access-control-allow-origin", "%REQ(ORIGIN)%".to_owned()),
        ("access-control-expose-headers", EXPOSED.join(", ")),
    ];
    if cors.allow_credentials {
        headers.push(("access-control-allow-credentials", "true".to_owned()));
    }
    headers
}

/// Whether a request comes of a page that may call.
pub(crate) fn may_call(cors: &Cors) -> Predicate {
    let origins = cors.allow_origins.iter();
    any_of(
        origins
            .map(|pattern| match written(pattern) {
                Written::Exact(origin) => is(ORIGIN, &origin),
                Written::Regex(regex) => matches(ORIGIN, &regex),
            })
            .collect(),
    )
}

fn allow_headers(cors: &Cors) -> Vec<&str> {
    if cors.allow_headers.is_empty() {
        let any = (!cors.allow_credentials).then_some(WILDCARD);
        return OF_SDKS.into_iter().chain(any).collect();
    }
    let mut headers: Vec<&str> = cors.allow_headers.iter().map(String::as_str).collect();
    if headers.contains(&WILDCARD) && !headers.contains(&AUTHORIZATION) {
        headers.push(AUTHORIZATION);
    }
    headers
}

fn origin(pattern: &OriginPattern) -> StringMatcher {
    let matches = match written(pattern) {
        Written::Exact(origin) => MatchPattern::Exact(origin),
        Written::Regex(regex) => MatchPattern::SafeRegex(RegexMatcher {
            regex,
            ..RegexMatcher::default()
        }),
    };
    StringMatcher {
        match_pattern: Some(matches),
        ..StringMatcher::default()
    }
}

/// A pattern as Envoy matches it.
enum Written {
    Exact(String),
    /// Of the whole text.
    Regex(String),
}

fn written(pattern: &OriginPattern) -> Written {
    match pattern {
        OriginPattern::Any => Written::Regex(".*".to_owned()),
        OriginPattern::Exact(origin) => Written::Exact(origin.clone()),
        OriginPattern::Subdomains(before, after) => {
            Written::Regex(format!("{}[^/]+{}", literal(before), literal(after)))
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
