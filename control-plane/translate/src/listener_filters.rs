//! HTTP filters of a listener with TLS: one denies client certificates that Envoy's TLS accepts, one advertises HTTP/3 (`alt-svc`).

use envoy_types::pb::envoy::config::common::mutation_rules::v3::HeaderMutation as Mutation;
use envoy_types::pb::envoy::config::common::mutation_rules::v3::header_mutation::Action as MutationAction;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::config::rbac::v3::Action;
use envoy_types::pb::envoy::config::rbac::v3::rbac::Action as Verdict;
use envoy_types::pb::envoy::extensions::filters::http::header_mutation::v3::{
    HeaderMutation, Mutations,
};
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac as EnvoyRbac;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType;
use envoy_types::pb::envoy::extensions::matching::common_inputs::ssl::v3::UriSanInput;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3::RegexMatcher;
use envoy_types::pb::xds::r#type::matcher::v3::regex_matcher::{EngineType, GoogleRe2};
use envoy_types::pb::xds::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::util::pack_any;
use prost::{Message, Name};

use crate::listener_tls::{Http3, ListenerTls};
use crate::matching::{any_of, first_of, input_is};
use crate::ordered::{Matcher, OnMatch, Predicate, extension};

/// `envoy.extensions.filters.http.rbac.v3.RBAC`, with the matcher alone.
#[derive(Clone, PartialEq, Message)]
struct Rbac {
    #[prost(message, optional, tag = "4")]
    matcher: Option<Matcher>,
}

/// Denies a certificate with several URIs, which Envoy accepts if one of them fits, and one of a trust domain that is not allowed.
/// A client without a certificate passes: whether it may, TLS has decided.
pub(crate) fn client_certificates(tls: &ListenerTls) -> HttpFilter {
    let allowed = tls
        .trust_domains
        .iter()
        .map(|domain| uri_is(MatchPattern::Prefix(format!("spiffe://{domain}/"))));
    // The input joins the URIs with commas, and a SPIFFE id has none.
    let several = uri_is(MatchPattern::Contains(",".to_owned()));
    let any = uri_is(MatchPattern::SafeRegex(RegexMatcher {
        regex: ".+".to_owned(),
        engine_type: Some(EngineType::GoogleRe2(GoogleRe2 {})),
    }));
    let cases = [
        (several, verdict("several-uris", Verdict::Deny)),
        (
            any_of(allowed.collect()),
            verdict("allowed-trust-domain", Verdict::Allow),
        ),
        (any, verdict("other-trust-domain", Verdict::Deny)),
    ];
    let rbac = Rbac {
        matcher: Some(first_of(cases, verdict("no-certificate", Verdict::Allow))),
    };
    filter(
        "client-certificates",
        Any {
            type_url: EnvoyRbac::type_url(),
            value: rbac.encode_to_vec(),
        },
    )
}

/// Tells clients that the listener has HTTP/3 (RFC 7838).
pub(crate) fn alt_svc(http3: Http3, listener_port: u16) -> HttpFilter {
    let port = http3.advertised_port.unwrap_or(listener_port);
    let offer = HeaderValueOption {
        header: Some(HeaderValue {
            key: "alt-svc".to_owned(),
            value: format!("h3=\":{port}\"; ma=86400"),
            ..HeaderValue::default()
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd as i32,
        ..HeaderValueOption::default()
    };
    let mutation = HeaderMutation {
        mutations: Some(Mutations {
            response_mutations: vec![Mutation {
                action: Some(MutationAction::Append(offer)),
            }],
            ..Mutations::default()
        }),
        ..HeaderMutation::default()
    };
    filter("alt-svc", pack_any(mutation))
}

fn filter(name: &str, config: Any) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(ConfigType::TypedConfig(config)),
        ..HttpFilter::default()
    }
}

fn uri_is(pattern: MatchPattern) -> Predicate {
    let input: TypedExtensionConfig = extension("uri-san", pack_any(UriSanInput {}));
    input_is(input, pattern)
}

fn verdict(name: &str, verdict: Verdict) -> OnMatch {
    OnMatch {
        matcher: None,
        action: Some(extension(
            name,
            pack_any(Action {
                name: name.to_owned(),
                action: verdict as i32,
            }),
        )),
    }
}
