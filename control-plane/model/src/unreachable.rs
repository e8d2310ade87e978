//! Findings on versions that proxies cannot reach, or can reach again.
//!
//! The facts come from the load reports of proxies, not from the plan; this module makes the messages.

use headgate_contract::{ModelId, Version};

use crate::{CarrierKey, Finding, Plan, Severity, reason};

/// Origin of these findings.
const ORIGIN: &str = "load reports";

/// Namespace, model and version of a variant.
pub type VariantKey = (String, ModelId, Version);

/// The finding that requests to a version reach no server. Its subject is the carrier that owns the version. `None` if the plan has no
/// such version.
///
/// The message does not count proxies, so one outage stays one Event.
#[must_use]
pub fn unreachable_finding(plan: &Plan, variant: &VariantKey) -> Option<Finding> {
    let key = carrier(plan, variant)?;
    let (namespace, id, version) = variant;
    let object = key.identity();
    let message = format!(
        "proxies cannot connect to version {version} of model {id}: its endpoints are ready, but requests to them fail before they are sent. Check that its pods listen on their port, and add a readiness probe. To see the pods: kubectl describe {object} -n {namespace}; kubectl logs {object} -n {namespace}. To see the proxies: headgate status {namespace}/{id}"
    );
    let reason = reason::UNREACHABLE;
    Some(Finding::on_carrier(
        key,
        ORIGIN,
        Severity::Warning,
        reason,
        message,
    ))
}

/// The finding that proxies can reach a version again. `None` if the plan has no such version.
#[must_use]
pub fn reachable_finding(plan: &Plan, variant: &VariantKey) -> Option<Finding> {
    let key = carrier(plan, variant)?;
    let (namespace, id, version) = variant;
    let message = format!(
        "proxies no longer report connection failures to version {version} of model {id}. To see its share: headgate status {namespace}/{id}"
    );
    let reason = reason::REACHABLE;
    Some(Finding::on_carrier(
        key,
        ORIGIN,
        Severity::Info,
        reason,
        message,
    ))
}

fn carrier<'a>(plan: &'a Plan, (namespace, id, version): &VariantKey) -> Option<&'a CarrierKey> {
    let model = plan.namespaces.get(namespace)?.models.get(id)?;
    model.variants.get(version)?.carriers.first()
}
