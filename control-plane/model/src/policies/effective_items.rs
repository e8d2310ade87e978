//! The items of a policy that take effect in a namespace, and those that another policy overrides.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{ModelId, Version};

/// Models, as a whole (`None`) or only some of their versions.
pub(crate) type Models = BTreeMap<ModelId, Option<BTreeSet<Version>>>;

/// The result of a policy in a namespace.
#[derive(Debug)]
pub(crate) struct EffectiveItems {
    /// The models for which each item takes effect, in the order of the items.
    pub(crate) items: Vec<Models>,
    pub(crate) overridden: Vec<OverriddenItem>,
    /// The number of models that the policy targets.
    pub(crate) targeted: usize,
    /// Whether the policy is for all models, and targets all of the namespace.
    pub(crate) all_models: bool,
    /// The parts of the policy for the namespace as a whole.
    pub(crate) namespace_parts: Vec<NamespacePart>,
}

/// An item of a model for which another policy takes precedence.
#[derive(Debug, Clone)]
pub(crate) struct OverriddenItem {
    /// Index of the item.
    pub(crate) item: usize,
    pub(crate) model: ModelId,
    /// The overridden versions; `None` means the whole model.
    pub(crate) versions: Option<BTreeSet<Version>>,
    /// `namespace/name`.
    pub(crate) winner: String,
    /// Why the winner takes precedence.
    pub(crate) because: &'static str,
    /// Whether only age or name decided.
    pub(crate) is_tie: bool,
}

/// A part of a policy that applies to a namespace as a whole, not to models.
#[derive(Debug)]
pub(crate) struct NamespacePart {
    /// Its field: `spec.cors` or `spec.apis`.
    pub(crate) field: &'static str,
    /// Its effect.
    pub(crate) effect: Effect,
}

/// The effect of a [`NamespacePart`].
#[derive(Debug)]
pub(crate) enum Effect {
    /// It takes effect.
    Active,
    /// Another policy takes precedence for the whole namespace.
    Hidden {
        /// `namespace/name`.
        by: String,
        /// Whether that policy has the same part. Then it is an intended exception.
        replaced: bool,
    },
}

impl EffectiveItems {
    pub(crate) fn new(items: usize, targeted: usize, all_models: bool) -> Self {
        Self {
            items: vec![Models::new(); items],
            overridden: Vec::new(),
            targeted,
            all_models,
            namespace_parts: Vec::new(),
        }
    }

    /// Whether no part of the policy takes effect.
    pub(crate) fn is_nothing(&self) -> bool {
        self.items.iter().all(BTreeMap::is_empty) && self.active_parts().next().is_none()
    }

    /// The fields of its namespace parts that take effect.
    pub(crate) fn active_parts(&self) -> impl Iterator<Item = &'static str> {
        let parts = self.namespace_parts.iter();
        let active = parts.filter(|part| matches!(part.effect, Effect::Active));
        active.map(|part| part.field)
    }
}
