//! The choice of one port among the candidates of offers, and among the declared ports of a pod.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{
    PortProtocol, is_internal, is_side_channel, never_serves, protocol_of_name,
    protocol_of_service_port,
};
use super::{
    ChosenPort, Offer, PodPort, PortClass, PortError, PortSource, Probe, ServicePort, TargetPort,
};
use crate::Protocol;

/// A port to which an offer leads.
pub(super) struct Candidate {
    pub(super) number: u16,
    /// As the Service or pool declares it.
    protocol: Option<PortProtocol>,
    pub(super) class: PortClass,
    /// Whether the offer gives the port a name.
    is_named: bool,
}

/// An offer with the ports to which it leads.
pub(super) struct Candidates<'a> {
    offer: &'a Offer<'a>,
    pub(super) ports: Vec<Candidate>,
}

impl<'a> Candidates<'a> {
    pub(super) fn of(ports: &[PodPort], offer: &'a Offer<'a>) -> Self {
        Self {
            offer,
            ports: candidates(ports, offer),
        }
    }
}

/// The sides that declare the protocol of any port.
#[derive(Clone, Copy)]
pub(super) struct ProtocolDeclared {
    /// The name of a port of the pod does.
    pub(super) by_pod: bool,
    /// A Service or pool does, or the name of the pod's port to which it leads.
    pub(super) by_offer: bool,
}

/// The ports to which an offer leads, without those that never serve.
pub(super) fn candidates(ports: &[PodPort], offer: &Offer<'_>) -> Vec<Candidate> {
    let candidate = |port: &ServicePort| {
        let number = match &port.target {
            TargetPort::Number(number) => *number,
            TargetPort::Name(name) => named(ports, name)?,
        };
        let pod_name = name_of(ports, number);
        let protocol = protocol_of_service_port(port.app_protocol.as_deref(), &port.name, pod_name);
        let is_side_channel =
            protocol.is_none() && (is_side_channel(&port.name) || is_side_channel(pod_name));
        if is_internal(&port.name) || is_internal(pod_name) || is_side_channel {
            return None;
        }
        let class = protocol.or_else(|| protocol_of_name(pod_name));
        Some(Candidate {
            number,
            protocol,
            class: class.map_or(PortClass::Unknown, |(class, _)| class),
            is_named: !port.name.is_empty(),
        })
    };
    offer.ports.iter().filter_map(candidate).collect()
}

/// The port to which the offers of a level lead; `None` if they lead to none. `all` are the candidates of every level and determine the
/// protocol.
///
/// A named port of unknown class does not count if the offer is not explicit and the protocol of another port is known from an offer,
/// or from the pod if the offer is a headless Service. The port name of a pod alone does not overrule a ClusterIP Service, because the
/// `http` port may be a sidecar's.
pub(super) fn offered(
    ports: &[PodPort],
    level: &[Candidates<'_>],
    all: &[&Candidate],
    protocol_declared: ProtocolDeclared,
) -> Option<Result<ChosenPort, PortError>> {
    let mut choices: Vec<(&PortSource, BTreeSet<u16>)> = Vec::new();
    let mut classes: BTreeSet<PortClass> = BTreeSet::new();
    for Candidates { offer, ports } in level {
        let is_declared =
            protocol_declared.by_offer || (protocol_declared.by_pod && offer.headless);
        let counts = |c: &&Candidate| {
            let uninformative = c.class == PortClass::Unknown && c.is_named;
            !(is_declared && !offer.explicit && uninformative)
        };
        let counting = || ports.iter().filter(counts);
        let Some(best) = counting().map(|c| c.class).min() else {
            continue;
        };
        classes.insert(best);
        let of_best = counting().filter(|c| c.class == best);
        choices.push((&offer.by, of_best.map(|c| c.number).collect()));
    }
    // An offer of several ports does not count if another offer leads to one.
    if choices.iter().any(|(_, numbers)| numbers.len() == 1) {
        choices.retain(|(_, numbers)| numbers.len() == 1);
    }
    let numbers: BTreeSet<u16> = choices.iter().flat_map(|(_, n)| n).copied().collect();
    let chosen = |number: u16, source: PortSource| {
        let (class, protocol) = protocol(ports, all.iter().copied(), number);
        ChosenPort {
            number,
            protocol,
            source,
            class,
        }
    };
    let (by, _) = choices.first()?;
    if let [number] = numbers.iter().copied().collect::<Vec<_>>()[..] {
        return Some(Ok(chosen(number, (*by).clone())));
    }
    if let Some(number) = named(ports, "http") {
        return Some(Ok(chosen(number, PortSource::Name("http".to_owned()))));
    }
    if classes.iter().all(|class| *class == PortClass::Unknown)
        && let Some((number, probe)) = probed(ports, &numbers)
    {
        return Some(Ok(chosen(number, PortSource::Probe(probe))));
    }
    Some(Err(ambiguous(&choices)))
}

fn ambiguous(choices: &[(&PortSource, BTreeSet<u16>)]) -> PortError {
    let deciding_services = choices.iter().filter_map(|(by, numbers)| match by {
        PortSource::Service(name) if numbers.len() == 1 => Some(name.clone()),
        _ => None,
    });
    let candidates = choices.iter().map(|(by, numbers)| {
        let by = match by {
            PortSource::Service(name) => format!("service/{name}"),
            PortSource::Pool(name) => format!("inferencepool/{name}"),
            _ => String::new(),
        };
        format!("{by} leads to {}", list(numbers))
    });
    PortError::Ambiguous {
        candidates: candidates.collect::<Vec<_>>().join(", and "),
        deciding_services: deciding_services.collect(),
    }
}

/// The one of these ports that the most telling HTTP probe uses.
fn probed(ports: &[PodPort], among: &BTreeSet<u16>) -> Option<(u16, Probe)> {
    let among = ports.iter().filter(|port| among.contains(&port.number));
    let probed: BTreeSet<(Probe, u16)> = among
        .filter_map(|port| Some((port.probe?, port.number)))
        .collect();
    let (best, number) = *probed.first()?;
    let is_only = probed.iter().filter(|(probe, _)| *probe == best).count() == 1;
    is_only.then_some((number, best))
}

/// The purpose and protocol of a port: as the offers declare it, else by its own name.
pub(super) fn protocol<'a>(
    ports: &[PodPort],
    candidates: impl IntoIterator<Item = &'a Candidate>,
    number: u16,
) -> PortProtocol {
    let declared: BTreeSet<PortProtocol> = candidates
        .into_iter()
        .filter(|candidate| candidate.number == number)
        .filter_map(|candidate| candidate.protocol)
        .collect();
    let Some((class, protocol)) = declared.first().copied() else {
        return or_unknown(protocol_of_name(name_of(ports, number)));
    };
    if declared.iter().all(|(_, other)| *other == protocol) {
        (class, protocol)
    } else {
        (class, Protocol::Client)
    }
}

fn or_unknown(protocol: Option<PortProtocol>) -> PortProtocol {
    protocol.unwrap_or((PortClass::Unknown, Protocol::default()))
}

/// The choice by the pod's ports alone: by their names, else by probes, else the only port.
pub(super) fn declared(ports: &[PodPort]) -> Result<ChosenPort, PortError> {
    let mut by_number: BTreeMap<u16, (PortProtocol, &str)> = BTreeMap::new();
    for port in ports.iter().filter(|port| !never_serves(&port.name)) {
        let protocol = or_unknown(protocol_of_name(&port.name));
        let entry = (protocol, port.name.as_str());
        let known = by_number.entry(port.number).or_insert(entry);
        if protocol.0 < known.0.0 {
            *known = entry;
        }
    }
    let best = by_number.values().map(|((class, _), _)| *class).min();
    let best = best.ok_or(PortError::NoPort)?;
    by_number.retain(|_, ((class, _), _)| *class == best);
    if let Some(number) = named(ports, "http").filter(|number| by_number.contains_key(number)) {
        by_number.retain(|other, _| *other == number);
    }
    if best == PortClass::Unknown && by_number.len() > 1 {
        let numbers = by_number.keys().copied().collect();
        if let Some((number, probe)) = probed(ports, &numbers) {
            let (class, protocol) = or_unknown(None);
            return Ok(ChosenPort {
                number,
                protocol,
                source: PortSource::Probe(probe),
                class,
            });
        }
    }
    let [(number, ((class, protocol), name))] = by_number
        .iter()
        .map(|(number, entry)| (*number, *entry))
        .collect::<Vec<_>>()[..]
    else {
        let numbers = list(&by_number.into_keys().collect());
        return Err(PortError::Ambiguous {
            candidates: format!("they declare {numbers}"),
            deciding_services: Vec::new(),
        });
    };
    let source = if class == PortClass::Unknown {
        PortSource::Only
    } else {
        PortSource::Name(name.to_owned())
    };
    Ok(ChosenPort {
        number,
        protocol,
        source,
        class,
    })
}

/// The number of the port with this name.
pub(super) fn named(ports: &[PodPort], name: &str) -> Option<u16> {
    let port = ports
        .iter()
        .find(|port| !name.is_empty() && port.name == name);
    port.map(|port| port.number)
}

fn name_of(ports: &[PodPort], number: u16) -> &str {
    let port = ports
        .iter()
        .find(|port| port.number == number && !port.name.is_empty());
    port.map_or("", |port| &port.name)
}

/// `8000`, `8000 and 8001`.
fn list(numbers: &BTreeSet<u16>) -> String {
    let all: Vec<String> = numbers.iter().map(u16::to_string).collect();
    all.join(" and ")
}
