//! The bootstrap of an Envoy with one filter: a listener, a route that follows `x-model-version`, two clusters.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

const TYPES: &str = "type.googleapis.com/";

/// The word before the fields of a request in the access log.
pub const ACCESS_LOG_MARK: &str = "ACCESS";

/// The protocol between Envoy and the upstreams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Upstreams {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, which has trailers.
    Http2,
}

/// A bootstrap.
#[must_use]
pub fn bootstrap(filter: Value, upstreams: &[(&str, SocketAddr)], protocol: Upstreams) -> Value {
    let clusters: Vec<Value> = upstreams
        .iter()
        .map(|(v, addr)| cluster(v, *addr, protocol))
        .collect();
    json!({
        // The tags that the shipped bootstrap extracts from the names of statistics.
        "stats_config": shipped("bootstrap.yaml")["stats_config"],
        "static_resources": {"listeners": [listener(filter, upstreams)], "clusters": clusters},
    })
}

/// A file that the repository ships in `envoy-config`, as JSON.
///
/// # Panics
/// If it does not exist or is not YAML.
#[must_use]
pub fn shipped(file: &str) -> Value {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../envoy-config", file]
        .iter()
        .collect();
    let text = std::fs::read_to_string(path).expect("a shipped file");
    serde_saphyr::from_str(&text).expect("YAML")
}

fn cluster(version: &str, addr: SocketAddr, protocol: Upstreams) -> Value {
    let socket = json!({"address": addr.ip().to_string(), "port_value": addr.port()});
    let protocol = match protocol {
        Upstreams::Http1 => "http_protocol_options",
        Upstreams::Http2 => "http2_protocol_options",
    };
    let protocols = json!({
        "@type": format!("{TYPES}envoy.extensions.upstreams.http.v3.HttpProtocolOptions"),
        "explicit_http_config": {protocol: {}},
    });
    json!({
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocols},
        "name": version,
        "type": "STATIC",
        "load_assignment": {"cluster_name": version, "endpoints": [{"lb_endpoints": [{
            "endpoint": {"address": {"socket_address": socket}},
            "metadata": {"filter_metadata": {"headgate": {"version": version}}},
        }]}]},
    })
}

fn listener(filter: Value, upstreams: &[(&str, SocketAddr)]) -> Value {
    let routes: Vec<Value> = upstreams
        .iter()
        .map(|(version, _)| {
            let exact = json!({"name": "x-model-version", "string_match": {"exact": version}});
            json!({
                "match": {"prefix": "/", "headers": [exact]},
                "route": {"cluster": version, "timeout": "0s"},
            })
        })
        .collect();
    let manager = json!({
        "@type": format!("{TYPES}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "abi",
        "access_log": [access_log()],
        // With an internal address, a client may set timeouts and retries of the router by headers.
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]},
        "http_filters": [filter, router()],
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {"virtual_hosts": [
            {"name": "model-serving/default", "domains": ["*"], "routes": routes},
        ]},
    });
    json!({
        "name": "headgate",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "per_connection_buffer_limit_bytes": 16 << 20,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    })
}

/// A filter with this module and configuration.
#[must_use]
pub fn filter(module: &Path, config: &str) -> Value {
    json!({"name": "headgate", "typed_config": wasm(module, config)})
}

/// A filter whose module and configuration are in a file, which Envoy watches; see [`discovery_response`].
#[must_use]
pub fn discovered(file: &Path) -> Value {
    let path = json!({"path": file});
    json!({
        "name": "headgate",
        "config_discovery": {
            "config_source": {"path_config_source": path, "resource_api_version": "V3"},
            "type_urls": [format!("{TYPES}envoy.extensions.filters.http.wasm.v3.Wasm")],
        },
    })
}

/// The content of the watched file.
#[must_use]
pub fn discovery_response(version: &str, module: &Path, config: &str) -> Value {
    json!({
        "version_info": version,
        "resources": [{
            "@type": format!("{TYPES}envoy.config.core.v3.TypedExtensionConfig"),
            "name": "headgate",
            "typed_config": wasm(module, config),
        }],
    })
}

fn wasm(module: &Path, config: &str) -> Value {
    json!({
            "@type": format!("{TYPES}envoy.extensions.filters.http.wasm.v3.Wasm"),
            "config": {
                "name": "headgate",
                "vm_config": {
                    "vm_id": "headgate",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": module}},
                },
                "allow_on_headers_stop_iteration": true,
                "failure_policy": "FAIL_RELOAD",
                "configuration": {
                    "@type": format!("{TYPES}google.protobuf.StringValue"),
                    "value": config,
                },
            },
    })
}

fn router() -> Value {
    json!({
        "name": "router",
        "typed_config": {"@type": format!("{TYPES}envoy.extensions.filters.http.router.v3.Router")},
    })
}

fn access_log() -> Value {
    let columns = ["model", "version", "tenant", "lane", "rule", "reason"];
    let columns = columns.map(|key| format!(" {key}=%FILTER_STATE(wasm.headgate.{key}:PLAIN)%"));
    let line = format!(
        "{ACCESS_LOG_MARK} status=%RESPONSE_CODE% details=%RESPONSE_CODE_DETAILS%{}\n",
        columns.concat()
    );
    json!({
        "name": "stdout",
        "typed_config": {
            "@type": format!("{TYPES}envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"),
            "log_format": {"text_format_source": {"inline_string": line}},
        },
    })
}
