//! The policies of an API server as they are now: a synchronous reducer of what the watches tell.
//!
//! Invariant: a function of the objects as they are. One that cannot be read is left out, with an outcome for its status, and takes nothing else with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headgate_contract::{TokenBucketPolicySpec, TrafficTagPolicySpec};
use headgate_model::{
    Finding, Objects, Policy, PolicyId, PolicyKey, PolicyKind, PolicyOutcome, Severity, reason,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;

use super::stored::{Says, Stored};
use crate::files::Observed;
use crate::reference::{ByObject, Reference, References};

/// The version of the kinds, with their group.
const API_VERSION: &str = "headgate.dev/v1alpha1";

/// The policies, read and unread, and their statuses.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Seen {
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

/// The stored status of a policy, restricted to what one installation writes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StoredStatus {
    /// `metadata.uid`: a recreated object with the same name has another one.
    pub uid: String,
    /// `metadata.resourceVersion` that was seen: a write is refused if the object has changed since.
    pub version: String,
    /// The conditions.
    pub conditions: Vec<Condition>,
    /// When a control plane wrote them last.
    pub written: Option<Timestamp>,
}

impl Seen {
    /// An object was added or changed.
    pub fn apply(&mut self, object: Stored) {
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

    /// The world after `before` that has these policies and nothing else. Statuses are no part of it.
    pub(super) fn observe(&self, before: &Observed) -> Observed {
        let mut objects = Objects::default();
        self.add_to(&mut objects);
        let generation = before.generation + 1;
        let changed = before.generation == 0 || before.objects != objects;
        let at = |last: u64| if changed { generation } else { last };
        let unread = |(id, outcome): (&PolicyId, &PolicyOutcome)| Finding {
            object: id.clone().into(),
            reason: reason::UNREADABLE,
            severity: Severity::Error,
            origin: id.to_string(),
            message: format!("it is left out: {}", outcome.accepted.message),
        };
        Observed {
            objects,
            findings: self.invalid.iter().map(unread).collect(),
            references: References::of(self.references.clone()),
            generation,
            intent: at(before.intent),
            changed: at(before.changed),
            ..Observed::default()
        }
    }
}
