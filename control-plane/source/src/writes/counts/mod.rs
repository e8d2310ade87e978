//! How many proxies hold which edition of which policy: what each replica knows of its own, and the sum.
//!
//! Invariant: a proxy is counted as holding an edition by the filter configuration that it ACKed, whatever else it waits for;
//! a replica that does not know a policy yet counts its proxies as not holding it.

mod board;
mod format;
mod share;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use headgate_model::{Objects, Plan, PolicyId, PolicyKind, PolicyOutcome, Subject};

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
    /// What they refuse.
    pub refused: BTreeSet<Refusal>,
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
