//! A policy with its target resolved to models.

use std::collections::BTreeMap;

use headgate_contract::ChargeAt;

use super::effective_items::Models;
use super::rank::Rank;
use crate::PolicyId;

/// A policy with its target resolved.
pub(crate) struct ResolvedPolicy {
    pub(crate) id: PolicyId,
    pub(crate) generation: i64,
    pub(crate) origin: String,
    /// The hop that runs its rules; `None`: every hop.
    pub(crate) at: Option<ChargeAt>,
    /// The names of its items, in order.
    pub(crate) items: Vec<String>,
    /// Whether its target is every model of each namespace.
    pub(crate) all: bool,
    /// The models that its target names, by namespace.
    pub(crate) targeted: BTreeMap<String, Models>,
    /// Ranks for whole models and for versions, by namespace.
    pub(super) ranks: BTreeMap<String, [Rank; 2]>,
    pub(crate) unresolved: Vec<Unresolved>,
    /// `override` has no effect, because this is not the root namespace; the root namespace, if one is configured.
    pub(crate) ignored_override: Option<Option<String>>,
}

/// A part of a target that matches nothing.
#[derive(Debug, Clone)]
pub(crate) struct Unresolved {
    /// The message, which names the field. It stays the same while the part matches nothing, so it is one Event.
    pub(crate) message: String,
    /// The models that could be meant. This text changes whenever a model is created.
    pub(crate) hint: Option<String>,
    /// Whether the kind of the target cannot be read, so the target may exist.
    pub(crate) unread: bool,
}

impl Unresolved {
    pub(super) fn new(message: String) -> Self {
        Self {
            message,
            hint: None,
            unread: false,
        }
    }

    /// The message with the hint.
    pub(crate) fn full_message(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}. {hint}", self.message),
            None => self.message.clone(),
        }
    }
}

impl ResolvedPolicy {
    pub(crate) fn rank(&self, namespace: &str, whole_model: bool) -> Option<&Rank> {
        let [model, version] = self.ranks.get(namespace)?;
        Some(if whole_model { model } else { version })
    }
}
