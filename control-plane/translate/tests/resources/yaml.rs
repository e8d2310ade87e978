//! Protobuf messages in YAML, as Envoy's documentation writes them: without default values, and with the content of every `Any`.
//! A JSON object in a string is written as YAML too. Generic matchers are shortened: see [`matchers`](crate::matchers).

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::{Route, RouteConfiguration};
use envoy_types::pb::envoy::extensions::access_loggers::file::v3::FileAccessLog;
use envoy_types::pb::envoy::extensions::access_loggers::filters::cel::v3::ExpressionFilter;
use envoy_types::pb::envoy::extensions::clusters::dns::v3::DnsCluster;
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::{Cors, CorsPolicy};
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::{
    JwtAuthentication, PerRouteConfig,
};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::UpstreamTlsContext;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::r#type::matcher::v3::HttpRequestHeaderMatchInput;
use envoy_types::pb::google::protobuf::StringValue;
use headgate_xds::{Kind, Resource};
use prost::Message;

use crate::debug::{Value, parse};
use crate::matchers;

/// A YAML document, or a part of one.
pub(crate) enum Yaml {
    Scalar(String),
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>),
}

/// The message of a resource in YAML.
pub(crate) fn resource(resource: &Resource) -> String {
    let body = resource.body();
    let message = match resource.kind() {
        Kind::Cluster => decode::<Cluster>(body),
        Kind::Endpoints => decode::<ClusterLoadAssignment>(body),
        Kind::Listener => decode::<Listener>(body),
        Kind::Route => decode::<RouteConfiguration>(body),
        Kind::Extension => decode::<TypedExtensionConfig>(body),
        other => panic!("{other}"),
    };
    let mut text = String::new();
    write(&yaml(&message).expect("a message"), 0, &mut text);
    text
}

fn decode<M: Message + Default + std::fmt::Debug>(bytes: &[u8]) -> Value {
    parse(&format!("{:?}", M::decode(bytes).expect("a message")))
}

/// The message of an `Any`.
pub(crate) fn decode_any(type_url: &str, bytes: &[u8]) -> Value {
    match type_url.rsplit('.').next().unwrap() {
        "Cors" => decode::<Cors>(bytes),
        "CorsPolicy" => decode::<CorsPolicy>(bytes),
        "DnsCluster" => decode::<DnsCluster>(bytes),
        "ExpressionFilter" => decode::<ExpressionFilter>(bytes),
        "FileAccessLog" => decode::<FileAccessLog>(bytes),
        "HttpConnectionManager" => decode::<HttpConnectionManager>(bytes),
        "HttpProtocolOptions" => decode::<HttpProtocolOptions>(bytes),
        "HttpRequestHeaderMatchInput" => decode::<HttpRequestHeaderMatchInput>(bytes),
        "JwtAuthentication" => decode::<JwtAuthentication>(bytes),
        "PerRouteConfig" => decode::<PerRouteConfig>(bytes),
        "Route" => decode::<Route>(bytes),
        "Router" => decode::<Router>(bytes),
        "StringValue" => decode::<StringValue>(bytes),
        "UpstreamTlsContext" => decode::<UpstreamTlsContext>(bytes),
        "Wasm" => decode::<Wasm>(bytes),
        _ if bytes.is_empty() => Value::Message(String::new(), Vec::new()),
        other => panic!("add {other} to this table"),
    }
}

/// A value in YAML; `None` if it is the default of its field.
fn yaml(value: &Value) -> Option<Yaml> {
    match value {
        Value::Word(word) if matches!(word.as_str(), "None" | "false" | "0" | "0.0") => None,
        Value::Text(text) if text.is_empty() => None,
        Value::Bytes(bytes) if bytes.is_empty() => None,
        Value::List(items) if items.is_empty() => None,
        Value::Map(entries) if entries.is_empty() => None,
        other => Some(set(other)),
    }
}

/// A value that is set, even to the default.
pub(crate) fn set(value: &Value) -> Yaml {
    match value {
        Value::Word(word) if EMPTY_MESSAGES.contains(&word.as_str()) => Yaml::Map(Vec::new()),
        Value::Word(word) => Yaml::Scalar(word.clone()),
        Value::Text(text) => json_or_text(text),
        Value::Bytes(bytes) => Yaml::Scalar(format!("{} bytes", bytes.len())),
        Value::List(items) => Yaml::List(items.iter().map(set).collect()),
        Value::Map(entries) => {
            Yaml::Map(entries.iter().map(|(k, v)| (k.clone(), set(v))).collect())
        }
        Value::Tuple(name, values) => match (name.as_str(), &values[..]) {
            ("Some", [inner]) => set(inner),
            (variant, [inner]) => Yaml::Map(vec![(snake(variant), set(inner))]),
            other => panic!("{other:?}"),
        },
        Value::Message(name, fields) => message(name, fields),
    }
}

fn message(name: &str, fields: &[(String, Value)]) -> Yaml {
    if let Some(short) = matchers::short(name, fields) {
        return short;
    }
    match (name, fields) {
        ("UInt32Value" | "UInt64Value" | "BoolValue" | "DoubleValue", [(_, value)]) => set(value),
        ("StringValue", [(_, Value::Text(text))]) => json_or_text(text),
        ("Duration", [(_, Value::Word(seconds)), (_, Value::Word(nanos))]) => {
            assert_eq!(nanos, "0", "whole seconds only");
            Yaml::Scalar(format!("{seconds}s"))
        }
        ("Any", [(_, Value::Text(type_url)), (_, value)]) => {
            let content = decode_any(type_url, &bytes(value));
            let mut entries = vec![("\"@type\"".to_owned(), Yaml::Scalar(type_url.clone()))];
            match set(&content) {
                Yaml::Map(fields) => entries.extend(fields),
                other => entries.push(("value".to_owned(), other)),
            }
            Yaml::Map(entries)
        }
        // A protobuf `Value` with a text.
        ("Value", [(_, Value::Tuple(_, kind))]) => match &kind[..] {
            [Value::Tuple(_, text)] => set(&text[0]),
            other => panic!("{other:?}"),
        },
        _ => {
            let fields = fields
                .iter()
                .filter_map(|(field, value)| entry(field, value));
            Yaml::Map(fields.collect())
        }
    }
}

/// A field of a message. A `oneof` is written as the field that is set.
fn entry(field: &str, value: &Value) -> Option<(String, Yaml)> {
    if let Value::Tuple(some, inner) = value
        && some == "Some"
        && let [Value::Tuple(variant, values)] = &inner[..]
    {
        return Some((snake(variant), set(&values[0])));
    }
    // The first value of an enumeration is its default.
    if let Value::Word(word) = value
        && DEFAULTS.contains(&(field, word))
    {
        return None;
    }
    Some((field.to_owned(), yaml(value)?))
}

/// Default values of enumerations, by field.
const DEFAULTS: [(&str, &str); 15] = [
    ("cluster_not_found_response_code", "ServiceUnavailable"),
    ("codec_type", "Auto"),
    ("dns_lookup_family", "Auto"),
    ("drain_type", "Default"),
    ("forward_client_cert_details", "Sanitize"),
    ("health_status", "Unknown"),
    ("internal_redirect_action", "PassThroughInternalRedirect"),
    ("method", "MethodUnspecified"),
    (
        "path_with_escaped_slashes_action",
        "ImplementationSpecificDefault",
    ),
    ("priority", "Default"),
    ("protocol", "Tcp"),
    ("protocol_selection", "UseConfiguredProtocol"),
    ("server_header_transformation", "Overwrite"),
    ("traffic_direction", "Unspecified"),
    ("trust_chain_verification", "VerifyTrustChain"),
];

/// Messages without fields, which look like words.
const EMPTY_MESSAGES: [&str; 4] = [
    "AggregatedConfigSource",
    "Cors",
    "GoogleRe2",
    "LocalityWeightedLbConfig",
];

/// The content of an `Any`.
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Bytes(bytes) => bytes.clone(),
        Value::List(items) => items
            .iter()
            .map(|item| match item {
                Value::Word(byte) => byte.parse().unwrap(),
                other => panic!("{other:?}"),
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

/// `TypedConfig` → `typed_config`.
fn snake(variant: &str) -> String {
    let mut snake = String::new();
    for (i, c) in variant.char_indices() {
        if c.is_uppercase() && i > 0 {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

/// The configuration of a filter is JSON in a text.
fn json_or_text(text: &str) -> Yaml {
    match serde_json::from_str(text) {
        Ok(json @ serde_json::Value::Object(_)) => json_yaml(&json),
        _ => Yaml::Scalar(quoted(text)),
    }
}

fn json_yaml(json: &serde_json::Value) -> Yaml {
    match json {
        serde_json::Value::Array(items) => Yaml::List(items.iter().map(json_yaml).collect()),
        serde_json::Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            let fields = fields.into_iter().map(|(k, v)| (k.clone(), json_yaml(v)));
            Yaml::Map(fields.collect())
        }
        serde_json::Value::String(text) => Yaml::Scalar(quoted(text)),
        scalar => Yaml::Scalar(scalar.to_string()),
    }
}

/// A text as a YAML scalar: plain if it is a simple word, else in quotes.
pub(crate) fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let needs_escapes = text.contains(|c: char| c == '\'' || c.is_control());
    match text {
        word if is_word && word.chars().all(is_plain) => word.to_owned(),
        text if text.contains('"') && !needs_escapes => format!("'{text}'"),
        text => format!("{text:?}"),
    }
}

fn write(yaml: &Yaml, indent: usize, out: &mut String) {
    let pad = "  ".repeat(indent);
    match yaml {
        Yaml::Scalar(text) => out.push_str(&format!("{pad}{text}\n")),
        Yaml::List(items) => {
            for item in items {
                let mut text = String::new();
                write(item, indent + 1, &mut text);
                out.push_str(&format!("{pad}- {}", &text[pad.len() + 2..]));
            }
        }
        Yaml::Map(entries) if entries.is_empty() => out.push_str(&format!("{pad}{{}}\n")),
        Yaml::Map(entries) => {
            for (key, value) in entries {
                match value {
                    Yaml::Scalar(text) => out.push_str(&format!("{pad}{key}: {text}\n")),
                    Yaml::List(items) if items.is_empty() => {
                        out.push_str(&format!("{pad}{key}: []\n"));
                    }
                    Yaml::Map(inner) if inner.is_empty() => {
                        out.push_str(&format!("{pad}{key}: {{}}\n"));
                    }
                    inner => {
                        out.push_str(&format!("{pad}{key}:\n"));
                        write(inner, indent + 1, out);
                    }
                }
            }
        }
    }
}
