//! A pod template and the Services that select it → the port that serves, by the same rules as on Kubernetes.

use std::collections::BTreeMap;
use std::fmt;

use headgate_contract::names;
use headgate_model::ports::{Offer, PodPort, ServicePort, Unclear, annotated, choose};
use headgate_model::{LabelKeys, PortSource, ports};
use serde_json::Value;

use super::remarks::texts;
use crate::declared::{all_ports, is_headless, is_tcp, pod_port, pod_ports, service_ports};

type Texts = BTreeMap<String, String>;

/// The pod template of a workload that declares a model.
pub(super) struct Template {
    /// JSON path of its containers.
    pub(super) path: &'static str,
    labels: Texts,
    /// The template's.
    annotations: Texts,
    /// The workload's.
    carrier: Texts,
    /// Those that can be reached.
    ports: Vec<PodPort>,
    /// All that are declared, for messages: with whether they are TCP.
    declared: Vec<(PodPort, bool)>,
}

/// A Service.
pub(super) struct Front {
    name: String,
    labelled: bool,
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
        if (text("/apiVersion"), text("/kind")) != (Some("v1"), Some("Service"))
            || selector.is_empty()
        {
            return None;
        }
        let labels = texts(value, "/metadata/labels");
        Some(Self {
            name: text("/metadata/name")?.to_owned(),
            labelled: [&keys.model, &keys.version]
                .into_iter()
                .all(|key| labels.contains_key(key)),
            selector,
            ports: service_ports(value),
            headless: is_headless(value),
        })
    }
}

impl Template {
    /// `None` if it is not a workload of a model, has no containers here, or has its endpoints as an annotation.
    pub(super) fn read(value: &Value, keys: &LabelKeys) -> Option<Self> {
        let pod = value.get("kind").and_then(Value::as_str) == Some("Pod");
        let (at, path) = if pod {
            ("", "spec.containers")
        } else {
            ("/spec/template", "spec.template.spec.containers")
        };
        let carrier = texts(value, "/metadata/annotations");
        let labels = texts(value, &format!("{at}/metadata/labels"));
        let own = texts(value, "/metadata/labels");
        let models = own.contains_key(&keys.model) || labels.contains_key(&keys.model);
        let spec = value.pointer(&format!("{at}/spec"))?;
        let containers = spec.get("containers").and_then(Value::as_array);
        let containers = containers.is_some_and(|containers| !containers.is_empty());
        if !models || !containers || carrier.contains_key(names::ANNOTATION_ENDPOINTS) {
            return None;
        }
        let declared = all_ports(spec).filter_map(|port| Some((pod_port(port)?, is_tcp(port))));
        Some(Self {
            path,
            labels,
            annotations: texts(value, &format!("{at}/metadata/annotations")),
            carrier,
            ports: pod_ports(spec),
            declared: declared.collect(),
        })
    }

    /// Which port serves, with these Services of its namespace.
    pub(super) fn serving(&self, near: &[&Front]) -> Verdict {
        let annotation = names::ANNOTATION_PORT;
        let of = |texts: &Texts| texts.get(annotation).map(|text| text.trim().to_owned());
        let (of_pods, of_carrier) = (of(&self.annotations), of(&self.carrier));
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
        let chosen = match choose(&self.ports, &self.levels(near)) {
            Ok(chosen) => chosen,
            Err(Unclear::Nothing) => return Verdict::None(self.declared()),
            Err(Unclear::Several { which, .. }) => {
                return Verdict::None(format!("{which}, and nothing says which one serves"));
            }
        };
        let mut ports = self.ports.iter();
        match ports.find(|port| port.number == chosen.number) {
            Some(only) if chosen.source == PortSource::Only => Verdict::Alone(Shown(only.clone())),
            _ => Verdict::Plain,
        }
    }

    /// The Services that select it: the one that is named, else those with both labels, then the others.
    fn levels<'a>(&self, near: &[&'a Front]) -> Vec<Vec<Offer<'a>>> {
        let selects = |front: &&&Front| {
            let mut pairs = front.selector.iter();
            pairs.all(|(key, value)| self.labels.get(key) == Some(value))
        };
        let all: Vec<&'a Front> = near.iter().filter(selects).copied().collect();
        let offers = |fronts: Vec<&'a Front>, asked: bool| {
            let offer = |front: &'a Front| Offer {
                by: PortSource::Service(front.name.clone()),
                ports: &front.ports,
                asked: asked || front.labelled,
                headless: front.headless,
            };
            fronts.into_iter().map(offer).collect::<Vec<_>>()
        };
        let named = self.annotations.get(names::ANNOTATION_SERVICE);
        let named = named.or_else(|| self.carrier.get(names::ANNOTATION_SERVICE));
        let asked = named.and_then(|name| all.iter().find(|front| front.name == name.trim()));
        if let Some(asked) = asked {
            return vec![offers(vec![asked], true)];
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
