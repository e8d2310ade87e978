//! How many proxies hold which revision of which policy: what each replica knows of its own, and the sum.
//!
//! Invariant: a proxy is counted as holding a revision by the filter configuration that it ACKed, whatever else it waits for;
//! a replica that does not know a policy yet counts its proxies as not holding it.

mod format;
mod peer_counts;
mod share;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use headgate_contract::ModelId;
use headgate_model::{
    PolicyId, PolicyRevision, Refusal, ReplicaCounts, Subject, VariantKey, WeightsHeld,
};

pub use self::format::{FormatError, parse, render};
pub(crate) use self::peer_counts::{Pace, PeerCounts};
pub use self::share::Peers;
pub(crate) use self::share::{Share, follow};

/// Proxies in a policy's scope, over all replicas of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PolicyRollup {
    /// Those connected (M).
    pub connected: u32,
    /// Those of them whose ACKed filter configuration holds at least this generation (N).
    pub acked: u32,
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
    /// Those of these replicas.
    pub(crate) fn of<'a>(replicas: impl IntoIterator<Item = &'a ReplicaCounts>) -> Self {
        let mut all = Self::default();
        for tally in replicas {
            all.refused.extend(tally.refused.iter().cloned());
            all.unreachable.extend(tally.unreachable.iter().cloned());
        }
        all
    }
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
    pub(crate) fn of<'a>(replicas: impl IntoIterator<Item = &'a ReplicaCounts>) -> Self {
        let mut sum = Self::default();
        let add = |to: &mut u32, more: u32| *to = to.saturating_add(more);
        for tally in replicas {
            for (namespaces, proxies) in &tally.proxies {
                for namespace in namespaces {
                    add(
                        sum.connected.entry(namespace.clone()).or_default(),
                        *proxies,
                    );
                }
            }
            for (model, revisions) in &tally.models {
                let held = sum.held.entry(model.clone()).or_default();
                for (revision, proxies) in revisions {
                    add(held.entry(revision.clone()).or_default(), *proxies);
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

    /// The proxies that have this revision of a model's weights, and the proxies of its namespace.
    pub(crate) fn proxies(&self, model: &(String, ModelId), revision: &str) -> (u32, u32) {
        let held = self.held.get(model).and_then(|held| held.get(revision));
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

/// N and M of one policy, over the proxies of these replicas.
#[must_use]
pub fn sum<'a>(
    replicas: impl IntoIterator<Item = &'a ReplicaCounts>,
    id: &PolicyId,
    revision: &PolicyRevision,
    namespaces: &BTreeSet<String>,
) -> PolicyRollup {
    let mut counts = PolicyRollup::default();
    for tally in replicas {
        let concerned = tally.proxies.iter();
        let connected = concerned
            .filter(|(served, _)| !served.is_disjoint(namespaces))
            .fold(0, |sum: u32, (_, count)| sum.saturating_add(*count));
        let held = tally.held.get(id).into_iter();
        let acked = held
            .flatten()
            .filter(|(held, _)| held.uid == revision.uid && held.generation >= revision.generation)
            .fold(0, |sum: u32, (_, count)| sum.saturating_add(*count));
        counts.connected = counts.connected.saturating_add(connected);
        // What another replica counted for another plan of it never makes up for a proxy of this one.
        counts.acked = counts.acked.saturating_add(acked.min(connected));
    }
    counts
}
