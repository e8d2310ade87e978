//! The policies of an API server as they are now: a synchronous reducer of what the watches tell.
//!
//! Invariant: a function of the objects as they are. One that cannot be read is left out, with an outcome for its status, and takes nothing else with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headgate_contract::{TokenBucketPolicySpec, TrafficTagPolicySpec};
use headgate_model::reference::{ByObject, Reference};
use headgate_model::{Objects, Policy, PolicyId, PolicyKey, PolicyKind, PolicyOutcome};

use super::StoredStatus;
use super::stored::{Says, StoredPolicy};

/// The version of the kinds, with their group.
const API_VERSION: &str = "headgate.dev/v1alpha1";

/// The policies, read and unread, and their statuses.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PolicyCache {
    /// By namespace and name.
    pub bucket_policies: BTreeMap<PolicyKey, Policy<TokenBucketPolicySpec>>,
    /// By namespace and name.
    pub tag_policies: BTreeMap<PolicyKey, Policy<TrafficTagPolicySpec>>,
    /// Those that cannot be read.
    pub invalid: BTreeMap<PolicyId, PolicyOutcome>,
    /// The statuses stored, of every policy there is.
    pub stored: BTreeMap<PolicyId, StoredStatus>,
    /// What the API server calls them.
    pub references: Arc<ByObject>,
}

impl PolicyCache {
    /// An object was added or changed.
    pub fn apply(&mut self, object: StoredPolicy) {
        let id = object.id;
        self.delete(&id);
        let reference = Reference {
            api_version: API_VERSION.to_owned(),
            kind: id.kind.as_str().to_owned(),
            namespace: id.namespace.clone(),
            name: id.name.clone(),
            uid: object.uid.clone(),
        };
        Arc::make_mut(&mut self.references).insert(id.clone().into(), reference);
        let key = (id.namespace.clone(), id.name.clone());
        match object.says {
            Ok(Says::Buckets(policy)) => _ = self.bucket_policies.insert(key, policy),
            Ok(Says::Tags(policy)) => _ = self.tag_policies.insert(key, policy),
            Err(error) => {
                let outcome = PolicyOutcome::invalid(object.generation, &error);
                self.invalid.insert(id.clone(), outcome);
            }
        }
        let status = StoredStatus {
            uid: object.uid,
            version: object.version,
            conditions: object.conditions,
            written: object.written,
        };
        self.stored.insert(id, status);
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
        Arc::make_mut(&mut self.references).remove(&id.clone().into());
    }

    /// Of one kind, in a namespace or in all, these objects are all there are.
    pub fn keep(&mut self, kind: PolicyKind, namespace: Option<&str>, listed: &BTreeSet<PolicyId>) {
        let within =
            |id: &&PolicyId| id.kind == kind && namespace.is_none_or(|ns| ns == id.namespace);
        let all = self.stored.keys().filter(within);
        let gone: Vec<PolicyId> = all.filter(|id| !listed.contains(id)).cloned().collect();
        gone.iter().for_each(|id| self.delete(id));
    }

    /// Puts the policies among the objects of a plan.
    pub fn add_to(&self, objects: &mut Objects) {
        objects.bucket_policies.clone_from(&self.bucket_policies);
        objects.tag_policies.clone_from(&self.tag_policies);
    }
}
