//! Envoy's `jwt_authn`: its slot in the listener, its configuration over ECDS, and its requirement on virtual hosts.
//!
//! Every listener has the slot, and every virtual host names the requirement of its namespace, which demands nothing if the namespace has no
//! policy. So an edit of a policy sends this filter's configuration only, never routes or a listener, and no request sees a half of it.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::accesslog::v3::access_log_filter::FilterSpecifier;
use envoy_types::pb::envoy::config::accesslog::v3::extension_filter::ConfigType as FilterConfigType;
use envoy_types::pb::envoy::config::accesslog::v3::{AccessLogFilter, ExtensionFilter};
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::http_uri::HttpUpstreamType;
use envoy_types::pb::envoy::config::core::v3::{
    DataSource, ExtensionConfigSource, HttpUri, RetryPolicy, TypedExtensionConfig,
};
use envoy_types::pb::envoy::extensions::access_loggers::filters::cel::v3::ExpressionFilter;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::jwt_provider::JwksSourceSpecifier;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::jwt_requirement::RequiresType;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::per_route_config::RequirementSpecifier;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::{
    JwksAsyncFetch, JwtAuthentication as EnvoyJwtAuthentication, JwtHeader, JwtProvider,
    JwtRequirement, JwtRequirementOrList, PerRouteConfig, RemoteJwks,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType;
use envoy_types::pb::google::protobuf::{Any, Empty};
use envoy_types::util::pack_any;
use headgate_contract::{Jwks, TokenHeader, names};
use headgate_model::{Authentication, TokenProvider};
use headgate_xds::{Kind, Resource};
use prost::{Message, Name};

use crate::jwks;
use crate::ordered::JwtAuthentication;
use crate::proto::{ads, duration, uint};
use crate::view::Accepted;

/// Time to fetch a key set.
const FETCH_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
/// Time until the next attempt after a failed one.
const FETCH_AGAIN: std::time::Duration = std::time::Duration::from_secs(5);
/// The prefix of a token in `authorization`, which clients write in either case (RFC 9110, section 11.1).
const BEARER: [&str; 2] = ["Bearer ", "bearer "];

/// The slot in the listener.
pub(crate) fn slot() -> HttpFilter {
    HttpFilter {
        name: names::ECDS_JWT.to_owned(),
        config_type: Some(ConfigType::ConfigDiscovery(ExtensionConfigSource {
            config_source: Some(ads()),
            type_urls: vec![EnvoyJwtAuthentication::type_url()],
            ..ExtensionConfigSource::default()
        })),
        ..HttpFilter::default()
    }
}

/// The requirement of a namespace, for its virtual host.
pub(crate) fn of_namespace(namespace: &str) -> Any {
    per_route(RequirementSpecifier::RequirementName(namespace.to_owned()))
}

/// No requirement, for a route whose response is the same for every client, such as a health check.
pub(crate) fn disabled() -> Any {
    per_route(RequirementSpecifier::Disabled(true))
}

fn per_route(specifier: RequirementSpecifier) -> Any {
    pack_any(PerRouteConfig {
        requirement_specifier: Some(specifier),
    })
}

/// The configuration of a scope.
pub(crate) fn filter(accepted: &Accepted<'_>) -> Resource {
    let mut config = JwtAuthentication {
        // A browser sends no token with a preflight request. What the CORS filter does not answer, Headgate's filter refuses.
        bypass_cors_preflight: true,
        ..JwtAuthentication::default()
    };
    for (namespace, view) in accepted {
        let tokens = view.authentication;
        let requirement = tokens.map(|tokens| requirement(tokens, &mut config.providers));
        let requirement = requirement.unwrap_or_default();
        let map = &mut config.requirement_map;
        map.insert((*namespace).to_owned(), requirement);
    }
    let extension = TypedExtensionConfig {
        name: names::ECDS_JWT.to_owned(),
        typed_config: Some(Any {
            type_url: EnvoyJwtAuthentication::type_url(),
            value: config.encode_to_vec(),
        }),
    };
    Resource::encode(Kind::Extension, names::ECDS_JWT, &extension)
}

/// The requirement of a namespace. Adds the providers that it names.
fn requirement(
    tokens: &Authentication,
    providers: &mut BTreeMap<String, JwtProvider>,
) -> JwtRequirement {
    let mut any: Vec<RequiresType> = Vec::new();
    for token in &tokens.providers {
        // A policy of the root namespace is of several namespaces: its keys are fetched once.
        let name = format!("{} {}", token.policy, token.jwt.issuer);
        providers
            .entry(name.clone())
            .or_insert_with(|| provider(token));
        any.push(RequiresType::ProviderName(name));
    }
    if tokens.providers.is_empty() {
        providers
            .entry(NO_PROVIDER.to_owned())
            .or_insert_with(no_provider);
        any.push(RequiresType::ProviderName(NO_PROVIDER.to_owned()));
    }
    if !tokens.required {
        any.push(RequiresType::AllowMissing(Empty::default()));
    }
    let one = |requires| JwtRequirement {
        requires_type: Some(requires),
    };
    match any.len() {
        // Envoy refuses a list of one.
        1 => JwtRequirement {
            requires_type: any.pop(),
        },
        _ => one(RequiresType::RequiresAny(JwtRequirementOrList {
            requirements: any.into_iter().map(one).collect(),
        })),
    }
}

/// The name of the provider that accepts no token.
const NO_PROVIDER: &str = "none";

/// A provider that accepts no token, so Envoy answers every request that needs it with 401. Envoy rejects a provider without keys; this
/// public key is the SHA-256 of `headgate: nobody has the private key`.
fn no_provider() -> JwtProvider {
    let keys = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":"1Pk6yAspWSD3sA-BFtxlS-l4rzvL1gWiDeDIFjqpRts"}]}"#;
    JwtProvider {
        issuer: NO_PROVIDER.to_owned(),
        jwks_source_specifier: Some(local(keys)),
        ..JwtProvider::default()
    }
}

fn provider(token: &TokenProvider) -> JwtProvider {
    let jwt = &token.jwt;
    let source = match &jwt.jwks {
        Jwks::Inline(keys) => local(keys.as_str()),
        Jwks::Remote { uri, refresh } => JwksSourceSpecifier::RemoteJwks(RemoteJwks {
            http_uri: Some(HttpUri {
                uri: uri.as_str().to_owned(),
                http_upstream_type: Some(HttpUpstreamType::Cluster(jwks::cluster_name(uri))),
                timeout: Some(duration(FETCH_TIMEOUT)),
            }),
            cache_duration: Some(duration(std::time::Duration::from_secs(refresh.seconds()))),
            async_fetch: Some(JwksAsyncFetch {
                // A server that does not answer must not hold up the listener, which serves other namespaces too. Until the keys are
                // there, a request with a token fetches them itself.
                fast_listener: true,
                failed_refetch_duration: Some(duration(FETCH_AGAIN)),
            }),
            retry_policy: Some(RetryPolicy {
                num_retries: uint(1),
                ..RetryPolicy::default()
            }),
        }),
    };
    JwtProvider {
        issuer: jwt.issuer.clone(),
        audiences: jwt.audiences.clone(),
        from_headers: jwt.headers.iter().flat_map(header).collect(),
        from_cookies: jwt.cookies.clone(),
        from_params: jwt.params.clone(),
        forward: jwt.forward,
        payload_in_metadata: names::JWT_PAYLOAD.to_owned(),
        clock_skew_seconds: u32::try_from(jwt.clock_skew.seconds()).unwrap_or(u32::MAX),
        jwks_source_specifier: Some(source),
        ..JwtProvider::default()
    }
}

fn local(keys: &str) -> JwksSourceSpecifier {
    JwksSourceSpecifier::LocalJwks(DataSource {
        specifier: Some(Specifier::InlineString(keys.to_owned())),
        ..DataSource::default()
    })
}

fn header(header: &TokenHeader) -> Vec<JwtHeader> {
    let prefixes = match BEARER.contains(&header.prefix.as_str()) {
        true => &BEARER[..],
        false => &[header.prefix.as_str()],
    };
    let prefixes = prefixes.iter();
    prefixes.map(|prefix| value(&header.name, prefix)).collect()
}

fn value(name: &str, prefix: &str) -> JwtHeader {
    JwtHeader {
        name: name.to_owned(),
        value_prefix: prefix.to_owned(),
    }
}

/// Matches refusals of this filter, except those of gRPC, whose message is a header.
pub(crate) fn refusals() -> AccessLogFilter {
    let expression = "response.code_details.startsWith('jwt_authn_access_denied') && \
                      !('content-type' in request.headers && request.headers['content-type'].startsWith('application/grpc'))";
    AccessLogFilter {
        filter_specifier: Some(FilterSpecifier::ExtensionFilter(ExtensionFilter {
            name: "envoy.access_loggers.extension_filters.cel".to_owned(),
            config_type: Some(FilterConfigType::TypedConfig(pack_any(ExpressionFilter {
                expression: expression.to_owned(),
                ..ExpressionFilter::default()
            }))),
        })),
    }
}
