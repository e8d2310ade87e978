//! One Envoy for all rows: a listener per row, one upstream, and the clusters of the routing rows.
//!
//! One process makes the comparison fairer. Two processes would differ in things that no row is about (the layout of heap and code,
//! warm caches, thread migration); here the same worker thread serves every row, with the same heap and the same pool of upstream
//! connections.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::filters::TYPES;

/// The upstream's cluster.
const UPSTREAM: &str = "upstream";

/// The routes of a listener.
#[derive(Debug, Clone)]
pub(crate) enum Routes {
    /// Forwards to the upstream; `rate_limits` of the route, if any.
    Upstream(Option<Value>),
    /// Responds 429 itself.
    Refuse,
    /// Uses the route table in this file.
    File(PathBuf),
}

/// A row's listener.
#[derive(Debug, Clone)]
pub(crate) struct Listener {
    /// The row's id.
    pub name: String,
    /// Filters in front of the router.
    pub filters: Vec<Value>,
    /// The routes.
    pub routes: Routes,
}

/// The bootstrap, as JSON (which is YAML). `clusters` is a file with additional clusters.
pub(crate) fn bootstrap(listeners: &[Listener], upstream: SocketAddr, clusters: &Path) -> String {
    let listeners: Vec<_> = listeners.iter().map(listener).collect();
    json!({
        "node": {"id": "bench", "cluster": "bench"},
        "dynamic_resources": {"cds_config": file(clusters)},
        "static_resources": {"listeners": listeners, "clusters": [cluster(upstream)]},
    })
    .to_string()
}

fn file(path: &Path) -> Value {
    json!({"path_config_source": {"path": path}, "resource_api_version": "V3"})
}

fn listener(listener: &Listener) -> Value {
    let mut filters = listener.filters.clone();
    filters.push(json!({
        "name": "router",
        "typed_config": {"@type": format!("{TYPES}envoy.extensions.filters.http.router.v3.Router")},
    }));
    let mut manager = json!({
        "@type": format!("{TYPES}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": listener.name,
        "http_filters": filters,
    });
    match &listener.routes {
        Routes::File(path) => {
            let name = headgate_contract::names::ROUTE_CONFIG;
            manager["rds"] = json!({"route_config_name": name, "config_source": file(path)});
        }
        Routes::Upstream(limits) => {
            let mut action = json!({"cluster": UPSTREAM, "timeout": "0s"});
            if let Some(limits) = limits {
                action["rate_limits"] = limits.clone();
            }
            manager["route_config"] = everything(json!({"route": action}));
        }
        Routes::Refuse => {
            manager["route_config"] = everything(json!({"direct_response": {"status": 429}}));
        }
    }
    json!({
        "name": listener.name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "per_connection_buffer_limit_bytes": 16 << 20,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    })
}

fn everything(mut route: Value) -> Value {
    route["match"] = json!({"prefix": "/"});
    json!({"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]})
}

fn cluster(address: SocketAddr) -> Value {
    let socket = json!({"address": address.ip().to_string(), "port_value": address.port()});
    json!({
        "name": UPSTREAM,
        "type": "STATIC",
        "load_assignment": {"cluster_name": UPSTREAM, "endpoints": [{"lb_endpoints": [{
            "endpoint": {"address": {"socket_address": socket}},
            "metadata": {"filter_metadata": {"headgate": {"version": "v1"}}},
        }]}]},
    })
}
