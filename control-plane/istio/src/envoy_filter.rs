//! The patches of `EnvoyFilter`s: JSON of routes, of the switch of the filter, and of its insertion.

use headgate_contract::names;
use serde_json::{Value, json};

use crate::object::{Context, Insertion, Module, Route, VirtualHost};
use crate::options::Options;

const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
/// A filter that does nothing without rules.
const NOTHING: &str = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC";
const ROUTER: &str = "envoy.filters.http.router";
const CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";
/// The longest wait of a listener for its first configuration, before the default one applies.
const INITIAL_FETCH_TIMEOUT: &str = "2s";
/// The wait before a new attempt to reach the xDS server: the first and the longest one. Without it, Envoy waits up to 30 s.
const RETRY: (&str, &str) = ("0.5s", "1.5s");

impl Context {
    /// Its name in an `EnvoyFilter`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SidecarOutbound => "SIDECAR_OUTBOUND",
            Self::SidecarInbound => "SIDECAR_INBOUND",
            Self::Gateway => "GATEWAY",
        }
    }

    /// The name of the filter, which is also the name of its ECDS resource.
    #[must_use]
    pub fn filter(self) -> &'static str {
        match self {
            Self::SidecarInbound => names::ECDS_FUSED_FOLLOW,
            Self::SidecarOutbound | Self::Gateway => names::ECDS_FUSED,
        }
    }
}

/// The match of a virtual host.
fn on(context: Context, host: &VirtualHost) -> Value {
    let host = match host {
        VirtualHost::Name(name) => json!({ "name": name }),
        VirtualHost::Domain(domain) => json!({ "domainName": domain }),
    };
    json!({ "context": context.as_str(), "routeConfiguration": { "vhost": host } })
}

/// Switches the filter on in a virtual host. Envoy refuses the route configuration if the filter is missing and not optional.
pub(crate) fn switch(context: Context, host: &VirtualHost) -> Value {
    json!({
        "applyTo": "VIRTUAL_HOST",
        "match": on(context, host),
        "patch": {
            "operation": "MERGE",
            "value": {
                "typed_per_filter_config": {
                    context.filter(): {
                        "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
                        "is_optional": true,
                        // Envoy accepts no configuration at all, but istiod refuses it.
                        "config": { "@type": "type.googleapis.com/google.protobuf.Struct", "value": {} },
                    },
                },
            },
        },
    })
}

/// Routes the requests of a version before the routes of other people.
pub(crate) fn version_route(
    context: Context,
    host: &VirtualHost,
    name: &str,
    route: &Route,
) -> Value {
    let exact =
        |header: &str, value: &str| json!({ "name": header, "string_match": { "exact": value } });
    let headers = [
        exact(names::HEADER_MODEL, route.model.as_str()),
        exact(names::HEADER_VERSION, route.version.as_str()),
    ];
    json!({
        "applyTo": "HTTP_ROUTE",
        "match": on(context, host),
        "patch": {
            "operation": "INSERT_FIRST",
            "value": {
                "name": name,
                "match": { "prefix": "/", "headers": headers },
                "route": {
                    "cluster": route.cluster,
                    "timeout": "0s",
                    // Istio gives its own routes retries, too. Only what a server has not begun to process is sent again.
                    "retry_policy": {
                        "retry_on": "connect-failure,refused-stream,reset-before-request",
                        "num_retries": 2,
                        "retry_host_predicate": [{
                            "name": PREVIOUS_HOSTS.0,
                            "typed_config": { "@type": PREVIOUS_HOSTS.1 },
                        }],
                        "host_selection_retry_max_attempts": 5,
                    },
                },
            },
        },
    })
}

/// A retry goes to another server if there is one: the extension, and its type.
const PREVIOUS_HOSTS: (&str, &str) = (
    "envoy.retry_host_predicates.previous_hosts",
    "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
);

/// Inserts the filter before the router, and sets the buffers of the listener.
pub(crate) fn insertion(insertion: &Insertion, options: &Options) -> Vec<Value> {
    let context = insertion.context;
    let http_filter = |sub_filter: &str| {
        let filter = json!({ "name": CONNECTION_MANAGER, "subFilter": { "name": sub_filter } });
        let mut listener = json!({ "filterChain": { "filter": filter } });
        if let Some(port) = insertion.port {
            listener["portNumber"] = json!(port);
        }
        json!({ "context": context.as_str(), "listener": listener })
    };
    let insert = json!({
        "applyTo": "HTTP_FILTER",
        "match": http_filter(ROUTER),
        "patch": { "operation": "INSERT_BEFORE", "value": filter(insertion, options) },
    });
    let mut buffers_of = json!({ "context": context.as_str() });
    if let Some(port) = insertion.port
        && context != Context::SidecarInbound
    {
        buffers_of["listener"] = json!({ "portNumber": port });
    }
    // The filter must reach its body limit before Envoy does, because Envoy answers with a plain 413.
    let buffers = json!({
        "applyTo": "LISTENER",
        "match": buffers_of,
        "patch": {
            "operation": "MERGE",
            "value": { "per_connection_buffer_limit_bytes": options.max_body_bytes.saturating_mul(2) },
        },
    });
    match context {
        // A pod that several objects select has the filter of the last one. The listener of all inbound ports is one, so its buffers are
        // those of all ports of the pod.
        Context::SidecarInbound => {
            let remove = json!({
                "applyTo": "HTTP_FILTER",
                "match": http_filter(context.filter()),
                "patch": { "operation": "REMOVE" },
            });
            vec![remove, insert, buffers]
        }
        Context::SidecarOutbound | Context::Gateway => vec![insert, buffers],
    }
}

fn filter(insertion: &Insertion, options: &Options) -> Value {
    let context = insertion.context;
    let name = context.filter();
    let (base_interval, max_interval) = RETRY;
    let domain = options.cluster_domain();
    let (host, port) = (options.xds.host(domain), options.xds.port);
    let mut discovery = json!({
        "type_urls": [WASM, NOTHING],
        // Without the code, requests pass untagged and unlimited until the control plane can be reached.
        "default_config": { "@type": NOTHING },
        "config_source": {
            "resource_api_version": "V3",
            "initial_fetch_timeout": INITIAL_FETCH_TIMEOUT,
            "api_config_source": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{
                    "envoy_grpc": {
                        // istiod's own cluster for the Service: it has mTLS, the identity of the server, and load balancing.
                        "cluster_name": format!("outbound|{port}||{host}"),
                        // Otherwise the name of the cluster is the authority, and a `|` is refused there.
                        "authority": format!("{host}:{port}"),
                        "retry_policy": { "retry_back_off": { "base_interval": base_interval, "max_interval": max_interval } },
                    },
                }],
            },
        },
    });
    if insertion.module == Module::InFile
        && let Some(module) = &options.module
        && let Ok(config) = insertion.default_config.emit()
    {
        discovery["default_config"] = json!({
            "@type": WASM,
            "config": {
                "name": name,
                "root_id": name,
                "failure_policy": "FAIL_RELOAD",
                "allow_on_headers_stop_iteration": true,
                "vm_config": {
                    "vm_id": names::VM_ID,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": module } },
                },
                "configuration": { "@type": "type.googleapis.com/google.protobuf.StringValue", "value": config },
            },
        });
    }
    let mut filter = json!({ "name": name, "config_discovery": discovery });
    // Other hosts on the port never meet the filter. Inbound, all requests of the port are the model server's.
    if context != Context::SidecarInbound {
        filter["disabled"] = json!(true);
    }
    filter
}
