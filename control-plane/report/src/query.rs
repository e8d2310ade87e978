//! Queries: the part of the status document that a client asks for, and fingerprints that detect changes of it.
//!
//! Pure. Invariant: two documents with the same fingerprint differ only in publication counters, and in the versions and times of
//! pushes that did not change a model.

use std::collections::BTreeSet;

use headgate_model::Observed;
use headgate_model::{CarrierKey, Finding, Subject, reason as of_object};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{ModelReport, PolicyReport, Report, reason};

/// Selection of models.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Query {
    /// A model: its id, a client name, or `namespace/id`. `None` selects all.
    pub model: Option<String>,
    /// Namespace of the models. `None` selects all.
    pub namespace: Option<String>,
}

impl Query {
    /// Whether it selects everything.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it selects this model.
    pub fn matches(&self, namespace: &str, id: &str, names: &[String]) -> bool {
        let named = |model: &String| {
            let full = model
                .strip_prefix(namespace)
                .and_then(|rest| rest.strip_prefix('/'));
            model == id || full == Some(id) || names.contains(model)
        };
        self.namespace
            .as_ref()
            .is_none_or(|wanted| wanted == namespace)
            && self.model.as_ref().is_none_or(named)
    }
}

/// Keeps the problems that concern the selected models. Findings are selected by their objects: see [`FindingFilter`].
pub(super) fn retain_matching(report: &mut Report, query: &Query) {
    if query.is_everything() {
        return;
    }
    let Report {
        problems, models, ..
    } = report;
    problems.retain(|problem| {
        let namespace = |namespace: &str| problem.object == format!("namespace {namespace}");
        reason::CONCERNING_ALL.contains(&problem.reason.as_str())
            || models.iter().any(|model| namespace(&model.namespace))
            || query.namespace.as_deref().is_some_and(namespace)
    });
}

/// Selection of the findings that concern a query.
pub(super) struct FindingFilter<'a> {
    query: &'a Query,
    /// The selected models.
    models: &'a [ModelReport],
    /// The policies that apply to them.
    policies: &'a [PolicyReport],
    observed: &'a Observed,
    /// Key of the model label.
    label: &'a str,
}

impl<'a> FindingFilter<'a> {
    pub(super) fn new(
        query: &'a Query,
        report: &'a Report,
        observed: &'a Observed,
        label: &'a str,
    ) -> Self {
        let (models, policies) = (&report.models, &report.policies);
        Self {
            query,
            models,
            policies,
            observed,
            label,
        }
    }

    /// Whether a finding concerns the query. Only the object of the finding decides. A finding on the control plane concerns every
    /// model.
    pub(super) fn matches(&self, finding: &Finding) -> bool {
        if self.query.is_everything() {
            return true;
        }
        match &finding.object {
            Subject::ControlPlane => true,
            Subject::Model { namespace, id } => self.has(namespace, id.as_str()),
            Subject::Policy(id) => {
                let name = id.to_string();
                // The models of an unreadable policy are unknown.
                let unclear = [of_object::UNREADABLE, of_object::TARGET_UNREAD];
                self.policies.iter().any(|policy| policy.policy == name)
                    || self.selects_namespace(&id.namespace)
                    || (unclear.contains(&finding.reason)
                        && self.models.iter().any(|m| m.namespace == id.namespace))
            }
            Subject::Carrier(key) => {
                let models = self.models_of(key);
                self.selects_namespace(&key.namespace)
                    || models.iter().any(|model| self.has(&key.namespace, model))
                    || self.carries(key)
            }
        }
    }

    /// Whether the query selects every model of this namespace.
    fn selects_namespace(&self, namespace: &str) -> bool {
        self.query.model.is_none() && self.query.namespace.as_deref() == Some(namespace)
    }

    fn has(&self, namespace: &str, id: &str) -> bool {
        let mut models = self.models.iter();
        models.any(|model| model.namespace == namespace && model.model == id)
    }

    /// Whether an object is a carrier of a selected model. It may be deleted already.
    fn carries(&self, key: &CarrierKey) -> bool {
        let name = key.to_string();
        let mut carriers = self.models.iter().flat_map(|model| &model.carriers);
        carriers.any(|carrier| carrier.carrier == name)
    }

    /// Models in the labels of an object, of the carriers of its group, and of the carrier that replaces it.
    fn models_of(&self, key: &CarrierKey) -> BTreeSet<&str> {
        let Observed {
            objects,
            related_models,
            ..
        } = self.observed;
        let group = objects.groups.get(key).into_iter().flatten();
        let carriers = std::iter::once(key).chain(group);
        let named = carriers.filter_map(|key| objects.carriers.get(key)?.labels.get(self.label));
        let related = related_models.get(key).into_iter().flatten();
        named.chain(related).map(String::as_str).collect()
    }
}

/// A hash that changes with the document. If the query selects models, changes of a proxy count only as far as they concern these
/// models.
///
/// # Errors
/// The document cannot be serialized to JSON.
pub fn fingerprint(report: &Report, query: &Query) -> Result<String, serde_json::Error> {
    let mut stable = report.clone();
    stable.head.publication = 0;
    stable.head.published_at = 0.0;
    stable.head.took_ms = 0.0;
    for held in stable
        .models
        .iter_mut()
        .flat_map(|model| &mut model.proxies)
    {
        held.config.clear();
        held.acked_at = None;
    }
    for of_type in stable
        .proxies
        .iter_mut()
        .flat_map(|proxy| proxy.types.values_mut())
    {
        of_type.wanted.clear();
        of_type.sent.clear();
        of_type.acked.clear();
        of_type.acked_at = None;
    }
    if !query.is_everything() {
        for proxy in &mut stable.proxies {
            proxy.types.clear();
            proxy.current = true;
        }
    }
    let hash = Sha256::digest(serde_json::to_vec(&stable)?);
    Ok(hash[..12]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use headgate_contract::{ModelId, PolicySpec as _, TokenBucketPolicySpec};
    use headgate_model::{Carrier, CarrierMesh, Objects, PolicyId, Severity};

    use super::*;

    fn query(model: &str, namespace: Option<&str>) -> Query {
        Query {
            model: Some(model.to_owned()),
            namespace: namespace.map(str::to_owned),
        }
    }

    #[test]
    fn a_query_names_a_model_by_id_namespace_and_id_or_client_name() {
        let names = ["meta-llama/Llama-3.1".to_owned()];
        for (query, wanted) in [
            (query("llama", None), true),
            (query("prod/llama", None), true),
            (query("meta-llama/Llama-3.1", None), true),
            (query("llama", Some("prod")), true),
            (query("llama", Some("other")), false),
            (query("other/llama", None), false),
            (query("lama", None), false),
            (query("prodllama", None), false),
        ] {
            assert_eq!(query.matches("prod", "llama", &names), wanted, "{query:?}");
        }
        assert!(Query::default().matches("prod", "llama", &[]));
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
            mesh: CarrierMesh::default(),
            origin: String::new(),
        };
        let objects = Objects {
            carriers: [(stable.clone(), carrier)].into(),
            groups: [(key("inferencepool", "pool"), [stable].into())].into(),
            ..Objects::default()
        };
        let related_models = [(key("deployment", "mute"), ["llama".to_owned()].into())];
        Observed {
            objects,
            related_models: related_models.into(),
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
    fn a_finding_belongs_to_the_models_of_its_object_also_if_the_object_is_not_a_carrier() {
        let of = |subject: Subject, reason, query: &Query| {
            let shown = |model: &str| ModelReport {
                namespace: "prod".to_owned(),
                model: model.to_owned(),
                ..ModelReport::default()
            };
            let all = ["llama", "phi"].into_iter();
            let models = all.filter(|id| query.matches("prod", id, &[])).map(shown);
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
            FindingFilter::new(query, &report, &observed(), "model-name").matches(&finding)
        };
        let (llama, phi) = (query("llama", Some("prod")), query("prod/phi", None));
        let namespace = |name: &str| Query {
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
                let of = |query: &Query| of(subject.clone(), reason, query);
                assert!(of(&llama) && of(&namespace("prod")) && of(&Query::default()));
                assert!(!of(&phi), "{subject} {reason}");
            }
        }
        // What names no model is of its namespace alone, and what is about everything of each model.
        let unknown = Subject::from(key("service", "no-model"));
        for (subject, reason, by_model, by_namespace) in [
            (unknown, of_object::NO_MODEL, false, true),
            (
                Subject::ControlPlane,
                of_object::STATUS_NOT_STORED,
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
