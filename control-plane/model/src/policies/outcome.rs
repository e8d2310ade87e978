//! The outcome of a policy: whether it is accepted, and whether its targets exist.

use std::collections::BTreeSet;

use headgate_contract::{ChargeAt, ConfigError};

/// The outcome of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyOutcome {
    /// `metadata.generation` of the policy.
    pub generation: i64,
    /// Whether any part of it takes effect, or would if its targets existed.
    pub accepted: PolicyCondition,
    /// Whether all its targets exist.
    pub resolved: PolicyCondition,
    /// The hop that runs its rules; `None`: every hop.
    pub at: Option<ChargeAt>,
    /// Whether only proxies that verify tokens run it.
    pub authenticates: bool,
    /// The namespaces whose filters get rules of it.
    pub namespaces: BTreeSet<String>,
    /// Namespaces to which it applies and that have no domain, so no proxy gets its rules.
    pub unserved: BTreeSet<String>,
}

/// A status condition without its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyCondition {
    /// Whether the condition is true.
    pub holds: bool,
    /// One of [`condition_reason`].
    pub reason: &'static str,
    /// The message; it names the field.
    pub message: String,
}

/// Reasons of conditions, as the status spells them.
pub mod condition_reason {
    /// All of the policy takes effect.
    pub const ACCEPTED: &str = "Accepted";
    /// For some models another policy takes precedence.
    pub const PARTLY_OVERRIDDEN: &str = "PartlyOverridden";
    /// For every model another policy takes precedence.
    pub const OVERRIDDEN: &str = "Overridden";
    /// `override` outside the root namespace.
    pub const OVERRIDE_IGNORED: &str = "OverrideIgnored";
    /// The object cannot be read.
    pub const INVALID: &str = "Invalid";
    /// All targets exist.
    pub const RESOLVED: &str = "ResolvedRefs";
    /// Some targets do not exist.
    pub const PARTLY_RESOLVED: &str = "TargetNotFound";
    /// Some targets are of a kind that cannot be read.
    pub const TARGET_UNREAD: &str = "TargetUnread";
    /// Only proxies of a service mesh serve its models, and they do not apply it.
    pub const NOT_IN_MESH: &str = "NotInMesh";
    /// The policy applies to no model.
    pub const MATCHES_NOTHING: &str = "MatchesNothing";
}

impl PolicyOutcome {
    /// The outcome of an object that cannot be read.
    #[must_use]
    pub fn invalid(generation: i64, error: &ConfigError) -> Self {
        let unresolved = "its targets are not resolved until it can be read";
        Self {
            generation,
            accepted: PolicyCondition::new(false, condition_reason::INVALID, error.to_string()),
            resolved: PolicyCondition::new(false, condition_reason::INVALID, unresolved),
            at: None,
            authenticates: false,
            namespaces: BTreeSet::new(),
            unserved: BTreeSet::new(),
        }
    }
}

impl PolicyCondition {
    pub(super) fn new(holds: bool, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            holds,
            reason,
            message: message.into(),
        }
    }
}
