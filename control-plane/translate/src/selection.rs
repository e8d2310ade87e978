//! Selection of the part of a plan that goes to a scope. Models, buckets and hosts that the filters would refuse are left out.

use std::collections::BTreeMap;
use std::fmt;

use headgate_contract::ModelId;
use headgate_model::Plan;

use crate::cache::Cache;
use crate::scope::ScopeSpec;
use crate::validate;
use crate::view::{Accepted, View};

/// A part of a plan that was left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
    /// A model, with its clusters, routes and plan.
    Model(ModelId),
    /// A bucket of a policy.
    Bucket {
        /// The policy as its rules name it: [`PolicyId::in_rules`](headgate_model::PolicyId::in_rules).
        policy: String,
        /// The bucket's name.
        bucket: String,
    },
    /// A host of a namespace.
    Host(String),
}

/// `model llama3-70b`, `bucket default/tenants/per-tenant`.
impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(id) => write!(f, "model {id}"),
            Self::Host(host) => write!(f, "host {host}"),
            Self::Bucket { policy, bucket } => write!(f, "bucket {policy}/{bucket}"),
        }
    }
}

/// A part left out of a snapshot, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rejected {
    /// Kubernetes namespace.
    pub namespace: String,
    /// The part that was left out.
    pub what: LeftOut,
    /// The reason and the fix.
    pub reason: String,
}

/// Selects the valid parts of a scope's namespaces, and reports the others. The result has every namespace of the scope, also an empty
/// one: its virtual host answers 404 with a JSON body.
pub(crate) fn select<'a>(
    plan: &'a Plan,
    scope: &'a ScopeSpec,
    cache: &Cache,
) -> (Accepted<'a>, Vec<Rejected>) {
    let mut rejected = Vec::new();
    let mut accepted = BTreeMap::new();
    let mut owners: BTreeMap<&String, &String> = BTreeMap::new();
    for name in scope.reach(plan) {
        let mut view = View {
            hosts: Vec::new(),
            models: BTreeMap::new(),
            buckets: Vec::new(),
            tagging: Vec::new(),
            authentication: None,
        };
        if let Some(namespace) = plan.namespaces.get(name) {
            let mut reject = |what: LeftOut, reason: String| {
                rejected.push(Rejected {
                    namespace: name.clone(),
                    what,
                    reason,
                });
            };
            for (id, model) in &namespace.models {
                match cache.model(name, id).map(|model| &model.validity) {
                    Some(Err(reason)) => reject(LeftOut::Model(id.clone()), reason.clone()),
                    Some(Ok(())) | None => {
                        view.models.insert(id, model);
                    }
                }
            }
            for rule in &namespace.config.buckets {
                match validate::bucket(rule) {
                    Ok(()) => view.buckets.push(rule),
                    Err(reason) => {
                        let what = LeftOut::Bucket {
                            policy: rule.policy.clone(),
                            bucket: rule.bucket.name.to_string(),
                        };
                        reject(what, reason);
                    }
                }
            }
            for host in &namespace.config.hosts {
                match validate::host(host, owners.get(host).copied()) {
                    Ok(()) => {
                        owners.insert(host, name);
                        view.hosts.push(host);
                    }
                    Err(reason) => reject(LeftOut::Host(host.clone()), reason),
                }
            }
            view.tagging = namespace.config.tagging.iter().collect();
            view.authentication = namespace.authentication.as_ref();
        }
        accepted.insert(name.as_str(), view);
    }
    (accepted, rejected)
}
