//! The proxy of a pod: its container as Istio's injection template makes it, and its `Sidecar` object. Pure functions of the pod.
//!
//! Nothing redirects packets here (interception mode `NONE`), so the `Sidecar` object names each listener:
//!
//! | | listens on | goes to |
//! |---|---|---|
//! | inbound | the pod's address, each port of its containers | the pod's address, the port plus [`PORT_OFFSET`] |
//! | outbound | an address of its own, each port of the mesh's options | the Services with this port |

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::{Container, Pod, Volume};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::annotations;
use super::programs::{ENVOY, TEMPLATE};

/// Distance from a port of a pod to the port on which its program listens behind the sidecar.
pub(super) const PORT_OFFSET: u16 = 10_000;
/// Name of the container, as in every mesh.
pub(super) const CONTAINER: &str = "istio-proxy";
/// The label by which a `Sidecar` object selects one pod: its UID.
pub(super) const POD_LABEL: &str = "meshkit.headgate.dev/pod";
/// Asks for a gateway instead of a sidecar, as for Istio's own injector.
const TEMPLATES: &str = "inject.istio.io/templates";

/// The addresses of a proxy's listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyAddresses {
    /// The pod's address: inbound.
    pub pod: IpAddr,
    /// Outbound: programs of the pod send requests for a Service to this address and the Service's port.
    pub outbound: IpAddr,
    /// Envoy's admin interface.
    pub admin: SocketAddr,
    /// The agent's status.
    pub(super) status: u16,
    /// Envoy's readiness.
    pub(super) ready: u16,
    /// Envoy's metrics.
    pub(super) metrics: u16,
}

/// A port of Services that sidecars listen on; the name says the protocol, as that of a Service's port (`http`, `grpc-xds`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundPort {
    /// Number of the port.
    pub number: u16,
    /// Name of the port.
    pub name: String,
}

/// What a pod gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sidecar,
    Gateway,
}

/// Whether a pod gets a proxy: as Istio decides by the label of its namespace, its own label, and its annotation.
pub(super) fn kind(pod: &Pod, namespace: &BTreeMap<String, String>) -> Option<Kind> {
    let own = pod.labels().get("sidecar.istio.io/inject");
    let enabled = namespace.get("istio-injection");
    let wanted = match own.map(String::as_str) {
        Some(own) => own == "true",
        None => enabled.is_some_and(|enabled| enabled == "enabled"),
    };
    let gateway = pod
        .annotations()
        .get(TEMPLATES)
        .is_some_and(|templates| templates == "gateway");
    match (wanted, gateway) {
        (false, _) => None,
        (true, false) => Some(Kind::Sidecar),
        (true, true) => Some(Kind::Gateway),
    }
}

/// Adds the proxy to a pod. A gateway's own container becomes the proxy.
///
/// # Errors
/// The annotation that is not what Istio expects.
pub(super) fn inject(
    pod: &mut Pod,
    kind: Kind,
    istiod: SocketAddr,
    at: &ProxyAddresses,
) -> Result<(), String> {
    let mut proxy = container(pod, kind, istiod, at);
    let mut volumes: Vec<Volume> = volumes().collect();
    annotations::apply(pod, &mut proxy, &mut volumes)?;
    let Some(spec) = &mut pod.spec else {
        return Ok(());
    };
    spec.volumes.get_or_insert_default().extend(volumes);
    match kind {
        Kind::Sidecar => spec
            .init_containers
            .get_or_insert_default()
            .insert(0, proxy),
        Kind::Gateway => {
            for container in &mut spec.containers {
                if container.name == CONTAINER {
                    let own = std::mem::replace(container, proxy.clone());
                    container.ports = own.ports;
                    let mounts = container.volume_mounts.get_or_insert_default();
                    mounts.extend(own.volume_mounts.into_iter().flatten());
                    container
                        .env
                        .get_or_insert_default()
                        .extend(own.env.into_iter().flatten());
                }
            }
        }
    }
    Ok(())
}

fn container(pod: &Pod, kind: Kind, istiod: SocketAddr, at: &ProxyAddresses) -> Container {
    let config = json!({
        "discoveryAddress": istiod,
        "binaryPath": ENVOY,
        "configPath": "/etc/istio/proxy",
        "proxyBootstrapTemplatePath": TEMPLATE,
        "proxyAdminPort": at.admin.port(),
        "statusPort": at.status,
        "concurrency": 1,
        // Idle connections of clients need not be waited for.
        "terminationDrainDuration": "1s",
    });
    let role = match kind {
        Kind::Sidecar => "sidecar",
        Kind::Gateway => "router",
    };
    let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    let ready = json!({"host": "127.0.0.1", "path": "/healthz/ready", "port": at.ready});
    let namespace = pod.namespace().unwrap_or_default();
    let workload = workload(pod);
    let owner = format!("kubernetes://apis/apps/v1/namespaces/{namespace}/deployments/{workload}");
    let mut container = json!({
        "name": CONTAINER,
        "image": "istio/proxyv2",
        "args": [
            "proxy", role, "--domain", "$(POD_NAMESPACE).svc.cluster.local",
            "--proxyLogLevel=warning", "--log_output_level=default:info",
        ],
        "env": [
            {"name": "PILOT_CERT_PROVIDER", "value": "istiod"},
            {"name": "CA_ADDR", "value": istiod},
            {"name": "POD_NAME", "valueFrom": field("metadata.name")},
            {"name": "POD_NAMESPACE", "valueFrom": field("metadata.namespace")},
            {"name": "INSTANCE_IP", "valueFrom": field("status.podIP")},
            {"name": "HOST_IP", "valueFrom": field("status.hostIP")},
            {"name": "SERVICE_ACCOUNT", "value": account(pod)},
            {"name": "PROXY_CONFIG", "value": config.to_string()},
            {"name": "TRUST_DOMAIN", "value": "cluster.local"},
            {"name": "ENVOY_STATUS_PORT", "value": at.ready.to_string()},
            {"name": "ENVOY_PROMETHEUS_PORT", "value": at.metrics.to_string()},
            {"name": "ISTIO_META_CLUSTER_ID", "value": "Kubernetes"},
            {"name": "ISTIO_META_MESH_ID", "value": "cluster.local"},
            {"name": "ISTIO_META_INTERCEPTION_MODE", "value": "NONE"},
            {"name": "ISTIO_META_WORKLOAD_NAME", "value": workload},
            {"name": "ISTIO_META_OWNER", "value": owner},
        ],
        "startupProbe": {"httpGet": ready, "periodSeconds": 1, "failureThreshold": 600},
        "readinessProbe": {"httpGet": ready, "periodSeconds": 2, "timeoutSeconds": 3},
        "volumeMounts": VOLUMES.map(|(name, path, _)| json!({"name": name, "mountPath": path})),
        "securityContext": {"readOnlyRootFilesystem": true, "runAsUser": 1337, "runAsGroup": 1337},
    });
    if kind == Kind::Sidecar {
        container["restartPolicy"] = "Always".into();
    }
    // Written above, so it has the fields of a container.
    serde_json::from_value(container).unwrap_or_default()
}

/// Name, path in the container, and source of each volume of a proxy.
const VOLUMES: [(&str, &str, Source); 8] = [
    ("istio-token", "/var/run/secrets/tokens", Source::Token),
    (
        "istiod-ca-cert",
        "/var/run/secrets/istio",
        Source::Authority,
    ),
    ("istio-podinfo", "/etc/istio/pod", Source::Fields),
    ("istio-envoy", "/etc/istio/proxy", Source::Empty),
    ("istio-data", "/var/lib/istio/data", Source::Empty),
    (
        "workload-socket",
        "/var/run/secrets/workload-spiffe-uds",
        Source::Empty,
    ),
    (
        "credential-socket",
        "/var/run/secrets/credential-uds",
        Source::Empty,
    ),
    (
        "workload-certs",
        "/var/run/secrets/workload-spiffe-credentials",
        Source::Empty,
    ),
];

/// What a volume has.
#[derive(Debug, Clone, Copy)]
enum Source {
    Token,
    Authority,
    Fields,
    Empty,
}

fn volumes() -> impl Iterator<Item = Volume> {
    VOLUMES.into_iter().map(|(name, _, source)| {
        let field = |name: &str| {
            json!({"path": name, "fieldRef": {"fieldPath": format!("metadata.{name}")}})
        };
        let token = json!({"audience": "istio-ca", "expirationSeconds": 43200, "path": "istio-token"});
        let (kind, content) = match source {
            Source::Token => ("projected", json!({"sources": [{"serviceAccountToken": token}]})),
            Source::Authority => ("configMap", json!({"name": "istio-ca-root-cert"})),
            Source::Fields => ("downwardAPI", json!({"items": [field("labels"), field("annotations")]})),
            Source::Empty => ("emptyDir", json!({})),
        };
        // Written above, so it has the fields of a volume.
        serde_json::from_value(json!({"name": name, kind: content})).unwrap_or_default()
    })
}

/// The `Sidecar` object of a pod: it names the addresses of all listeners.
pub(super) fn sidecar_object(pod: &Pod, at: &ProxyAddresses, outbound: &[OutboundPort]) -> Value {
    let ports = container_ports(pod);
    let ingress: Vec<Value> = ports
        .iter()
        .map(|(name, number)| {
            json!({
                "port": {"number": number, "protocol": protocol(name), "name": name},
                "bind": at.pod,
                "captureMode": "NONE",
                // Istio's word for the address of the pod.
                "defaultEndpoint": format!("0.0.0.0:{}", number + PORT_OFFSET),
            })
        })
        .collect();
    let egress: Vec<Value> = outbound
        .iter()
        .map(|port| {
            json!({
                "port": {
                    "number": port.number,
                    "protocol": protocol(&port.name),
                    "name": port.name,
                },
                "bind": at.outbound,
                "captureMode": "NONE",
                "hosts": ["*/*"],
            })
        })
        .collect();
    let uid = pod.uid().unwrap_or_default();
    let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": pod.name_any(), "uid": uid});
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "Sidecar",
        "metadata": {
            "name": pod.name_any(),
            "namespace": pod.namespace(),
            "ownerReferences": [owner],
        },
        "spec": {
            "workloadSelector": {"labels": {POD_LABEL: uid}},
            "ingress": ingress,
            "egress": egress,
        },
    })
}

/// Name and number of each port of the pod's containers that a sidecar can have.
pub(super) fn container_ports(pod: &Pod) -> Vec<(String, u16)> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let number = u16::try_from(port.container_port).ok()?;
            number.checked_add(PORT_OFFSET)?;
            let name = port.name.clone().unwrap_or_else(|| format!("tcp-{number}"));
            Some((name, number))
        })
        .collect()
}

/// The protocol that the name of a port says.
fn protocol(name: &str) -> &'static str {
    match name.split('-').next() {
        Some("http") => "HTTP",
        Some("http2") => "HTTP2",
        Some("grpc") => "GRPC",
        _ => "TCP",
    }
}

/// The ServiceAccount of a pod.
pub(super) fn account(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let name = spec.and_then(|spec| spec.service_account_name.clone());
    name.filter(|name| !name.is_empty())
        .unwrap_or_else(|| "default".to_owned())
}

/// The name of the pod's Deployment, else of its other owner, else of the pod.
pub(super) fn workload(pod: &Pod) -> String {
    let owner = pod.owner_references().first();
    match owner {
        Some(owner) if owner.kind == "ReplicaSet" => {
            let deployment = owner.name.rsplit_once('-').map(|(name, _)| name);
            deployment.unwrap_or(&owner.name).to_owned()
        }
        Some(owner) => owner.name.clone(),
        None => pod.name_any(),
    }
}

/// The canonical revision of a pod without a label for it, as Istio's injector finds it.
pub(super) fn revision(pod: &Pod) -> String {
    let labels = ["app.kubernetes.io/version", "version"];
    let mut found = labels.iter().filter_map(|label| pod.labels().get(*label));
    found.next().map_or("latest", String::as_str).to_owned()
}
