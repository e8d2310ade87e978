//! The route table: a matcher tree per virtual host, flat in the number of models.
//!
//! Paths are decided above the tree (a leaf whose `match` fails answers a bare 404); inside it, exact `x-model`, then
//! exact `x-model-version`. A missing or unknown version goes to the model's own cluster, so a proxy without the
//! filter, or one whose filter and routes are a push apart, still splits right and never routes to nothing. Weights
//! are not here: an edit of them never sends routes.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{DataSource, HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::config::route::v3::retry_policy::RetryHostPredicate;
use envoy_types::pb::envoy::config::route::v3::retry_policy::retry_host_predicate::ConfigType;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{
    DirectResponseAction, RetryPolicy, Route, RouteAction, RouteConfiguration, RouteMatch,
    VirtualHost,
};
use envoy_types::pb::envoy::r#type::matcher::v3::HttpRequestHeaderMatchInput;
use envoy_types::pb::google::protobuf::{Any, Duration, UInt32Value};
use envoy_types::pb::xds::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::xds::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::util::pack_any;
use headgate_contract::names;
use headgate_model::PlannedModel;
use headgate_xds::{Kind, Resource};
use prost::Message;

use crate::listener::duration;
use crate::ordered::{
    FieldMatcher, MatchMap, Matcher, MatcherList, MatcherTree, OnMatch, Predicate, PredicateList,
    SinglePredicate, append, extension,
};
use crate::scope::Options;
use crate::vet::{Accepted, View};

/// Field number of `virtual_hosts` in `RouteConfiguration`.
const VIRTUAL_HOSTS_TAG: u32 = 2;
/// Field number of `matcher` in `VirtualHost`.
const MATCHER_TAG: u32 = 21;

/// Prefixes under which models are served.
const SERVING_PREFIXES: [&str; 4] = [
    "/v1/",
    "/v2/models/",
    "/inference.GRPCInferenceService/",
    "/infer",
];

/// The route table of a scope.
pub(crate) fn table(accepted: &Accepted<'_>, options: &Options) -> Resource {
    let mut bytes = RouteConfiguration {
        name: names::ROUTE_CONFIG.to_owned(),
        ignore_port_in_host_matching: true,
        ..RouteConfiguration::default()
    }
    .encode_to_vec();
    for (namespace, view) in accepted {
        let Some(domains) = options.domains.get(*namespace) else {
            continue;
        };
        let mut host = VirtualHost {
            name: names::virtual_host(namespace),
            domains: domains.clone(),
            ..VirtualHost::default()
        }
        .encode_to_vec();
        append(
            &mut host,
            MATCHER_TAG,
            &by_path(namespace, view, options).encode_to_vec(),
        );
        append(&mut bytes, VIRTUAL_HOSTS_TAG, &host);
    }
    Resource::new(Kind::Route, names::ROUTE_CONFIG, bytes)
}

fn by_path(namespace: &str, view: &View<'_>, options: &Options) -> Matcher {
    let prefixes = SERVING_PREFIXES.map(|prefix| Predicate {
        single: Some(SinglePredicate {
            input: Some(header(":path")),
            value_match: Some(StringMatcher {
                match_pattern: Some(MatchPattern::Prefix(prefix.to_owned())),
                ..StringMatcher::default()
            }),
        }),
        any_of: None,
    });
    Matcher {
        list: Some(MatcherList {
            matchers: vec![FieldMatcher {
                predicate: Some(Predicate {
                    single: None,
                    any_of: Some(PredicateList {
                        predicate: prefixes.to_vec(),
                    }),
                }),
                on_match: Some(nested(by_model(namespace, view, options))),
            }],
        }),
        tree: None,
        on_no_match: Some(Box::new(not_found(
            "no model is served under this path: use /v1/, /v2/models/ or /infer",
            "unknown_path",
        ))),
    }
}

fn by_model(namespace: &str, view: &View<'_>, options: &Options) -> Matcher {
    let map = view
        .models
        .iter()
        .map(|(id, planned)| {
            let leaf = nested(by_version(namespace, id.as_str(), planned, options));
            (id.as_str().to_owned(), leaf)
        })
        .collect();
    tree(
        names::HEADER_MODEL,
        map,
        not_found(
            "this model is not served here: GET /v1/models lists what is",
            "model_not_found",
        ),
    )
}

fn by_version(namespace: &str, model: &str, planned: &PlannedModel, options: &Options) -> Matcher {
    let map = planned
        .variants
        .keys()
        .map(|version| {
            let cluster = names::variant_cluster(namespace, model, version.as_str());
            (version.as_str().to_owned(), to_cluster(cluster, options))
        })
        .collect();
    let own = to_cluster(names::model_cluster(namespace, model), options);
    tree(names::HEADER_VERSION, map, own)
}

fn tree(name: &str, map: BTreeMap<String, OnMatch>, otherwise: OnMatch) -> Matcher {
    // An empty map is refused by Envoy; then only the rest remains.
    if map.is_empty() {
        return Matcher {
            on_no_match: Some(Box::new(otherwise)),
            ..Matcher::default()
        };
    }
    Matcher {
        list: None,
        tree: Some(Box::new(MatcherTree {
            input: Some(header(name)),
            exact_match_map: Some(MatchMap { map }),
        })),
        on_no_match: Some(Box::new(otherwise)),
    }
}

fn nested(matcher: Matcher) -> OnMatch {
    OnMatch {
        matcher: Some(Box::new(matcher)),
        action: None,
    }
}

fn header(name: &str) -> envoy_types::pb::xds::core::v3::TypedExtensionConfig {
    extension(
        name,
        pack_any(HttpRequestHeaderMatchInput {
            header_name: name.to_owned(),
        }),
    )
}

fn to_cluster(cluster: String, options: &Options) -> OnMatch {
    leaf(Action::Route(RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster)),
        // A generation takes as long as it takes; a silent one is cut.
        timeout: Some(Duration::default()),
        idle_timeout: Some(duration(options.idle_timeout)),
        // Only what never reached a model server is tried again.
        retry_policy: Some(RetryPolicy {
            retry_on: "connect-failure,refused-stream,reset-before-request".to_owned(),
            num_retries: Some(UInt32Value { value: 2 }),
            // A server that was tried in vain is not tried again while there is another.
            retry_host_predicate: vec![RetryHostPredicate {
                name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
                config_type: Some(ConfigType::TypedConfig(Any {
                    type_url: "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate".to_owned(),
                    value: Vec::new(),
                })),
            }],
            host_selection_retry_max_attempts: 5,
            ..RetryPolicy::default()
        }),
        ..RouteAction::default()
    }))
}

fn not_found(message: &str, code: &str) -> OnMatch {
    let body = serde_json::json!({
        "error": { "message": message, "type": "invalid_request_error", "param": null, "code": code }
    });
    let mut on_match = Route {
        r#match: Some(anything()),
        action: Some(Action::DirectResponse(DirectResponseAction {
            status: 404,
            body: Some(DataSource {
                specifier: Some(Specifier::InlineString(body.to_string())),
                ..DataSource::default()
            }),
            ..DirectResponseAction::default()
        })),
        ..Route::default()
    };
    on_match.response_headers_to_add.push(HeaderValueOption {
        header: Some(HeaderValue {
            key: "content-type".to_owned(),
            value: "application/json".to_owned(),
            ..HeaderValue::default()
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd as i32,
        ..HeaderValueOption::default()
    });
    action(on_match)
}

fn leaf(what: Action) -> OnMatch {
    action(Route {
        r#match: Some(anything()),
        action: Some(what),
        ..Route::default()
    })
}

fn action(route: Route) -> OnMatch {
    OnMatch {
        matcher: None,
        action: Some(extension("route", pack_any(route))),
    }
}

fn anything() -> RouteMatch {
    RouteMatch {
        path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
        ..RouteMatch::default()
    }
}
