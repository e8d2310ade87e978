//! Proxies counted by one replica: the policy revisions and the weights that they hold, and the resources that they refuse.
//!
//! Invariant: a proxy is counted as holding a revision by the filter configuration that it ACKed, whatever else it waits for.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::ModelId;
use sha2::{Digest as _, Sha256};

use crate::{
    Objects, Plan, PlannedModel, PolicyId, PolicyKind, PolicyOutcome, Subject, VariantKey,
};

/// A policy as it was written at some time. Of one object later ones are greater; one that was made anew under its name is
/// another object, however soon, and its revisions cannot be compared with those of the one before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyRevision {
    /// The object's `metadata.uid`; empty in files.
    pub uid: String,
    /// Its `metadata.generation`.
    pub generation: i64,
}

/// The revisions that a plan holds, of the policies that some filter is told of.
pub type PolicyRevisions = BTreeMap<PolicyId, PolicyRevision>;

/// Something that a proxy refused, and the object that it was made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Refusal {
    /// The object.
    pub object: Subject,
    /// What was refused, and what the proxy said.
    pub message: String,
}

/// What one replica knows of its proxies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplicaCounts {
    /// Connected proxies by the namespaces they are served.
    pub proxies: BTreeMap<BTreeSet<String>, u32>,
    /// Of each policy, how many of the proxies that it concerns hold which revision.
    pub held: BTreeMap<PolicyId, BTreeMap<PolicyRevision, u32>>,
    /// Proxies by model and by revision of its weights.
    pub models: WeightsHeld,
    /// The resources that they refuse.
    pub refused: BTreeSet<Refusal>,
    /// The versions that at least one of them cannot reach.
    pub unreachable: BTreeSet<VariantKey>,
}

/// Number of proxies by namespace and id of a model, and by [revision](weights_revision) of its weights.
pub type WeightsHeld = BTreeMap<(String, ModelId), BTreeMap<String, u32>>;

/// Digest of the weights of a model's versions, 12 hex digits. Equal weights have equal digests.
#[must_use]
pub fn weights_revision(model: &PlannedModel) -> String {
    let mut hash = Sha256::new();
    for (version, variant) in &model.variants {
        hash.update(version.as_str());
        hash.update([0]);
        hash.update(variant.share.to_be_bytes());
    }
    let bytes = hash.finalize();
    bytes.iter().take(6).map(|b| format!("{b:02x}")).collect()
}

/// Whether the versions of two plans of a model have the same weights.
#[must_use]
pub fn same_weights(one: &PlannedModel, other: &PlannedModel) -> bool {
    let (ours, theirs) = (one.variants.values(), other.variants.values());
    one.variants.keys().eq(other.variants.keys())
        && ours.map(|v| v.share).eq(theirs.map(|v| v.share))
}

/// The revision of every policy that some filter is told of.
#[must_use]
pub fn policy_revisions(plan: &Plan, objects: &Objects) -> PolicyRevisions {
    let told = |(_, outcome): &(&PolicyId, &PolicyOutcome)| !outcome.namespaces.is_empty();
    let policies = plan.policies.iter().filter(told);
    policies
        .map(|(id, outcome)| (id.clone(), policy_revision(id, outcome, objects)))
        .collect()
}

/// The revision that an outcome is about.
pub fn policy_revision(
    id: &PolicyId,
    outcome: &PolicyOutcome,
    objects: &Objects,
) -> PolicyRevision {
    let key = (id.namespace.clone(), id.name.clone());
    let uid = match id.kind {
        PolicyKind::TokenBucket => objects.bucket_policies.get(&key).map(|p| &p.uid),
        PolicyKind::TrafficTag => objects.tag_policies.get(&key).map(|p| &p.uid),
    };
    PolicyRevision {
        uid: uid.cloned().unwrap_or_default(),
        generation: outcome.generation,
    }
}

impl PolicyRevision {
    /// The lesser of both; `None` where they are of two objects.
    #[must_use]
    pub fn least<'a>(&'a self, other: &'a Self) -> Option<&'a Self> {
        (self.uid == other.uid).then(|| self.min(other))
    }
}

impl ReplicaCounts {
    /// Enters a group of proxies: so many, served these namespaces, whose filters hold these revisions (`None`: none that is
    /// known).
    pub fn enter(
        &mut self,
        count: u32,
        namespaces: &BTreeSet<String>,
        holds: Option<&PolicyRevisions>,
        plan: &Plan,
    ) {
        let proxies = self.proxies.entry(namespaces.clone()).or_default();
        *proxies = proxies.saturating_add(count);
        for (id, revision) in holds.into_iter().flatten() {
            let outcome = plan.policies.get(id);
            if outcome.is_some_and(|outcome| !outcome.namespaces.is_disjoint(namespaces)) {
                let held = self.held.entry(id.clone()).or_default();
                let held = held.entry(revision.clone()).or_default();
                *held = held.saturating_add(count);
            }
        }
    }
}
