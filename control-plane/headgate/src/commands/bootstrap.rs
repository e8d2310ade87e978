//! `headgate bootstrap`: an Envoy bootstrap, made from the shipped one.
//!
//! Certificates are never in the bootstrap itself: Envoy follows their changes only over SDS, from a file or from an agent.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use headgate_contract::names;
use headgate_identity::SpiffeId;
use headgate_report::output::{Format, print};
use serde_json::{Value, json};

use crate::config::{BootstrapConfig, Failure, ProxyIdentity, ServerNames};

/// The bootstrap that ships.
const SHIPPED: &str = include_str!("../../../../envoy-config/bootstrap.yaml");
/// Its cluster of the control plane.
const XDS_CLUSTER: &str = "headgate-xds";
/// Name of the certificate, in files and at a SPIRE agent.
const CERTIFICATE: &str = "default";
/// Name of the bundle in files.
const BUNDLE: &str = "bundle";

/// Prints or writes the bootstrap.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn run(config: &BootstrapConfig) -> Result<(), Failure> {
    let files = files(config)?;
    let Some(directory) = &config.output else {
        for (_, content) in &files {
            print(&document(config.format, content)?)?;
        }
        return Ok(());
    };
    for (name, content) in &files {
        let path = directory.join(name);
        std::fs::create_dir_all(directory)
            .and_then(|()| std::fs::write(&path, document(config.format, content)?))
            .map_err(|error| format!("--output: cannot write {}: {error}", path.display()))?;
        print(&format!("{}\n", path.display()))?;
    }
    Ok(())
}

fn document(format: Format, content: &Value) -> std::io::Result<String> {
    let text = format.document(content).map_err(std::io::Error::other)?;
    Ok(text.unwrap_or_default())
}

/// The bootstrap and the files that it refers to, with their names.
fn files(config: &BootstrapConfig) -> Result<Vec<(String, Value)>, Failure> {
    let mut bootstrap: Value = serde_saphyr::from_str(SHIPPED)?;
    let extension = match config.format {
        Format::Json => "json",
        _ => "yaml",
    };
    bootstrap["admin"]["address"] = socket_address(config.envoy_admin);
    let mut node = serde_json::Map::new();
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            node.insert(key.to_owned(), value);
        }
    };
    set("id", config.node_id.clone().map(Value::from));
    set("cluster", config.node_cluster.clone().map(Value::from));
    let listen = config.listen.map(|address| address.to_string());
    set("metadata", listen.map(|l| json!({ names::NODE_LISTEN: l })));
    if !node.is_empty() {
        bootstrap["node"] = Value::Object(node);
    }
    let cluster = &mut bootstrap["static_resources"]["clusters"][0];
    let is_address = config.xds.host.parse::<IpAddr>().is_ok();
    cluster["type"] = if is_address { "STATIC" } else { "STRICT_DNS" }.into();
    cluster["load_assignment"] = json!({
        "cluster_name": XDS_CLUSTER,
        "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": { "socket_address": {
            "address": config.xds.host, "port_value": config.xds.port,
        }}}}]}],
    });
    let mut files = Vec::new();
    match &config.identity {
        ProxyIdentity::None => {}
        ProxyIdentity::Files {
            certificates,
            names,
        } => {
            let directory = absolute(config.output.as_deref().unwrap_or(Path::new(".")))?;
            let certificates = absolute(certificates)?;
            let source = |name: &str| {
                let path = directory.join(format!("{name}.{extension}"));
                json!({ "path_config_source": { "path": path }, "resource_api_version": "V3" })
            };
            let sans = sans(names);
            cluster["transport_socket"] = tls(
                (CERTIFICATE, source("certificate")),
                (BUNDLE, source("bundle")),
                &sans,
                names.dns.as_deref(),
            );
            files.push((
                format!("certificate.{extension}"),
                certificate_file(&certificates),
            ));
            files.push((format!("bundle.{extension}"), bundle_file(&certificates)));
        }
        ProxyIdentity::Spiffe { socket, server } => {
            let source = || {
                json!({ "api_config_source": {
                    "api_type": "GRPC",
                    "transport_api_version": "V3",
                    "grpc_services": [{ "envoy_grpc": { "cluster_name": names::AGENT_CLUSTER } }],
                }, "resource_api_version": "V3" })
            };
            let bundle = format!("spiffe://{}", server.trust_domain());
            let sans = [uri_san(server)];
            cluster["transport_socket"] =
                tls((CERTIFICATE, source()), (&bundle, source()), &sans, None);
            let agent = agent_cluster(socket);
            if let Some(clusters) = bootstrap["static_resources"]["clusters"].as_array_mut() {
                clusters.push(agent);
            }
        }
    }
    files.insert(0, (format!("bootstrap.{extension}"), bootstrap));
    Ok(files)
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let failure = |error| format!("{}: {error}", path.display());
    Ok(std::path::absolute(path).map_err(failure)?)
}

fn socket_address(address: SocketAddr) -> Value {
    let (ip, port) = (address.ip().to_string(), address.port());
    json!({ "socket_address": { "address": ip, "port_value": port } })
}

fn uri_san(id: &SpiffeId) -> Value {
    json!({ "san_type": "URI", "matcher": { "exact": id.to_string() } })
}

fn sans(names: &ServerNames) -> Vec<Value> {
    // One match is enough for Envoy, so the stricter one goes alone.
    match (&names.id, &names.dns) {
        (Some(id), _) => vec![uri_san(id)],
        (None, Some(dns)) => vec![json!({ "san_type": "DNS", "matcher": { "exact": dns } })],
        (None, None) => Vec::new(),
    }
}

/// TLS 1.3 with a certificate and a bundle from these sources.
fn tls(
    (certificate, certificate_source): (&str, Value),
    (bundle, bundle_source): (&str, Value),
    sans: &[Value],
    sni: Option<&str>,
) -> Value {
    let mut context = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {
            "tls_params": { "tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3" },
            "alpn_protocols": ["h2"],
            "tls_certificate_sds_secret_configs": [
                { "name": certificate, "sds_config": certificate_source },
            ],
            "combined_validation_context": {
                "default_validation_context": { "match_typed_subject_alt_names": sans },
                "validation_context_sds_secret_config": { "name": bundle, "sds_config": bundle_source },
            },
        },
    });
    if let Some(sni) = sni {
        context["sni"] = sni.into();
    }
    json!({ "name": "envoy.transport_sockets.tls", "typed_config": context })
}

fn secret(name: &str, kind: &str, content: &Value) -> Value {
    json!({ "resources": [{
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": name,
        kind: content,
    }]})
}

fn certificate_file(certificates: &Path) -> Value {
    let content = json!({
        "certificate_chain": { "filename": certificates.join("tls.crt") },
        "private_key": { "filename": certificates.join("tls.key") },
        "watched_directory": { "path": certificates },
    });
    secret(CERTIFICATE, "tls_certificate", &content)
}

fn bundle_file(certificates: &Path) -> Value {
    let content = json!({
        "trusted_ca": { "filename": certificates.join("ca.crt") },
        "watched_directory": { "path": certificates },
    });
    secret(BUNDLE, "validation_context", &content)
}

fn agent_cluster(socket: &str) -> Value {
    json!({
        "name": names::AGENT_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} },
            },
        },
        "load_assignment": {
            "cluster_name": names::AGENT_CLUSTER,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": { "pipe": { "path": socket } } } }] }],
        },
    })
}
