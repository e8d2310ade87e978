//! A pod template and the Services that select it → the port that serves, by the same rules as on Kubernetes.

use std::collections::BTreeMap;
use std::fmt;

use headgate_contract::names;
use headgate_model::ports::{Offer, PodPort, PortError, ServicePort, annotated, choose};
use headgate_model::{LabelKeys, PortSource, ports, prefers_owner};
use serde_json::Value;

use super::pod_template::{dotted, pod_template};
use super::remarks::texts;
use crate::cluster::selects;
use crate::declared::{
    all_ports, is_external_name, is_headless, is_service, is_tcp, pod_port, pod_ports,
    service_ports,
};

type Texts = BTreeMap<String, String>;

/// The pod template of a workload whose pods serve a model.
pub(super) struct Template {
    /// JSON path of its containers.
    pub(super) path: String,
    labels: Texts,
    /// The template's.
    annotations: Texts,
    carriers: Vec<Carrier>,
    /// Those that can be reached.
    ports: Vec<PodPort>,
    /// All that are declared, for messages: with whether they are TCP.
    declared: Vec<(PodPort, bool)>,
}

/// An object that carries for the pods of a template.
struct Carrier {
    /// The Service that it is; `None` for the workload itself.
    service: Option<String>,
    annotations: Texts,
    /// No remark: its endpoints are an annotation, or a label or annotation is not a string, which is reported as an error.
    skipped: bool,
}

/// A Service that selects pods.
pub(super) struct Front {
    name: String,
    /// Whether it has the labels of both model and version.
    labelled: bool,
    annotations: Texts,
    /// Labels or annotations lack quotes.
    unquoted: bool,
    selector: Texts,
    ports: Vec<ServicePort>,
    headless: bool,
}

/// Which port serves.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A port chosen by its name, a Service or the annotation.
    Plain,
    /// The only declared port.
    Alone(Shown),
    /// No port, with the reason.
    None(String),
}

/// A port, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown(PodPort);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.name.as_str() {
            "" => write!(f, "{} (without a name)", self.0.number),
            name => write!(f, "`{name}` ({})", self.0.number),
        }
    }
}

impl Front {
    pub(super) fn read(value: &Value, keys: &LabelKeys) -> Option<Self> {
        let text = |pointer| value.pointer(pointer).and_then(Value::as_str);
        let selector = texts(value, "/spec/selector");
        if !is_service(value)
            || selector.is_empty()
            // Its DNS name leads elsewhere, whatever selector is left from another type.
            || is_external_name(value)
        {
            return None;
        }
        Some(Self {
            name: text("/metadata/name")?.to_owned(),
            labelled: declares(value, keys),
            annotations: texts(value, "/metadata/annotations"),
            unquoted: unquoted(value, ""),
            selector,
            ports: service_ports(value),
            headless: is_headless(value),
        })
    }
}

/// Whether an annotation lists the endpoints.
fn lists_endpoints(annotations: &Texts) -> bool {
    annotations.contains_key(names::ANNOTATION_ENDPOINTS)
}

/// Whether an object has the labels of both model and version.
pub(super) fn declares(value: &Value, keys: &LabelKeys) -> bool {
    let labels = value.pointer("/metadata/labels");
    let mut both = [&keys.model, &keys.version].into_iter();
    both.all(|key| labels.is_some_and(|labels| labels.get(key).is_some()))
}

/// Whether labels or annotations of the object or template at a JSON pointer are no texts.
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
    pub(super) fn read(value: &Value, near: &[&Front], keys: &LabelKeys) -> Option<Self> {
        let pod = value.get("kind").and_then(Value::as_str) == Some("Pod");
        let at = if pod { "" } else { pod_template(value) };
        let annotations = texts(value, "/metadata/annotations");
        let labels = texts(value, &format!("{at}/metadata/labels"));
        let own = texts(value, "/metadata/labels");
        let models = own.contains_key(&keys.model) || labels.contains_key(&keys.model);
        let spec = value.pointer(&format!("{at}/spec"))?;
        let containers = spec.get("containers").and_then(Value::as_array);
        let containers = containers.is_some_and(|containers| !containers.is_empty());
        let unquoted = unquoted(value, "") || unquoted(value, at);
        if !containers || unquoted || lists_endpoints(&annotations) {
            return None;
        }
        let carries = |front: &&&Front| {
            let yields = prefers_owner(&front.annotations) && models && !pod;
            front.labelled && selects(&front.selector, &labels) && !yields
        };
        let services = near.iter().filter(carries).map(|front| Carrier {
            service: Some(front.name.clone()),
            annotations: front.annotations.clone(),
            skipped: front.unquoted || lists_endpoints(&front.annotations),
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
            annotations: texts(value, &format!("{at}/metadata/annotations")),
            carriers,
            ports: pod_ports(spec),
            declared: declared.collect(),
            labels,
        })
    }

    /// Which port serves, with these Services of its namespace, and the Service that carries if one does; of several carriers, for
    /// the first for which something is to be said.
    pub(super) fn serving(&self, near: &[&Front]) -> (Verdict, Option<&str>) {
        let verdicts = self.carriers.iter().map(|carrier| {
            let verdict = self.serving_for(&carrier.annotations, near);
            (verdict, carrier.service.as_deref())
        });
        let mut told = verdicts.filter(|(verdict, _)| *verdict != Verdict::Plain);
        told.next().unwrap_or((Verdict::Plain, None))
    }

    fn serving_for(&self, carrier: &Texts, near: &[&Front]) -> Verdict {
        let annotation = names::ANNOTATION_PORT;
        let of = |texts: &Texts| texts.get(annotation).map(|text| text.trim().to_owned());
        let (of_pods, of_carrier) = (of(&self.annotations), of(carrier));
        if let Some(text) = of_pods.as_ref().or(of_carrier.as_ref()) {
            let by_carrier = of_carrier.as_ref() == Some(text);
            return match annotated(&self.ports, text, by_carrier) {
                Some(_) => Verdict::Plain,
                None => Verdict::None(format!(
                    "the annotation `{annotation}: {text:?}` means no TCP port of the template, which declares {}",
                    self.declared()
                )),
            };
        }
        let chosen = match choose(&self.ports, &self.levels(carrier, near)) {
            Ok(chosen) => chosen,
            Err(PortError::NoPort) => return Verdict::None(self.declared()),
            Err(PortError::Ambiguous { candidates, .. }) => {
                return Verdict::None(format!("{candidates}, and nothing says which one serves"));
            }
        };
        let mut ports = self.ports.iter();
        match ports.find(|port| port.number == chosen.number) {
            Some(only) if chosen.source == PortSource::Only => Verdict::Alone(Shown(only.clone())),
            _ => Verdict::Plain,
        }
    }

    /// The Services that select it: the one that is named, else those with both labels, then the others.
    fn levels<'a>(&self, carrier: &Texts, near: &[&'a Front]) -> Vec<Vec<Offer<'a>>> {
        let selected = |front: &&&Front| selects(&front.selector, &self.labels);
        let all: Vec<&'a Front> = near.iter().filter(selected).copied().collect();
        let offers = |fronts: Vec<&'a Front>, explicit: bool| {
            let offer = |front: &'a Front| Offer {
                by: PortSource::Service(front.name.clone()),
                ports: &front.ports,
                explicit: explicit || front.labelled,
                headless: front.headless,
            };
            fronts.into_iter().map(offer).collect::<Vec<_>>()
        };
        let named = self.annotations.get(names::ANNOTATION_SERVICE);
        let named = named.or_else(|| carrier.get(names::ANNOTATION_SERVICE));
        let chosen = named.and_then(|name| all.iter().find(|front| front.name == name.trim()));
        if let Some(chosen) = chosen {
            return vec![offers(vec![chosen], true)];
        }
        let (labelled, others) = all.into_iter().partition(|front| front.labelled);
        vec![offers(labelled, false), offers(others, false)]
    }

    /// Every declared port, with the reason why it does not serve.
    fn declared(&self) -> String {
        if self.declared.is_empty() {
            return "no port is declared".to_owned();
        }
        let why = |(port, tcp): &(PodPort, bool)| {
            let shown = Shown(port.clone());
            if !tcp {
                format!("{shown} is not TCP")
            } else if ports::never_serves(&port.name) {
                format!("{shown} has a name that never serves")
            } else if ports::serves(&port.name) {
                shown.to_string()
            } else {
                format!("{shown} is not named as one that serves")
            }
        };
        let all: Vec<String> = self.declared.iter().map(why).collect();
        all.join(", ")
    }
}
