//! Endpoints: those of a version, and those of a model with one locality per version, weighted by the plan.

use envoy_types::pb::envoy::config::core::v3::Locality;
use envoy_types::pb::envoy::config::endpoint::v3::Endpoint;
use headgate_contract::names;
use headgate_model::{Address, PlannedModel, PlannedVariant};
use headgate_xds::{Kind, Resource};

use crate::ordered::{LbEndpoint, LoadAssignment, LocalityEndpoints, Metadata};
use crate::proto::{socket, tcp, uint};

/// Metadata namespace of Envoy's `transport_socket_matches`.
const SOCKET_MATCH: &str = "envoy.transport_socket_match";

/// Whether an endpoint of any version has a DNS name. If so, the model's cluster also resolves names, and its endpoints and weights are
/// inline.
pub(crate) fn any_by_name(planned: &PlannedModel) -> bool {
    planned.variants.values().any(|v| v.upstream.by_name)
}

/// The EDS resources of a model: of its cluster and of the cluster of each version. A cluster that resolves names has none, because its
/// endpoints are inline.
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

/// The endpoints of a model's cluster.
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

/// The endpoints of a version's cluster.
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
    // Filters stop sending sessions there first.
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
        load_balancing_weight: uint(weight),
        lb_endpoints: variant.endpoints.iter().map(endpoint).collect(),
    }
}

fn endpoint(address: &Address) -> Endpoint {
    let (address, hostname) = match address {
        Address::Ip(address) => (socket(address), String::new()),
        Address::Name { host, port } => (tcp(host.clone(), *port), host.clone()),
    };
    Endpoint {
        address: Some(address),
        hostname,
        ..Endpoint::default()
    }
}
