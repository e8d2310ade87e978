//! Endpoints: of a variant as they are, of a model one locality per version, weighted by the plan.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use envoy_types::pb::envoy::config::core::v3::address::Address as Kind_;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, Locality, Metadata, SocketAddress};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::google::protobuf::{Struct, UInt32Value, Value, value};
use headgate_contract::names;
use headgate_model::PlannedModel;
use headgate_xds::{Kind, Resource};

/// The endpoint resources of a model: its own cluster's and each variant's.
pub(crate) fn of_model(namespace: &str, model: &str, planned: &PlannedModel) -> Vec<Resource> {
    let weighted = planned
        .variants
        .iter()
        .filter(|(_, v)| v.share > 0 && !v.endpoints.is_empty())
        .map(|(version, v)| locality(version.as_str(), v.share, &v.endpoints))
        .collect();
    let mut resources = vec![assignment(names::model_cluster(namespace, model), weighted)];
    for (version, variant) in &planned.variants {
        let localities = if variant.endpoints.is_empty() {
            Vec::new()
        } else {
            vec![locality(version.as_str(), 1, &variant.endpoints)]
        };
        resources.push(assignment(
            names::variant_cluster(namespace, model, version.as_str()),
            localities,
        ));
    }
    resources
}

fn assignment(cluster: String, endpoints: Vec<LocalityLbEndpoints>) -> Resource {
    let none_left = endpoints.is_empty();
    let message = ClusterLoadAssignment {
        cluster_name: cluster.clone(),
        endpoints,
        ..ClusterLoadAssignment::default()
    };
    let resource = Resource::encode(Kind::Endpoints, cluster, &message);
    // The filters stop sending sessions there first.
    if none_left {
        resource.yielding()
    } else {
        resource
    }
}

fn locality(version: &str, weight: u32, addresses: &BTreeSet<SocketAddr>) -> LocalityLbEndpoints {
    LocalityLbEndpoints {
        locality: Some(Locality {
            sub_zone: version.to_owned(),
            ..Locality::default()
        }),
        load_balancing_weight: Some(UInt32Value { value: weight }),
        lb_endpoints: addresses.iter().map(|a| endpoint(version, a)).collect(),
        ..LocalityLbEndpoints::default()
    }
}

fn endpoint(version: &str, address: &SocketAddr) -> LbEndpoint {
    LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
            address: Some(socket(address)),
            ..Endpoint::default()
        })),
        metadata: Some(Metadata {
            // One entry each: the order of a hash map cannot show.
            filter_metadata: [(
                names::METADATA.to_owned(),
                Struct {
                    fields: [(
                        names::METADATA_VERSION.to_owned(),
                        Value {
                            kind: Some(value::Kind::StringValue(version.to_owned())),
                        },
                    )]
                    .into(),
                },
            )]
            .into(),
            ..Metadata::default()
        }),
        ..LbEndpoint::default()
    }
}

/// A TCP address.
pub(crate) fn socket(address: &SocketAddr) -> Address {
    Address {
        address: Some(Kind_::SocketAddress(SocketAddress {
            address: address.ip().to_string(),
            port_specifier: Some(PortSpecifier::PortValue(u32::from(address.port()))),
            ..SocketAddress::default()
        })),
    }
}
