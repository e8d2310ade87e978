//! One cluster for a model, over all its versions by weight, and one for each of its variants.

use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use envoy_types::pb::envoy::config::cluster::v3::cluster::common_lb_config::{
    LocalityConfigSpecifier, LocalityWeightedLbConfig,
};
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CommonLbConfig, DiscoveryType, EdsClusterConfig, LbPolicy,
};
use envoy_types::pb::envoy::config::cluster::v3::{CircuitBreakers, Cluster};
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::UInt32Value;
use headgate_contract::names;
use headgate_model::PlannedModel;
use headgate_xds::{Kind, Resource};
use prost::Message;

use crate::listener::{ads, duration};
use crate::ordered::{self, Metadata};
use crate::scope::Options;

/// Field number of `metadata` in `Cluster`.
const METADATA_TAG: u32 = 25;
/// How many concurrent connections and requests Envoy itself allows: limiting is the buckets' business.
const UNLIMITED: u32 = 1_000_000;

/// The clusters of a model.
pub(crate) fn of_model(
    namespace: &str,
    model: &str,
    planned: &PlannedModel,
    options: &Options,
) -> Vec<Resource> {
    let own = names::model_cluster(namespace, model);
    let mut clusters = vec![cluster(
        &own,
        true,
        &Metadata::ours([
            (names::METADATA_NAMESPACE, namespace),
            (names::METADATA_MODEL, model),
        ]),
        options,
    )];
    for version in planned.variants.keys() {
        let name = names::variant_cluster(namespace, model, version.as_str());
        let metadata = Metadata::ours([
            (names::METADATA_NAMESPACE, namespace),
            (names::METADATA_MODEL, model),
            (names::METADATA_VERSION, version.as_str()),
        ]);
        clusters.push(cluster(&name, false, &metadata, options));
    }
    clusters
}

fn cluster(name: &str, by_locality: bool, metadata: &Metadata, options: &Options) -> Resource {
    let cluster = Cluster {
        name: name.to_owned(),
        // The slash ends the name for the tag regexes: dots in versions break Envoy's default ones.
        alt_stat_name: format!("{name}/"),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds as i32)),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: Some(ads()),
            service_name: String::new(),
        }),
        connect_timeout: Some(duration(options.connect_timeout)),
        lb_policy: LbPolicy::LeastRequest as i32,
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![Thresholds {
                max_connections: limit(),
                max_pending_requests: limit(),
                max_requests: limit(),
                max_retries: limit(),
                ..Thresholds::default()
            }],
            ..CircuitBreakers::default()
        }),
        ignore_health_on_host_removal: true,
        common_lb_config: Some(CommonLbConfig {
            healthy_panic_threshold: Some(Percent { value: 0.0 }),
            locality_config_specifier: by_locality.then(|| {
                LocalityConfigSpecifier::LocalityWeightedLbConfig(
                    LocalityWeightedLbConfig::default(),
                )
            }),
            ..CommonLbConfig::default()
        }),
        ..Cluster::default()
    };
    let mut bytes = cluster.encode_to_vec();
    ordered::append(&mut bytes, METADATA_TAG, &metadata.encode_to_vec());
    Resource::new(Kind::Cluster, name, bytes)
}

#[allow(clippy::unnecessary_wraps)] // the field's type
fn limit() -> Option<UInt32Value> {
    Some(UInt32Value { value: UNLIMITED })
}
