//! Clusters: one for each model, with all its versions by weight, and one for each version.

use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use envoy_types::pb::envoy::config::cluster::v3::cluster::common_lb_config::{
    LocalityConfigSpecifier, LocalityWeightedLbConfig,
};
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CommonLbConfig, CustomClusterType, DiscoveryType, EdsClusterConfig,
    LbPolicy,
};
use envoy_types::pb::envoy::config::cluster::v3::{CircuitBreakers, Cluster};
use envoy_types::pb::envoy::extensions::clusters::common::dns::v3::DnsLookupFamily;
use envoy_types::pb::envoy::extensions::clusters::dns::v3::DnsCluster;
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::util::pack_any;
use headgate_contract::names;
use headgate_model::{PlannedModel, PlannedVariant, Upstream};
use headgate_xds::{Kind, Resource};
use prost::Message;

use crate::ordered::{self, LoadAssignment, Metadata};
use crate::proto::{ads, duration, uint};
use crate::scope::Options;
use crate::{endpoints, upstreams};

/// Field number of `metadata` in `Cluster`.
const METADATA_TAG: u32 = 25;
/// Field number of `load_assignment` in `Cluster`.
const LOAD_ASSIGNMENT_TAG: u32 = 33;
/// Limit of concurrent connections and requests of Envoy's circuit breakers. Buckets limit requests, not circuit breakers.
const UNLIMITED: u32 = 1_000_000;

/// The clusters of a model.
pub(crate) fn of_model(
    namespace: &str,
    model: &str,
    planned: &PlannedModel,
    options: &Options,
) -> Vec<Resource> {
    let mut clusters = vec![of_all(namespace, model, planned, options)];
    let variants = planned.variants.iter();
    clusters.extend(
        variants.map(|(version, v)| of_version(namespace, model, version.as_str(), v, options)),
    );
    clusters
}

/// The model's cluster, with all its versions.
fn of_all(namespace: &str, model: &str, planned: &PlannedModel, options: &Options) -> Resource {
    let name = names::model_cluster(namespace, model);
    let protocol = upstreams::protocol_of_all(planned);
    let mut cluster = Cluster {
        transport_socket_matches: upstreams::sockets_of_all(
            planned,
            protocol,
            &options.upstream_ca,
        ),
        typed_extension_protocol_options: upstreams::protocol_options(protocol, false),
        ..cluster(&name, options)
    };
    if let Some(common) = &mut cluster.common_lb_config {
        let weighted = LocalityWeightedLbConfig::default();
        common.locality_config_specifier =
            Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(weighted));
    }
    let metadata = Metadata::ours([
        (names::METADATA_NAMESPACE, namespace),
        (names::METADATA_MODEL, model),
    ]);
    let resolved =
        endpoints::any_by_name(planned).then(|| endpoints::of_all(namespace, model, planned));
    encode(cluster, &metadata, resolved)
}

/// The cluster of one version.
fn of_version(
    namespace: &str,
    model: &str,
    version: &str,
    variant: &PlannedVariant,
    options: &Options,
) -> Resource {
    let name = names::variant_cluster(namespace, model, version);
    let Upstream { protocol, tls, .. } = &variant.upstream;
    let cluster = Cluster {
        outlier_detection: Some(upstreams::outlier_detection()),
        health_checks: upstreams::health_checks(variant),
        transport_socket: upstreams::socket(variant, &options.upstream_ca),
        typed_extension_protocol_options: upstreams::protocol_options(*protocol, tls.is_some()),
        ..cluster(&name, options)
    };
    let metadata = Metadata::ours([
        (names::METADATA_NAMESPACE, namespace),
        (names::METADATA_MODEL, model),
        (names::METADATA_VERSION, version),
    ]);
    let resolved = variant
        .upstream
        .by_name
        .then(|| endpoints::of_version(namespace, model, version, variant));
    encode(cluster, &metadata, resolved)
}

/// The fields that all clusters have in common.
pub(crate) fn cluster(name: &str, options: &Options) -> Cluster {
    Cluster {
        name: name.to_owned(),
        // The slash ends the name for tag regexes: dots in versions break Envoy's default ones.
        alt_stat_name: format!("{name}/"),
        connect_timeout: Some(duration(options.connect_timeout)),
        lb_policy: LbPolicy::LeastRequest as i32,
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![Thresholds {
                max_connections: uint(UNLIMITED),
                max_pending_requests: uint(UNLIMITED),
                max_requests: uint(UNLIMITED),
                max_retries: uint(UNLIMITED),
                ..Thresholds::default()
            }],
            ..CircuitBreakers::default()
        }),
        ignore_health_on_host_removal: true,
        common_lb_config: Some(CommonLbConfig {
            healthy_panic_threshold: Some(Percent { value: 0.0 }),
            ..CommonLbConfig::default()
        }),
        ..Cluster::default()
    }
}

/// Encodes a cluster, with inline endpoints if some of them are DNS names, else with EDS.
fn encode(cluster: Cluster, metadata: &Metadata, resolved: Option<LoadAssignment>) -> Resource {
    let name = cluster.name.clone();
    let cluster = match resolved {
        None => Cluster {
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds as i32)),
            eds_cluster_config: Some(EdsClusterConfig {
                eds_config: Some(ads()),
                service_name: String::new(),
            }),
            ..cluster
        },
        Some(_) => Cluster {
            cluster_discovery_type: Some(ClusterDiscoveryType::ClusterType(CustomClusterType {
                name: "envoy.cluster.dns".to_owned(),
                typed_config: Some(pack_any(dns_cluster())),
            })),
            ..cluster
        },
    };
    let mut bytes = cluster.encode_to_vec();
    ordered::append(&mut bytes, METADATA_TAG, &metadata.encode_to_vec());
    if let Some(resolved) = resolved {
        ordered::append(&mut bytes, LOAD_ASSIGNMENT_TAG, &resolved.encode_to_vec());
    }
    Resource::new(Kind::Cluster, name, bytes)
}

/// Each address of a DNS name is an endpoint, as with `STRICT_DNS`.
pub(crate) fn dns_cluster() -> DnsCluster {
    DnsCluster {
        respect_dns_ttl: true,
        // Without IPv6 connectivity, half of the endpoints would be unreachable.
        dns_lookup_family: DnsLookupFamily::V4Preferred as i32,
        ..DnsCluster::default()
    }
}
