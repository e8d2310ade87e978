//! The last good versions of a scope: for a client that rejects the wanted version of a resource and has no other (server rule
//! 2).
//!
//! A proxy that runs a version keeps it when it rejects a newer one. A proxy that has restarted, or that connects late, has
//! nothing to keep: it would have no listener, route or filter for as long as the newest version is bad. So the server
//! remembers what clients of a scope have accepted, and offers it to such a client.
//!
//! This is safe because:
//!
//! - The newest version is always offered first. Only a rejection *by this client* leads here, so no client is kept from a
//!   version that works for it, and a version that other clients reject for their own reasons still goes out.
//! - It covers only listeners, routes and filter configurations, without which a proxy serves nothing at all. Old endpoints may
//!   lead to addresses that belong to others by now; an old secret may be revoked; a rejected cluster costs only the traffic of
//!   its own version. (A proxy that kept running has the same old filter configuration, with the same old limits.)
//! - It covers only a version whose requirements are all in today's snapshot, and that version passes the same gate as any other.
//! - It covers only clients of the same scope, so a client sees nothing that it may not see.
//!
//! Invariant: memory is bounded to [`MAX_VERSIONS`] versions of each resource of the newest snapshots, so beside the snapshot
//! itself at most one older version of each is kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::origin::Origin;
use crate::resource::{Kind, Resource, ResourceKey};
use crate::snapshot::Snapshot;

use super::Session;
use super::ledger::PendingResponse;
use super::offers::Decision;

/// Versions that are kept of one resource: the newest accepted one, and the one before for clients that reject the newest.
const MAX_VERSIONS: usize = 2;

/// The versions that clients of a scope have accepted, newest first.
#[derive(Clone, Debug, Default)]
pub struct LastGood(BTreeMap<ResourceKey, VecDeque<Arc<Resource>>>);

impl LastGood {
    /// Records a version that a client accepted. Resources that are not in `snapshot` in any version are dropped.
    pub fn accept(&mut self, resource: &Arc<Resource>, snapshot: &Snapshot) {
        let versions = self.0.entry(resource.key().clone()).or_default();
        if versions
            .front()
            .is_some_and(|newest| Arc::ptr_eq(newest, resource))
        {
            return;
        }
        versions.retain(|other| other.version() != resource.version());
        versions.push_front(resource.clone());
        versions.truncate(MAX_VERSIONS);
        self.0
            .retain(|key, _| snapshot.get(key.kind, &key.name).is_some());
    }

    fn of(&self, key: &ResourceKey) -> impl Iterator<Item = &Arc<Resource>> {
        self.0.get(key).into_iter().flatten()
    }
}

/// The resources of an accepted response that other clients may be offered.
pub(super) fn essential_resources(kind: Kind, response: &PendingResponse) -> Vec<Arc<Resource>> {
    let items = response.items.iter().filter(|_| kind.is_essential());
    items
        .filter_map(|(_, version)| version.resource.clone())
        .collect()
}

impl Session {
    /// Sets what clients of the scope have accepted, for the case that this one rejects what is wanted.
    pub fn set_last_good(&mut self, last_good: Arc<LastGood>) {
        self.last_good = last_good;
    }

    /// The resources that the client has accepted since the last call, for [`LastGood::accept`].
    pub fn take_accepted(&mut self) -> Vec<Arc<Resource>> {
        std::mem::take(&mut self.accepted)
    }

    /// The decision about a rejected resource, if the client has no version of it and there is a last good one.
    pub(super) fn offer_last_good(&self, rejected: &Resource, now: Instant) -> Option<Decision> {
        let state = self.kind(rejected.kind());
        let (ledger, name) = (&state.ledger, rejected.name());
        let is_rejected = |version: &str| ledger.rejections.get(name, version).is_some();
        if !rejected.kind().is_essential()
            || state.has_unknown
            || ledger.may_run_unrejected(name, &is_rejected)
        {
            return None;
        }
        let exists = |key: &ResourceKey| self.snapshot.get(key.kind, &key.name).is_some();
        let usable = |good: &&Arc<Resource>| {
            !is_rejected(good.version()) && good.requires().iter().all(exists)
        };
        let good = self.last_good.of(rejected.key()).find(usable)?;
        if ledger.newest(name).is_some() {
            // It is in flight.
            return None;
        }
        Some(match self.may_send(good, now) {
            Ok(()) => Decision::Offer(good.clone(), self.version_of(good, 0)),
            Err(wait) => Decision::Wait(wait),
        })
    }

    /// The objects that a last good version of a resource was made from.
    pub(super) fn last_good_origin(&self, kind: Kind, name: &str, version: &str) -> Origin {
        let key = ResourceKey::new(kind, name);
        let mut versions = self.last_good.of(&key);
        let same = versions.find(|good| good.version() == version);
        same.map(|good| good.origin().clone()).unwrap_or_default()
    }
}
