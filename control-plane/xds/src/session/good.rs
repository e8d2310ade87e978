//! The last good versions: for a client that refuses what is wanted and has nothing in its place (server rule 2).
//!
//! A proxy that runs something keeps it when it refuses something newer. One that was started anew, or that comes late, has
//! nothing to keep: it would stay without a listener, a route or a filter for as long as the newest version is bad. So what
//! clients of a scope accepted is remembered, and such a client is offered it.
//!
//! What makes that safe:
//!
//! - The newest version is offered first, always. Only its refusal *by this client* leads here, so nobody is kept from what
//!   works for it, and a version that others refuse for reasons of their own still goes out.
//! - Only listeners, routes and filter configurations, without which a proxy serves nothing at all. Old endpoints may lead to
//!   addresses that are somebody else's by now, an old secret may be revoked; a cluster that is refused costs its own version's
//!   traffic only. (A proxy that kept running has the same old filter configuration, with the same old limits.)
//! - Only a version of which everything it requires is in the snapshot of today, and through the same gate as any other.
//! - Only to a client of the same scope, so it sees nothing that it may not see.
//!
//! Invariant: bounded. [`KEPT`] versions of what the newest snapshots hold, so what is held besides the snapshot itself is at most
//! one older version of each.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::resource::{Kind, Resource, ResourceKey};
use crate::snapshot::Snapshot;

use super::Session;
use super::known::Sent;
use super::offer::Choice;

/// Versions remembered of one resource: the newest that was accepted, and the one before, for those that refuse the newest.
const KEPT: usize = 2;

/// What clients of a scope accepted, newest first.
#[derive(Clone, Debug, Default)]
pub struct Good(BTreeMap<ResourceKey, VecDeque<Arc<Resource>>>);

impl Good {
    /// A client accepted this; what `snapshot` does not hold in any version is forgotten.
    pub fn accept(&mut self, resource: &Arc<Resource>, snapshot: &Snapshot) {
        let versions = self.0.entry(resource.key().clone()).or_default();
        if versions
            .front()
            .is_some_and(|newest| Arc::ptr_eq(newest, resource))
        {
            return;
        }
        versions.retain(|known| known.version() != resource.version());
        versions.push_front(resource.clone());
        versions.truncate(KEPT);
        self.0
            .retain(|key, _| snapshot.get(key.kind, &key.name).is_some());
    }

    fn of(&self, key: &ResourceKey) -> impl Iterator<Item = &Arc<Resource>> {
        self.0.get(key).into_iter().flatten()
    }
}

/// Whether a proxy without any version of it serves nothing.
pub(super) fn is_vital(kind: Kind) -> bool {
    matches!(kind, Kind::Listener | Kind::Route | Kind::Extension)
}

/// What is worth remembering of a response that was accepted.
pub(super) fn good_of(kind: Kind, sent: &Sent) -> Vec<Arc<Resource>> {
    let items = sent.items.iter().filter(|_| is_vital(kind));
    items
        .filter_map(|(_, known)| known.resource.clone())
        .collect()
}

impl Session {
    /// What clients of its scope accepted, for when this one refuses what is wanted.
    pub fn know_good(&mut self, good: Arc<Good>) {
        self.good = good;
    }

    /// What the client accepted since this was last called: for those that come after it.
    pub fn take_good(&mut self) -> Vec<Arc<Resource>> {
        std::mem::take(&mut self.accepted)
    }

    /// What to offer in place of a refused resource to a client that has none; `None` if there is nothing, or no need.
    pub(super) fn instead(&self, refused: &Resource, now: Instant) -> Option<Choice> {
        let state = self.kind(refused.kind());
        let (ledger, name) = (&state.ledger, refused.name());
        let condemned = |version: &str| ledger.refusals.get(name, version).is_some();
        if !is_vital(refused.kind()) || state.brought || ledger.has_another(name, &condemned) {
            return None;
        }
        let here = |key: &ResourceKey| self.snapshot.get(key.kind, &key.name).is_some();
        let good = self
            .good
            .of(refused.key())
            .find(|good| !condemned(good.version()) && good.requires().iter().all(here))?;
        if ledger.current(name).is_some() {
            // It is on its way.
            return None;
        }
        Some(match self.pass(good, now) {
            Ok(()) => Choice::Offer(good.clone(), self.known(good, 0)),
            Err(wait) => Choice::Wait(wait),
        })
    }
}
