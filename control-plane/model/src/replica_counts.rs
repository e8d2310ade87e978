//! The proxies of one replica of the control plane: the policy revisions and weights that they hold, and the resources that they reject.
//!
//! Invariant: a proxy holds a revision once it has ACKed a filter configuration with it, whatever other resources it waits for.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{ChargeAt, ModelId};
use sha2::{Digest as _, Sha256};

use crate::{
    Plan, PlannedModel, PolicyId, PolicyOutcome, PolicyRevision, PolicyRevisions, Subject,
    VariantKey,
};

/// A resource that a proxy rejected, and the object from which it was made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Refusal {
    /// The object.
    pub object: Subject,
    /// The resource, and the error of the proxy.
    pub message: String,
}

/// Proxies that run the same rules, as far as their counts matter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ProxyGroup {
    /// The namespaces that they get.
    pub namespaces: BTreeSet<String>,
    /// The buckets that their filters charge. A sidecar with a filter of each role charges at both hops.
    pub charges_at: BTreeSet<ChargeAt>,
    /// Whether they verify tokens, as the listener that Headgate renders does.
    pub authenticates: bool,
}

impl ProxyGroup {
    /// Whether they run rules of a policy with this outcome.
    #[must_use]
    pub fn runs(&self, outcome: &PolicyOutcome) -> bool {
        !outcome.namespaces.is_disjoint(&self.namespaces)
            && outcome.at.is_none_or(|at| self.charges_at.contains(&at))
            && (self.authenticates || !outcome.authenticates)
    }
}

/// The counts of one replica for its proxies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplicaCounts {
    /// Connected proxies.
    pub proxies: BTreeMap<ProxyGroup, u32>,
    /// Proxies that hold each revision of a policy, among the proxies to which it applies.
    pub held: BTreeMap<PolicyId, BTreeMap<PolicyRevision, u32>>,
    /// Proxies by model, and by revision of its weights.
    pub models: WeightsHeld,
    /// The resources that proxies reject.
    pub refused: BTreeSet<Refusal>,
    /// The versions that at least one proxy cannot reach.
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

impl ReplicaCounts {
    /// Adds `count` proxies of this group that hold these revisions; empty if their revisions are unknown.
    pub fn enter(&mut self, count: u32, group: &ProxyGroup, holds: &PolicyRevisions, plan: &Plan) {
        let proxies = self.proxies.entry(group.clone()).or_default();
        *proxies = proxies.saturating_add(count);
        for (id, revision) in holds {
            let outcome = plan.policies.get(id);
            if outcome.is_some_and(|outcome| group.runs(outcome)) {
                let held = self.held.entry(id.clone()).or_default();
                let held = held.entry(revision.clone()).or_default();
                *held = held.saturating_add(count);
            }
        }
    }
}
