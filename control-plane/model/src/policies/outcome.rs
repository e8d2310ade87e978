//! What became of a policy: is it accepted, does it lead anywhere, and who took its place.
//!
//! Invariant: a function of the objects, like the plan; a message names the field, and a loser's message the winners. A finding
//! is an Event, so its words stay the same while what it says does; how many models it is about, and which there are, is said
//! by the verdict.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{ConfigError, ModelId, Version};

use super::cors::{self, Cors};
use super::losses::{Loss, losses, winners};
use super::reach::{Reach, Unresolved};
use crate::{Finding, Registry, Severity, reason};

/// The kinds of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// `TokenBucketPolicy`.
    TokenBucket,
    /// `TrafficTagPolicy`.
    TrafficTag,
}

impl PolicyKind {
    /// The kind as objects spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenBucket => "TokenBucketPolicy",
            Self::TrafficTag => "TrafficTagPolicy",
        }
    }
}

/// Identity of a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId {
    /// Its kind.
    pub kind: PolicyKind,
    /// Kubernetes namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

impl PolicyId {
    /// The policy as the filters' rules name it, `namespace/name`: they are of one kind each.
    #[must_use]
    pub fn in_rules(&self) -> String {
        in_rules(&self.namespace, &self.name)
    }
}

/// See [`PolicyId::in_rules`]. It is part of a bucket's identity at the filter, so with the namespace: two policies never share a
/// bucket.
pub(crate) fn in_rules(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

impl std::fmt::Display for PolicyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

/// What became of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyOutcome {
    /// `metadata.generation` that this is about.
    pub generation: i64,
    /// Whether any of it counts, if what it names exists.
    pub accepted: PolicyCondition,
    /// Whether all that it names exists.
    pub resolved: PolicyCondition,
    /// The namespaces whose filters are told something of it.
    pub namespaces: BTreeSet<String>,
    /// Namespaces that it applies to and that have no domain, so that no proxy gets it for them.
    pub unserved: BTreeSet<String>,
}

/// A condition without its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyCondition {
    /// Whether it holds.
    pub holds: bool,
    /// One of [`condition_reason`].
    pub reason: &'static str,
    /// For people; names the field.
    pub message: String,
}

/// Reasons of verdicts, as conditions spell them.
pub mod condition_reason {
    /// All of it counts.
    pub const ACCEPTED: &str = "Accepted";
    /// For some models another policy comes first.
    pub const PARTLY_OVERRIDDEN: &str = "PartlyOverridden";
    /// For every model another policy comes first.
    pub const OVERRIDDEN: &str = "Overridden";
    /// `override` outside the root namespace.
    pub const OVERRIDE_IGNORED: &str = "OverrideIgnored";
    /// The object cannot be read.
    pub const INVALID: &str = "Invalid";
    /// All that it names exists.
    pub const RESOLVED: &str = "ResolvedRefs";
    /// Some of what it names does not exist.
    pub const PARTLY_RESOLVED: &str = "TargetNotFound";
    /// Some of what it names may exist, and cannot be read.
    pub const TARGET_UNREAD: &str = "TargetUnread";
    /// It is for no model.
    pub const MATCHES_NOTHING: &str = "MatchesNothing";
}

impl PolicyOutcome {
    /// Of an object that cannot be read.
    #[must_use]
    pub fn invalid(generation: i64, error: &ConfigError) -> Self {
        let unread = "its targets are not looked up until it can be read";
        Self {
            generation,
            accepted: PolicyCondition::new(false, condition_reason::INVALID, error.to_string()),
            resolved: PolicyCondition::new(false, condition_reason::INVALID, unread),
            namespaces: BTreeSet::new(),
            unserved: BTreeSet::new(),
        }
    }
}

impl PolicyCondition {
    fn new(holds: bool, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            holds,
            reason,
            message: message.into(),
        }
    }
}

/// What a policy wins in a namespace.
#[derive(Debug)]
pub(crate) struct Won {
    /// By thing: the models, whole or with the versions won.
    pub(crate) things: Vec<BTreeMap<ModelId, Option<BTreeSet<Version>>>>,
    pub(crate) losses: Vec<Loss>,
    /// Models it claimed.
    pub(crate) claimed: usize,
    /// It is for all models, and claimed them.
    pub(crate) everything: bool,
    /// What became of its `cors`, if it has one.
    pub(crate) cors: Option<Cors>,
}

impl Won {
    pub(crate) fn new(things: usize, claimed: usize, everything: bool) -> Self {
        Self {
            things: vec![BTreeMap::new(); things],
            losses: Vec::new(),
            claimed,
            everything,
            cors: None,
        }
    }

    /// Whether nothing of it counts here.
    fn is_nothing(&self) -> bool {
        let things = self.things.iter().all(BTreeMap::is_empty);
        things && !matches!(self.cors, Some(Cors::Counts))
    }
}

/// Outcomes as they come in, namespace by namespace.
#[derive(Default)]
pub(crate) struct Outcomes {
    pub(crate) of: BTreeMap<PolicyId, PolicyOutcome>,
    pub(crate) findings: Vec<Finding>,
    /// Of the policies of the present kind, by place: where, and what was lost.
    open: BTreeMap<usize, Vec<(String, Won)>>,
}

impl Outcomes {
    /// What was won and lost in a namespace.
    pub(crate) fn enter(&mut self, namespace: &str, reaches: &[Reach], won: Vec<Won>) {
        for (i, won) in won.into_iter().enumerate() {
            if reaches[i].claims.contains_key(namespace) {
                self.open
                    .entry(i)
                    .or_default()
                    .push((namespace.to_owned(), won));
            }
        }
    }

    /// All namespaces are in.
    pub(crate) fn close(&mut self, reaches: Vec<Reach>, registry: &Registry) {
        let mut open = std::mem::take(&mut self.open);
        for (i, reach) in reaches.into_iter().enumerate() {
            let won = open.remove(&i).unwrap_or_default();
            self.find(&reach, &won);
            let told = won.iter().filter(|(_, won)| !won.is_nothing());
            let namespaces: BTreeSet<String> = told.map(|(name, _)| name.clone()).collect();
            let outcome = PolicyOutcome {
                generation: reach.generation,
                accepted: accepted(&reach, &won),
                resolved: resolved(&reach),
                unserved: unserved(&reach, &namespaces, registry),
                namespaces,
            };
            self.of.insert(reach.id, outcome);
        }
    }

    fn find(&mut self, reach: &Reach, won: &[(String, Won)]) {
        let mut about = |severity, reason, message| {
            self.findings.push(Finding {
                object: reach.id.clone().into(),
                reason,
                severity,
                origin: reach.origin.clone(),
                message,
            });
        };
        let nothing = reach.claims.is_empty();
        for unresolved in &reach.unresolved {
            let message = if unresolved.unread {
                unresolved.what.clone()
            } else if nothing {
                let what = &unresolved.what;
                format!("matches nothing and so limits and tags nothing: {what}")
            } else {
                unresolved.what.clone()
            };
            let reason = match unresolved.unread {
                true => reason::TARGET_UNREAD,
                false => reason::MATCHES_NOTHING,
            };
            about(Severity::Warning, reason, message);
        }
        if let Some(message) = vain(reach) {
            about(Severity::Warning, reason::OVERRIDE_IGNORED, message);
        }
        // An exception from a policy for more is what several policies are for; a tie, or nothing left, is news.
        let total = won.iter().all(|(_, won)| won.is_nothing());
        let tie = won
            .iter()
            .flat_map(|(_, won)| &won.losses)
            .any(|loss| loss.equal);
        let replaced = winners(reach, won).filter(|_| tie || total);
        let without_cors = cors::hidden(won).filter(|_| tie || total || cors::is_missing(won));
        if let Some(message) = joined([replaced, without_cors])
            && !nothing
        {
            let (severity, reason) = match reach.id.kind {
                PolicyKind::TokenBucket if tie => (Severity::Error, reason::DUPLICATE_BUCKET),
                PolicyKind::TokenBucket => (Severity::Warning, reason::DUPLICATE_BUCKET),
                PolicyKind::TrafficTag => (Severity::Warning, reason::TAGGING_SHADOWED),
            };
            about(severity, reason, message);
        }
    }
}

fn accepted(reach: &Reach, won: &[(String, Won)]) -> PolicyCondition {
    let total = !won.is_empty() && won.iter().all(|(_, won)| won.is_nothing());
    let lost = losses(reach, won);
    let still = cors::counts(won).then(|| "its `spec.cors` counts".to_owned());
    let still = still.filter(|_| lost.is_some());
    let lost = joined([lost, still, cors::hidden(won)]);
    let reason = match (&lost, vain(reach)) {
        (Some(_), _) => condition_reason::PARTLY_OVERRIDDEN,
        (None, Some(_)) => condition_reason::OVERRIDE_IGNORED,
        (None, None) => condition_reason::ACCEPTED,
    };
    let told = joined([lost, vain(reach)]).unwrap_or_else(|| count(reach));
    if total {
        return PolicyCondition::new(
            false,
            condition_reason::OVERRIDDEN,
            format!("nothing of it counts: {told}"),
        );
    }
    PolicyCondition::new(true, reason, told)
}

/// The namespaces without a domain, of those that it applies to. Its own counts too if it has no target and is not the root
/// namespace.
fn unserved(reach: &Reach, namespaces: &BTreeSet<String>, registry: &Registry) -> BTreeSet<String> {
    let own = &reach.id.namespace;
    let rooted = registry.root_namespace.as_ref() == Some(own);
    let own = Some(own).filter(|_| reach.claims.is_empty() && !rooted);
    let concerned = namespaces.iter().chain(own);
    let unserved = concerned.filter(|namespace| !registry.serves(namespace));
    unserved.cloned().collect()
}

/// What there is of several parts of a message.
fn joined<const N: usize>(parts: [Option<String>; N]) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn count(reach: &Reach) -> String {
    let models: usize = reach.claims.values().map(BTreeMap::len).sum();
    match (models, reach.claims.len()) {
        (0, _) => "valid".to_owned(),
        (1, _) => "counts for 1 model".to_owned(),
        (models, 1) => format!("counts for {models} models"),
        (models, namespaces) => format!("counts for {models} models of {namespaces} namespaces"),
    }
}

fn resolved(reach: &Reach) -> PolicyCondition {
    let told: Vec<String> = reach.unresolved.iter().map(Unresolved::in_full).collect();
    let told = told.join("; ");
    if reach.unresolved.iter().any(|unresolved| unresolved.unread) {
        return PolicyCondition::new(false, condition_reason::TARGET_UNREAD, told);
    }
    match (reach.claims.is_empty(), reach.unresolved.is_empty()) {
        (_, true) => {
            PolicyCondition::new(true, condition_reason::RESOLVED, "all that it names exists")
        }
        (false, false) => PolicyCondition::new(false, condition_reason::PARTLY_RESOLVED, told),
        (true, false) => {
            let message = format!("matches nothing: {told}");
            PolicyCondition::new(false, condition_reason::MATCHES_NOTHING, message)
        }
    }
}

fn vain(reach: &Reach) -> Option<String> {
    let root = match reach.vain_override.as_ref()? {
        Some(root) => format!("that is {root}"),
        None => "and none is configured".to_owned(),
    };
    Some(format!(
        "spec.override: has an effect in the root namespace only, {root}: remove it"
    ))
}
