//! The port on which a pod serves: pure, from its declared ports and the ports of Services and InferencePools.
//!
//! ```text
//! labelled Services ──▶ other Services and pools ──▶ the ports' names ──▶ the probe ──▶ the only port
//! ```
//!
//! Invariant: no guess. On a tie there is no port, and the error names the candidates.

mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::{PortSource, Protocol};
pub use names::{PortClass, never_serves, serves};
use names::{Word, is_internal, is_side_channel, said, word};

/// A TCP port that a pod declares.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodPort {
    /// Empty where it has none.
    pub name: String,
    /// Its `containerPort`.
    pub number: u16,
    /// The first HTTP probe of the pod's containers that asks it.
    pub probe: Option<Probe>,
}

/// An HTTP probe of a container; the most telling first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Probe {
    /// Whether it may receive requests.
    Readiness,
    /// Whether it has started.
    Startup,
    /// Whether it is to be restarted.
    Liveness,
}

/// `readiness`, `startup`, `liveness`.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Readiness => "readiness",
            Self::Startup => "startup",
            Self::Liveness => "liveness",
        })
    }
}

/// A port of a Service, or of an InferencePool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Empty where it has none.
    pub name: String,
    /// Its `targetPort`.
    pub target: TargetPort,
    /// Its `appProtocol`.
    pub app_protocol: Option<String>,
}

/// A `targetPort`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPort {
    /// Of the pod.
    Number(u16),
    /// Of a port that the pod declares.
    Name(String),
}

/// What selects the pod, and where it leads.
#[derive(Debug, Clone)]
pub struct Offer<'a> {
    /// The Service or the pool.
    pub by: PortSource,
    /// Its ports, in order.
    pub ports: &'a [ServicePort],
    /// Whether somebody pointed at it for this: it has the labels, an annotation names it, or it is a pool. Of another one a port
    /// whose name says nothing may be for anything.
    pub explicit: bool,
    /// Whether it is a headless Service: these give pods names, also for other things than requests.
    pub headless: bool,
}

/// The port that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenPort {
    /// The port.
    pub number: u16,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// What chose it.
    pub source: PortSource,
    /// What it is for.
    pub class: PortClass,
}

/// Why no port serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortError {
    /// None that could.
    NoPort,
    /// Several that could.
    Ambiguous {
        /// Which, for messages.
        candidates: String,
        /// The Services that lead to one port each: any of them, named, settles it.
        deciding_services: Vec<String>,
    },
}

/// The port of a pod with these ports: of the first level whose offers lead to one, else by the ports alone.
///
/// # Errors
/// [`PortError`]: why there is none.
pub fn choose(ports: &[PodPort], levels: &[Vec<Offer<'_>>]) -> Result<ChosenPort, PortError> {
    let led = |offer| Led {
        offer,
        to: candidates(ports, offer),
    };
    let levels: Vec<Vec<Led<'_>>> = levels
        .iter()
        .map(|offers| offers.iter().map(led).collect())
        .collect();
    let all: Vec<&Candidate> = levels.iter().flatten().flat_map(|led| &led.to).collect();
    let known = ProtocolKnown {
        by_pod: ports.iter().any(|port| serves(&port.name)),
        by_offer: all.iter().any(|c| c.class != PortClass::Unknown),
    };
    let offered = levels
        .iter()
        .find_map(|level| offered(ports, level, &all, known));
    offered.unwrap_or_else(|| declared(ports))
}

/// Of Services that stand for the same servers, those that are asked: HTTP comes before gRPC, by which of them it may be.
#[must_use]
pub fn http_before_grpc<'a>(ports: &[PodPort], mut offers: Vec<Offer<'a>>) -> Vec<Offer<'a>> {
    let best = |offer: &Offer<'_>| {
        let classes = candidates(ports, offer).into_iter().map(|c| c.class);
        classes.min()
    };
    if offers.iter().filter_map(best).any(PortClass::is_http) {
        offers.retain(|offer| !matches!(best(offer), Some(class) if class.is_grpc()));
    }
    offers
}

/// The number that a port annotation means: that of the port of this name, or itself, where the pod declares it or its carrier, and
/// not the pod alone, says it.
#[must_use]
pub fn annotated(ports: &[PodPort], text: &str, by_carrier: bool) -> Option<u16> {
    let Ok(number) = text.parse::<u16>() else {
        return named(ports, text);
    };
    let declared = || ports.iter().any(|port| port.number == number);
    Some(number).filter(|number| *number != 0 && (by_carrier || declared()))
}

/// How a port of a pod is spoken to that something else than its name chose.
#[must_use]
pub fn protocol_of(
    ports: &[PodPort],
    levels: &[Vec<Offer<'_>>],
    number: u16,
) -> (PortClass, Protocol) {
    let all = levels
        .iter()
        .flatten()
        .flat_map(|offer| candidates(ports, offer));
    let all: Vec<Candidate> = all.collect();
    spoken(ports, &all, number)
}

/// How the ports of a Service without pods are spoken to: as all that serve say it, else in HTTP/1.1.
#[must_use]
pub fn protocol_of_all(ports: &[ServicePort]) -> Protocol {
    let said: BTreeSet<Protocol> = said_by(ports).map(|word| word.1).collect();
    match said.iter().collect::<Vec<_>>()[..] {
        [] => Protocol::default(),
        [one] => *one,
        _ => Protocol::Client,
    }
}

/// Whether all ports of a Service that say a protocol say TLS, and one does.
#[must_use]
pub fn all_tls(ports: &[ServicePort]) -> bool {
    let mut said = said_by(ports).map(|word| word.0).peekable();
    said.peek().is_some() && said.all(PortClass::is_tls)
}

/// What those ports say that serve.
fn said_by(ports: &[ServicePort]) -> impl Iterator<Item = Word> {
    let serving = ports.iter().filter(|port| !is_internal(&port.name));
    serving.filter_map(|port| said(port.app_protocol.as_deref(), &port.name, ""))
}

/// A port that an offer leads to.
struct Candidate {
    number: u16,
    /// As the Service or pool says it.
    said: Option<Word>,
    class: PortClass,
    /// Whether its offer gives it a name.
    named: bool,
}

/// Which side names the protocol of some port.
#[derive(Clone, Copy)]
struct ProtocolKnown {
    /// The name of a port of the pod.
    by_pod: bool,
    /// A Service or pool, or the name of the pod's port that it leads to.
    by_offer: bool,
}

/// An offer, and the ports that it leads to.
struct Led<'a> {
    offer: &'a Offer<'a>,
    to: Vec<Candidate>,
}

fn candidates(ports: &[PodPort], offer: &Offer<'_>) -> Vec<Candidate> {
    let of = |port: &ServicePort| {
        let number = match &port.target {
            TargetPort::Number(number) => *number,
            TargetPort::Name(name) => named(ports, name)?,
        };
        let own = name_of(ports, number);
        let said = said(port.app_protocol.as_deref(), &port.name, own);
        let aside = said.is_none() && (is_side_channel(&port.name) || is_side_channel(own));
        if is_internal(&port.name) || is_internal(own) || aside {
            return None;
        }
        let class = said
            .or_else(|| word(own))
            .map_or(PortClass::Unknown, |w| w.0);
        Some(Candidate {
            number,
            said,
            class,
            named: !port.name.is_empty(),
        })
    };
    offer.ports.iter().filter_map(of).collect()
}

/// The port that the offers of a level lead to; `None` if they lead to none. `all` are the candidates of every level and decide the
/// protocol. `known`: if a Service or pool names a protocol, or the pod does and this Service is headless, a named port of unknown class
/// counts only if its offer was asked for. A port name of the pod alone does not overrule a ClusterIP Service: the `http` may be a
/// sidecar's.
fn offered(
    ports: &[PodPort],
    level: &[Led<'_>],
    all: &[&Candidate],
    known: ProtocolKnown,
) -> Option<Result<ChosenPort, PortError>> {
    let mut choices: Vec<(&PortSource, BTreeSet<u16>)> = Vec::new();
    let mut classes: BTreeSet<PortClass> = BTreeSet::new();
    for Led { offer, to } in level {
        let known = known.by_offer || (known.by_pod && offer.headless);
        let aside =
            |c: &&Candidate| known && !offer.explicit && c.class == PortClass::Unknown && c.named;
        let candidates = || to.iter().filter(|c| !aside(c));
        let Some(best) = candidates().map(|c| c.class).min() else {
            continue;
        };
        classes.insert(best);
        let of_best = candidates().filter(|c| c.class == best);
        choices.push((&offer.by, of_best.map(|c| c.number).collect()));
    }
    // One that leads to several ports says nothing where another one leads to one.
    if choices.iter().any(|(_, numbers)| numbers.len() == 1) {
        choices.retain(|(_, numbers)| numbers.len() == 1);
    }
    let numbers: BTreeSet<u16> = choices.iter().flat_map(|(_, n)| n).copied().collect();
    let chosen = |number: u16, source: PortSource| {
        let (class, protocol) = spoken(ports, all.iter().copied(), number);
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
    let settling = choices.iter().filter_map(|(by, numbers)| match by {
        PortSource::Service(name) if numbers.len() == 1 => Some(name.clone()),
        _ => None,
    });
    let said = choices.iter().map(|(by, numbers)| {
        let by = match by {
            PortSource::Service(name) => format!("service/{name}"),
            PortSource::Pool(name) => format!("inferencepool/{name}"),
            _ => String::new(),
        };
        format!("{by} leads to {}", list(numbers))
    });
    Some(Err(PortError::Ambiguous {
        candidates: said.collect::<Vec<_>>().join(", and "),
        deciding_services: settling.collect(),
    }))
}

/// The one of these ports that the most telling HTTP probe asks.
fn probed(ports: &[PodPort], among: &BTreeSet<u16>) -> Option<(u16, Probe)> {
    let asked = ports.iter().filter(|port| among.contains(&port.number));
    let asked: BTreeSet<(Probe, u16)> = asked
        .filter_map(|port| Some((port.probe?, port.number)))
        .collect();
    let (best, number) = *asked.first()?;
    let one = asked.iter().filter(|(probe, _)| *probe == best).count() == 1;
    one.then_some((number, best))
}

/// What is said of a port by all that leads to it, else its own name.
fn spoken<'a>(
    ports: &[PodPort],
    all: impl IntoIterator<Item = &'a Candidate>,
    number: u16,
) -> Word {
    let said: BTreeSet<Word> = all
        .into_iter()
        .filter(|candidate| candidate.number == number)
        .filter_map(|candidate| candidate.said)
        .collect();
    let Some((class, protocol)) = said.first().copied() else {
        return word(name_of(ports, number)).unwrap_or((PortClass::Unknown, Protocol::default()));
    };
    if said.iter().all(|(_, other)| *other == protocol) {
        (class, protocol)
    } else {
        (class, Protocol::Client)
    }
}

/// By the ports alone: their names, else the only one.
fn declared(ports: &[PodPort]) -> Result<ChosenPort, PortError> {
    let mut by_number: BTreeMap<u16, (Word, &str)> = BTreeMap::new();
    for port in ports.iter().filter(|port| !never_serves(&port.name)) {
        let spoken = word(&port.name).unwrap_or((PortClass::Unknown, Protocol::default()));
        let entry = (spoken, port.name.as_str());
        let at = by_number.entry(port.number).or_insert(entry);
        if spoken.0 < at.0.0 {
            *at = entry;
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
            let (class, protocol) = (PortClass::Unknown, Protocol::default());
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
        .map(|(number, said)| (*number, *said))
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

fn named(ports: &[PodPort], name: &str) -> Option<u16> {
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

#[cfg(test)]
mod tests;
