//! Endpoints: of a variant as they are, of a model one locality per version, weighted by the plan.

use std::net::SocketAddr;

use envoy_types::pb::envoy::config::core::v3::address::Address as Kind_;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, Locality, SocketAddress};
use envoy_types::pb::envoy::config::endpoint::v3::Endpoint;
use envoy_types::pb::google::protobuf::UInt32Value;
use headgate_contract::names;
use headgate_model::{self as model, PlannedModel, PlannedVariant};
use headgate_xds::{Kind, Resource};

use crate::ordered::{LbEndpoint, LoadAssignment, LocalityEndpoints, Metadata};

/// Metadata namespace of Envoy's `transport_socket_matches`.
const SOCKET_MATCH: &str = "envoy.transport_socket_match";

/// Whether an endpoint of any version has a DNS name. If so, the model's own cluster also resolves names, and has its endpoints
/// and weights inline.
pub(crate) fn any_by_name(planned: &PlannedModel) -> bool {
    planned.variants.values().any(|v| v.upstream.by_name)
}

/// The EDS resources of a model: of its own cluster and of each variant's. A cluster that resolves names has none, as its endpoints
/// are inline.
pub(crate) fn of_model(namespace: &str, model: &str, planned: &PlannedModel) -> Vec<Resource> {
    let mut resources = Vec::new();
    if !any_by_name(planned) {
        resources.push(resource(of_all(namespace, model, planned)));
    }
    for (version, variant) in &planned.variants {
        if !variant.upstream.by_name {
            resources.push(resource(of_version(
                namespace,
                model,
                version.as_str(),
                variant,
            )));
        }
    }
    resources
}

/// The endpoints of a model's own cluster.
pub(crate) fn of_all(namespace: &str, model: &str, planned: &PlannedModel) -> LoadAssignment {
    let variants = planned.variants.iter();
    let serving = variants.filter(|(_, v)| v.share > 0 && !v.endpoints.is_empty());
    LoadAssignment {
        cluster_name: names::model_cluster(namespace, model),
        endpoints: serving
            .map(|(version, v)| {
                let metadata = metadata(version.as_str());
                let metadata = match v.upstream.tls {
                    Some(_) => metadata.also_as(SOCKET_MATCH),
                    None => metadata,
                };
                locality(version.as_str(), v.share, v, &metadata)
            })
            .collect(),
    }
}

/// The endpoints of a variant's cluster.
pub(crate) fn of_version(
    namespace: &str,
    model: &str,
    version: &str,
    variant: &PlannedVariant,
) -> LoadAssignment {
    let some = !variant.endpoints.is_empty();
    LoadAssignment {
        cluster_name: names::variant_cluster(namespace, model, version),
        endpoints: some
            .then(|| locality(version, 1, variant, &metadata(version)))
            .into_iter()
            .collect(),
    }
}

fn resource(assignment: LoadAssignment) -> Resource {
    let name = assignment.cluster_name.clone();
    let resource = Resource::encode(Kind::Endpoints, name, &assignment);
    // The filters stop sending sessions there first.
    if assignment.endpoints.is_empty() {
        resource.after_routes()
    } else {
        resource
    }
}

fn metadata(version: &str) -> Metadata {
    Metadata::ours([(names::METADATA_VERSION, version)])
}

fn locality(
    version: &str,
    weight: u32,
    variant: &PlannedVariant,
    metadata: &Metadata,
) -> LocalityEndpoints {
    let endpoint = |address| LbEndpoint {
        endpoint: Some(endpoint(address)),
        metadata: Some(metadata.clone()),
    };
    LocalityEndpoints {
        locality: Some(Locality {
            sub_zone: version.to_owned(),
            ..Locality::default()
        }),
        load_balancing_weight: Some(UInt32Value { value: weight }),
        lb_endpoints: variant.endpoints.iter().map(endpoint).collect(),
    }
}

fn endpoint(address: &model::Address) -> Endpoint {
    let (address, hostname) = match address {
        model::Address::Ip(address) => (socket(address), String::new()),
        model::Address::Name { host, port } => (tcp(host.clone(), *port), host.clone()),
    };
    Endpoint {
        address: Some(address),
        hostname,
        ..Endpoint::default()
    }
}

/// A TCP address.
pub(crate) fn socket(address: &SocketAddr) -> Address {
    tcp(address.ip().to_string(), address.port())
}

fn tcp(address: String, port: u16) -> Address {
    Address {
        address: Some(Kind_::SocketAddress(SocketAddress {
            address,
            port_specifier: Some(PortSpecifier::PortValue(u32::from(port))),
            ..SocketAddress::default()
        })),
    }
}
