//! Counts of proxies by policy revision and by model weights: the counts of each replica, and their sums.
//!
//! Invariant: a proxy has a revision if its last ACKed filter configuration contains it. A replica that does not know a policy yet
//! counts its proxies as not having it.

mod exchange;
mod format;
mod peer_counts;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use headgate_contract::ModelId;
use headgate_model::{
    PolicyId, PolicyRevision, ProxyGroup, Refusal, ReplicaCounts, Subject, VariantKey, WeightsHeld,
};

pub use self::exchange::Peers;
pub(crate) use self::exchange::{CountsExchange, follow};
pub use self::format::{FormatError, parse, render};
pub(crate) use self::peer_counts::{PeerCounts, PublishSchedule};

/// Proxies in the scope of a policy, summed over all replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PolicyRollup {
    /// Connected proxies.
    pub connected: u32,
    /// Connected proxies whose ACKed filter configuration contains at least this generation.
    pub acked: u32,
}

/// Problems that proxies of all replicas report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ProxyProblems {
    /// Rejected resources.
    pub(crate) refused: BTreeSet<Refusal>,
    /// Versions that at least one proxy cannot reach.
    pub(crate) unreachable: BTreeSet<VariantKey>,
}

impl ProxyProblems {
    /// The problems of these replicas.
    pub(crate) fn of<'a>(replicas: impl IntoIterator<Item = &'a ReplicaCounts>) -> Self {
        let mut all = Self::default();
        for counts in replicas {
            all.refused.extend(counts.refused.iter().cloned());
            all.unreachable.extend(counts.unreachable.iter().cloned());
        }
        all
    }
}

/// Proxies by the weights that they have, summed over all replicas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WeightCounts {
    held: WeightsHeld,
    /// By namespace.
    connected: BTreeMap<String, u32>,
    refused: BTreeMap<(String, ModelId), String>,
}

impl WeightCounts {
    /// The sum.
    #[must_use]
    pub fn of<'a>(replicas: impl IntoIterator<Item = &'a ReplicaCounts>) -> Self {
        let mut sum = Self::default();
        let add = |to: &mut u32, more: u32| *to = to.saturating_add(more);
        for counts in replicas {
            for (group, proxies) in &counts.proxies {
                for namespace in &group.namespaces {
                    add(
                        sum.connected.entry(namespace.clone()).or_default(),
                        *proxies,
                    );
                }
            }
            for (model, revisions) in &counts.models {
                let held = sum.held.entry(model.clone()).or_default();
                for (revision, proxies) in revisions {
                    add(held.entry(revision.clone()).or_default(), *proxies);
                }
            }
            for Refusal { object, message } in &counts.refused {
                if let Subject::Model { namespace, id } = object {
                    let model = (namespace.clone(), id.clone());
                    sum.refused.entry(model).or_insert_with(|| message.clone());
                }
            }
        }
        sum
    }

    /// The number of proxies that have this revision of the weights of a model, and of all proxies of its namespace.
    #[must_use]
    pub fn proxies(&self, model: &(String, ModelId), revision: &str) -> (u32, u32) {
        let held = self.held.get(model).and_then(|held| held.get(revision));
        let connected = self.connected.get(&model.0);
        (held.copied().unwrap_or(0), connected.copied().unwrap_or(0))
    }

    /// The error of a proxy that rejected a resource of a model.
    pub(crate) fn refused(&self, model: &(String, ModelId)) -> Option<&str> {
        self.refused.get(model).map(String::as_str)
    }
}

/// A replica among those that share a Lease.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peer {
    /// Its name.
    pub replica: String,
    /// Its admin address, if other machines can reach it.
    pub admin: Option<SocketAddr>,
}

/// Sums the counts of a policy over these replicas. `runs`: whether proxies run its rules.
#[must_use]
pub fn sum<'a>(
    replicas: impl IntoIterator<Item = &'a ReplicaCounts>,
    id: &PolicyId,
    revision: &PolicyRevision,
    runs: impl Fn(&ProxyGroup) -> bool,
) -> PolicyRollup {
    let mut rollup = PolicyRollup::default();
    for counts in replicas {
        let groups = counts.proxies.iter();
        let connected = groups
            .filter(|(group, _)| runs(group))
            .fold(0, |sum: u32, (_, count)| sum.saturating_add(*count));
        let held = counts.held.get(id).into_iter();
        let acked = held
            .flatten()
            .filter(|(held, _)| held.uid == revision.uid && held.generation >= revision.generation)
            .fold(0, |sum: u32, (_, count)| sum.saturating_add(*count));
        rollup.connected = rollup.connected.saturating_add(connected);
        // A replica with another plan must not compensate for proxies of this replica.
        rollup.acked = rollup.acked.saturating_add(acked.min(connected));
    }
    rollup
}
