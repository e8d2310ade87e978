//! The order of precedence among policies that give one model the same item.

use headgate_contract::{PolicySpec, Target};

use super::typed::TypedPolicy;
use crate::{Objects, Policy};

/// The precedence of a policy for a model; the least rank wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) tier: Tier,
    pub(crate) level: Level,
    /// Unix seconds; `None` is the oldest.
    created: Option<i64>,
    /// Namespace and name.
    key: (String, String),
}

/// The namespace of the policy, relative to the model's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    /// The root namespace, with `override`.
    Override,
    /// The model's own namespace.
    Own,
    /// The root namespace, as a default.
    Default,
}

/// How specific the policy's target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// A version of the model.
    Version,
    /// The model, or an object that carries it.
    Model,
    /// Labels of its carriers.
    Selector,
    /// All models of the namespace.
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
    pub(crate) fn new(policy: &Policy, tier: Tier, level: Level) -> Self {
        Self {
            tier,
            level,
            created: policy.created,
            key: (policy.namespace.clone(), policy.name.clone()),
        }
    }

    /// The policy: `namespace/name`.
    pub(crate) fn policy(&self) -> String {
        format!("{}/{}", self.key.0, self.key.1)
    }

    /// The reason why this rank, which is less than `other`, takes precedence.
    pub(crate) fn because(&self, other: &Self) -> &'static str {
        match (self.tier, self.level) {
            (Tier::Override, _) if other.tier != Tier::Override => "it has `override`",
            (Tier::Own, _) if other.tier == Tier::Default => "it is in the namespace of the model",
            (_, Level::Version) if other.level != Level::Version => "it names the version",
            (_, Level::Model) if other.level != Level::Model => "it names the model",
            (_, Level::Selector) if other.level != Level::Selector => {
                "it selects the model by labels"
            }
            _ if self.created != other.created => "it is older",
            _ => "its name sorts first",
        }
    }

    /// Whether only age and name distinguish the two, so the conflict may not be intended.
    pub(crate) fn is_tie(&self, other: &Self) -> bool {
        (self.tier, self.level) == (other.tier, other.level)
    }
}

/// The policies of one kind by age, then by namespace and name. Filters reserve buckets in this order, so those of a new policy come last.
pub(crate) fn oldest_first<S: PolicySpec>(objects: &Objects) -> Vec<TypedPolicy<'_, S>> {
    let policies = objects.policies.values();
    let mut policies: Vec<TypedPolicy<'_, S>> = policies.filter_map(TypedPolicy::of).collect();
    policies.sort_by_key(|TypedPolicy { policy, .. }| {
        (policy.created, &policy.namespace, &policy.name)
    });
    policies
}
