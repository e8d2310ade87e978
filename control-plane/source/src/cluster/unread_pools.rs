//! Ports that are chosen while InferencePools cannot be read.
//!
//! Invariant: pods keep serving. A finding names each port that a pool may contradict.

use headgate_contract::names;
use headgate_model::{PortSource, Severity, reason};

use super::findings::CarrierFindings;
use super::serving::ServingPods;
use super::store::Store;

impl Store {
    /// Says which ports of a carrier a pool that is not read might contradict: those that neither an annotation nor a Service says.
    pub(super) fn say_unread_pools(
        &self,
        serving_pods: &ServingPods<'_>,
        findings: &mut CarrierFindings<'_>,
    ) {
        let namespace = &findings.key.namespace;
        if !self.may_hide_pools(namespace) {
            return;
        }
        let asked =
            |source: &PortSource| matches!(source, PortSource::Annotation | PortSource::Service(_));
        let mut inferred = serving_pods.chosen.values().filter(|c| !asked(&c.source));
        let Some(port) = inferred.next().map(|chosen| chosen.number.to_string()) else {
            return;
        };
        let command = findings.key.annotate_command(names::ANNOTATION_PORT, &port);
        let message = format!(
            "serves on port {port} for now: InferencePools of namespace {namespace} cannot be read (KindUnread says why), and one that \
             selects its pods may say another port. If {port} is right whatever they say: {command}"
        );
        findings.say(reason::POOLS_UNREAD, Severity::Warning, message);
    }
}
