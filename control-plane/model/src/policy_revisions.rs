//! Revisions of policies.

use std::collections::BTreeMap;

use crate::{Objects, PolicyId, PolicyOutcome};

/// A revision of a policy. Later revisions of one object are greater. A recreated object of the same name is another object, so its
/// revisions cannot be compared with those of the deleted one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyRevision {
    /// The object's `metadata.uid`; empty in files.
    pub uid: String,
    /// Its `metadata.generation`.
    pub generation: i64,
}

/// The revisions in a plan, of the policies that have rules in some filter.
pub type PolicyRevisions = BTreeMap<PolicyId, PolicyRevision>;

impl PolicyRevision {
    /// The lesser of both; `None` if they are of different objects.
    #[must_use]
    pub fn least<'a>(&'a self, other: &'a Self) -> Option<&'a Self> {
        (self.uid == other.uid).then(|| self.min(other))
    }
}

/// The revision of every policy that has rules in some filter.
#[must_use]
pub(crate) fn policy_revisions(
    policies: &BTreeMap<PolicyId, PolicyOutcome>,
    objects: &Objects,
) -> PolicyRevisions {
    let has_rules = |(_, outcome): &(&PolicyId, &PolicyOutcome)| !outcome.namespaces.is_empty();
    let policies = policies.iter().filter(has_rules);
    policies
        .map(|(id, outcome)| (id.clone(), policy_revision(id, outcome, objects)))
        .collect()
}

/// The revision of a policy with this outcome.
#[must_use]
pub fn policy_revision(
    id: &PolicyId,
    outcome: &PolicyOutcome,
    objects: &Objects,
) -> PolicyRevision {
    let uid = objects.policies.get(id).map(|policy| &policy.uid);
    PolicyRevision {
        uid: uid.cloned().unwrap_or_default(),
        generation: outcome.generation,
    }
}
