//! The state of a client, as its session knows it: versions, rejections, waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use litemap::LiteMap;

use crate::origin::{Origin, OriginObject};
use crate::resource::Kind;

use super::ledger::ResourceVersion;
use super::{Session, Wait};

/// The state of a client, of one kind. Versions are those of [`Snapshot::version`](crate::Snapshot).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KindStatus {
    /// The version that it should run.
    pub wanted: Arc<str>,
    /// The newest version that it was sent completely; empty if none.
    pub sent: Arc<str>,
    /// The newest version that it acknowledged completely; empty if none.
    pub acked: Arc<str>,
    /// The wanted resources that it rejected, by name.
    pub nacked: BTreeMap<Arc<str>, Nacked>,
    /// The wanted resources that are held back, by name, and what they wait for. Shared: with many models the lists are long.
    pub waiting: Arc<BTreeMap<Arc<str>, Wait>>,
    /// The resources that it has acknowledged, by name. Empty for clusters and endpoints, because there are many of them.
    pub resources: LiteMap<Arc<str>, Acked>,
}

impl KindStatus {
    /// Whether the client runs what it should.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.wanted == self.acked && self.nacked.is_empty() && self.waiting.is_empty()
    }
}

/// A wanted version of a resource that a client has rejected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nacked {
    /// The rejected version.
    pub version: String,
    /// The client's error message.
    pub message: String,
    /// The number of retries since.
    pub retries: u32,
    /// The objects that the rejected version was made from.
    pub origin: Origin,
    /// The objects that the version was made from which the client runs; `None` if it runs none.
    pub running: Option<Origin>,
}

impl Nacked {
    /// The objects to blame for the rejection. See [`Origin::blamed`].
    #[must_use]
    pub fn blamed(&self) -> Vec<&OriginObject> {
        self.origin.blamed(self.running.as_ref())
    }
}

/// A resource at a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acked {
    /// The version that it should run; empty if the resource left the snapshot.
    pub wanted: Arc<str>,
    /// The version that it runs (on the wire: with `+r<n>` after an accepted retry n); empty if none.
    pub acked: Arc<str>,
    /// The objects that the version it runs was made from. Of two versions with the same bytes, those of the newest that is
    /// wanted.
    pub origin: Origin,
}

impl Session {
    /// The state of the client, of every kind that it subscribes to.
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
            wanted: self.snapshot.shared_version(kind).clone(),
            sent: state.sent.clone().unwrap_or_default(),
            acked: state.acked.clone().unwrap_or_default(),
            nacked: self.nacked(kind),
            waiting: state.waits.clone(),
            resources: self.resources(kind),
        }
    }

    fn nacked(&self, kind: Kind) -> BTreeMap<Arc<str>, Nacked> {
        let rejections = self.kind(kind).ledger.rejections.iter();
        let wanted = rejections.filter_map(|(name, rejection)| {
            let wanted = self.snapshot.get(kind, name)?;
            (*wanted.version() == *rejection.version).then_some((name, wanted, rejection))
        });
        wanted
            .map(|(name, wanted, rejection)| {
                let nacked = Nacked {
                    version: rejection.version.to_string(),
                    message: rejection.message.to_string(),
                    retries: rejection.retry.saturating_sub(1),
                    origin: wanted.origin().clone(),
                    running: self.running_origin(kind, name),
                };
                (name.clone(), nacked)
            })
            .collect()
    }

    fn resources(&self, kind: Kind) -> LiteMap<Arc<str>, Acked> {
        if matches!(kind, Kind::Cluster | Kind::Endpoints) {
            return LiteMap::default();
        }
        let state = self.kind(kind);
        let held = state.ledger.held.iter();
        let held = held.filter(|(name, _)| state.subscription.wants(name));
        held.map(|(name, held)| {
            let wanted = self.snapshot.get(kind, name);
            let acked = held.acked.as_ref();
            let origin = acked.map(|version| version.descriptor.origin.clone());
            let acked = Acked {
                wanted: wanted
                    .map(|r| r.descriptor().version.clone())
                    .unwrap_or_default(),
                acked: acked.map(ResourceVersion::wire).unwrap_or_default(),
                origin: origin.unwrap_or_default(),
            };
            (name.clone(), acked)
        })
        .collect()
    }

    /// The origin of the version that the client runs; `None` if it runs none.
    pub(super) fn running_origin(&self, kind: Kind, name: &str) -> Option<Origin> {
        let acked = self.kind(kind).ledger.acked(name)?;
        Some(acked.descriptor.origin.clone())
    }
}
