//! Versions that a client may run although it never acknowledged them, and how to find out (server rules 2 and 3).
//!
//! A client may have applied a route of a rejected response before it came to the bad one. As a rule the next offer of that
//! name settles it. Where none is to come, because the route left the snapshot or the wanted version is rejected itself, the
//! unconfirmed version would keep the clusters it routes to for as long as the stream lives. Then it is offered once more, in a
//! response of its own: if the client accepts it, the client runs it; if the client rejects it, nothing routes to those
//! clusters.
//!
//! This applies to routes only. Filter configurations are sent alone, so their rejection leaves nothing unconfirmed, and
//! resources of the other kinds that left the snapshot are removed anyway.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::resource::{Kind, Resource};

use super::gate::Wait;
use super::offers::Offer;
use super::{KindState, Session};

impl Session {
    /// The unconfirmed version to offer again when nothing else of this kind is due: one at a time, the newest first, and only
    /// if it keeps a cluster that left the snapshot.
    pub(super) fn next_unconfirmed(
        &self,
        kind: Kind,
        waits: &BTreeMap<Arc<str>, Wait>,
    ) -> Option<Offer> {
        let state = self.kind(kind);
        let ledger = &state.ledger;
        if kind != Kind::Route || ledger.in_flight() > 0 {
            return None;
        }
        // A route that waits will be offered, unless its clusters were rejected or are late.
        let will_be_offered = |name: &Arc<str>| waits.get(name).is_some_and(|wait| !wait.failed);
        let names = ledger.unconfirmed.iter();
        names
            .filter(|(name, _)| !will_be_offered(name) && state.subscription.wants(name))
            .find_map(|(name, versions)| {
                let mut newest_first = versions.iter().rev();
                let version = newest_first.find(|version| {
                    let resource = version.resource.as_deref();
                    resource.is_some_and(|r| self.keeps_vanished_cluster(r))
                        && ledger.rejections.get(name, version.version()).is_none()
                })?;
                Some(Offer {
                    resource: version.resource.clone()?,
                    version: version.clone(),
                    is_change: true,
                })
            })
    }

    fn keeps_vanished_cluster(&self, route: &Resource) -> bool {
        let clusters: &KindState = self.kind(Kind::Cluster);
        let keys = route.requires().iter();
        let keys = keys.filter(|key| key.kind == Kind::Cluster);
        let mut names = keys.map(|key| &key.name);
        // It was sent once, so it may be sent again where its clusters may still be.
        let may_exist =
            |name: &Arc<str>| clusters.ledger.may_hold(name) || !clusters.subscription.wants(name);
        let vanished = |name: &Arc<str>| {
            clusters.ledger.may_hold(name) && self.snapshot.get(Kind::Cluster, name).is_none()
        };
        names.clone().all(may_exist) && names.any(vanished)
    }
}
