//! Findings on the stored `ServedModel`s.

use std::collections::BTreeMap;
use std::sync::Arc;

use headgate_model::{Finding, ModelKey, Severity, Subject, reason};

use super::{ModelCache, StoredModel};

/// The findings on all objects. `unwritable`: the reason why objects cannot be written.
#[must_use]
pub fn findings(cache: &ModelCache, unwritable: Option<&str>) -> Vec<Finding> {
    let counting = cache.by_model();
    let mut findings: Vec<Finding> = lost(cache, unwritable).into_iter().collect();
    let objects = cache.objects();
    findings.extend(objects.filter_map(|object| finding_of(object, &counting)));
    findings.sort();
    findings
}

/// The finding if objects cannot be read or written.
fn lost(cache: &ModelCache, unwritable: Option<&str>) -> Option<Finding> {
    let (namespace, why) = match (cache.unavailable.first_key_value(), unwritable) {
        (Some((namespace, why)), _) => (namespace.as_str(), why.as_str()),
        (None, Some(why)) => ("", why),
        (None, None) => return None,
    };
    let place = match namespace {
        "" => String::new(),
        namespace => format!(" in namespace {namespace}"),
    };
    Some(Finding {
        object: Subject::ControlPlane,
        reason: reason::STATUS_NOT_STORED,
        severity: Severity::Warning,
        origin: "servedmodels.headgate.dev".to_owned(),
        message: format!(
            "the base of models is not stored{place}, so the oldest carrier of a model is its base: {why}"
        ),
    })
}

/// The first problem of an object.
fn finding_of(
    object: &StoredModel,
    counting: &BTreeMap<ModelKey, &Arc<StoredModel>>,
) -> Option<Finding> {
    let origin = object.origin();
    let id = match &object.model {
        Ok(id) => id.clone(),
        Err(error) => {
            return Some(Finding {
                object: Subject::ControlPlane,
                reason: reason::UNREADABLE,
                severity: Severity::Error,
                message: format!("{origin} is ignored: {error}"),
                origin,
            });
        }
    };
    let key = (object.namespace.clone(), id.clone());
    let counts = counting
        .get(&key)
        .is_none_or(|counts| counts.name == object.name);
    let (reason, severity, message) = if counts {
        let error = object.spec.as_ref().err()?;
        let message = format!("{origin}: its spec is ignored, its status still counts: {error}");
        (reason::UNREADABLE, Severity::Error, message)
    } else {
        let other = counting.get(&key)?;
        let message = format!(
            "{origin} is ignored, because ServedModel {0} of the same model is older. Write its spec into that one: kubectl edit servedmodel/{0} -n {1}. Then remove it: kubectl delete servedmodel/{2} -n {1}",
            other.name, object.namespace, object.name
        );
        (reason::MODEL_GIVEN_TWICE, Severity::Warning, message)
    };
    Some(Finding {
        object: Subject::Model {
            namespace: object.namespace.clone(),
            id,
        },
        reason,
        severity,
        origin,
        message,
    })
}
