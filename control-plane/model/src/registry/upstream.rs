//! Annotations and protocols → upstream settings of a version.
//!
//! Invariant: an invalid value of `headgate.dev/tls` enables TLS, and disables nothing else.

use std::collections::BTreeMap;

use headgate_contract::ModelId;
use headgate_contract::names::{
    ANNOTATION_HEALTH_CHECK, ANNOTATION_PROTOCOL, ANNOTATION_TLS, ANNOTATION_TLS_SAN,
    ANNOTATION_TLS_SNI,
};

use super::{Endpoints, Member};
use crate::address::dns_name;
use crate::{
    Address, Carrier, CarrierKey, Finding, HealthCheck, Protocol, Severity, Tls, Upstream, reason,
};

/// Annotation value that selects the gRPC health service.
const GRPC: &str = "grpc";
/// Longest path of a health check, in bytes.
const MAX_PATH: usize = 1024;

/// The upstream annotations of carriers, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamAnnotations {
    tls: Option<bool>,
    sni: Option<String>,
    san: Option<String>,
    health_check: Option<HealthCheck>,
}

impl UpstreamAnnotations {
    /// Parses the annotations of one carrier.
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

    /// Takes from a younger carrier the settings that are missing here.
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
                // A typing error must not send requests in plain text.
                let problem = "counts as `true`: write `true` or `false`";
                self.warn(ANNOTATION_TLS, text, problem, "true");
                Some(true)
            }
        }
    }

    fn name(&mut self, annotation: &str, tls: Option<bool>) -> Option<String> {
        let text = self.text(annotation)?;
        let name = dns_name(text);
        if name.is_none() {
            let problem = "is ignored, and the endpoint's own name takes effect: write a DNS name";
            self.warn(annotation, text, problem, "api.example.com");
        } else if tls != Some(true) {
            let problem =
                format!("has no effect without `{ANNOTATION_TLS}: true`: remove it, or write both");
            self.warn(
                annotation,
                text,
                &problem,
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
        let problem = "is ignored: write the path that answers 200, or `grpc`";
        self.warn(ANNOTATION_HEALTH_CHECK, text, problem, "/health");
        None
    }

    fn warn(&mut self, annotation: &str, text: &str, problem: &str, example: &str) {
        let shown: String = text.chars().take(40).collect();
        let command = self.carrier.key.annotate_command(annotation, example);
        let message = format!("annotation `{annotation}: {shown:?}` {problem}, such as: {command}");
        let reason = reason::INVALID_UPSTREAM;
        let carrier = self.carrier;
        self.findings
            .push(carrier.finding(Severity::Warning, reason, message));
    }
}

impl Endpoints {
    /// The upstream settings of the version.
    #[must_use]
    pub fn upstream(&self) -> Upstream {
        let protocol = self.protocol();
        let annotations = &self.annotations;
        let is_possible =
            |check: &HealthCheck| *check != HealthCheck::Grpc || protocol == Protocol::Http2;
        Upstream {
            protocol,
            by_name: self.all.iter().any(|a| matches!(a, Address::Name { .. })),
            tls: annotations.tls.unwrap_or_default().then(|| Tls {
                sni: annotations.sni.clone(),
                san: annotations.san.clone(),
            }),
            health_check: annotations.health_check.clone().filter(is_possible),
        }
    }

    /// The protocol of most ready endpoints; if none is ready, of most endpoints.
    fn protocol(&self) -> Protocol {
        let among = match self.ready.is_empty() {
            true => &self.all,
            false => &self.ready,
        };
        let mut counts: BTreeMap<Protocol, usize> = BTreeMap::new();
        for protocol in among.iter().filter_map(|a| self.protocols.get(a)) {
            *counts.entry(*protocol).or_default() += 1;
        }
        // Of equal counts, `max_by_key` returns the last; the first protocol should win.
        let most = counts.into_iter().rev().max_by_key(|(_, count)| *count);
        most.map_or_else(Protocol::default, |(protocol, _)| protocol)
    }
}

/// Findings on the protocols and health checks of a model.
pub(super) fn findings(model: &ModelId, members: &[Member]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut by_protocol: BTreeMap<Protocol, Vec<String>> = BTreeMap::new();
    for member in members {
        for (version, endpoints) in &member.versions {
            let protocol = endpoints.protocol();
            if !endpoints.all.is_empty() {
                let versions = by_protocol.entry(protocol).or_default();
                versions.push(format!("{version} {protocol}"));
            }
            if endpoints.protocols.values().any(|p| *p != protocol) {
                let message = format!(
                    "endpoints of version {version} of model {model} use different protocols: requests to all of them use {protocol}. \
                     To set the protocol: {}",
                    member
                        .key
                        .annotate_command(ANNOTATION_PROTOCOL, &protocol.to_string()),
                );
                findings.push(warning(member, reason::PROTOCOLS_DIFFER, message));
            }
            let grpc_check = endpoints.annotations.health_check == Some(HealthCheck::Grpc);
            if grpc_check && protocol != Protocol::Http2 {
                let message = format!(
                    "annotation `{ANNOTATION_HEALTH_CHECK}: {GRPC}` is ignored: requests to version {version} of model {model} do not use \
                     HTTP/2. If it serves gRPC: {}",
                    member.key.annotate_command(ANNOTATION_PROTOCOL, "grpc"),
                );
                findings.push(warning(member, reason::INVALID_UPSTREAM, message));
            }
        }
    }
    if by_protocol.contains_key(&Protocol::Http1) && by_protocol.contains_key(&Protocol::Http2) {
        let versions: Vec<String> = by_protocol.into_values().flatten().collect();
        let oldest = members.first();
        findings.extend(oldest.map(|member| mixed(model, &member.key, &versions)));
    }
    findings
}

fn warning(member: &Member, reason: &'static str, message: String) -> Finding {
    Finding::on_carrier(
        &member.key,
        &member.origin,
        Severity::Warning,
        reason,
        message,
    )
}

/// The finding on versions that no single protocol reaches.
fn mixed(model: &ModelId, oldest: &CarrierKey, versions: &[String]) -> Finding {
    let message = format!(
        "versions of model {model} use different protocols ({}): a proxy without the filter uses the protocol of most sessions and \
         reaches only the versions that use it. If one of them is wrong: {}",
        versions.join(", "),
        oldest.annotate_command(ANNOTATION_PROTOCOL, "PROTOCOL"),
    );
    Finding::on_model(
        &oldest.namespace,
        model,
        Severity::Info,
        reason::PROTOCOLS_DIFFER,
        message,
    )
}
