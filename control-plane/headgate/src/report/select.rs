//! Which part of the document is asked for, and whether it differs from one that was told before.
//!
//! Pure. Invariant: two documents with one fingerprint differ in nothing but in what changes without anything happening to
//! a model: counters of publications, versions and moments of pushes that told a proxy nothing new of it.

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{ModelReport, ProblemReport, Report, reason};

/// Whose status is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct Asked {
    /// A model: its id, a name that clients write, or `namespace/id`. `None`: all.
    pub model: Option<String>,
    /// Models of this namespace only.
    pub namespace: Option<String>,
}

impl Asked {
    /// Whether nothing is left out.
    pub(crate) fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a model is asked for.
    pub(crate) fn wants(&self, namespace: &str, id: &str, names: &[String]) -> bool {
        let named = |asked: &String| {
            let full = asked
                .strip_prefix(namespace)
                .and_then(|rest| rest.strip_prefix('/'));
            asked == id || full == Some(id) || names.contains(asked)
        };
        self.namespace
            .as_ref()
            .is_none_or(|asked| asked == namespace)
            && self.model.as_ref().is_none_or(named)
    }
}

/// Leaves the problems that concern what is asked for.
pub(super) fn concerning(report: &mut Report, asked: &Asked) {
    if asked.is_everything() {
        return;
    }
    let Report {
        problems,
        models,
        policies,
        ..
    } = report;
    problems.retain(|problem| {
        reason::OF_ALL.contains(&problem.reason.as_str())
            || models.iter().any(|model| is_about(problem, model))
            || policies
                .iter()
                .any(|policy| begins_with(problem, &policy.policy))
    });
}

fn is_about(problem: &ProblemReport, model: &ModelReport) -> bool {
    begins_with(problem, &format!("model {}", model.id()))
        || begins_with(problem, &format!("namespace {}", model.namespace))
        || model
            .carriers
            .iter()
            .any(|c| begins_with(problem, &c.carrier))
}

/// `object` or `object (origin)`.
fn begins_with(problem: &ProblemReport, object: &str) -> bool {
    let rest = problem.object.strip_prefix(object);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(" ("))
}

/// What tells two documents apart. Of a proxy, where models are asked for: whether it is there, and what it runs of them.
///
/// # Errors
/// Only if the document cannot be written as JSON.
pub(crate) fn fingerprint(report: &Report, asked: &Asked) -> Result<String, serde_json::Error> {
    let mut still = report.clone();
    still.head.publication = 0;
    still.head.published_at = 0.0;
    still.head.took_ms = 0.0;
    for held in still.models.iter_mut().flat_map(|model| &mut model.proxies) {
        held.config.clear();
        held.acked_at = None;
    }
    for of_type in still
        .proxies
        .iter_mut()
        .flat_map(|proxy| proxy.types.values_mut())
    {
        of_type.wanted.clear();
        of_type.sent.clear();
        of_type.acked.clear();
        of_type.acked_at = None;
    }
    if !asked.is_everything() {
        for proxy in &mut still.proxies {
            proxy.types.clear();
            proxy.settled = true;
        }
    }
    let hash = Sha256::digest(serde_json::to_vec(&still)?);
    Ok(hash[..12]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(model: &str, namespace: Option<&str>) -> Asked {
        Asked {
            model: Some(model.to_owned()),
            namespace: namespace.map(str::to_owned),
        }
    }

    #[test]
    fn a_model_is_asked_for_by_its_id_its_namespace_and_id_or_what_clients_write() {
        let names = ["meta-llama/Llama-3.1".to_owned()];
        for (asked, wanted) in [
            (asked("llama", None), true),
            (asked("prod/llama", None), true),
            (asked("meta-llama/Llama-3.1", None), true),
            (asked("llama", Some("prod")), true),
            (asked("llama", Some("other")), false),
            (asked("other/llama", None), false),
            (asked("lama", None), false),
            (asked("prodllama", None), false),
        ] {
            assert_eq!(asked.wants("prod", "llama", &names), wanted, "{asked:?}");
        }
        assert!(Asked::default().wants("prod", "llama", &[]));
    }
}
