//! Upstream settings of a cluster: protocol, TLS, outlier detection, health checks.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::OutlierDetection;
use envoy_types::pb::envoy::config::cluster::v3::cluster::TransportSocketMatch;
use envoy_types::pb::envoy::config::core::v3::health_check::{
    GrpcHealthCheck, HealthChecker, HttpHealthCheck,
};
use envoy_types::pb::envoy::config::core::v3::{
    HealthCheck, Http1ProtocolOptions, Http2ProtocolOptions, TransportSocket, transport_socket,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    AutoHttpConfig, ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig,
    explicit_http_config::ProtocolConfig,
};
use envoy_types::pb::envoy::r#type::v3::CodecClientType;
use envoy_types::pb::google::protobuf::{Any, Struct, Value, value};
use envoy_types::util::pack_any;
use headgate_contract::names;
use headgate_model::{Address, PlannedModel, PlannedVariant, Protocol, Tls, Upstream};

use crate::proto::{duration, uint};
use crate::tls;

const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// Host header of an HTTP health check if no endpoint has a DNS name.
const HEALTH_CHECK_HOST: &str = "headgate";

/// Consecutive failures that eject an endpoint. Envoy's default: one lost connection is not enough.
const CONSECUTIVE_FAILURES: u32 = 5;
/// How often Envoy checks which ejected endpoints may return.
const EJECTION_SWEEP: Duration = Duration::from_secs(5);
/// Duration of the first ejection; each consecutive one is longer by the same amount.
const EJECTION: Duration = Duration::from_secs(10);
/// Longest ejection: the same limit as the filters have for whole versions.
const LONGEST_EJECTION: Duration = Duration::from_secs(300);

/// The protocol of a model's cluster, which has all versions.
///
/// A version with `client` accepts every protocol, so the others decide. If their protocols differ, the one with most sessions is used.
pub(crate) fn protocol_of_all(planned: &PlannedModel) -> Protocol {
    let share = |protocol: Protocol| {
        let variants = planned.variants.values();
        let variants =
            variants.filter(|v| v.upstream.protocol == protocol && v.total_endpoints > 0);
        variants.fold(None, |sum: Option<u32>, v| Some(sum.unwrap_or(0) + v.share))
    };
    match (share(Protocol::Http1), share(Protocol::Http2)) {
        (Some(one), Some(two)) if two > one => Protocol::Http2,
        (Some(_), _) => Protocol::Http1,
        (None, Some(_)) => Protocol::Http2,
        (None, None) if share(Protocol::Client).is_some() => Protocol::Client,
        (None, None) => Protocol::default(),
    }
}

/// `typed_extension_protocol_options` of a cluster; none for HTTP/1.1, which is Envoy's default.
///
/// It has one entry, so the order of the hash map does not matter.
pub(crate) fn protocol_options(protocol: Protocol, negotiated: bool) -> HashMap<String, Any> {
    let options = match protocol {
        Protocol::Http1 => return HashMap::new(),
        Protocol::Http2 => UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(http2())),
        }),
        // Over TLS, ALPN negotiates the protocol, so the server need not support the client's HTTP/2.
        Protocol::Client if negotiated => UpstreamProtocolOptions::AutoConfig(AutoHttpConfig {
            http_protocol_options: Some(Http1ProtocolOptions::default()),
            http2_protocol_options: Some(http2()),
            ..AutoHttpConfig::default()
        }),
        Protocol::Client => {
            UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
                http_protocol_options: Some(Http1ProtocolOptions::default()),
                http2_protocol_options: Some(http2()),
                ..UseDownstreamHttpConfig::default()
            })
        }
    };
    let options = HttpProtocolOptions {
        upstream_protocol_options: Some(options),
        ..HttpProtocolOptions::default()
    };
    HashMap::from([(HTTP_OPTIONS.to_owned(), pack_any(options))])
}

fn http2() -> Http2ProtocolOptions {
    Http2ProtocolOptions::default()
}

/// Outlier detection of a version's cluster: it ejects endpoints that are ready and do not answer.
///
/// The model's cluster has none: there, an ejection would move sessions between versions, which only the plan may do.
pub(crate) fn outlier_detection() -> OutlierDetection {
    let on = || uint(100);
    let off = || uint(0);
    OutlierDetection {
        // Local failures (connect, reset, timeout) count separately from responses of a server.
        split_external_local_origin_errors: true,
        consecutive_local_origin_failure: uint(CONSECUTIVE_FAILURES),
        enforcing_consecutive_local_origin_failure: on(),
        // 502, 503 and 504: the server cannot serve now.
        consecutive_gateway_failure: uint(CONSECUTIVE_FAILURES),
        enforcing_consecutive_gateway_failure: on(),
        // A prompt that causes a 500 must not eject the server for everyone.
        enforcing_consecutive_5xx: off(),
        // Success-rate ejection needs hundreds of requests in an interval; generations are few and long.
        enforcing_success_rate: off(),
        enforcing_local_origin_success_rate: off(),
        enforcing_failure_percentage: off(),
        enforcing_failure_percentage_local_origin: off(),
        // At most half of the endpoints, so never the only one: the rest could not carry the load. Filters avoid a version that does not
        // answer at all.
        max_ejection_percent: uint(50),
        interval: Some(duration(EJECTION_SWEEP)),
        base_ejection_time: Some(duration(EJECTION)),
        max_ejection_time: Some(duration(LONGEST_EJECTION)),
        ..OutlierDetection::default()
    }
}

/// The active health check of a version, if its carrier configures one.
pub(crate) fn health_checks(variant: &PlannedVariant) -> Vec<HealthCheck> {
    let upstream = &variant.upstream;
    let Some(check) = &upstream.health_check else {
        return Vec::new();
    };
    let seconds = |n| Some(duration(Duration::from_secs(n)));
    let checker = match check {
        headgate_model::HealthCheck::Grpc => {
            HealthChecker::GrpcHealthCheck(GrpcHealthCheck::default())
        }
        headgate_model::HealthCheck::Http(path) => {
            HealthChecker::HttpHealthCheck(HttpHealthCheck {
                // The default is the cluster's name, which has slashes and is not a valid host.
                host: health_check_host(variant),
                path: path.clone(),
                codec_client_type: match upstream.protocol {
                    Protocol::Http2 => CodecClientType::Http2 as i32,
                    Protocol::Http1 | Protocol::Client => CodecClientType::Http1 as i32,
                },
                ..HttpHealthCheck::default()
            })
        }
    };
    vec![HealthCheck {
        timeout: seconds(2),
        interval: seconds(5),
        interval_jitter: seconds(1),
        // The same interval without traffic: dark and held versions are checked as often as others.
        no_traffic_interval: seconds(5),
        // A busy model server may miss a check.
        unhealthy_threshold: uint(3),
        healthy_threshold: uint(1),
        health_checker: Some(checker),
        ..HealthCheck::default()
    }]
}

fn health_check_host(variant: &PlannedVariant) -> String {
    let sni = variant
        .upstream
        .tls
        .as_ref()
        .and_then(|tls| tls.sni.clone());
    let named = || {
        variant.endpoints.iter().find_map(|address| match address {
            Address::Name { host, .. } => Some(host.clone()),
            Address::Ip(_) => None,
        })
    };
    sni.or_else(named)
        .unwrap_or_else(|| HEALTH_CHECK_HOST.to_owned())
}

/// The transport socket of a version's cluster; none for plain TCP.
pub(crate) fn socket(variant: &PlannedVariant, ca: &str) -> Option<TransportSocket> {
    let Upstream { protocol, tls, .. } = &variant.upstream;
    let alpn: &[&str] = match protocol {
        Protocol::Http1 => &["http/1.1"],
        Protocol::Http2 => &["h2"],
        Protocol::Client => &["h2", "http/1.1"],
    };
    Some(transport(tls.as_ref()?, variant, alpn, ca))
}

/// The transport sockets of a model's cluster: one for each version with TLS, matched by endpoint metadata.
pub(crate) fn sockets_of_all(
    planned: &PlannedModel,
    protocol: Protocol,
    ca: &str,
) -> Vec<TransportSocketMatch> {
    let alpn: &[&str] = match protocol {
        Protocol::Http1 => &["http/1.1"],
        Protocol::Http2 => &["h2"],
        // The client chooses the protocol, so there is no ALPN.
        Protocol::Client => &[],
    };
    let variants = planned.variants.iter();
    let over_tls = variants.filter_map(|(version, v)| Some((version, v, v.upstream.tls.as_ref()?)));
    over_tls
        .map(|(version, variant, tls)| TransportSocketMatch {
            name: version.to_string(),
            r#match: Some(version_metadata(version.as_str())),
            transport_socket: Some(transport(tls, variant, alpn, ca)),
        })
        .collect()
}

fn version_metadata(version: &str) -> Struct {
    let text = Value {
        kind: Some(value::Kind::StringValue(version.to_owned())),
    };
    Struct {
        fields: [(names::METADATA_VERSION.to_owned(), text)].into(),
    }
}

fn transport(tls: &Tls, variant: &PlannedVariant, alpn: &[&str], ca: &str) -> TransportSocket {
    let context = tls::context(tls, &variant.endpoints, alpn, ca);
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(pack_any(context))),
    }
}
