//! The findings on a version that proxies cannot reach.
//!
//! The facts come from the load reports of proxies, not from the plan; this module words them.

use headgate_contract::{ModelId, Version};

use crate::{CarrierKey, Finding, Plan, Severity, Subject, reason};

/// A version: its namespace, model and name.
pub type VariantKey = (String, ModelId, Version);

/// The finding that requests to a version reach no server, on the carrier whose weight counts. `None` if the plan has no such
/// version.
///
/// The message has no count of proxies, so that one outage stays one Event.
#[must_use]
pub fn unreachable_finding(plan: &Plan, variant: &VariantKey) -> Option<Finding> {
    let key = carrier(plan, variant)?;
    let (namespace, id, version) = variant;
    let object = key.identity();
    Some(Finding {
        object: Subject::Carrier(key.clone()),
        reason: reason::UNREACHABLE,
        severity: Severity::Warning,
        origin: "load reports".to_owned(),
        message: format!(
            "proxies cannot connect to version {version} of model {id}: its endpoints are ready, and requests to it fail before they are sent. Check that its pods listen on their port, and add a readiness probe. To see them: kubectl describe {object} -n {namespace}; kubectl logs {object} -n {namespace}. Which proxies: headgate status {namespace}/{id}"
        ),
    })
}

/// The finding that the outage is over. `None` if the plan has no such version.
#[must_use]
pub fn reachable_finding(plan: &Plan, variant: &VariantKey) -> Option<Finding> {
    let key = carrier(plan, variant)?;
    let (namespace, id, version) = variant;
    Some(Finding {
        object: Subject::Carrier(key.clone()),
        reason: reason::REACHABLE,
        severity: Severity::Info,
        origin: "load reports".to_owned(),
        message: format!(
            "no proxy reports any more that it cannot connect to version {version} of model {id}. To see what it takes: headgate status {namespace}/{id}"
        ),
    })
}

fn carrier<'a>(plan: &'a Plan, (namespace, id, version): &VariantKey) -> Option<&'a CarrierKey> {
    let model = plan.namespaces.get(namespace)?.models.get(id)?;
    model.variants.get(version)?.carriers.first()
}
