//! Checks each model alone, so that one bad entry never rejects a whole table.

use std::collections::BTreeMap;
use std::fmt;

use headgate_contract::{BucketRule, FilterConfig, ModelId, NamespaceConfig, Role, TagRule};
use headgate_model::{Plan, PlannedModel};

use crate::cache::Cache;
use crate::scope::ScopeSpec;

/// What was left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
    /// A model, with its clusters, routes and plan.
    Model(ModelId),
    /// A bucket of a policy.
    Bucket {
        /// The policy, as its rules name it: [`PolicyId::in_rules`](headgate_model::PolicyId::in_rules).
        policy: String,
        /// The bucket's name.
        bucket: String,
    },
}

/// `model llama3-70b`, `bucket default/tenants/per-tenant`.
impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(id) => write!(f, "model {id}"),
            Self::Bucket { policy, bucket } => write!(f, "bucket {policy}/{bucket}"),
        }
    }
}

/// Something left out of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rejected {
    /// Kubernetes namespace.
    pub namespace: String,
    /// What was left out.
    pub what: LeftOut,
    /// Why, and what to change.
    pub reason: String,
}

/// The accepted part of one namespace.
pub(crate) struct View<'a> {
    pub models: BTreeMap<&'a ModelId, &'a PlannedModel>,
    pub buckets: Vec<&'a BucketRule>,
    pub tagging: Vec<&'a TagRule>,
}

pub(crate) type Accepted<'a> = BTreeMap<&'a str, View<'a>>;

/// What of the scope's namespaces can go out, and what cannot. Every namespace of the scope is there, also an empty
/// one: its virtual host answers 404 in our words.
pub(crate) fn accepted<'a>(
    plan: &'a Plan,
    scope: &'a ScopeSpec,
    cache: &Cache,
) -> (Accepted<'a>, Vec<Rejected>) {
    let mut rejected = Vec::new();
    let mut accepted = BTreeMap::new();
    for name in &scope.namespaces {
        let mut view = View {
            models: BTreeMap::new(),
            buckets: Vec::new(),
            tagging: Vec::new(),
        };
        if let Some(namespace) = plan.namespaces.get(name) {
            let mut refuse = |what: LeftOut, reason: String| {
                rejected.push(Rejected {
                    namespace: name.clone(),
                    what,
                    reason,
                });
            };
            for (id, model) in &namespace.models {
                match cache.model(name, id).map(|made| &made.verdict) {
                    Some(Err(reason)) => refuse(LeftOut::Model(id.clone()), reason.clone()),
                    Some(Ok(())) | None => {
                        view.models.insert(id, model);
                    }
                }
            }
            for rule in &namespace.config.buckets {
                let alone = NamespaceConfig {
                    buckets: vec![rule.clone()],
                    ..NamespaceConfig::default()
                };
                match parses(alone) {
                    Ok(()) => view.buckets.push(rule),
                    Err(reason) => {
                        let what = LeftOut::Bucket {
                            policy: rule.policy.clone(),
                            bucket: rule.bucket.name.to_string(),
                        };
                        refuse(what, reason);
                    }
                }
            }
            view.tagging = namespace.config.tagging.iter().collect();
        }
        accepted.insert(name.as_str(), view);
    }
    (accepted, rejected)
}

pub(crate) fn model_alone(id: &ModelId, model: &PlannedModel) -> Result<(), String> {
    for (version, variant) in &model.variants {
        if let Some(address) = variant.endpoints.iter().find(|a| a.port() == 0) {
            return Err(format!(
                "version {version} has the endpoint {address}: give it a port"
            ));
        }
    }
    parses(NamespaceConfig {
        models: BTreeMap::from([(id.clone(), model.plan.clone())]),
        ..NamespaceConfig::default()
    })
}

/// The filters' own parser decides.
fn parses(config: NamespaceConfig) -> Result<(), String> {
    let config = FilterConfig {
        role: Role::Decide,
        retry: 0,
        max_body_bytes: 1 << 20,
        namespaces: BTreeMap::from([("n".to_owned(), config)]),
    };
    config
        .emit()
        .and_then(|json| FilterConfig::parse(json.as_bytes()))
        .map(|_| ())
        .map_err(|e| e.to_string())
}
