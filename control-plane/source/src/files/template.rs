//! Pod templates and the Services that select them: the port that serves, by the same rules as on Kubernetes.

use std::fmt;

use headgate_contract::names;
use headgate_model::ports::{Offer, PodPort, PortError, ServicePort, annotated, choose};
use headgate_model::{LabelKeys, PortSource, ports, prefers_owner};
use serde_json::Value;

use super::pod_template::{dotted, pod_template};
use super::string_map::{StringMap, string_map};
use crate::cluster::selects;
use crate::declared::{
    all_ports, is_external_name, is_headless, is_service, is_tcp, pod_port, pod_ports,
    service_ports,
};

/// The pod template of a workload whose pods serve a model.
pub(super) struct Template {
    /// JSON path of its containers.
    pub(super) path: String,
    labels: StringMap,
    /// The annotations of the template.
    annotations: StringMap,
    carriers: Vec<Carrier>,
    /// The TCP ports.
    ports: Vec<PodPort>,
    /// All declared ports, for messages, and whether they are TCP.
    declared: Vec<(PodPort, bool)>,
}

/// A carrier of the pods of a template.
struct Carrier {
    /// The name of the Service; `None` for the workload itself.
    service: Option<String>,
    annotations: StringMap,
    /// Whether there is no remark: its endpoints are an annotation, or a label or annotation is not a string, which is an error.
    skipped: bool,
}

/// A Service that selects pods.
pub(super) struct SelectingService {
    name: String,
    /// Whether it has the labels of model and version.
    labelled: bool,
    annotations: StringMap,
    /// Whether labels or annotations lack quotes.
    unquoted: bool,
    selector: StringMap,
    ports: Vec<ServicePort>,
    headless: bool,
}

/// The port that serves.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PortOutcome {
    /// A port chosen by its name, a Service or the annotation.
    Chosen,
    /// The only declared port.
    OnlyPort(DisplayPort),
    /// No port, with the reason.
    NoPort(String),
}

/// A port, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DisplayPort(PodPort);

impl fmt::Display for DisplayPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.name.as_str() {
            "" => write!(f, "{} (without a name)", self.0.number),
            name => write!(f, "`{name}` ({})", self.0.number),
        }
    }
}

impl SelectingService {
    pub(super) fn read(value: &Value, keys: &LabelKeys) -> Option<Self> {
        let text = |pointer| value.pointer(pointer).and_then(Value::as_str);
        let selector = string_map(value, "/spec/selector");
        if !is_service(value)
            || selector.is_empty()
            // It selects no pods, even with a selector that is left from another type.
            || is_external_name(value)
        {
            return None;
        }
        Some(Self {
            name: text("/metadata/name")?.to_owned(),
            labelled: declares(value, keys),
            annotations: string_map(value, "/metadata/annotations"),
            unquoted: unquoted(value, ""),
            selector,
            ports: service_ports(value),
            headless: is_headless(value),
        })
    }
}

/// Whether an annotation lists the endpoints.
fn lists_endpoints(annotations: &StringMap) -> bool {
    annotations.contains_key(names::ANNOTATION_ENDPOINTS)
}

/// Whether an object has the labels of model and version.
pub(super) fn declares(value: &Value, keys: &LabelKeys) -> bool {
    let labels = value.pointer("/metadata/labels");
    let mut both = [&keys.model, &keys.version].into_iter();
    both.all(|key| labels.is_some_and(|labels| labels.get(key).is_some()))
}

/// Whether labels or annotations of the object or template at a JSON pointer are not strings.
fn unquoted(value: &Value, at: &str) -> bool {
    let maps = ["labels", "annotations"].map(|field| format!("{at}/metadata/{field}"));
    let maps = maps
        .iter()
        .filter_map(|map| value.pointer(map)?.as_object());
    let mut texts = maps.flat_map(|map| map.values());
    texts.any(|text| !text.is_string())
}

impl Template {
    /// `None` if its pods serve no model with these Services of its namespace, if it has no containers here, if its endpoints are an
    /// annotation, or if a label or annotation is not a string, which is reported as an error.
    pub(super) fn read(
        value: &Value,
        near: &[&SelectingService],
        keys: &LabelKeys,
    ) -> Option<Self> {
        let pod = value.get("kind").and_then(Value::as_str) == Some("Pod");
        let at = if pod { "" } else { pod_template(value) };
        let annotations = string_map(value, "/metadata/annotations");
        let labels = string_map(value, &format!("{at}/metadata/labels"));
        let own = string_map(value, "/metadata/labels");
        let models = own.contains_key(&keys.model) || labels.contains_key(&keys.model);
        let spec = value.pointer(&format!("{at}/spec"))?;
        let containers = spec.get("containers").and_then(Value::as_array);
        let containers = containers.is_some_and(|containers| !containers.is_empty());
        let unquoted = unquoted(value, "") || unquoted(value, at);
        if !containers || unquoted || lists_endpoints(&annotations) {
            return None;
        }
        let carries = |service: &&&SelectingService| {
            let yields = prefers_owner(&service.annotations) && models && !pod;
            service.labelled && selects(&service.selector, &labels) && !yields
        };
        let services = near.iter().filter(carries).map(|service| Carrier {
            service: Some(service.name.clone()),
            annotations: service.annotations.clone(),
            skipped: service.unquoted || lists_endpoints(&service.annotations),
        });
        let mut carriers: Vec<Carrier> = services.collect();
        if carriers.is_empty() && models {
            carriers.push(Carrier {
                service: None,
                annotations,
                skipped: false,
            });
        }
        carriers.retain(|carrier| !carrier.skipped);
        if carriers.is_empty() {
            return None;
        }
        let declared = all_ports(spec).filter_map(|port| Some((pod_port(port)?, is_tcp(port))));
        Some(Self {
            path: dotted(&format!("{at}/spec/containers")),
            annotations: string_map(value, &format!("{at}/metadata/annotations")),
            carriers,
            ports: pod_ports(spec),
            declared: declared.collect(),
            labels,
        })
    }

    /// The port that serves, with these Services of its namespace, and the Service that is the carrier, if any. If there are several
    /// carriers, the first one with a remark decides.
    pub(super) fn serving(&self, near: &[&SelectingService]) -> (PortOutcome, Option<&str>) {
        let outcomes = self.carriers.iter().map(|carrier| {
            let outcome = self.serving_for(&carrier.annotations, near);
            (outcome, carrier.service.as_deref())
        });
        let mut remarked = outcomes.filter(|(outcome, _)| *outcome != PortOutcome::Chosen);
        remarked.next().unwrap_or((PortOutcome::Chosen, None))
    }

    fn serving_for(&self, carrier: &StringMap, near: &[&SelectingService]) -> PortOutcome {
        let annotation = names::ANNOTATION_PORT;
        let of = |texts: &StringMap| texts.get(annotation).map(|text| text.trim().to_owned());
        let (of_pods, of_carrier) = (of(&self.annotations), of(carrier));
        if let Some(text) = of_pods.as_ref().or(of_carrier.as_ref()) {
            let by_carrier = of_carrier.as_ref() == Some(text);
            return match annotated(&self.ports, text, by_carrier) {
                Some(_) => PortOutcome::Chosen,
                None => PortOutcome::NoPort(format!(
                    "the annotation `{annotation}: {text:?}` matches no TCP port of the template, which declares {}",
                    self.declared()
                )),
            };
        }
        let chosen = match choose(&self.ports, &self.levels(carrier, near)) {
            Ok(chosen) => chosen,
            Err(PortError::NoPort) => return PortOutcome::NoPort(self.declared()),
            Err(PortError::Ambiguous { candidates, .. }) => {
                return PortOutcome::NoPort(format!(
                    "{candidates}, and it is not known which one serves"
                ));
            }
        };
        let mut ports = self.ports.iter();
        match ports.find(|port| port.number == chosen.number) {
            Some(only) if chosen.source == PortSource::Only => {
                PortOutcome::OnlyPort(DisplayPort(only.clone()))
            }
            _ => PortOutcome::Chosen,
        }
    }

    /// The Services that select it, by precedence: the one that an annotation names; else those with both labels, then the others.
    fn levels<'a>(
        &self,
        carrier: &StringMap,
        near: &[&'a SelectingService],
    ) -> Vec<Vec<Offer<'a>>> {
        let selected = |service: &&&SelectingService| selects(&service.selector, &self.labels);
        let all: Vec<&'a SelectingService> = near.iter().filter(selected).copied().collect();
        let offers = |services: Vec<&'a SelectingService>, explicit: bool| {
            let offer = |service: &'a SelectingService| Offer {
                by: PortSource::Service(service.name.clone()),
                ports: &service.ports,
                explicit: explicit || service.labelled,
                headless: service.headless,
            };
            services.into_iter().map(offer).collect::<Vec<_>>()
        };
        let named = self.annotations.get(names::ANNOTATION_SERVICE);
        let named = named.or_else(|| carrier.get(names::ANNOTATION_SERVICE));
        let named_service =
            named.and_then(|name| all.iter().find(|service| service.name == name.trim()));
        if let Some(named_service) = named_service {
            return vec![offers(vec![named_service], true)];
        }
        let (labelled, others) = all.into_iter().partition(|service| service.labelled);
        vec![offers(labelled, false), offers(others, false)]
    }

    /// All declared ports, with the reasons why they do not serve.
    fn declared(&self) -> String {
        if self.declared.is_empty() {
            return "no port is declared".to_owned();
        }
        let why = |(port, tcp): &(PodPort, bool)| {
            let shown = DisplayPort(port.clone());
            if !tcp {
                format!("{shown} is not TCP")
            } else if ports::never_serves(&port.name) {
                format!("{shown} has a name that never serves")
            } else if ports::serves(&port.name) {
                shown.to_string()
            } else {
                format!("{shown} has no name of a port that serves")
            }
        };
        let all: Vec<String> = self.declared.iter().map(why).collect();
        all.join(", ")
    }
}
