//! The next response of a kind, and what sending it changes in the session.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use crate::resource::{Kind, Resource};

use super::ledger::PendingResponse;
use super::offers::{Due, Offer};
use super::{Event, Item, KindState, Protocol, Response, Session};

impl Session {
    pub(super) fn poll_kind(&mut self, kind: Kind, now: Instant) -> Option<Response> {
        let state = self.kind(kind);
        if !state.dirty || !state.subscription.opened() {
            return None;
        }
        if state.ledger.in_flight() >= self.options.in_flight {
            return None;
        }
        if kind == Kind::Cluster {
            self.update_lingers(now);
        }
        let probe = self.next_probe(kind, now);
        let due = self.due(kind, &probe, now);
        let offered: BTreeSet<&str> = due.offers.iter().map(|o| o.resource.name()).collect();
        for name in probe.iter().filter(|name| !offered.contains(&***name)) {
            self.kind_mut(kind).ledger.clear_suspect(name);
        }
        if probe.is_empty() {
            self.update_waits(kind, &due, now);
        }
        if due.must_respond {
            return Some(self.respond(kind, due, now));
        }
        if !probe.is_empty() {
            return self.poll_kind(kind, now);
        }
        if let Some(offer) = self.next_unconfirmed(kind, &due.waits) {
            let due = Due {
                offers: vec![offer],
                ..due
            };
            return Some(self.respond(kind, due, now));
        }
        self.settle(kind, &due);
        None
    }

    /// Records what of a kind waits for other resources.
    fn update_waits(&mut self, kind: Kind, due: &Due, now: Instant) {
        let waits = &mut self.kind_mut(kind).waits;
        if **waits != due.waits {
            *waits = Arc::new(due.waits.clone());
        }
        let waits = self.kinds.iter().flat_map(|state| state.waits.values());
        self.gate.track_waits(waits, now);
        if kind == Kind::Endpoints {
            self.track_deferred_endpoints(due.waits.keys(), now);
        }
    }

    /// The suspects to offer now in a response of their own, if any. In state of the world only one such response may be in
    /// flight, because a client is sure to answer only the newest.
    fn next_probe(&mut self, kind: Kind, now: Instant) -> BTreeSet<Arc<str>> {
        let sotw = self.protocol == Protocol::StateOfTheWorld;
        let snapshot = self.snapshot.clone();
        let KindState {
            subscription,
            ledger,
            ..
        } = self.kind_mut(kind);
        if sotw && ledger.in_flight() > 0 {
            return BTreeSet::new();
        }
        let wanted = |name: &str, version: &str| {
            let wanted = snapshot.get(kind, name);
            subscription.wants(name) && wanted.is_some_and(|r| r.version() == version)
        };
        let group = ledger.next_probe(wanted);
        let mut group: BTreeSet<Arc<str>> = group.into_iter().flatten().collect();
        let waits = |name: &&Arc<str>| {
            let resource = snapshot.get(kind, name);
            resource.is_some_and(|resource| self.may_send(resource, now).is_err())
        };
        let waiting: Vec<Arc<str>> = group.iter().filter(waits).cloned().collect();
        for name in waiting {
            group.remove(&name);
            self.kind_mut(kind).ledger.clear_suspect(&name);
        }
        group
    }

    fn respond(&mut self, kind: Kind, due: Due, now: Instant) -> Response {
        self.nonce += 1;
        let nonce = self.nonce;
        let delta = self.protocol == Protocol::Delta;
        let changed: Vec<&Offer> = due.offers.iter().filter(|offer| offer.is_change).collect();
        if kind == Kind::Cluster {
            // A suspect is repeated as the client acknowledged it, which undoes what the client may have applied of the rejected
            // response. That warms the cluster again like any change.
            let ledger = &self.kind(kind).ledger;
            let warms = |o: &&Offer| o.is_change || ledger.is_suspected(o.resource.name());
            let clusters = due.offers.iter().filter(warms);
            let clusters: Vec<_> = clusters.map(|o| o.resource.clone()).collect();
            self.resend_endpoints_of(&clusters);
        }
        let items = changed
            .iter()
            .map(|o| (o.resource.key().name.clone(), o.version.clone()))
            .collect();
        let state = self.kind_mut(kind);
        state.newest_nonce = Some(nonce);
        let removes = !due.removed.is_empty();
        let is_full = kind.is_full_state() && !delta;
        let had = |name: &Arc<str>| Some((name.clone(), state.ledger.acked(name)?.clone()));
        let left_out = due.removed.iter().filter(|_| is_full).filter_map(had);
        let left_out = left_out.collect();
        for name in &due.removed {
            state.ledger.forget(name);
        }
        state.ledger.record_sent(PendingResponse {
            nonce,
            sent_at: now,
            items,
            is_full,
            removes,
            version: Arc::default(),
            left_out,
        });
        // Endpoints are removed for good once their cluster is.
        self.kind_mut(Kind::Endpoints).dirty |= removes && kind == Kind::Cluster;
        let version = match self.protocol {
            Protocol::Delta => self.snapshot.shared_version(kind).clone(),
            Protocol::StateOfTheWorld => self.state_version(kind).into(),
        };
        self.kind_mut(kind).ledger.set_version(&version);
        let items = due.offers.into_iter().map(|offer| Item {
            resource: offer.resource,
            retry: offer.version.retry,
        });
        let items: Vec<_> = items.collect();
        self.events.push(Event::Sent {
            kind,
            items: items.len(),
            removed: due.removed.len(),
        });
        let removed = if delta { due.removed } else { Vec::new() };
        Response {
            kind,
            nonce: nonce.to_string(),
            version,
            items,
            removed,
        }
    }

    /// Sends the endpoints of these clusters again: Envoy warms a cluster only once its endpoints come after it, even if they are
    /// unchanged.
    fn resend_endpoints_of(&mut self, clusters: &[Arc<Resource>]) {
        let snapshot = self.snapshot.clone();
        let delta = self.protocol == Protocol::Delta;
        let state = self.kind_mut(Kind::Endpoints);
        if !state.subscription.opened() {
            return;
        }
        let names = clusters.iter().flat_map(|c| snapshot.endpoints_of(c));
        for name in names {
            if delta || state.subscription.wants(name) {
                state.ledger.resend.insert(name.clone());
                state.dirty = true;
            }
        }
    }

    /// Nothing is due of a kind: records how far the client is.
    fn settle(&mut self, kind: Kind, due: &Due) {
        let version = self.snapshot.shared_version(kind).clone();
        let state = self.kind_mut(kind);
        state.dirty = false;
        if due.waits.is_empty() && !due.rejected && !state.ledger.any_suspect() {
            state.sent = Some(version);
        }
        if state.ledger.in_flight() == 0 {
            state.acked.clone_from(&state.sent);
        }
        self.release_endpoints(kind);
    }

    /// Endpoints that wait for routes and filters may be sent once these are acknowledged.
    pub(super) fn release_endpoints(&mut self, kind: Kind) {
        let endpoints = self.kind_mut(Kind::Endpoints);
        if kind.routes_to_clusters() && !endpoints.waits.is_empty() {
            endpoints.dirty = true;
            self.endpoints_released = true;
        }
    }
}
