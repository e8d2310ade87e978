//! The listener: one HTTP connection manager with routes by RDS and Headgate's filter by ECDS; with HTTP/3, another one on the UDP
//! port of the same number.
//!
//! Invariant: it depends on settings only, so no edit of an object sends a listener.

use envoy_types::pb::envoy::config::accesslog::v3::access_log_filter::FilterSpecifier;
use envoy_types::pb::envoy::config::accesslog::v3::{
    AccessLog, AccessLogFilter, ResponseFlagFilter,
};
use envoy_types::pb::envoy::config::accesslog::v3::access_log::ConfigType as LogConfig;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::substitution_format_string::Format;
use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::socket_address::Protocol;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType as SocketConfig;
use envoy_types::pb::envoy::config::core::v3::{
    DataSource, ExtensionConfigSource, Http2ProtocolOptions, Http3ProtocolOptions,
    QuicProtocolOptions, SubstitutionFormatString, TransportSocket,
};
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener, UdpListenerConfig};
use envoy_types::pb::envoy::extensions::access_loggers::file::v3::FileAccessLog;
use envoy_types::pb::envoy::extensions::access_loggers::file::v3::file_access_log::AccessLogFormat;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType as HttpConfig;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    CodecType, RouteSpecifier, UpgradeConfig,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, LocalReplyConfig, Rds, ResponseMapper,
};
use envoy_types::pb::envoy::extensions::transport_sockets::quic::v3::QuicDownstreamTransport;
use envoy_types::pb::google::protobuf::{Any, BoolValue};
use envoy_types::util::pack_any;
use headgate_contract::names;
use headgate_xds::{Kind, Resource};
use prost::Name;
use serde_json::Value;

use crate::actions::{unauthenticated, unknown_model};
use crate::cors;
use crate::jwt;
use crate::listener_filters;
use crate::listener_tls::{self, Http3, ListenerTls};
use crate::proto::{ads, duration, socket, uint};
use crate::scope::{Options, ScopeSpec};

/// Access log format: one line per request. Tags come from the filter state.
const LOG_FORMAT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% ",
    "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %DURATION%ms ",
    "model=%FILTER_STATE(wasm.headgate.model:PLAIN)% version=%FILTER_STATE(wasm.headgate.version:PLAIN)% ",
    "tenant=%FILTER_STATE(wasm.headgate.tenant:PLAIN)% lane=%FILTER_STATE(wasm.headgate.lane:PLAIN)% ",
    "rule=%FILTER_STATE(wasm.headgate.rule:PLAIN)% reason=%FILTER_STATE(wasm.headgate.reason:PLAIN)% ",
    "cluster=%UPSTREAM_CLUSTER_RAW% request=%REQ(X-REQUEST-ID)%\n"
);

/// The listeners of a scope, and the secrets that they need.
pub(crate) fn all(scope: &ScopeSpec, options: &Options) -> Vec<Resource> {
    let tls = options.listener_tls.as_ref();
    let mut resources = tls.map(listener_tls::secrets).unwrap_or_default();
    resources.push(tcp(scope, options));
    if let Some(tls) = tls.filter(|tls| http3(tls, scope).is_some()) {
        resources.push(quic(tls, scope, options));
    }
    resources
}

/// HTTP/3 of a listener, where its proxies can make the same demands over QUIC.
fn http3(tls: &ListenerTls, scope: &ScopeSpec) -> Option<Http3> {
    tls.http3.filter(|_| scope.asks_over_quic || !tls.asks())
}

fn tcp(scope: &ScopeSpec, options: &Options) -> Resource {
    let mut manager = connection_manager(scope, options);
    let mut transport = None;
    if let Some(tls) = &options.listener_tls {
        let context = listener_tls::context(tls, &["h2", "http/1.1"]);
        transport = Some(transport_socket("tls", pack_any(context)));
        if let Some(http3) = http3(tls, scope) {
            // First, so that replies of every other filter have the header.
            let offer = listener_filters::alt_svc(http3, scope.listen.port());
            manager.http_filters.insert(0, offer);
        }
    }
    let message = Listener {
        name: names::LISTENER.to_owned(),
        address: Some(socket(&scope.listen)),
        filter_chains: vec![chain(manager, transport)],
        ..base(options)
    };
    Resource::encode(Kind::Listener, names::LISTENER, &message)
}

fn quic(tls: &ListenerTls, scope: &ScopeSpec, options: &Options) -> Resource {
    let manager = HttpConnectionManager {
        codec_type: CodecType::Http3 as i32,
        http3_protocol_options: Some(Http3ProtocolOptions {
            quic_protocol_options: Some(QuicProtocolOptions {
                // Envoy allows at most 16 and 24 MiB.
                initial_stream_window_size: uint(buffers(options).clamp(65_536, 16 << 20)),
                initial_connection_window_size: uint(buffers(options).clamp(65_536, 24 << 20)),
                ..QuicProtocolOptions::default()
            }),
            ..Http3ProtocolOptions::default()
        }),
        ..connection_manager(scope, options)
    };
    let context = QuicDownstreamTransport {
        downstream_tls_context: Some(listener_tls::context(tls, &[])),
        // A request in the first flight could be replayed.
        enable_early_data: Some(BoolValue { value: false }),
        enable_resumption: Some(BoolValue { value: !tls.asks() }),
    };
    let mut address = socket(&scope.listen);
    if let Some(AddressKind::SocketAddress(socket)) = &mut address.address {
        socket.protocol = Protocol::Udp as i32;
    }
    let message = Listener {
        name: names::LISTENER_HTTP3.to_owned(),
        address: Some(address),
        udp_listener_config: Some(UdpListenerConfig {
            quic_options: Some(Default::default()),
            ..UdpListenerConfig::default()
        }),
        filter_chains: vec![chain(
            manager,
            Some(transport_socket("quic", pack_any(context))),
        )],
        ..base(options)
    };
    Resource::encode(Kind::Listener, names::LISTENER_HTTP3, &message)
}

fn base(options: &Options) -> Listener {
    Listener {
        // The filter must reach its body limit before Envoy does, because Envoy answers with a plain 413.
        per_connection_buffer_limit_bytes: uint(buffers(options)),
        ..Listener::default()
    }
}

fn chain(manager: HttpConnectionManager, transport: Option<TransportSocket>) -> FilterChain {
    FilterChain {
        filters: vec![Filter {
            name: "http".to_owned(),
            config_type: Some(ConfigType::TypedConfig(pack_any(manager))),
        }],
        transport_socket: transport,
        ..FilterChain::default()
    }
}

fn transport_socket(name: &str, config: Any) -> TransportSocket {
    TransportSocket {
        name: format!("envoy.transport_sockets.{name}"),
        config_type: Some(SocketConfig::TypedConfig(config)),
    }
}

fn buffers(options: &Options) -> u32 {
    options.max_body_bytes.saturating_mul(2)
}

fn connection_manager(scope: &ScopeSpec, options: &Options) -> HttpConnectionManager {
    // HTTP/2 windows are between 64 KiB - 1 and 2^31 - 1 bytes.
    let window = buffers(options).clamp(65_535, i32::MAX.unsigned_abs());
    let tls = options.listener_tls.as_ref();
    let client_certificates = tls
        .filter(|tls| tls.asks())
        .map(listener_filters::client_certificates);
    // A preflight request of a browser is answered before anything is demanded of it. A token is demanded before Headgate's filter, which
    // may take the tenant from it.
    let filters = [Some(cors::filter()), client_certificates, Some(jwt::slot())];
    let filters = filters.into_iter().flatten();
    HttpConnectionManager {
        stat_prefix: names::LISTENER.to_owned(),
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(ads()),
            route_config_name: names::ROUTE_CONFIG.to_owned(),
        })),
        http_filters: filters.chain([filter(scope), router()]).collect(),
        http2_protocol_options: Some(Http2ProtocolOptions {
            initial_stream_window_size: uint(window),
            initial_connection_window_size: uint(window),
            ..Http2ProtocolOptions::default()
        }),
        // For realtime sessions, which begin as a request to a model.
        upgrade_configs: vec![UpgradeConfig {
            upgrade_type: "websocket".to_owned(),
            ..UpgradeConfig::default()
        }],
        local_reply_config: Some(local_replies()),
        access_log: options.access_log.iter().map(|p| access_log(p)).collect(),
        use_remote_address: Some(BoolValue { value: true }),
        // The filter must classify the path that the model server gets.
        normalize_path: Some(BoolValue { value: true }),
        merge_slashes: true,
        request_headers_timeout: Some(duration(std::time::Duration::from_secs(10))),
        request_timeout: Some(duration(options.request_timeout)),
        stream_idle_timeout: Some(duration(options.idle_timeout)),
        ..HttpConnectionManager::default()
    }
}

/// Local replies with a body of the API: a request to the [missing cluster](crate::actions::missing_cluster) gets the same one as from the
/// routes, and one that `jwt_authn` refuses gets Envoy's reason in it.
fn local_replies() -> LocalReplyConfig {
    let no_cluster = AccessLogFilter {
        filter_specifier: Some(FilterSpecifier::ResponseFlagFilter(ResponseFlagFilter {
            flags: vec!["NC".to_owned()],
        })),
    };
    LocalReplyConfig {
        mappers: vec![
            mapper(no_cluster, &unknown_model()),
            mapper(jwt::refusals(), &unauthenticated("%LOCAL_REPLY_BODY%")),
        ],
        ..LocalReplyConfig::default()
    }
}

fn mapper(filter: AccessLogFilter, body: &Value) -> ResponseMapper {
    ResponseMapper {
        filter: Some(filter),
        body_format_override: Some(SubstitutionFormatString {
            content_type: "application/json".to_owned(),
            format: Some(text(&body.to_string())),
            ..SubstitutionFormatString::default()
        }),
        ..ResponseMapper::default()
    }
}

fn text(format: &str) -> Format {
    Format::TextFormatSource(DataSource {
        specifier: Some(Specifier::InlineString(format.to_owned())),
        ..DataSource::default()
    })
}

fn filter(scope: &ScopeSpec) -> HttpFilter {
    HttpFilter {
        name: scope.filter().to_owned(),
        config_type: Some(HttpConfig::ConfigDiscovery(ExtensionConfigSource {
            config_source: Some(ads()),
            type_urls: vec![Wasm::type_url()],
            ..ExtensionConfigSource::default()
        })),
        ..HttpFilter::default()
    }
}

fn router() -> HttpFilter {
    HttpFilter {
        name: "router".to_owned(),
        config_type: Some(HttpConfig::TypedConfig(pack_any(Router::default()))),
        ..HttpFilter::default()
    }
}

fn access_log(path: &str) -> AccessLog {
    AccessLog {
        name: "file".to_owned(),
        config_type: Some(LogConfig::TypedConfig(pack_any(FileAccessLog {
            path: path.to_owned(),
            access_log_format: Some(AccessLogFormat::LogFormat(SubstitutionFormatString {
                format: Some(text(LOG_FORMAT)),
                ..SubstitutionFormatString::default()
            })),
        }))),
        ..AccessLog::default()
    }
}
