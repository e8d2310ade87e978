//! A carrier as a service mesh sees it: how its pods are selected, and by which Services clients reach them.

use std::collections::BTreeSet;

use headgate_model::ports::{ServicePort, TargetPort, serves};
use headgate_model::{CarrierKey, CarrierMesh, MeshPort, MeshService};

use super::identity::{Key, Labels, Name};
use super::objects::{Body, Object};
use super::pod_use::ServingPods;
use super::selectors::selects;
use super::store::Store;
use headgate_kubernetes::WatchedKind;

/// Protocols that Istio does not read as HTTP, as the prefix of a port's name or as `appProtocol`.
const NOT_HTTP: [&str; 7] = ["tcp", "tls", "https", "mongo", "mysql", "redis", "udp"];

/// Labels that name one pod, or the generation of its owner. Subsets of versions do not need them.
const OF_ONE_POD: [&str; 4] = [
    "apps.kubernetes.io/pod-index",
    "controller-revision-hash",
    "pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
];

/// A pod that serves: its labels, its named ports and its serving port.
struct Server<'a> {
    labels: &'a Labels,
    object: &'a Object,
    port: u16,
}

impl Store {
    /// The pods and Services of a carrier.
    pub(super) fn mesh_of(
        &self,
        key: &CarrierKey,
        object: &Object,
        serving_pods: &ServingPods<'_>,
    ) -> CarrierMesh {
        let servers = serving_pods.chosen.iter().filter_map(|(pod, chosen)| {
            let object = self.objects.get(*pod)?;
            Some(Server {
                labels: &object.meta.labels,
                object,
                port: chosen.number,
            })
        });
        let servers: Vec<Server<'_>> = servers.collect();
        let selector = match &object.body {
            Body::Owner { selector, .. } | Body::Service { selector, .. } => selector.clone(),
            Body::Pod { .. } | Body::Pool { .. } => Labels::new(),
        };
        let template = object.pod_labels().filter(|_| servers.is_empty());
        let labels = servers.iter().map(|server| server.labels).chain(template);
        let labels: Vec<&Labels> = labels.collect();
        let mut names: BTreeSet<Name> = labels
            .iter()
            .flat_map(|labels| self.services_selecting(&key.namespace, labels))
            .collect();
        // istiod knows the endpoints of a Service without pods by its EndpointSlices.
        if servers.is_empty() && matches!(object.body, Body::Service { .. }) {
            names.insert(Name {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
            });
        }
        let services = names.iter().filter_map(|name| {
            let service = self.objects.get(&(WatchedKind::Services, name.clone()))?;
            service_of(name, service, &servers)
        });
        CarrierMesh {
            selector,
            pods: labels.into_iter().map(of_all_pods).collect(),
            labels_model: !servers.is_empty()
                && servers
                    .iter()
                    .all(|server| server.labels.contains_key(&self.keys.model)),
            services: services.collect(),
        }
    }

    /// Every Service of a namespace that selects these labels.
    fn services_selecting(&self, namespace: &str, labels: &Labels) -> BTreeSet<Name> {
        let (mut services, _) = self.groups.selecting(namespace, labels);
        services.extend(self.selectors.matching(namespace, labels));
        services.retain(|name| {
            let key: Key = (WatchedKind::Services, name.clone());
            self.objects
                .get(&key)
                .is_some_and(|service| !service.meta.terminating)
        });
        services
    }
}

/// The labels that pods of one template share.
fn of_all_pods(labels: &Labels) -> Labels {
    let mut shared = labels.clone();
    shared.retain(|key, _| !OF_ONE_POD.contains(&key.as_str()));
    shared
}

fn service_of(name: &Name, service: &Object, servers: &[Server<'_>]) -> Option<MeshService> {
    let Body::Service {
        selector,
        ports,
        headless,
        ..
    } = &service.body
    else {
        return None;
    };
    let selected: Vec<&Server<'_>> = servers
        .iter()
        .filter(|server| selects(selector, server.labels))
        .collect();
    let ports = ports.iter().filter_map(|port| {
        let target = match servers.is_empty() {
            true => is_for_requests(port, ports)
                .then(|| number_of(&port.target).or(endpoint_port(selector, port)))
                .flatten(),
            false => selected
                .iter()
                .find(|server| leads_to(port, server))
                .map(|server| server.port),
        };
        Some(MeshPort {
            number: port.number,
            target: target?,
            http: is_http(port),
        })
    });
    Some(MeshService {
        name: name.name.clone(),
        ports: ports.collect(),
        headless: *headless,
        selects_all: selected.len() == servers.len(),
    })
}

/// Whether a port of a Service leads to the serving port of a pod.
fn leads_to(port: &ServicePort, server: &Server<'_>) -> bool {
    match &port.target {
        TargetPort::Number(number) => *number == server.port,
        TargetPort::Name(name) => {
            let ports = server.object.ports().iter();
            let mut named = ports.filter(|port| port.name == *name);
            named.any(|port| port.number == server.port)
        }
    }
}

/// Whether a port of a Service without pods is for requests, by its name or because it is the only one.
fn is_for_requests(port: &ServicePort, all: &[ServicePort]) -> bool {
    all.len() == 1 || serves(&port.name)
}

/// The port of a Service without a selector stands for that of its endpoints, which it finds by name.
fn endpoint_port(selector: &Labels, port: &ServicePort) -> Option<u16> {
    selector.is_empty().then_some(port.number)
}

fn number_of(target: &TargetPort) -> Option<u16> {
    match target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Name(_) => None,
    }
}

/// Whether Istio reads HTTP at a port: by its `appProtocol`, else by the prefix of its name; it detects the protocol of others.
fn is_http(port: &ServicePort) -> bool {
    let declared = match &port.app_protocol {
        Some(protocol) => protocol.rsplit('/').next(),
        None => port.name.split('-').next(),
    };
    declared.is_none_or(|protocol| !NOT_HTTP.contains(&protocol.to_ascii_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn istio_reads_http_unless_a_port_declares_another_protocol() {
        let port = |name: &str, app_protocol: Option<&str>| ServicePort {
            name: name.to_owned(),
            number: 80,
            target: TargetPort::Number(80),
            app_protocol: app_protocol.map(str::to_owned),
        };
        for (name, app_protocol, expected) in [
            ("", None, true),
            ("http", None, true),
            ("grpc-infer", None, true),
            ("tcp-http", None, false),
            ("https", None, false),
            ("tcp", Some("http"), true),
            ("http", Some("kubernetes.io/h2c"), true),
            ("http", Some("TLS"), false),
        ] {
            let port = port(name, app_protocol);
            assert_eq!(is_http(&port), expected, "{port:?}");
        }
    }
}
