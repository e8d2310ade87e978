//! The port on which a pod serves: pure, from its declared ports and the ports of Services and InferencePools.
//!
//! ```text
//! labelled Services ──▶ other Services and pools ──▶ port names ──▶ probes ──▶ the only port
//! ```
//!
//! Invariant: no guess. If several ports may serve, there is no port, and the error names the candidates.

mod choice;
mod names;

use std::collections::BTreeSet;
use std::fmt;

use self::choice::{
    Candidate, Candidates, ProtocolDeclared, candidates, declared, named, offered, protocol,
};
pub use self::names::{PortClass, never_serves, serves};
use self::names::{PortProtocol, is_internal, protocol_of_service_port};
use crate::Protocol;

/// The source of an endpoint's port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortSource {
    /// An annotation.
    Annotation,
    /// The `targetPort` of this Service.
    Service(String),
    /// The `targetPorts` of this InferencePool.
    Pool(String),
    /// The port's name.
    Name(String),
    /// An HTTP probe of a container uses it, and the names of all ports are uninformative.
    Probe(Probe),
    /// It is the only port for requests that the pod declares.
    Only,
}

/// A TCP port that a pod declares.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodPort {
    /// Its name; empty if it has none.
    pub name: String,
    /// Its `containerPort`.
    pub number: u16,
    /// The most telling HTTP probe of the pod's containers that uses it.
    pub probe: Option<Probe>,
}

/// An HTTP probe of a container, the most telling first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Probe {
    /// Determines whether the container may receive requests.
    Readiness,
    /// Determines whether the container has started.
    Startup,
    /// Determines whether the container must be restarted.
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

/// A port of a Service or of an InferencePool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name; empty if it has none.
    pub name: String,
    /// Its number; for an InferencePool, that of its target.
    pub number: u16,
    /// Its `targetPort`.
    pub target: TargetPort,
    /// Its `appProtocol`.
    pub app_protocol: Option<String>,
}

/// A `targetPort`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPort {
    /// A port number of the pod.
    Number(u16),
    /// The name of a port that the pod declares.
    Name(String),
}

/// A Service or an InferencePool that selects the pod, with its ports.
#[derive(Debug, Clone)]
pub struct Offer<'a> {
    /// The Service or the pool.
    pub by: PortSource,
    /// Its ports, in order.
    pub ports: &'a [ServicePort],
    /// Whether the user chose it to serve the pod: it has the labels, an annotation names it, or it is a pool. Other Services may have
    /// ports for any purpose, so a port with an uninformative name does not count there.
    pub explicit: bool,
    /// Whether it is a headless Service. Headless Services give names to pods, also for other purposes than requests.
    pub headless: bool,
}

/// The port that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenPort {
    /// The port number.
    pub number: u16,
    /// The protocol of requests to it.
    pub protocol: Protocol,
    /// The rule that chose it.
    pub source: PortSource,
    /// Its purpose.
    pub class: PortClass,
}

/// The reason why no port serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortError {
    /// No port could serve.
    NoPort,
    /// Several ports could serve.
    Ambiguous {
        /// The candidates, for messages.
        candidates: String,
        /// Services that lead to one port each: an annotation that names one of them decides.
        deciding_services: Vec<String>,
    },
}

/// Chooses the port of a pod: that of the first level whose offers lead to one, else by the pod's ports alone.
///
/// # Errors
/// [`PortError`]: no port could serve, or several could.
pub fn choose(ports: &[PodPort], levels: &[Vec<Offer<'_>>]) -> Result<ChosenPort, PortError> {
    let levels: Vec<Vec<Candidates<'_>>> = levels
        .iter()
        .map(|offers| offers.iter().map(|o| Candidates::of(ports, o)).collect())
        .collect();
    let all: Vec<&Candidate> = levels.iter().flatten().flat_map(|c| &c.ports).collect();
    let protocol_declared = ProtocolDeclared {
        by_pod: ports.iter().any(|port| serves(&port.name)),
        by_offer: all.iter().any(|c| c.class != PortClass::Unknown),
    };
    let offered = levels
        .iter()
        .find_map(|level| offered(ports, level, &all, protocol_declared));
    offered.unwrap_or_else(|| declared(ports))
}

/// Of Services that select the same pods, those that count: if one of them offers HTTP, the gRPC ones are removed.
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

/// The number of the port in a port annotation: the port of this name, or the number itself. A number counts if the pod declares it, or
/// if the annotation is on the carrier (`by_carrier`).
#[must_use]
pub fn annotated(ports: &[PodPort], text: &str, by_carrier: bool) -> Option<u16> {
    let Ok(number) = text.parse::<u16>() else {
        return named(ports, text);
    };
    let is_declared = || ports.iter().any(|port| port.number == number);
    Some(number).filter(|number| *number != 0 && (by_carrier || is_declared()))
}

/// The purpose and protocol of a port that was not chosen by its name.
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
    protocol(ports, &all, number)
}

/// The protocol of the ports of a Service without pods: the one that all serving ports declare. Default: HTTP/1.1; if they differ, the
/// client's protocol.
#[must_use]
pub fn protocol_of_all(ports: &[ServicePort]) -> Protocol {
    let protocols: BTreeSet<Protocol> = declared_protocols(ports).map(|(_, p)| p).collect();
    match protocols.iter().collect::<Vec<_>>()[..] {
        [] => Protocol::default(),
        [one] => *one,
        _ => Protocol::Client,
    }
}

/// Whether at least one port of a Service declares a protocol, and all that do declare TLS.
#[must_use]
pub fn all_tls(ports: &[ServicePort]) -> bool {
    let mut classes = declared_protocols(ports).map(|(class, _)| class).peekable();
    classes.peek().is_some() && classes.all(PortClass::is_tls)
}

/// The protocols that the serving ports of a Service declare.
fn declared_protocols(ports: &[ServicePort]) -> impl Iterator<Item = PortProtocol> {
    let serving = ports.iter().filter(|port| !is_internal(&port.name));
    serving
        .filter_map(|port| protocol_of_service_port(port.app_protocol.as_deref(), &port.name, ""))
}

#[cfg(test)]
mod tests;
