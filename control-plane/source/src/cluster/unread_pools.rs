//! Ports that are chosen while InferencePools cannot be read.
//!
//! Invariant: pods keep serving. A finding names each port that a pool may contradict.

use headgate_contract::names;
use headgate_model::{PortSource, Severity, reason};

use super::findings::CarrierFindings;
use super::pod_use::ServingPods;
use super::store::Store;

impl Store {
    /// Adds a finding on a port that neither an annotation nor a Service declares, because an InferencePool may declare another one.
    pub(super) fn report_unread_pools(
        &self,
        serving_pods: &ServingPods<'_>,
        findings: &mut CarrierFindings<'_>,
    ) {
        let namespace = &findings.key.namespace;
        if !self.may_hide_pools(namespace) {
            return;
        }
        let declared =
            |source: &PortSource| matches!(source, PortSource::Annotation | PortSource::Service(_));
        let mut inferred = serving_pods
            .chosen
            .values()
            .filter(|c| !declared(&c.source));
        let Some(port) = inferred.next().map(|chosen| chosen.number.to_string()) else {
            return;
        };
        let command = findings.key.annotate_command(names::ANNOTATION_PORT, &port);
        let message = format!(
            "serves on port {port} for now: InferencePools of namespace {namespace} cannot be read (see KindUnread), and one that selects \
             its pods may declare another port. To keep port {port}: {command}"
        );
        findings.add(reason::POOLS_UNREAD, Severity::Warning, message);
    }
}
