//! The policies of an API server as they are now: a synchronous reducer of what the watches tell.
//!
//! Invariant: a function of the objects as they are. One that cannot be read (it was stored before its definition said so) is left
//! out, with an outcome for its status, and takes nothing else with it.

use std::collections::BTreeMap;

use headgate_contract::{ConfigError, TokenBucketPolicySpec, TrafficTagPolicySpec, parse_json};
use headgate_model::{
    Finding, Objects, Policy, PolicyId, PolicyKey, PolicyKind, PolicyOutcome, Severity, reason,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::DynamicObject;
use serde::Deserialize as _;
use serde::de::DeserializeOwned;

use crate::files::Observed;

/// The policies, read and unread, and their statuses.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Seen {
    /// By namespace and name.
    pub bucket_policies: BTreeMap<PolicyKey, Policy<TokenBucketPolicySpec>>,
    /// By namespace and name.
    pub tag_policies: BTreeMap<PolicyKey, Policy<TrafficTagPolicySpec>>,
    /// Those that cannot be read.
    pub invalid: BTreeMap<PolicyId, PolicyOutcome>,
    /// The conditions stored, of every policy there is.
    pub stored: BTreeMap<PolicyId, Vec<Condition>>,
}

impl Seen {
    /// An object was added or changed.
    pub fn apply(&mut self, kind: PolicyKind, object: &DynamicObject) {
        let id = identity(kind, object);
        self.delete(&id);
        let key = (id.namespace.clone(), id.name.clone());
        let outcome = match kind {
            PolicyKind::TokenBucket => {
                policy(kind, object).map(|policy| _ = self.bucket_policies.insert(key, policy))
            }
            PolicyKind::TrafficTag => {
                policy(kind, object).map(|policy| _ = self.tag_policies.insert(key, policy))
            }
        };
        if let Err(error) = outcome {
            let outcome = PolicyOutcome::invalid(generation(object), &error);
            self.invalid.insert(id.clone(), outcome);
        }
        self.stored.insert(id, conditions(object));
    }

    /// An object is gone.
    pub fn delete(&mut self, id: &PolicyId) {
        let key = (id.namespace.clone(), id.name.clone());
        match id.kind {
            PolicyKind::TokenBucket => _ = self.bucket_policies.remove(&key),
            PolicyKind::TrafficTag => _ = self.tag_policies.remove(&key),
        }
        self.invalid.remove(id);
        self.stored.remove(id);
    }

    /// Of one kind, in a namespace or in all, these objects are all there are.
    pub fn replace<'a>(
        &mut self,
        kind: PolicyKind,
        namespace: Option<&str>,
        objects: impl IntoIterator<Item = &'a DynamicObject>,
    ) {
        let within =
            |id: &&PolicyId| id.kind == kind && namespace.is_none_or(|ns| ns == id.namespace);
        let gone: Vec<PolicyId> = self.stored.keys().filter(within).cloned().collect();
        gone.iter().for_each(|id| self.delete(id));
        objects
            .into_iter()
            .for_each(|object| self.apply(kind, object));
    }

    /// Puts the policies among the objects of a plan.
    pub fn add_to(&self, objects: &mut Objects) {
        objects.bucket_policies.clone_from(&self.bucket_policies);
        objects.tag_policies.clone_from(&self.tag_policies);
    }

    /// The world after `before` that has these policies and nothing else. Statuses are no part of it.
    pub(super) fn observe(&self, before: &Observed) -> Observed {
        let mut objects = Objects::default();
        self.add_to(&mut objects);
        let generation = before.generation + 1;
        let changed = before.generation == 0 || before.objects != objects;
        let at = |last: u64| if changed { generation } else { last };
        let unread = |(id, outcome): (&PolicyId, &PolicyOutcome)| Finding {
            object: id.to_string(),
            reason: reason::UNREADABLE,
            severity: Severity::Error,
            origin: id.to_string(),
            message: format!("it is left out: {}", outcome.accepted.message),
        };
        Observed {
            objects,
            findings: self.invalid.iter().map(unread).collect(),
            generation,
            intent: at(before.intent),
            changed: at(before.changed),
            ..Observed::default()
        }
    }
}

pub(super) fn identity(kind: PolicyKind, object: &DynamicObject) -> PolicyId {
    let meta = &object.metadata;
    PolicyId {
        kind,
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
    }
}

fn generation(object: &DynamicObject) -> i64 {
    object.metadata.generation.unwrap_or(0)
}

fn policy<S: DeserializeOwned>(
    kind: PolicyKind,
    object: &DynamicObject,
) -> Result<Policy<S>, ConfigError> {
    let id = identity(kind, object);
    let spec = object.data.get("spec");
    let spec = spec
        .ok_or_else(|| ConfigError::new("spec", "is missing: a policy says what it does there"))?;
    Ok(Policy {
        origin: format!("{} {}/{}", kind.as_str(), id.namespace, id.name),
        namespace: id.namespace,
        name: id.name,
        created: object
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|t| t.0.as_second()),
        generation: generation(object),
        spec: parse_json(spec.to_string().as_bytes()).map_err(|e| e.under("spec"))?,
    })
}

/// What is stored and can be read; what cannot is written anew.
fn conditions(object: &DynamicObject) -> Vec<Condition> {
    let list = object.data.pointer("/status/conditions");
    list.and_then(|list| Vec::deserialize(list).ok())
        .unwrap_or_default()
}
