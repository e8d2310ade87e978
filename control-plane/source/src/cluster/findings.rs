//! Findings on a carrier and its objects. Equal findings on many pods are merged.

use std::collections::BTreeMap;

use headgate_contract::names;
use headgate_model::{CarrierKey, Finding, LabelKeys, Severity, Subject, reason};

use super::identity::Controller;
use super::pod_use::AmbiguousPort;

/// Collects the findings on a carrier.
pub(super) struct CarrierFindings<'a> {
    pub(super) key: &'a CarrierKey,
    pub(super) origin: &'a str,
    /// Keys of the labels, for commands.
    pub(super) labels: &'a LabelKeys,
    /// The labels of the carrier.
    pub(super) declared: &'a BTreeMap<String, String>,
    /// Finds the Services that select its pods and are not carriers; called if a finding advises to label one.
    pub(super) selecting_services: &'a dyn Fn() -> Vec<String>,
    pub(super) findings: Vec<Finding>,
}

impl CarrierFindings<'_> {
    pub(super) fn add(&mut self, reason: &'static str, severity: Severity, message: String) {
        let (key, origin) = (self.key.clone(), self.origin.to_owned());
        self.add_about(key.into(), origin, (reason, severity, message));
    }

    /// Adds a finding on another object than the carrier.
    pub(super) fn add_about(
        &mut self,
        object: Subject,
        origin: String,
        (reason, severity, message): (&'static str, Severity, String),
    ) {
        let finding = Finding {
            object,
            reason,
            severity,
            origin,
            message,
        };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    fn warn(&mut self, reason: &'static str, message: String) {
        self.add(reason, Severity::Warning, message);
    }

    /// `kubectl annotate deployment/x -n default headgate.dev/port=…`.
    fn annotate(&self, annotation: &str, value: &str) -> String {
        self.key.annotate_command(annotation, value)
    }

    /// A pod has no port that serves. If pods are `unlike`, a port annotation would apply to others, too.
    pub(super) fn no_port(&mut self, unlike: bool) {
        let remedy = if unlike {
            self.label_a_service()
        } else {
            let command = self.annotate(names::ANNOTATION_PORT, "PORT");
            format!("name the port that serves, or {command}")
        };
        self.warn(
            reason::NO_PORT,
            format!(
                "some of its pods have no TCP port named `http` or `grpc`, no Service targets one of their ports, and they declare no \
                 port that could serve, so they are not endpoints: {remedy}"
            ),
        );
    }

    pub(super) fn ambiguous(&mut self, ambiguous: &AmbiguousPort) {
        let port = self.annotate(names::ANNOTATION_PORT, "PORT");
        let which = &ambiguous.candidates;
        // A Service with several target ports decides nothing.
        let service = match &ambiguous.deciding_services[..] {
            [] => String::new(),
            [service, ..] => {
                let command = self.annotate(names::ANNOTATION_SERVICE, service);
                format!(", or let one Service decide: {command}")
            }
        };
        self.warn(
            reason::AMBIGUOUS_PORT,
            format!(
                "some of its pods have several ports that may serve ({which}), so they are not endpoints: name the one that serves \
                 `http`, or {port}{service}"
            ),
        );
    }

    /// `what` uses TLS, and no annotation declares whether requests use TLS.
    pub(super) fn tls_port(&mut self, what: &str) {
        let over_tls = self.annotate(names::ANNOTATION_TLS, "true");
        let plain = self.annotate(names::ANNOTATION_TLS, "false");
        self.warn(
            reason::TLS_PORT,
            format!(
                "{what} uses TLS, according to its name or `appProtocol`, but requests are sent in plaintext. To use TLS: {over_tls}, and start \
                 Headgate with --upstream-ca FILE, the CA of its certificate as a path on the proxies. If it uses plaintext: {plain}"
            ),
        );
    }

    pub(super) fn bad_port(&mut self, text: &str) {
        let command = self.annotate(names::ANNOTATION_PORT, "PORT");
        self.warn(
            reason::INVALID_PORT,
            format!(
                "annotation `{}`: {text:?} is neither the name nor the number of a TCP port of the pod, so the annotation is ignored. A number \
                 that no container declares is allowed on the carrier: {command}",
                names::ANNOTATION_PORT
            ),
        );
    }

    pub(super) fn bad_service(&mut self, name: &str) {
        let command = self.annotate(names::ANNOTATION_SERVICE, "SERVICE");
        self.warn(
            reason::INVALID_SERVICE,
            format!(
                "annotation `{}`: no Service {name:?} of the namespace selects its pods, so the annotation is ignored. {command}",
                names::ANNOTATION_SERVICE
            ),
        );
    }

    pub(super) fn bad_protocol(&mut self, text: &str) {
        let command = self.annotate(names::ANNOTATION_PROTOCOL, "http2");
        self.warn(
            reason::INVALID_PROTOCOL,
            format!(
                "annotation `{}`: {text:?} is not http1, http2, grpc or client: the port's name and `appProtocol` decide. {command}",
                names::ANNOTATION_PROTOCOL
            ),
        );
    }

    /// It is not known which of its parts serve.
    pub(super) fn unclear_roles(&mut self, what: &str) {
        let remedy = self.label_a_service();
        self.warn(reason::ROLES_UNCLEAR, format!("{what}: {remedy}"));
    }

    /// The advice to label a Service that becomes the carrier in place of an owner whose pods differ.
    fn label_a_service(&self) -> String {
        let selecting_services = (self.selecting_services)();
        let (name, which) = match &selecting_services[..] {
            [] => (
                "SERVICE",
                "none selects its pods yet: create one whose selector matches only them".to_owned(),
            ),
            [one] => (one.as_str(), format!("{one} selects some of its pods")),
            several => (
                "SERVICE",
                format!("{} select some of its pods", several.join(", ")),
            ),
        };
        let service = CarrierKey {
            kind: "service".to_owned(),
            name: name.to_owned(),
            ..self.key.clone()
        };
        let value = |key: &String, placeholder| {
            let value = self.declared.get(key).map_or(placeholder, String::as_str);
            format!("{key}={value}")
        };
        format!(
            "label the Service that selects its servers, which makes it the carrier in place of {} ({which}): kubectl label {} -n {} {} {}",
            self.key.identity(),
            service.identity(),
            service.namespace,
            value(&self.labels.model, "MODEL"),
            value(&self.labels.version, "VERSION"),
        )
    }

    /// The status of the carrier or of an owner, in messages on the carrier.
    pub(super) fn status_of(&self, owner: &CarrierKey) -> String {
        match owner == self.key {
            true => "its status".to_owned(),
            false => format!("the status of {}", owner.identity()),
        }
    }

    /// The generation that takes traffic has no pod, and `others` have some.
    pub(super) fn no_generation(
        &mut self,
        label: &str,
        active: &str,
        by: &CarrierKey,
        others: &str,
    ) {
        let namespace = &self.key.namespace;
        let who = match by.kind.as_str() {
            "service" => format!("the selector of {}", by.identity()),
            _ => self.status_of(by),
        };
        let by = by.identity();
        self.warn(
            reason::ROLES_UNCLEAR,
            format!(
                "{who} names generation {active} as the one that takes traffic, but no pod belongs to it. The pods of {others} take no traffic until \
                 it names their generation. Compare both: kubectl get pods -n {namespace} -l {label} -L {label}; kubectl get {by} -n {namespace} -o \
                 yaml"
            ),
        );
    }

    /// The pod is its own carrier, because the kind of its owner is not watched.
    pub(super) fn owner_not_watched(&mut self, owner: &Controller) {
        let Controller { group, kind, .. } = owner;
        let (identity, namespace) = (self.key.identity(), &self.key.namespace);
        let remedy = match (group.as_str(), kind.as_str()) {
            ("batch", "Job" | "CronJob") => {
                "the pods of a Job end, so label the pod template of a Deployment in its place, or a Service that selects the pods"
                    .to_owned()
            }
            _ => format!(
                "label a Service that selects the pods, or start Headgate with --owner-kind {group}/VERSION/PLURAL/{kind} and label the {kind}"
            ),
        };
        self.warn(
            reason::OWNER_NOT_WATCHED,
            format!(
                "the pod is a carrier of its own, because Headgate does not watch its owner's kind, {kind}: labels of the {kind} have no effect, and each of its pods has a weight of its own. To see the owner: kubectl describe {identity} -n {namespace}. To change it: {remedy}"
            ),
        );
    }

    pub(super) fn endpoints_ignored(&mut self) {
        let command = self
            .key
            .remove_annotation_command(names::ANNOTATION_ENDPOINTS);
        self.warn(
            reason::ENDPOINTS_IGNORED,
            format!(
                "annotation `{}` has an effect on Services and in files only: the pods are the endpoints. Remove it: {command}",
                names::ANNOTATION_ENDPOINTS
            ),
        );
    }

    /// A Service without pods.
    pub(super) fn no_selector(&mut self, external_name: Option<&str>) {
        self.warn(reason::NO_SELECTOR, no_selector(self.key, external_name));
    }
}

/// The message on a labelled Service without pods and without listed endpoints.
pub(crate) fn no_selector(service: &CarrierKey, external_name: Option<&str>) -> String {
    let annotate = |value: &str| service.annotate_command(names::ANNOTATION_ENDPOINTS, value);
    match external_name {
        Some(name) => format!(
            "is of type ExternalName, and Headgate does not follow externalName: {}, and start Headgate with --allow-endpoint {name}",
            annotate(&format!("{name}:443"))
        ),
        None => format!(
            "has no selector, and Headgate does not read EndpointSlices. List its endpoints, separated by commas: {}",
            annotate("IP:PORT")
        ),
    }
}
