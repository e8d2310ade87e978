//! What a session can tell of its client: how far it is, what it refused, what waits for what.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::resource::Kind;

use super::{Session, Wait};

/// How far a client is, of one kind. Versions are those of [`Snapshot::version`](crate::Snapshot).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KindStatus {
    /// The version it should run.
    pub wanted: String,
    /// The newest version it was sent completely; empty if none.
    pub sent: String,
    /// The newest version it acknowledged completely; empty if none.
    pub acked: String,
    /// Wanted resources that it refused, by name.
    pub nacked: BTreeMap<String, Nacked>,
    /// Wanted resources that are held back, by name, and what for. Shared: with many models the lists are long.
    pub waiting: Arc<BTreeMap<String, Wait>>,
    /// Resources it has acknowledged, by name; not kept for clusters and endpoints, which are many.
    pub resources: BTreeMap<String, Acked>,
}

impl KindStatus {
    /// Whether the client runs what it should.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.wanted == self.acked && self.nacked.is_empty() && self.waiting.is_empty()
    }
}

/// A refused resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nacked {
    /// The refused version.
    pub version: String,
    /// What the client said.
    pub message: String,
    /// How often it was offered again since.
    pub retries: u32,
}

/// A resource at a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acked {
    /// The version it should run; empty if it is gone from the snapshot.
    pub wanted: String,
    /// The version it runs (on the wire: with `+r<n>` after an accepted retry n); empty if none.
    pub acked: String,
}

impl Session {
    /// How far the client is, of every kind it subscribes to.
    #[must_use]
    pub fn status(&self) -> BTreeMap<Kind, KindStatus> {
        let opened = |kind: &Kind| self.kind(*kind).subscription.opened();
        Kind::PUSH_ORDER
            .into_iter()
            .filter(opened)
            .map(|kind| (kind, self.status_of(kind)))
            .collect()
    }

    fn status_of(&self, kind: Kind) -> KindStatus {
        let state = self.kind(kind);
        KindStatus {
            wanted: self.snapshot.version(kind).to_owned(),
            sent: state.sent.as_deref().unwrap_or_default().to_owned(),
            acked: state.acked.as_deref().unwrap_or_default().to_owned(),
            nacked: self.nacked(kind),
            waiting: state.waits.clone(),
            resources: self.resources(kind),
        }
    }

    fn nacked(&self, kind: Kind) -> BTreeMap<String, Nacked> {
        let wanted = |name: &str| self.snapshot.get(kind, name);
        self.kind(kind)
            .ledger
            .refusals
            .iter()
            .filter(|(name, r)| wanted(name).is_some_and(|w| *w.version() == *r.version))
            .map(|(name, r)| {
                let nacked = Nacked {
                    version: r.version.to_string(),
                    message: r.message.to_string(),
                    retries: r.retry.saturating_sub(1),
                };
                (name.clone(), nacked)
            })
            .collect()
    }

    fn resources(&self, kind: Kind) -> BTreeMap<String, Acked> {
        if matches!(kind, Kind::Cluster | Kind::Endpoints) {
            return BTreeMap::new();
        }
        let state = self.kind(kind);
        let held = state
            .ledger
            .held
            .iter()
            .filter(|(name, _)| state.subscription.wants(name));
        held.map(|(name, held)| {
            let wanted = self
                .snapshot
                .get(kind, name)
                .map(|r| r.version().to_owned());
            let acked = held.acked.as_ref().map(super::known::Known::wire);
            let acked = Acked {
                wanted: wanted.unwrap_or_default(),
                acked: acked.unwrap_or_default(),
            };
            (name.clone(), acked)
        })
        .collect()
    }
}
