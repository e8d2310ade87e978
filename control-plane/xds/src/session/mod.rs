//! Every rule of delivery, as one state machine per stream.
//!
//! The inputs are a client's [`Request`], a new [`Snapshot`], and the time. The outputs are [`Response`]s, taken one at a time
//! with [`Session::poll`] while the transport has room, and the next [`Session::deadline`]. A session never waits, sends or
//! reads a clock. Responses are *pulled*, so changes that come while a client does not read are coalesced: only the newest
//! snapshot waits.
//!
//! ```text
//! request ─▶ subscription (names) ─┐
//!         └▶ ledger (ACK, NACK) ───┤
//! snapshot ────────────────────────┼─▶ offers (what is due) ─▶ poll ─▶ Response
//! time ───▶ gate (make before break)
//! ```
//!
//! Limits of the protocol, and what a session does instead:
//!
//! - Responses on per-type streams reach a client in any order. A session therefore looks at the client's other streams (see
//!   `sibling_streams`): a later kind waits until the client has acknowledged, on its own stream, what must come before it. The
//!   server decides which streams belong to one client: those of one node on one connection. A client that opens a connection
//!   for each kind, or that asks for routes on a new connection before it asks for clusters, is served without any order
//!   between kinds.
//! - A state-of-the-world client cannot say what it has when it reconnects: everything is sent again. Clusters that left the
//!   snapshot meanwhile linger if the client names a version that the server remembers (see `stream_history`), and else go at
//!   once. While a rejected full response is bisected, clusters that it introduced come and go; nothing routes to them yet.
//!   Delta has neither limit.
//! - The history of a client is kept in memory: a rejected version is offered once more after the control plane has restarted.
//! - A route or filter configuration that left the snapshot is never removed, so the clusters it routes to stay too. So does
//!   everything while a client runs a version from an earlier stream that the server does not know.

mod gate;
mod last_good;
mod ledger;
mod message;
mod offers;
mod requests;
mod responses;
mod shared_map;
mod shared_state;
mod sibling_streams;
mod status;
mod stream_history;
mod subscription;
mod unconfirmed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::options::Options;
use crate::resource::{Kind, Resource};
use crate::snapshot::Snapshot;

pub use gate::Wait;
pub use last_good::LastGood;
pub use message::{
    AcceptedResource, Event, Item, Protocol, RejectedResource, Request, Response,
    SubscriptionUpdate,
};
pub use shared_state::SharedState;
pub use status::{Acked, KindStatus, Nacked};
pub use stream_history::StreamHistory;

use gate::Gate;
use ledger::Ledger;
use sibling_streams::SiblingStreams;
use subscription::Subscription;

/// A client subscribed to more names than a stream may; its stream is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the proxy subscribes to more than {limit} resource names on one stream: give it fewer namespaces with --node-namespaces"
)]
pub struct TooManyNames {
    /// The limit, [`Options::max_names`].
    pub limit: usize,
}

/// The state of one stream.
#[derive(Clone, Debug)]
pub struct Session {
    protocol: Protocol,
    options: Arc<Options>,
    snapshot: Arc<Snapshot>,
    shared: SharedState,
    kinds: [KindState; 6],
    gate: Gate,
    siblings: SiblingStreams,
    nonce: u64,
    deadline: Option<Instant>,
    events: Vec<Event>,
    /// The client's history, of kinds that it has not asked for on this stream yet.
    history: StreamHistory,
    /// The client has named a version that it accepted earlier, so it is the process of the history.
    is_returning: bool,
    /// Routes or filters were acknowledged or found to be unchanged: endpoints that waited for them may be due.
    endpoints_released: bool,
    /// The versions that other clients of the scope accepted.
    last_good: Arc<LastGood>,
    /// The versions that this client accepted, for other clients of the scope.
    accepted: Vec<Arc<Resource>>,
}

/// The state of one kind on one stream.
#[derive(Clone, Debug, Default)]
struct KindState {
    subscription: Subscription,
    ledger: Ledger,
    /// Something may be due.
    dirty: bool,
    waits: Arc<BTreeMap<Arc<str>, Wait>>,
    newest_nonce: Option<u64>,
    /// Names that a stale list left out: if the next list has them, the client dropped them in between.
    left_out: BTreeSet<Arc<str>>,
    /// The version that a state-of-the-world client last accepted, on this stream or, if it is in the history, on an earlier one.
    accepted_version: Option<Arc<str>>,
    /// The client has resources of this kind from an earlier stream that the server does not know.
    has_unknown: bool,
    /// The snapshot version of this kind that was sent completely.
    sent: Option<Arc<str>>,
    /// The snapshot version of this kind that was acknowledged completely.
    acked: Option<Arc<str>>,
}

impl Session {
    /// The session of a stream that has just been opened.
    #[must_use]
    pub fn new(protocol: Protocol, options: Arc<Options>, snapshot: Arc<Snapshot>) -> Self {
        Self {
            protocol,
            options,
            snapshot,
            shared: SharedState::default(),
            kinds: Default::default(),
            gate: Gate::default(),
            siblings: SiblingStreams::default(),
            nonce: 0,
            deadline: None,
            events: Vec::new(),
            history: StreamHistory::default(),
            is_returning: false,
            endpoints_released: false,
            last_good: Arc::default(),
            accepted: Vec::new(),
        }
    }

    /// The session, which shares what it knows of its client with the sessions of equal clients.
    #[must_use]
    pub fn sharing(mut self, shared: SharedState) -> Self {
        self.shared = shared;
        self
    }

    fn kind(&self, kind: Kind) -> &KindState {
        &self.kinds[kind.index()]
    }

    fn kind_mut(&mut self, kind: Kind) -> &mut KindState {
        &mut self.kinds[kind.index()]
    }

    /// Replaces the snapshot that the client should run. Nothing becomes due of kinds whose content is the same.
    pub fn set_snapshot(&mut self, snapshot: Arc<Snapshot>) {
        let old = std::mem::replace(&mut self.snapshot, snapshot);
        for kind in Kind::PUSH_ORDER {
            self.kind_mut(kind).dirty |= old.version(kind) != self.snapshot.version(kind);
            if !old.shares_resources(&self.snapshot, kind) {
                self.adopt_descriptors(kind);
            }
        }
    }

    /// The snapshot that the client should run.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Updates what the client has, or is offered, in the version that the snapshot holds: the same bytes may have another origin
    /// by now, and the server may not have known a version that the client brought from an earlier stream.
    fn adopt_descriptors(&mut self, kind: Kind) {
        let snapshot = self.snapshot.clone();
        let mut wanted = snapshot.of(kind).peekable();
        let ledger = &mut self.kind_mut(kind).ledger;
        let mut stale = Vec::new();
        for (name, held) in ledger.held.iter() {
            while wanted.next_if(|wanted| *wanted.name() < **name).is_some() {}
            let same_name = wanted.peek().filter(|wanted| wanted.key().name == *name);
            if let Some(wanted) = same_name.filter(|wanted| held.may_adopt(wanted.descriptor())) {
                stale.push((*wanted).clone());
            }
        }
        for wanted in stale {
            if let Some(held) = ledger.held.get_mut(wanted.name()) {
                held.adopt(wanted.descriptor());
            }
        }
    }

    /// Shares what is the same for all equal clients, where enough has changed to be worth it.
    fn compact(&mut self) {
        let opened = self
            .kinds
            .iter()
            .filter(|state| state.subscription.opened());
        let is_aggregated = opened.count() > 1;
        for kind in Kind::PUSH_ORDER {
            let state = &mut self.kinds[kind.index()];
            state.subscription.compact(self.shared.names());
            state
                .ledger
                .compact(kind, is_aggregated, self.shared.held());
        }
    }

    /// The next response, if one is due. Call it while the transport has room until it returns `None`; then call it again after
    /// every input and at [`Session::deadline`].
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
            if !std::mem::take(&mut self.endpoints_released) {
                break;
            }
        }
        self.deadline = self.next_deadline(now);
        self.compact();
        None
    }

    /// When to poll again even if there is no input.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The responses and answers since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let gate = self
            .gate
            .deadline(self.options.warm_timeout, self.options.linger, now);
        let retries = Kind::PUSH_ORDER.into_iter().filter_map(|kind| {
            let wanted = |name: &str, version: &str| self.wants_version(kind, name, version);
            self.kind(kind).ledger.rejections.next_retry(wanted, now)
        });
        retries.chain(gate).min()
    }

    /// Whether the client subscribes to a name and should run this version of it.
    fn wants_version(&self, kind: Kind, name: &str, version: &str) -> bool {
        let wanted = self.snapshot.get(kind, name);
        self.kind(kind).subscription.wants(name) && wanted.is_some_and(|r| r.version() == version)
    }

    /// Whether all routes and filters that these streams bring are acknowledged as this session's snapshot has them.
    fn routes_are_acked(&self, streams: &[&Session]) -> bool {
        let is_acked = |stream: &&Session, kind: Kind| {
            let state = stream.kind(kind);
            let wanted = self.snapshot.version(kind);
            !state.subscription.opened() || state.acked.as_deref() == Some(wanted)
        };
        Kind::PUSH_ORDER
            .into_iter()
            .filter(|kind| kind.routes_to_clusters())
            .all(|kind| streams.iter().all(|stream| is_acked(stream, kind)))
    }
}
