//! The cache of the stored policies: a synchronous reducer of watch events.
//!
//! Invariant: an invalid policy has an outcome for its status and affects no other policy. It has no effect, so that the cache is a
//! function of the current objects. An invalid policy of a kind with [`if_invalid`](headgate_contract::PolicyDefinition::if_invalid) is an
//! exception: its last valid spec stays in effect, and a replica that knows none uses that of the kind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headgate_contract::PolicyKind;
use headgate_contract::names::API_VERSION;
use headgate_model::reference::{ByObject, Reference};
use headgate_model::{Objects, Policy, PolicyId, PolicyOutcome};

use super::StoredStatus;
use super::stored::StoredPolicy;

/// The policies, valid and invalid, and their statuses.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PolicyCache {
    /// The policies in effect, of all kinds.
    pub policies: BTreeMap<PolicyId, Policy>,
    /// Outcomes of the invalid policies.
    pub invalid: BTreeMap<PolicyId, PolicyOutcome>,
    /// The stored status of every policy.
    pub stored: BTreeMap<PolicyId, StoredStatus>,
    /// References to the objects.
    pub references: Arc<ByObject>,
}

impl PolicyCache {
    /// An object was added or changed.
    pub fn apply(&mut self, object: StoredPolicy) {
        let id = object.id;
        let before = self.policies.get(&id).cloned();
        self.delete(&id);
        let reference = Reference {
            api_version: API_VERSION.to_owned(),
            kind: id.kind.as_str().to_owned(),
            namespace: id.namespace.clone(),
            name: id.name.clone(),
            uid: object.uid.clone(),
        };
        Arc::make_mut(&mut self.references).insert(id.clone().into(), reference);
        match object.policy {
            Ok(policy) => _ = self.policies.insert(id.clone(), policy),
            Err(error) => {
                let outcome = PolicyOutcome::invalid(object.generation, &error);
                self.invalid.insert(id.clone(), outcome);
                if let Some(policy) = object.if_invalid {
                    let last = before.filter(|before| before.uid == object.uid);
                    self.policies.insert(id.clone(), last.unwrap_or(policy));
                }
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

    /// An object was deleted.
    pub fn delete(&mut self, id: &PolicyId) {
        self.policies.remove(id);
        self.invalid.remove(id);
        self.stored.remove(id);
        Arc::make_mut(&mut self.references).remove(&id.clone().into());
    }

    /// Removes every object of a kind, in a namespace (`None`: in all), that is not in this list.
    pub fn keep(
        &mut self,
        kind: &PolicyKind,
        namespace: Option<&str>,
        listed: &BTreeSet<PolicyId>,
    ) {
        let within =
            |id: &&PolicyId| id.kind == *kind && namespace.is_none_or(|ns| ns == id.namespace);
        let all = self.stored.keys().filter(within);
        let gone: Vec<PolicyId> = all.filter(|id| !listed.contains(id)).cloned().collect();
        gone.iter().for_each(|id| self.delete(id));
    }

    /// What an invalid policy has as its effect.
    #[must_use]
    pub fn effect_of_invalid(&self, id: &PolicyId) -> &'static str {
        let generation = self.invalid.get(id).map(|outcome| outcome.generation);
        match self.policies.get(id) {
            None => "the policy is ignored",
            Some(policy) if Some(policy.generation) == generation => {
                "no valid version of the policy is known, so all requests to which it applies are refused with 401 until it is corrected"
            }
            Some(_) => "the last valid version of the policy stays in effect",
        }
    }

    /// Adds the policies to the objects of a plan.
    pub fn add_to(&self, objects: &mut Objects) {
        objects.policies.clone_from(&self.policies);
    }
}
