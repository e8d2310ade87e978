//! Every rule of delivery, as one state machine per stream.
//!
//! Inputs are a client's [`Request`], a new [`Snapshot`], and the time; outputs are [`Response`]s,
//! taken one at a time with [`Session::poll`] while the transport has room, and the next
//! [`Session::deadline`]. Nothing here waits, sends or reads a clock. Because responses are *pulled*,
//! whatever changes while a client does not read is coalesced: only the newest snapshot waits.
//!
//! ```text
//! request ─▶ subscription (what it wants) ─┐
//!         └▶ ledger (ACK, NACK) ───────────┤
//! snapshot ────────────────────────────────┼─▶ offer (what is due) ─▶ poll ─▶ Response
//! time ───▶ gate (make before break) ──────┘
//! ```
//!
//! What the protocol does not let us hold, and what is done instead:
//!
//! - Streams of single kinds reach a client in any order. So a session looks at the client's others (see `beside`), and what must
//!   come later is not sent before the client acknowledged, on its own stream, what must come first. Which streams are one
//!   client's, the shell says: those of one node on one connection. A client that connects anew for each kind, or that asks for
//!   routes before it asked for clusters on a new connection, is served as if the kinds had nothing to do with each other.
//! - A state-of-the-world client cannot say what it has when it reconnects: everything is sent again.
//!   Clusters that vanished meanwhile linger if the version it names is one we remember (see `past`),
//!   and else go at once. While a refused full response is bisected, clusters it introduced come and
//!   go; nothing routes to them yet. Delta has neither fault.
//! - What is remembered of a client from one stream to the next is that of one process: after the
//!   control plane itself was started anew, a refused version is offered once more.
//! - A vanished route or filter configuration is never taken back, so what it routes to stays too;
//!   so does everything while a client runs one brought from an earlier stream that we do not know.

mod beside;
mod doubt;
mod gate;
mod good;
mod intake;
mod known;
mod ledger;
mod message;
mod offer;
mod past;
mod refusals;
mod status;
mod subscription;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::options::Options;
use crate::resource::Kind;
use crate::snapshot::Snapshot;

pub use gate::Wait;
pub use good::Good;
pub use message::{Event, Interest, Item, Protocol, Request, Response};
pub use past::Past;
pub use status::{Acked, KindStatus, Nacked};

use beside::Beside;
use gate::Gate;
use known::Sent;
use ledger::Ledger;
use offer::{Due, Offer};
use subscription::Subscription;

/// A client subscribed to more names than a stream may; its stream is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {limit} resource names on one stream")]
pub struct TooManyNames {
    /// The bound, [`Options::max_names`].
    pub limit: usize,
}

/// The state of one stream.
#[derive(Clone, Debug)]
pub struct Session {
    protocol: Protocol,
    options: Arc<Options>,
    snapshot: Arc<Snapshot>,
    kinds: [KindState; 6],
    gate: Gate,
    beside: Beside,
    nonce: u64,
    deadline: Option<Instant>,
    events: Vec<Event>,
    /// What is remembered of the client, of kinds it has not asked about yet.
    past: Past,
    /// It brought something along, so it is the process that is remembered.
    returning: bool,
    /// Routes or filters are settled that endpoints waited for.
    released: bool,
    /// What others of the scope accepted.
    good: Arc<Good>,
    /// What the client accepted, to be told to others.
    accepted: Vec<Arc<crate::Resource>>,
}

/// The state of one kind on one stream.
#[derive(Clone, Debug, Default)]
struct KindState {
    subscription: Subscription,
    ledger: Ledger,
    /// Something may be due.
    dirty: bool,
    waits: Arc<BTreeMap<String, Wait>>,
    newest_nonce: Option<u64>,
    /// Names that a stale list left out: a client that has them in its next list dropped them between.
    left_out: BTreeSet<String>,
    /// The version that a state-of-the-world client accepted last, on this stream or, as far as we
    /// know what it stands for, on the one before.
    named: Option<Arc<str>>,
    /// The client brought something of this kind along, of which we do not know what it is.
    brought: bool,
    /// The snapshot version of this kind that is completely sent, and completely acknowledged.
    sent: Option<Arc<str>>,
    acked: Option<Arc<str>>,
}

impl Session {
    /// A stream that has just been opened.
    #[must_use]
    pub fn new(protocol: Protocol, options: Arc<Options>, snapshot: Arc<Snapshot>) -> Self {
        Self {
            protocol,
            options,
            snapshot,
            kinds: Default::default(),
            gate: Gate::default(),
            beside: Beside::default(),
            nonce: 0,
            deadline: None,
            events: Vec::new(),
            past: Past::default(),
            returning: false,
            released: false,
            good: Arc::default(),
            accepted: Vec::new(),
        }
    }

    fn kind(&self, kind: Kind) -> &KindState {
        &self.kinds[kind.index()]
    }

    fn kind_mut(&mut self, kind: Kind) -> &mut KindState {
        &mut self.kinds[kind.index()]
    }

    /// The newest snapshot of the stream's scope. Kinds whose content is the same are not touched.
    pub fn snapshot(&mut self, snapshot: Arc<Snapshot>) {
        let old = std::mem::replace(&mut self.snapshot, snapshot);
        for kind in Kind::PUSH_ORDER {
            if old.version(kind) != self.snapshot.version(kind) {
                self.kind_mut(kind).dirty = true;
                self.recognise(kind);
            }
        }
    }

    /// What a client brought from an earlier stream may turn out to be what is wanted now.
    fn recognise(&mut self, kind: Kind) {
        let snapshot = self.snapshot.clone();
        for (name, held) in &mut self.kind_mut(kind).ledger.held {
            let Some(known) = held.acked.as_mut().filter(|k| k.requires.is_none()) else {
                continue;
            };
            let same = snapshot
                .get(kind, name)
                .filter(|r| *r.version() == *known.version);
            known.requires = same.map(|resource| resource.shared_requires());
        }
    }

    /// The next response, if one is due. Call it while the transport has room, until it is `None`;
    /// then call it again after every input and at [`Session::deadline`].
    pub fn poll(&mut self, now: Instant) -> Option<Response> {
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            self.kinds.iter_mut().for_each(|state| state.dirty = true);
        }
        loop {
            for kind in Kind::PUSH_ORDER {
                if let Some(response) = self.poll_kind(kind, now) {
                    return Some(response);
                }
            }
            if !std::mem::take(&mut self.released) {
                break;
            }
        }
        self.deadline = self.next_deadline(now);
        None
    }

    /// When to poll again though nothing came in.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What was learnt and done since this was last called.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let gate = self
            .gate
            .deadline(self.options.warm_timeout, self.options.linger, now);
        let retries = Kind::PUSH_ORDER.into_iter().filter_map(|kind| {
            let wanted = |name: &str, version: &str| {
                self.kind(kind).subscription.wants(name)
                    && self
                        .snapshot
                        .get(kind, name)
                        .is_some_and(|r| r.version() == version)
            };
            self.kind(kind).ledger.refusals.next_retry(wanted)
        });
        retries.chain(gate).min()
    }

    fn poll_kind(&mut self, kind: Kind, now: Instant) -> Option<Response> {
        let state = self.kind(kind);
        if !state.dirty || !state.subscription.opened() {
            return None;
        }
        if state.ledger.in_flight() >= self.options.in_flight {
            return None;
        }
        if kind == Kind::Cluster {
            self.note_unused(now);
        }
        let probe = self.next_probe(kind, now);
        let due = self.due(kind, &probe, now);
        let offered: BTreeSet<&str> = due.offers.iter().map(|o| o.resource.name()).collect();
        for name in probe.iter().filter(|name| !offered.contains(name.as_str())) {
            self.kind_mut(kind).ledger.clear_suspect(name);
        }
        if probe.is_empty() {
            let waits = &mut self.kind_mut(kind).waits;
            if **waits != due.waits {
                *waits = Arc::new(due.waits.clone());
            }
            let waits = self.kinds.iter().flat_map(|state| state.waits.values());
            self.gate.note_waits(waits, now);
            if kind == Kind::Endpoints {
                self.note_yielding(kind, due.waits.keys(), now);
            }
        }
        if due.respond {
            return Some(self.respond(kind, due, now));
        }
        if !probe.is_empty() {
            return self.poll_kind(kind, now);
        }
        if let Some(offer) = self.question(kind, &due.waits) {
            let question = Due {
                offers: vec![offer],
                ..due
            };
            return Some(self.respond(kind, question, now));
        }
        self.settle(kind, &due);
        None
    }

    /// The suspects to offer apart now, if any. In state of the world only one such response may be
    /// under way, for only the newest is sure to be answered.
    fn next_probe(&mut self, kind: Kind, now: Instant) -> BTreeSet<String> {
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
        let still = |name: &str, version: &str| {
            subscription.wants(name)
                && snapshot
                    .get(kind, name)
                    .is_some_and(|r| r.version() == version)
        };
        let mut group: BTreeSet<String> = ledger.next_probe(still).into_iter().flatten().collect();
        let blocked: Vec<String> = group
            .iter()
            .filter(|name| {
                snapshot
                    .get(kind, name)
                    .is_some_and(|r| self.pass(r, now).is_err())
            })
            .cloned()
            .collect();
        for name in blocked {
            group.remove(&name);
            self.kind_mut(kind).ledger.clear_suspect(&name);
        }
        group
    }

    fn respond(&mut self, kind: Kind, due: Due, now: Instant) -> Response {
        self.nonce += 1;
        let nonce = self.nonce;
        let delta = self.protocol == Protocol::Delta;
        let fresh: Vec<&Offer> = due.offers.iter().filter(|offer| offer.fresh).collect();
        if kind == Kind::Cluster {
            // A suspect is repeated as the client acknowledged it, which undoes what it may have
            // applied of the refused response: that warms it again like any change.
            let ledger = &self.kind(kind).ledger;
            let changes = |o: &&Offer| o.fresh || ledger.is_suspected(o.resource.name());
            let clusters: Vec<_> = due
                .offers
                .iter()
                .filter(changes)
                .map(|o| o.resource.clone())
                .collect();
            self.let_endpoints_follow(&clusters);
        }
        let entries = fresh
            .iter()
            .map(|o| (o.resource.name().to_owned(), o.known.clone()))
            .collect();
        let state = self.kind_mut(kind);
        state.newest_nonce = Some(nonce);
        let drops = !due.removed.is_empty();
        let full = kind.is_full_state() && !delta;
        let had = |name: &String| Some((name.clone(), state.ledger.acked(name)?.clone()));
        let dropped = due
            .removed
            .iter()
            .filter(|_| full)
            .filter_map(had)
            .collect();
        for name in &due.removed {
            state.ledger.forget(name);
        }
        state.ledger.sent(Sent {
            nonce,
            at: now,
            items: entries,
            full,
            drops,
            version: "".into(),
            dropped,
        });
        // Endpoints are gone for good once their cluster is.
        self.kind_mut(Kind::Endpoints).dirty |= drops && kind == Kind::Cluster;
        let version = match self.protocol {
            Protocol::Delta => self.snapshot.version(kind).to_owned(),
            Protocol::StateOfTheWorld => self.state_version(kind),
        };
        if !delta {
            self.kind_mut(kind).ledger.named(&version);
        }
        let items: Vec<_> = due
            .offers
            .into_iter()
            .map(|offer| Item {
                resource: offer.resource,
                retry: offer.known.retry,
            })
            .collect();
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

    /// Envoy warms a cluster only once its endpoints come after it, even if they are unchanged.
    fn let_endpoints_follow(&mut self, clusters: &[Arc<crate::Resource>]) {
        let snapshot = self.snapshot.clone();
        let delta = self.protocol == Protocol::Delta;
        let state = self.kind_mut(Kind::Endpoints);
        if !state.subscription.opened() {
            return;
        }
        for name in clusters
            .iter()
            .flat_map(|cluster| snapshot.endpoints_of(cluster))
        {
            if delta || state.subscription.wants(name) {
                state.ledger.forced.insert(name.to_owned());
                state.dirty = true;
            }
        }
    }

    /// The snapshot that the client should run.
    #[must_use]
    pub fn newest(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Nothing is due: notes how far the client is.
    fn settle(&mut self, kind: Kind, due: &Due) {
        let version: Arc<str> = self.snapshot.version(kind).into();
        let state = self.kind_mut(kind);
        state.dirty = false;
        if due.waits.is_empty() && !due.refused && !state.ledger.any_suspect() {
            state.sent = Some(version);
        }
        if state.ledger.in_flight() == 0 {
            state.acked.clone_from(&state.sent);
        }
        self.release(kind);
    }

    /// What waits for routes and filters may go once these are acknowledged.
    fn release(&mut self, kind: Kind) {
        let endpoints = self.kind_mut(Kind::Endpoints);
        if kind.routes_to_clusters() && !endpoints.waits.is_empty() {
            endpoints.dirty = true;
            self.released = true;
        }
    }
}
