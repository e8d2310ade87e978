//! Which part of the document is asked for, and whether it differs from one that was told before.
//!
//! Pure. Invariant: two documents with one fingerprint differ in nothing but in what changes without anything happening to
//! a model: counters of publications, versions and moments of pushes that told a proxy nothing new of it.

use std::collections::BTreeSet;

use headgate_model::Observed;
use headgate_model::{CarrierKey, Finding, Subject, reason as of_object};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{ModelReport, PolicyReport, Report, reason};

/// Whose status is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Asked {
    /// A model: its id, a name that clients write, or `namespace/id`. `None`: all.
    pub model: Option<String>,
    /// Models of this namespace only.
    pub namespace: Option<String>,
}

impl Asked {
    /// Whether nothing is left out.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a model is asked for.
    pub fn wants(&self, namespace: &str, id: &str, names: &[String]) -> bool {
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

/// Leaves the problems that concern what is asked for. Findings are chosen by their objects: see [`Concern`].
pub(super) fn concerning(report: &mut Report, asked: &Asked) {
    if asked.is_everything() {
        return;
    }
    let Report {
        problems, models, ..
    } = report;
    problems.retain(|problem| {
        let namespace = |namespace: &str| problem.object == format!("namespace {namespace}");
        reason::OF_ALL.contains(&problem.reason.as_str())
            || models.iter().any(|model| namespace(&model.namespace))
            || asked.namespace.as_deref().is_some_and(namespace)
    });
}

/// Which findings concern what is asked for.
pub(super) struct Concern<'a> {
    asked: &'a Asked,
    /// The models that are asked for.
    models: &'a [ModelReport],
    /// The policies that count for them.
    policies: &'a [PolicyReport],
    observed: &'a Observed,
    /// The key of the label that names the model.
    label: &'a str,
}

impl<'a> Concern<'a> {
    pub(super) fn of(
        asked: &'a Asked,
        report: &'a Report,
        observed: &'a Observed,
        label: &'a str,
    ) -> Self {
        let (models, policies) = (&report.models, &report.policies);
        Self {
            asked,
            models,
            policies,
            observed,
            label,
        }
    }

    /// By the object that a finding is about, whatever its reason. What is about the control plane is about each model.
    pub(super) fn is(&self, finding: &Finding) -> bool {
        if self.asked.is_everything() {
            return true;
        }
        match &finding.object {
            Subject::ControlPlane => true,
            Subject::Model { namespace, id } => self.has(namespace, id.as_str()),
            Subject::Policy(id) => {
                let name = id.to_string();
                // Nobody can tell which models it is for.
                let unclear = [of_object::UNREADABLE, of_object::TARGET_UNREAD];
                self.policies.iter().any(|policy| policy.policy == name)
                    || self.is_of_all(&id.namespace)
                    || (unclear.contains(&finding.reason)
                        && self.models.iter().any(|m| m.namespace == id.namespace))
            }
            Subject::Carrier(key) => {
                let models = self.models_of(key);
                self.is_of_all(&key.namespace)
                    || models.iter().any(|model| self.has(&key.namespace, model))
                    || self.carries(key)
            }
        }
    }

    /// Whether everything of this namespace is asked for.
    fn is_of_all(&self, namespace: &str) -> bool {
        self.asked.model.is_none() && self.asked.namespace.as_deref() == Some(namespace)
    }

    fn has(&self, namespace: &str, id: &str) -> bool {
        let mut models = self.models.iter();
        models.any(|model| model.namespace == namespace && model.model == id)
    }

    /// Whether an object is among the carriers that are shown; one that was deleted may be.
    fn carries(&self, key: &CarrierKey) -> bool {
        let name = key.to_string();
        let mut carriers = self.models.iter().flat_map(|model| &model.carriers);
        carriers.any(|carrier| carrier.carrier == name)
    }

    /// The models in the labels of an object or of its group's carriers, and the models of the carrier that replaces it.
    fn models_of(&self, key: &CarrierKey) -> BTreeSet<&str> {
        let Observed {
            objects, concerned, ..
        } = self.observed;
        let group = objects.groups.get(key).into_iter().flatten();
        let carriers = std::iter::once(key).chain(group);
        let named = carriers.filter_map(|key| objects.carriers.get(key)?.labels.get(self.label));
        let around = concerned.get(key).into_iter().flatten();
        named.chain(around).map(String::as_str).collect()
    }
}

/// What tells two documents apart. Of a proxy, where models are asked for: whether it is there, and what it runs of them.
///
/// # Errors
/// Only if the document cannot be written as JSON.
pub fn fingerprint(report: &Report, asked: &Asked) -> Result<String, serde_json::Error> {
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
    #![allow(clippy::unwrap_used)]

    use headgate_contract::{ModelId, PolicySpec as _, TokenBucketPolicySpec};
    use headgate_model::{Carrier, Objects, PolicyId, Severity};

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

    fn key(kind: &str, name: &str) -> CarrierKey {
        CarrierKey {
            namespace: "prod".to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Deployment `mute` carries nothing, and `pool` stands for Deployment `stable` of model `llama`.
    fn observed() -> Observed {
        let stable = key("deployment", "stable");
        let carrier = Carrier {
            key: stable.clone(),
            created: None,
            labels: [("model-name".to_owned(), "llama".to_owned())].into(),
            annotations: Default::default(),
            desired: 0,
            owner_replicas: Default::default(),
            pods: Vec::new(),
            min_ready_seconds: 0,
            unready_reasons: Vec::new(),
            origin: String::new(),
        };
        let objects = Objects {
            carriers: [(stable.clone(), carrier)].into(),
            groups: [(key("inferencepool", "pool"), [stable].into())].into(),
            ..Objects::default()
        };
        let concerned = [(key("deployment", "mute"), ["llama".to_owned()].into())];
        Observed {
            objects,
            concerned: concerned.into(),
            ..Observed::default()
        }
    }

    fn policy(namespace: &str, name: &str) -> Subject {
        Subject::Policy(PolicyId {
            kind: TokenBucketPolicySpec::KIND,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    #[test]
    fn a_finding_concerns_the_models_of_its_object_whatever_its_reason_and_whether_it_carries() {
        let of = |subject: Subject, reason, asked: &Asked| {
            let shown = |model: &str| ModelReport {
                namespace: "prod".to_owned(),
                model: model.to_owned(),
                ..ModelReport::default()
            };
            let all = ["llama", "phi"].into_iter();
            let models = all.filter(|id| asked.wants("prod", id, &[])).map(shown);
            let report = Report {
                models: models.collect(),
                ..Report::default()
            };
            let finding = Finding {
                object: subject,
                reason,
                severity: Severity::Warning,
                origin: "anywhere".to_owned(),
                message: String::new(),
            };
            Concern::of(asked, &report, &observed(), "model-name").is(&finding)
        };
        let (llama, phi) = (asked("llama", Some("prod")), asked("prod/phi", None));
        let namespace = |name: &str| Asked {
            model: None,
            namespace: Some(name.to_owned()),
        };
        let model = |id: &str| Subject::Model {
            namespace: "prod".to_owned(),
            id: ModelId::try_from(id).unwrap(),
        };
        let carriers = [
            key("deployment", "mute"),
            key("deployment", "stable"),
            key("inferencepool", "pool"),
        ];
        let of_llama = carriers.into_iter().map(Subject::from);
        let of_llama = of_llama.chain([model("llama")]);
        for subject in of_llama {
            for reason in [
                of_object::LABEL_IGNORED,
                of_object::NO_VERSION,
                of_object::UNREADABLE,
                of_object::UNKNOWN_ANNOTATION,
            ] {
                let of = |asked: &Asked| of(subject.clone(), reason, asked);
                assert!(of(&llama) && of(&namespace("prod")) && of(&Asked::default()));
                assert!(!of(&phi), "{subject} {reason}");
            }
        }
        // What names no model is of its namespace alone, and what is about everything of each model.
        let unknown = Subject::from(key("service", "no-model"));
        for (subject, reason, by_model, by_namespace) in [
            (unknown, of_object::NO_MODEL, false, true),
            (
                Subject::ControlPlane,
                of_object::NOTHING_REMEMBERED,
                true,
                true,
            ),
            (policy("prod", "p"), of_object::UNREADABLE, true, true),
            (policy("prod", "p"), of_object::MATCHES_NOTHING, false, true),
            (policy("other", "p"), of_object::UNREADABLE, false, false),
        ] {
            assert_eq!(of(subject.clone(), reason, &llama), by_model, "{subject}");
            let seen = of(subject.clone(), reason, &namespace("prod"));
            assert_eq!(seen, by_namespace, "{subject}");
        }
    }
}
