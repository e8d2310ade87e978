//! Carriers of a model: the labels of each object and the weight that follows from them.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{ModelId, Version};
use headgate_model::{
    Carrier, CarrierKey, CarrierState, LabelKeys, Objects, PlannedCarrier, PlannedModel, Pod,
    PortSource, Protocol, Weight,
};

use super::{AgeTracker, CarrierReport, Count, PortReport, percent};

/// Largest number of reported ports of a carrier.
const MAX_PORTS: usize = 16;

/// Every object that names a model, by namespace and model.
pub(super) struct Carriers<'a> {
    objects: &'a Objects,
    keys: &'a LabelKeys,
    ages: &'a AgeTracker,
    naming: BTreeMap<(&'a str, &'a str), Vec<&'a Carrier>>,
}

impl<'a> Carriers<'a> {
    pub(super) fn new(objects: &'a Objects, keys: &'a LabelKeys, ages: &'a AgeTracker) -> Self {
        let mut naming: BTreeMap<(&str, &str), Vec<&Carrier>> = BTreeMap::new();
        for carrier in objects.carriers.values() {
            // A Service without a version label only selects the workload that has one.
            let selects_only =
                carrier.key.kind == "service" && !carrier.labels.contains_key(&keys.version);
            if let Some(model) = carrier.labels.get(&keys.model).filter(|_| !selects_only) {
                let at = (carrier.key.namespace.as_str(), model.as_str());
                naming.entry(at).or_default().push(carrier);
            }
        }
        Self {
            objects,
            keys,
            ages,
            naming,
        }
    }

    /// The carriers of a model: carriers that own a version, oldest first, then the others.
    pub(super) fn of(
        &self,
        namespace: &str,
        id: &ModelId,
        planned: &PlannedModel,
    ) -> Vec<CarrierReport> {
        let owners = planned.carriers.iter().map(|owner| {
            let carrier = self.objects.carriers.get(&owner.key);
            let labels = carrier.map(|c| self.labels_of(c)).unwrap_or_default();
            let weight = Weight::parse(labels.weight.as_deref());
            CarrierReport {
                standing: standing(&owner.state),
                role: role(&owner.state, &weight).to_owned(),
                why: why(owner, &weight, &self.keys.weight),
                weight: percent(owner.share),
                ready: Count {
                    current: owner.ready as usize,
                    total: owner.desired as usize,
                },
                ..self.report(&owner.key, labels)
            }
        });
        let naming = self.naming.get(&(namespace, id.as_str()));
        let owns = |key: &CarrierKey| planned.carriers.iter().any(|owner| owner.key == *key);
        let others = naming.into_iter().flatten().filter(|c| !owns(&c.key));
        let others = others.map(|carrier| CarrierReport {
            standing: "none".to_owned(),
            role: "none".to_owned(),
            why: without_version(&carrier.key, planned, &self.keys.version),
            ready: Count {
                current: carrier.pods.iter().filter(|pod| pod.ready).count(),
                total: carrier.desired as usize,
            },
            ..self.report(&carrier.key, self.labels_of(carrier))
        });
        owners.chain(others).collect()
    }

    /// The fields that every carrier has.
    fn report(&self, key: &CarrierKey, labels: CarrierLabels) -> CarrierReport {
        CarrierReport {
            carrier: key.to_string(),
            labels: labels.labels,
            refused: labels.refused,
            seen_since: self.ages.labels(key),
            standing: String::new(),
            role: String::new(),
            why: String::new(),
            weight: 0.0,
            ready: Count::default(),
            ports: self.objects.carriers.get(key).map_or_else(Vec::new, ports),
        }
    }

    fn labels_of(&self, carrier: &Carrier) -> CarrierLabels {
        let label = |key: &String| carrier.labels.get(key);
        let keys = [&self.keys.model, &self.keys.version, &self.keys.weight];
        let weight = label(&self.keys.weight).cloned();
        let bad_version =
            label(&self.keys.version).is_some_and(|v| Version::try_from(v.as_str()).is_err());
        let bad_weight = matches!(Weight::parse(weight.as_deref()), Weight::Invalid(_));
        let refused = [
            (bad_version, &self.keys.version),
            (bad_weight, &self.keys.weight),
        ];
        CarrierLabels {
            labels: keys
                .into_iter()
                .filter_map(|key| Some((key.clone(), label(key)?.clone())))
                .collect(),
            refused: refused
                .into_iter()
                .filter(|(bad, _)| *bad)
                .map(|(_, key)| key.clone())
                .collect(),
            weight,
        }
    }
}

/// The ports and protocols of a carrier's endpoints, and the source of each.
fn ports(carrier: &Carrier) -> Vec<PortReport> {
    let of = |pod: &Pod| PortReport {
        port: pod.address.port(),
        protocol: match pod.protocol {
            Protocol::Http1 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
            Protocol::Client => "as the client",
        }
        .to_owned(),
        why: match &pod.port_source {
            PortSource::Annotation => "annotation".to_owned(),
            PortSource::Service(name) => format!("service/{name}"),
            PortSource::Pool(name) => format!("inferencepool/{name}"),
            PortSource::Name(name) => format!("port named {name}"),
            PortSource::Probe(probe) => format!("{probe} probe"),
            PortSource::Only => "the only port".to_owned(),
        },
        inferred: matches!(
            pod.port_source,
            PortSource::Name(_) | PortSource::Probe(_) | PortSource::Only
        ),
    };
    // Endpoints from a file may have different ports.
    let all: BTreeSet<PortReport> = carrier.pods.iter().map(of).collect();
    all.into_iter().take(MAX_PORTS).collect()
}

/// The labels of a carrier.
#[derive(Default)]
struct CarrierLabels {
    labels: BTreeMap<String, String>,
    refused: Vec<String>,
    weight: Option<String>,
}

fn standing(state: &CarrierState) -> String {
    match state {
        CarrierState::Canary(percent) => format!("canary {percent}"),
        CarrierState::Base => "base".to_owned(),
        CarrierState::Standby => "standby".to_owned(),
        CarrierState::Held { .. } => "held".to_owned(),
        CarrierState::Dark => "dark".to_owned(),
    }
}

fn role(state: &CarrierState, weight: &Weight) -> &'static str {
    match state {
        CarrierState::Canary(_) => "canary",
        CarrierState::Base if *weight == Weight::Percent(100) => "promoted",
        CarrierState::Base | CarrierState::Standby => "stable",
        CarrierState::Held { .. } => "held",
        CarrierState::Dark => "dark",
    }
}

/// Explains the weight of a carrier in terms of the label rules.
fn why(carrier: &PlannedCarrier, weight: &Weight, key: &str) -> String {
    let cause = cause(carrier, weight, key);
    let share = percent(carrier.share);
    match &carrier.state {
        _ if carrier.ready == 0 => format!("{cause}; none of its endpoints is ready"),
        _ if carrier.flapping => {
            format!(
                "{cause}; takes no new sessions until it has been ready for 60 s, because it became ready more than 3 times in a minute"
            )
        }
        CarrierState::Base if carrier.base_replicas < carrier.desired => format!(
            "{cause}; counts as its {} ready of {} replicas",
            carrier.base_replicas, carrier.desired
        ),
        CarrierState::Standby if carrier.share > 0 => {
            format!(
                "no {key}; takes new sessions until the promoted version has enough ready replicas"
            )
        }
        CarrierState::Held { beside } if carrier.share > 0 => format!(
            "no {key}; stands in for {}, which has no ready endpoint",
            beside.identity()
        ),
        CarrierState::Canary(wanted) if (share - f64::from(*wanted)).abs() > 1e-9 => {
            format!(
                "{cause}; the canaries take all new sessions, because no base is ready or the sum of their weights exceeds 100"
            )
        }
        CarrierState::Dark if carrier.share > 0 => {
            format!("{cause}; acts as the base, as nothing else is ready")
        }
        _ => cause,
    }
}

fn cause(carrier: &PlannedCarrier, weight: &Weight, key: &str) -> String {
    if let Weight::Invalid(written) = weight {
        let shown: String = written.chars().take(40).collect();
        let counts = match carrier.state {
            CarrierState::Dark => "0: only a pin reaches it",
            _ => "absent",
        };
        return format!("{key} {shown:?} is refused and counts as {counts}");
    }
    match &carrier.state {
        CarrierState::Canary(percent) => format!("{key} {percent}"),
        CarrierState::Base if *weight == Weight::Percent(100) => {
            format!("{key} 100: new sessions that no canary takes")
        }
        CarrierState::Base => format!("no {key}: new sessions that no canary takes"),
        CarrierState::Standby => {
            format!("no {key}: stands by while a promoted carrier is ready")
        }
        CarrierState::Held { beside } => {
            format!(
                "no {key}, and {} is the base: only a pin reaches it",
                beside.identity()
            )
        }
        CarrierState::Dark => format!("{key} 0: only a pin reaches it"),
    }
}

/// Explains why a carrier with the model label owns no version.
fn without_version(key: &CarrierKey, planned: &PlannedModel, version_key: &str) -> String {
    let brings = planned
        .variants
        .iter()
        .find(|(_, variant)| variant.carriers.contains(key));
    match brings {
        Some((version, variant)) => {
            let owner = variant.carriers.first().map(CarrierKey::identity);
            let owner = owner.unwrap_or_default();
            format!("{owner} also declares version {version}, and the weight of {owner} applies")
        }
        None => format!("no {version_key} that can be read, neither here nor on a pod"),
    }
}
