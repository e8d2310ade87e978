//! Annotations and protocols → the way to the endpoints of a version.
//!
//! Invariant: an invalid value of `headgate.dev/tls` enables TLS, and disables nothing else.

use std::collections::BTreeMap;

use headgate_contract::ModelId;
use headgate_contract::names::{
    ANNOTATION_HEALTH_CHECK, ANNOTATION_PROTOCOL, ANNOTATION_TLS, ANNOTATION_TLS_SAN,
    ANNOTATION_TLS_SNI,
};

use super::{Endpoints, Member, about};
use crate::address::dns_name;
use crate::{
    Address, Carrier, CarrierKey, Finding, HealthCheck, Protocol, Severity, Subject, Tls, Upstream,
    reason,
};

/// The health check of the gRPC health service.
const GRPC: &str = "grpc";
/// Longest path of a health check, in bytes.
const MAX_PATH: usize = 1024;

/// What the annotations of carriers say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamAnnotations {
    tls: Option<bool>,
    sni: Option<String>,
    san: Option<String>,
    health_check: Option<HealthCheck>,
}

impl UpstreamAnnotations {
    /// What those of one carrier say.
    pub(super) fn read(carrier: &Carrier, findings: &mut Vec<Finding>) -> Self {
        let mut reader = Reader { carrier, findings };
        let tls = reader.tls();
        Self {
            tls,
            sni: reader.name(ANNOTATION_TLS_SNI, tls),
            san: reader.name(ANNOTATION_TLS_SAN, tls),
            health_check: reader.health_check(),
        }
    }

    /// Takes from a younger carrier what this one does not say.
    pub(super) fn complete(&mut self, younger: Self) {
        self.tls = self.tls.or(younger.tls);
        self.sni = self.sni.take().or(younger.sni);
        self.san = self.san.take().or(younger.san);
        self.health_check = self.health_check.take().or(younger.health_check);
    }
}

struct Reader<'a> {
    carrier: &'a Carrier,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Reader<'a> {
    fn text(&self, annotation: &str) -> Option<&'a str> {
        self.carrier.annotations.get(annotation).map(|t| t.trim())
    }

    fn tls(&mut self) -> Option<bool> {
        match self.text(ANNOTATION_TLS)? {
            "true" => Some(true),
            "false" => Some(false),
            text => {
                // Somebody wrote of encryption: what was meant is not guessed to be none.
                let what = "is taken for `true`: write `true` or `false`";
                self.warn(ANNOTATION_TLS, text, what, "true");
                Some(true)
            }
        }
    }

    fn name(&mut self, annotation: &str, tls: Option<bool>) -> Option<String> {
        let text = self.text(annotation)?;
        let name = dns_name(text);
        if name.is_none() {
            let what = "is ignored, so the endpoint's own name counts: write a DNS name";
            self.warn(annotation, text, what, "api.example.com");
        } else if tls != Some(true) {
            let what =
                format!("has no effect without `{ANNOTATION_TLS}: true`: remove it, or write both");
            self.warn(
                annotation,
                text,
                &what,
                &format!("{text} {ANNOTATION_TLS}=true"),
            );
        }
        name
    }

    fn health_check(&mut self) -> Option<HealthCheck> {
        let text = self.text(ANNOTATION_HEALTH_CHECK)?;
        let printable = text.bytes().all(|c| c.is_ascii_graphic() && c != b'#');
        if text == GRPC {
            return Some(HealthCheck::Grpc);
        }
        if text.starts_with('/') && printable && text.len() <= MAX_PATH {
            return Some(HealthCheck::Http(text.to_owned()));
        }
        let what = "is ignored: write the path that answers 200, or `grpc`";
        self.warn(ANNOTATION_HEALTH_CHECK, text, what, "/health");
        None
    }

    fn warn(&mut self, annotation: &str, text: &str, what: &str, example: &str) {
        let shown: String = text.chars().take(40).collect();
        let command = self.carrier.key.annotate_command(annotation, example);
        let message = format!("annotation `{annotation}: {shown:?}` {what}, such as: {command}");
        let reason = reason::INVALID_UPSTREAM;
        let warning = about(self.carrier, Severity::Warning, reason, message);
        self.findings.push(warning);
    }
}

impl Endpoints {
    /// The way to them.
    #[must_use]
    pub fn upstream(&self) -> Upstream {
        let protocol = self.protocol();
        let said = &self.said;
        let checks =
            |check: &HealthCheck| *check != HealthCheck::Grpc || protocol == Protocol::Http2;
        Upstream {
            protocol,
            by_name: self.all.iter().any(|a| matches!(a, Address::Name { .. })),
            tls: said.tls.unwrap_or_default().then(|| Tls {
                sni: said.sni.clone(),
                san: said.san.clone(),
            }),
            health_check: said.health_check.clone().filter(checks),
        }
    }

    /// The protocol of most of the ready ones, else of most of all.
    fn protocol(&self) -> Protocol {
        let among = match self.ready.is_empty() {
            true => &self.all,
            false => &self.ready,
        };
        let mut counts: BTreeMap<Protocol, usize> = BTreeMap::new();
        for protocol in among.iter().filter_map(|a| self.protocols.get(a)) {
            *counts.entry(*protocol).or_default() += 1;
        }
        // The last of equals wins `max_by_key`, the first is to.
        let most = counts.into_iter().rev().max_by_key(|(_, count)| *count);
        most.map_or_else(Protocol::default, |(protocol, _)| protocol)
    }
}

/// What an operator should know of how the endpoints of a model are spoken to.
pub(super) fn findings(model: &ModelId, members: &[Member]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut spoken: BTreeMap<Protocol, Vec<String>> = BTreeMap::new();
    for member in members {
        for (version, endpoints) in &member.versions {
            let protocol = endpoints.protocol();
            if !endpoints.all.is_empty() {
                let versions = spoken.entry(protocol).or_default();
                versions.push(format!("{version} {protocol}"));
            }
            let others = endpoints.protocols.values().any(|p| *p != protocol);
            if others {
                let what = format!(
                    "endpoints of version {version} of model {model} speak different protocols: all are spoken to in {protocol}. \
                     Say which one is right: {}",
                    member
                        .key
                        .annotate_command(ANNOTATION_PROTOCOL, &protocol.to_string()),
                );
                findings.push(of_member(member, reason::PROTOCOLS_DIFFER, what));
            }
            if endpoints.said.health_check == Some(HealthCheck::Grpc) && protocol != Protocol::Http2
            {
                let what = format!(
                    "annotation `{ANNOTATION_HEALTH_CHECK}: {GRPC}` is ignored: version {version} of model {model} is not spoken to in HTTP/2. \
                     If it serves gRPC: {}",
                    member.key.annotate_command(ANNOTATION_PROTOCOL, "grpc"),
                );
                findings.push(of_member(member, reason::INVALID_UPSTREAM, what));
            }
        }
    }
    if spoken.contains_key(&Protocol::Http1) && spoken.contains_key(&Protocol::Http2) {
        let versions: Vec<String> = spoken.into_values().flatten().collect();
        findings.extend(
            members
                .first()
                .map(|member| mixed(model, &member.key, &versions)),
        );
    }
    findings
}

fn of_member(member: &Member, reason: &'static str, message: String) -> Finding {
    Finding {
        object: member.key.clone().into(),
        reason,
        severity: Severity::Warning,
        origin: member.origin.clone(),
        message,
    }
}

/// Versions that no one protocol reaches.
fn mixed(model: &ModelId, oldest: &CarrierKey, versions: &[String]) -> Finding {
    let message = format!(
        "versions of model {model} speak different protocols ({}): a proxy without the filter reaches only those that speak the one \
         of most sessions. If one of them is wrong: {}",
        versions.join(", "),
        oldest.annotate_command(ANNOTATION_PROTOCOL, "PROTOCOL"),
    );
    Finding {
        object: Subject::Model {
            namespace: oldest.namespace.clone(),
            id: model.clone(),
        },
        reason: reason::PROTOCOLS_DIFFER,
        severity: Severity::Info,
        origin: String::new(),
        message,
    }
}
