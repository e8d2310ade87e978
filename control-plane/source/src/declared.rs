//! Ports that Pods, pod templates and Services declare: JSON → the input of [`headgate_model::ports`].

use headgate_model::ports::{PodPort, Probe, ServicePort, TargetPort};
use serde_json::Value;

/// Containers that meshes and Dapr inject into pods. Their ports belong to the injected proxy, not to the server.
const INJECTED: [&str; 5] = [
    "istio-proxy",
    "linkerd-proxy",
    "kuma-sidecar",
    "consul-dataplane",
    "daprd",
];

/// The TCP ports of a pod's spec: those of its containers and native sidecars.
pub(crate) fn pod_ports(spec: &Value) -> Vec<PodPort> {
    let tcp = all_ports(spec).filter(|port| is_tcp(port));
    let mut ports: Vec<PodPort> = tcp.filter_map(pod_port).collect();
    let probed = containers(spec).flat_map(probed);
    for (probe, number) in probed {
        for port in ports.iter_mut().filter(|port| port.number == number) {
            port.probe = Some(port.probe.map_or(probe, |first| first.min(probe)));
        }
    }
    ports
}

/// All ports of a pod's spec, except those of injected proxies.
pub(crate) fn all_ports(spec: &Value) -> impl Iterator<Item = &Value> {
    containers(spec).flat_map(|container| list(container, "/ports"))
}

/// The containers that run as long as the pod, including native sidecars and without injected ones.
fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    let sidecars = list(spec, "/initContainers")
        .iter()
        .filter(|init| text(init, "/restartPolicy") == Some("Always"));
    let injected =
        |container: &&Value| text(container, "/name").is_some_and(|name| INJECTED.contains(&name));
    let all = list(spec, "/containers").iter().chain(sidecars);
    all.filter(move |container| !injected(container))
}

/// A port of a container; `None` without a number.
pub(crate) fn pod_port(port: &Value) -> Option<PodPort> {
    Some(PodPort {
        name: text(port, "/name").unwrap_or_default().to_owned(),
        number: number(port.get("containerPort")?)?,
        probe: None,
    })
}

/// The ports of a container's HTTP probes.
fn probed(container: &Value) -> impl Iterator<Item = (Probe, u16)> {
    let probes = [
        ("/readinessProbe/httpGet/port", Probe::Readiness),
        ("/startupProbe/httpGet/port", Probe::Startup),
        ("/livenessProbe/httpGet/port", Probe::Liveness),
    ];
    probes.into_iter().filter_map(|(pointer, probe)| {
        let target = container.pointer(pointer)?;
        let named = |port: &&Value| text(port, "/name") == target.as_str();
        let number = match target {
            Value::String(_) => {
                let port = list(container, "/ports").iter().find(named)?;
                number(port.get("containerPort")?)?
            }
            _ => number(target)?,
        };
        Some((probe, number))
    })
}

/// The TCP ports of a Service.
pub(crate) fn service_ports(service: &Value) -> Vec<ServicePort> {
    let tcp = list(service, "/spec/ports")
        .iter()
        .filter(|port| is_tcp(port));
    tcp.filter_map(service_port).collect()
}

fn service_port(port: &Value) -> Option<ServicePort> {
    let own = number(port.get("port")?)?;
    let target = match port.get("targetPort") {
        // The default in Kubernetes is the port itself.
        None | Some(Value::Null) => TargetPort::Number(own),
        Some(Value::String(name)) => TargetPort::Name(name.clone()),
        Some(target) => TargetPort::Number(number(target)?),
    };
    Some(ServicePort {
        name: text(port, "/name").unwrap_or_default().to_owned(),
        number: own,
        target,
        app_protocol: text(port, "/appProtocol").map(str::to_owned),
    })
}

/// Whether a Service is headless.
pub(crate) fn is_headless(service: &Value) -> bool {
    text(service, "/spec/clusterIP") == Some("None")
}

/// Whether an object is a Service.
pub(crate) fn is_service(value: &Value) -> bool {
    (text(value, "/apiVersion"), text(value, "/kind")) == (Some("v1"), Some("Service"))
}

/// Whether a Service is of type ExternalName. It selects no pods, even if it has a selector.
pub(crate) fn is_external_name(service: &Value) -> bool {
    text(service, "/spec/type") == Some("ExternalName")
}

pub(crate) fn is_tcp(port: &Value) -> bool {
    matches!(text(port, "/protocol"), None | Some("TCP"))
}

/// The number of a port.
pub(crate) fn number(value: &Value) -> Option<u16> {
    let number = u16::try_from(value.as_u64()?).ok();
    number.filter(|number| *number != 0)
}

pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}
