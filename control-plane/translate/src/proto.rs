//! Protobuf values that several resources use.

use std::net::SocketAddr;

use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiVersion, ConfigSource, SocketAddress,
};
use envoy_types::pb::google::protobuf::{Duration, UInt32Value};

/// The aggregated stream (ADS), by which all resources come.
pub(crate) fn ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3 as i32,
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    }
}

/// A protobuf duration, saturating at the largest one.
pub(crate) fn duration(d: std::time::Duration) -> Duration {
    Duration {
        seconds: i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(d.subsec_nanos()).unwrap_or(0),
    }
}

/// A wrapped number.
#[allow(clippy::unnecessary_wraps)] // the type of the fields
pub(crate) fn uint(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

/// The TCP address of a listener. `[::]` also accepts IPv4, so that one address serves every cluster.
pub(crate) fn socket(address: &SocketAddr) -> Address {
    let mut message = tcp(address.ip().to_string(), address.port());
    if let Some(AddressKind::SocketAddress(socket)) = &mut message.address {
        socket.ipv4_compat = address.is_ipv6() && address.ip().is_unspecified();
    }
    message
}

/// A TCP address: an IP address or a DNS name, and a port.
pub(crate) fn tcp(address: String, port: u16) -> Address {
    Address {
        address: Some(AddressKind::SocketAddress(SocketAddress {
            address,
            port_specifier: Some(PortSpecifier::PortValue(u32::from(port))),
            ..SocketAddress::default()
        })),
    }
}
