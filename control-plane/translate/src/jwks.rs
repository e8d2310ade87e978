//! Clusters from which proxies fetch the keys of issuers: one for each scheme, host and port.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CustomClusterType, DiscoveryType,
};
use envoy_types::pb::envoy::config::core::v3::TransportSocket;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::google::protobuf::BoolValue;
use envoy_types::util::pack_any;
use headgate_contract::{Jwks, JwksUri, names};
use headgate_model::{Address, Tls};
use headgate_xds::{Kind, OriginObject, Resource};

use crate::clusters::{cluster, dns_cluster};
use crate::proto::tcp;
use crate::provenance;
use crate::scope::Options;
use crate::tls;
use crate::view::Accepted;

/// The name of the cluster for an address: `jwks/https/login.example.com:443`.
pub(crate) fn cluster_name(uri: &JwksUri) -> String {
    let scheme = if uri.tls() { "https" } else { "http" };
    let address = address(uri);
    format!("{}{scheme}/{address}", names::JWKS_CLUSTER_PREFIX)
}

/// The clusters for the accepted issuers of a scope. `policies`: those that the issuers come from.
pub(crate) fn clusters(
    accepted: &Accepted<'_>,
    policies: &[Arc<OriginObject>],
    options: &Options,
) -> Vec<Resource> {
    let tokens = accepted.values().filter_map(|view| view.authentication);
    let mut clusters: BTreeMap<String, (&JwksUri, Vec<Arc<OriginObject>>)> = BTreeMap::new();
    for provider in tokens.flat_map(|tokens| &tokens.providers) {
        if let Jwks::Remote { uri, .. } = &provider.jwt.jwks {
            let entry = clusters.entry(cluster_name(uri));
            let (_, origin) = entry.or_insert_with(|| (uri, Vec::new()));
            let own = |object: &&Arc<OriginObject>| {
                format!("{}/{}", object.namespace, object.name) == provider.policy
            };
            origin.extend(policies.iter().filter(own).cloned());
        }
    }
    let clusters = clusters.into_iter().map(|(name, (uri, origin))| {
        let message = of(&name, uri, options);
        let resource = Resource::encode(Kind::Cluster, name, &message);
        resource.with_origin(provenance::sorted(origin))
    });
    clusters.collect()
}

fn of(name: &str, uri: &JwksUri, options: &Options) -> Cluster {
    let address = address(uri);
    let discovery = match &address {
        Address::Ip(_) => ClusterDiscoveryType::Type(DiscoveryType::Static as i32),
        Address::Name { .. } => ClusterDiscoveryType::ClusterType(CustomClusterType {
            name: "envoy.cluster.dns".to_owned(),
            typed_config: Some(pack_any(dns_cluster())),
        }),
    };
    let endpoint = LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
            address: Some(tcp(uri.host().to_owned(), uri.port())),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    };
    Cluster {
        cluster_discovery_type: Some(discovery),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: name.to_owned(),
            endpoints: vec![LocalityLbEndpoints {
                lb_endpoints: vec![endpoint],
                ..LocalityLbEndpoints::default()
            }],
            ..ClusterLoadAssignment::default()
        }),
        transport_socket: uri.tls().then(|| socket(address, options)),
        // A name that does not resolve must not hold up the clusters of models.
        wait_for_warm_on_init: Some(BoolValue { value: false }),
        ..cluster(name, options)
    }
}

fn socket(address: Address, options: &Options) -> TransportSocket {
    let sni = match &address {
        Address::Name { host, .. } => Some(host.clone()),
        Address::Ip(_) => None,
    };
    let settings = Tls { sni, san: None };
    let context = tls::context(&settings, &[address].into(), &[], &options.upstream_ca);
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack_any(context))),
    }
}

fn address(uri: &JwksUri) -> Address {
    let port = uri.port();
    match uri.host().parse::<IpAddr>() {
        Ok(ip) => Address::Ip(SocketAddr::new(ip, port)),
        Err(_) => Address::Name {
            host: uri.host().to_owned(),
            port,
        },
    }
}
