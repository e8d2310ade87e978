//! Who comes first: the order of policies that give one model the same thing.

use std::collections::BTreeMap;

use headgate_contract::Target;

use crate::{Policy, PolicyKey};

/// A policy's state for a model; the least one wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) tier: Tier,
    pub(crate) level: Level,
    /// Unix seconds; a missing age is the oldest.
    created: Option<i64>,
    key: PolicyKey,
}

/// Whose word it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    /// The root namespace, and it is not to be replaced.
    Override,
    /// The model's own namespace.
    Own,
    /// The root namespace, where nobody says otherwise.
    Default,
}

/// How closely it names the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// One version of it.
    Version,
    /// The model, or an object that carries it.
    Model,
    /// Labels of its carriers.
    Selector,
    /// All models.
    Namespace,
}

impl Level {
    pub(crate) fn of(target: &Target) -> Self {
        match target {
            Target::Refs(_) | Target::Models(_) => Self::Model,
            Target::Selector(_) => Self::Selector,
            Target::All => Self::Namespace,
        }
    }
}

impl Rank {
    pub(crate) fn new<S>(policy: &Policy<S>, tier: Tier, level: Level) -> Self {
        Self {
            tier,
            level,
            created: policy.created,
            key: (policy.namespace.clone(), policy.name.clone()),
        }
    }

    /// The winner's identity: `namespace/name`.
    pub(crate) fn identity(&self) -> String {
        format!("{}/{}", self.key.0, self.key.1)
    }

    /// Why this one comes before `other`, of which it is less.
    pub(crate) fn because(&self, other: &Self) -> &'static str {
        match (self.tier, self.level) {
            (Tier::Override, _) if other.tier != Tier::Override => "it overrides",
            (Tier::Own, _) if other.tier == Tier::Default => "it is of the model's own namespace",
            (_, Level::Version) if other.level != Level::Version => "it names the version",
            (_, Level::Model) if other.level != Level::Model => "it names the model",
            (_, Level::Selector) if other.level != Level::Selector => "it selects by labels",
            _ if self.created != other.created => "it is older",
            _ => "its name comes first",
        }
    }

    /// Whether only age and name tell the two apart: then somebody may not have meant it.
    pub(crate) fn is_equal(&self, other: &Self) -> bool {
        (self.tier, self.level) == (other.tier, other.level)
    }
}

/// By age, then by namespace and name: the order in which buckets are reserved, so that a new policy comes last.
pub(crate) fn oldest_first<S>(policies: &BTreeMap<PolicyKey, Policy<S>>) -> Vec<&Policy<S>> {
    let mut list: Vec<_> = policies.iter().collect();
    list.sort_by_key(|(key, policy)| (policy.created, *key));
    list.into_iter().map(|(_, policy)| policy).collect()
}
