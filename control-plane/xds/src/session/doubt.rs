//! What a client may run although it never said so, and how to find out (server rules 2 and 3).
//!
//! A route of a refused response may have been taken before the client came to the bad one beside it.
//! As a rule the next offer of that name settles it. Where none is to come, because the route is gone
//! or what is wanted now is refused itself, the doubt would keep alive what it routes to for as long as
//! the stream lives. Then it is offered once more, apart: accepted, it is what the client runs;
//! refused, nothing routes there any more.
//!
//! Only routes can be asked about: filter configurations travel alone, so their refusal leaves no
//! doubt, and whatever vanished of the other kinds is taken back anyway.

use std::collections::BTreeMap;

use crate::resource::{Kind, Resource};

use super::gate::Wait;
use super::offer::Offer;
use super::{KindState, Session};

impl Session {
    /// The doubt to settle next, when nothing else of this kind is due: one at a time, the newest
    /// first, and only if it keeps a vanished cluster alive.
    pub(super) fn question(&self, kind: Kind, waits: &BTreeMap<String, Wait>) -> Option<Offer> {
        let state = self.kind(kind);
        let ledger = &state.ledger;
        if kind != Kind::Route || ledger.in_flight() > 0 {
            return None;
        }
        // What waits comes, unless it waits for what was refused or is late.
        let comes = |name: &String| waits.get(name).is_some_and(|wait| !wait.failed);
        let open = ledger.doubtful.iter().filter(|(name, _)| !comes(name));
        open.filter(|(name, _)| state.subscription.wants(name))
            .find_map(|(name, doubts)| {
                let mut newest_first = doubts.iter().rev();
                let known = newest_first.find(|known| {
                    let resource = known.resource.as_deref();
                    resource.is_some_and(|r| self.keeps_a_vanished_cluster(r))
                        && ledger.refusals.get(name, &known.version).is_none()
                })?;
                Some(Offer {
                    resource: known.resource.clone()?,
                    known: known.clone(),
                    fresh: true,
                })
            })
    }

    fn keeps_a_vanished_cluster(&self, route: &Resource) -> bool {
        let clusters: &KindState = self.kind(Kind::Cluster);
        let keys = route.requires().iter();
        let mut names = keys
            .filter(|key| key.kind == Kind::Cluster)
            .map(|k| &k.name);
        // It went out once, so it may go again where its clusters may still be.
        let there =
            |name: &String| clusters.ledger.may_hold(name) || !clusters.subscription.wants(name);
        names.clone().all(there)
            && names.any(|name| {
                clusters.ledger.may_hold(name) && self.snapshot.get(Kind::Cluster, name).is_none()
            })
    }
}
