//! How many proxies hold which edition of which policy: what each replica knows of its own, and the sum.
//!
//! Invariant: a proxy is counted as holding an edition by the filter configuration that it ACKed, whatever else it waits for;
//! a replica that does not know a policy yet counts its proxies as not holding it.

mod board;
mod format;
mod share;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use headgate_contract::ModelId;
use headgate_model::{
    Objects, Plan, PlannedModel, PolicyId, PolicyKind, PolicyOutcome, Subject, VariantKey,
};
use sha2::{Digest as _, Sha256};

pub(crate) use self::board::{Board, Pace};
pub use self::format::{FormatError, parse, render};
pub use self::share::Peers;
pub(crate) use self::share::{Share, follow};
use crate::policies::Counts;

/// A policy as it was written at some time. Of one object later ones are greater; one that was made anew under its name is
/// another object, however soon, and its editions cannot be compared with those of the one before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edition {
    /// The object's `metadata.uid`; empty in files.
    pub uid: String,
    /// Its `metadata.generation`.
    pub generation: i64,
}

/// The editions that a plan holds, of the policies that some filter is told of.
pub type Editions = BTreeMap<PolicyId, Edition>;

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
pub struct Tally {
    /// Connected proxies by the namespaces they are served.
    pub proxies: BTreeMap<BTreeSet<String>, u32>,
    /// Of each policy, how many of the proxies that it concerns hold which edition.
    pub held: BTreeMap<PolicyId, BTreeMap<Edition, u32>>,
    /// Proxies by model and by edition of its weights.
    pub models: WeightsHeld,
    /// The resources that they refuse.
    pub refused: BTreeSet<Refusal>,
    /// The versions that at least one of them cannot reach.
    pub unreachable: BTreeSet<VariantKey>,
}

/// Problems that the proxies of all replicas report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Complaints {
    /// The resources that they refuse.
    pub(crate) refused: BTreeSet<Refusal>,
    /// The versions that at least one of them cannot reach.
    pub(crate) unreachable: BTreeSet<VariantKey>,
}

impl Complaints {
    /// Those of these tallies.
    pub(crate) fn of<'a>(tallies: impl IntoIterator<Item = &'a Tally>) -> Self {
        let mut all = Self::default();
        for tally in tallies {
            all.refused.extend(tally.refused.iter().cloned());
            all.unreachable.extend(tally.unreachable.iter().cloned());
        }
        all
    }
}

/// Number of proxies by namespace and id of a model, and by [edition](weights_edition) of its weights.
pub type WeightsHeld = BTreeMap<(String, ModelId), BTreeMap<String, u32>>;

/// Digest of the weights of a model's versions, 12 hex digits. Equal weights have equal digests.
#[must_use]
pub fn weights_edition(model: &PlannedModel) -> String {
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

/// Proxies and their weights, over all replicas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct WeightCounts {
    held: WeightsHeld,
    /// By namespace.
    connected: BTreeMap<String, u32>,
    refused: BTreeMap<(String, ModelId), String>,
}

impl WeightCounts {
    /// The sum.
    pub(crate) fn of<'a>(tallies: impl IntoIterator<Item = &'a Tally>) -> Self {
        let mut sum = Self::default();
        let add = |to: &mut u32, more: u32| *to = to.saturating_add(more);
        for tally in tallies {
            for (namespaces, proxies) in &tally.proxies {
                for namespace in namespaces {
                    add(
                        sum.connected.entry(namespace.clone()).or_default(),
                        *proxies,
                    );
                }
            }
            for (model, editions) in &tally.models {
                let held = sum.held.entry(model.clone()).or_default();
                for (edition, proxies) in editions {
                    add(held.entry(edition.clone()).or_default(), *proxies);
                }
            }
            for Refusal { object, message } in &tally.refused {
                if let Subject::Model { namespace, id } = object {
                    let model = (namespace.clone(), id.clone());
                    sum.refused.entry(model).or_insert_with(|| message.clone());
                }
            }
        }
        sum
    }

    /// The proxies that have this edition of a model's weights, and the proxies of its namespace.
    pub(crate) fn proxies(&self, model: &(String, ModelId), edition: &str) -> (u32, u32) {
        let held = self.held.get(model).and_then(|held| held.get(edition));
        let connected = self.connected.get(&model.0);
        (held.copied().unwrap_or(0), connected.copied().unwrap_or(0))
    }

    /// The error of a proxy that refused a resource of a model.
    pub(crate) fn refused(&self, model: &(String, ModelId)) -> Option<&str> {
        self.refused.get(model).map(String::as_str)
    }
}

/// A replica among those that share a Lease.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peer {
    /// Its name.
    pub replica: String,
    /// Where it answers people, if others can reach that.
    pub admin: Option<SocketAddr>,
}

/// The edition of every policy that some filter is told of.
#[must_use]
pub fn editions(plan: &Plan, objects: &Objects) -> Editions {
    let told = |(_, outcome): &(&PolicyId, &PolicyOutcome)| !outcome.namespaces.is_empty();
    let policies = plan.policies.iter().filter(told);
    policies
        .map(|(id, outcome)| (id.clone(), edition(id, outcome, objects)))
        .collect()
}

/// The edition that an outcome is about.
pub(crate) fn edition(id: &PolicyId, outcome: &PolicyOutcome, objects: &Objects) -> Edition {
    let key = (id.namespace.clone(), id.name.clone());
    let uid = match id.kind {
        PolicyKind::TokenBucket => objects.bucket_policies.get(&key).map(|p| &p.uid),
        PolicyKind::TrafficTag => objects.tag_policies.get(&key).map(|p| &p.uid),
    };
    Edition {
        uid: uid.cloned().unwrap_or_default(),
        generation: outcome.generation,
    }
}

impl Edition {
    /// The lesser of both; `None` where they are of two objects.
    #[must_use]
    pub fn least<'a>(&'a self, other: &'a Self) -> Option<&'a Self> {
        (self.uid == other.uid).then(|| self.min(other))
    }
}

impl Tally {
    /// Enters a group of proxies: so many, served these namespaces, whose filters hold these editions (`None`: none that is
    /// known).
    pub fn enter(
        &mut self,
        count: u32,
        namespaces: &BTreeSet<String>,
        holds: Option<&Editions>,
        plan: &Plan,
    ) {
        let proxies = self.proxies.entry(namespaces.clone()).or_default();
        *proxies = proxies.saturating_add(count);
        for (id, edition) in holds.into_iter().flatten() {
            let outcome = plan.policies.get(id);
            if outcome.is_some_and(|outcome| !outcome.namespaces.is_disjoint(namespaces)) {
                let held = self.held.entry(id.clone()).or_default();
                let held = held.entry(edition.clone()).or_default();
                *held = held.saturating_add(count);
            }
        }
    }
}

/// N and M of one policy, over the proxies of these replicas.
#[must_use]
pub fn sum<'a>(
    tallies: impl IntoIterator<Item = &'a Tally>,
    id: &PolicyId,
    edition: &Edition,
    namespaces: &BTreeSet<String>,
) -> Counts {
    let mut counts = Counts::default();
    for tally in tallies {
        let concerned = tally.proxies.iter();
        let connected = concerned
            .filter(|(served, _)| !served.is_disjoint(namespaces))
            .fold(0, |sum: u32, (_, count)| sum.saturating_add(*count));
        let held = tally.held.get(id).into_iter();
        let acked = held
            .flatten()
            .filter(|(held, _)| held.uid == edition.uid && held.generation >= edition.generation)
            .fold(0, |sum: u32, (_, count)| sum.saturating_add(*count));
        counts.connected = counts.connected.saturating_add(connected);
        // What another replica counted for another plan of it never makes up for a proxy of this one.
        counts.acked = counts.acked.saturating_add(acked.min(connected));
    }
    counts
}
