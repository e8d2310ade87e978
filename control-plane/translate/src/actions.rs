//! Actions of routes: a cluster, a direct response of Envoy, or a cluster that does not exist.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{DataSource, HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::config::route::v3::retry_policy::RetryHostPredicate;
use envoy_types::pb::envoy::config::route::v3::retry_policy::retry_host_predicate::ConfigType;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::{
    ClusterNotFoundResponseCode, ClusterSpecifier, HostRewriteSpecifier,
};
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{
    DirectResponseAction, RetryPolicy, Route, RouteAction, RouteMatch,
};
use envoy_types::pb::google::protobuf::{Any, BoolValue, Duration};
use envoy_types::util::pack_any;
use headgate_contract::names;
use serde_json::Value;

use crate::jwt;
use crate::ordered::{OnMatch, extension};
use crate::proto::{duration, uint};
use crate::scope::Options;

/// A cluster that does not exist.
const MISSING_CLUSTER: &str = "headgate/nowhere";

/// Routes a request to a cluster. `by_name`: its endpoints have DNS names, which servers expect in the host header.
pub(crate) fn to_cluster(cluster: String, by_name: bool, options: &Options) -> OnMatch {
    let host = BoolValue { value: true };
    action(Action::Route(RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster)),
        host_rewrite_specifier: by_name.then_some(HostRewriteSpecifier::AutoHostRewrite(host)),
        // The duration of a generation is unlimited, but a silent stream is cut.
        timeout: Some(Duration::default()),
        idle_timeout: Some(duration(options.idle_timeout)),
        // Only requests that never reached a model server are retried.
        retry_policy: Some(RetryPolicy {
            retry_on: "connect-failure,refused-stream,reset-before-request".to_owned(),
            num_retries: uint(2),
            // A retry goes to another server if there is one.
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

/// Routes a request to a cluster that does not exist: 404, with the body that the listener sets.
///
/// Envoy's CORS filter needs a route before Headgate's filter has written the model into the header, and it ignores direct responses.
/// The route of the model replaces this one.
pub(crate) fn missing_cluster() -> OnMatch {
    action(Action::Route(RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(MISSING_CLUSTER.to_owned())),
        cluster_not_found_response_code: ClusterNotFoundResponseCode::NotFound as i32,
        ..RouteAction::default()
    }))
}

/// A direct response of Envoy in JSON, with these headers.
pub(crate) fn direct_response(status: u32, body: &Value, headers: &[(&str, String)]) -> OnMatch {
    to_route(direct(status, body, headers))
}

fn direct(status: u32, body: &Value, headers: &[(&str, String)]) -> Route {
    let json = [("content-type", "application/json".to_owned())];
    let headers = json.iter().chain(headers);
    let mut route = route(Action::DirectResponse(DirectResponseAction {
        status,
        body: Some(DataSource {
            specifier: Some(Specifier::InlineString(body.to_string())),
            ..DataSource::default()
        }),
        ..DirectResponseAction::default()
    }));
    route.response_headers_to_add = headers
        .map(|(key, value)| HeaderValueOption {
            header: Some(HeaderValue {
                key: (*key).to_owned(),
                value: value.clone(),
                ..HeaderValue::default()
            }),
            append_action: HeaderAppendAction::OverwriteIfExistsOrAdd as i32,
            ..HeaderValueOption::default()
        })
        .collect();
    route
}

/// The direct response to a health check, with these headers. It needs no token: load balancers have none.
pub(crate) fn healthy(headers: &[(&str, String)]) -> OnMatch {
    let mut route = direct(200, &serde_json::json!({ "status": "ok" }), headers);
    let config = (names::ECDS_JWT.to_owned(), jwt::disabled());
    route.typed_per_filter_config = HashMap::from([config]);
    to_route(route)
}

/// The error for a request that names no served model.
pub(crate) fn unknown_model() -> Value {
    error(
        "this model is not served here: GET /v1/models lists what is",
        "model_not_found",
    )
}

/// The error for a request whose token `jwt_authn` refuses, for this reason.
pub(crate) fn unauthenticated(reason: &str) -> Value {
    error(
        &format!("authentication failed: {reason}. Send a token of an issuer that is allowed here"),
        "invalid_api_key",
    )
}

/// The error for a path under which no model is served.
pub(crate) fn unknown_path() -> Value {
    error(
        "no API is served under this path: use /v1/, /v1beta/, /v2, /openai/ or /infer. `apis` in a TrafficTagPolicy for the whole namespace serves more",
        "unknown_path",
    )
}

/// The error for a CORS preflight that no policy allows.
pub(crate) fn refused_preflight() -> Value {
    error(
        "no policy allows pages of this origin: add it to `cors.allowOrigins` of a TrafficTagPolicy for the whole namespace",
        "origin_not_allowed",
    )
}

fn error(message: &str, code: &str) -> Value {
    serde_json::json!({
        "error": { "message": message, "type": "invalid_request_error", "param": null, "code": code }
    })
}

fn action(action: Action) -> OnMatch {
    to_route(route(action))
}

fn to_route(route: Route) -> OnMatch {
    OnMatch {
        matcher: None,
        action: Some(extension("route", pack_any(route))),
    }
}

fn route(action: Action) -> Route {
    Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
            ..RouteMatch::default()
        }),
        action: Some(action),
        ..Route::default()
    }
}
