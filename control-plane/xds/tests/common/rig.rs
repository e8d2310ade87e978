//! The rig.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_xds::session::{Interest, Protocol, Response, Session};
use headgate_xds::{Kind, Options, Snapshot};

use super::Client;

/// A client, its session, and the wire between them, under a clock that only the test moves.
#[derive(Debug)]
pub struct Rig {
    pub session: Session,
    pub client: Client,
    pub wire: VecDeque<Response>,
    /// Everything the server sent, in order.
    pub log: Vec<Response>,
    pub now: Instant,
    pub world: Arc<Snapshot>,
    /// Offers of a version that the server knows to be refused (by a response of its own).
    pub resent: Vec<String>,
    condemned: BTreeSet<(Kind, String, String)>,
    options: Arc<Options>,
}

impl Rig {
    /// A client that subscribes to all clusters and listeners and to the given other names.
    pub fn new(protocol: Protocol, world: Arc<Snapshot>, names: &[(Kind, &str)]) -> Self {
        let now = Instant::now();
        let options = Arc::new(Options::default());
        let mut client = Client::new(protocol, now);
        for (kind, name) in names {
            client
                .kinds
                .get_mut(kind)
                .unwrap()
                .names
                .insert((*name).to_owned());
        }
        client.open(now);
        let session = Session::new(protocol, options.clone(), world.clone());
        let (wire, log, resent, condemned) = Default::default();
        Self {
            session,
            client,
            wire,
            log,
            now,
            world,
            resent,
            condemned,
            options,
        }
    }

    pub fn set(&mut self, world: Arc<Snapshot>) {
        self.world = world.clone();
        self.session.snapshot(world);
    }

    pub fn advance(&mut self, by: Duration) {
        self.now += by;
    }

    /// The stream breaks; the client opens another.
    pub fn reconnect(&mut self) {
        self.wire.clear();
        self.log.clear();
        self.client.reconnected = true;
        self.client.open(self.now);
        self.forget_what_a_fresh_client_may_be_offered();
        let past = self.session.past(self.now);
        let session = Session::new(
            self.client.protocol,
            self.options.clone(),
            self.world.clone(),
        );
        self.session = session.with_past(past);
    }

    /// Until a request shows that the client brings something along, it may have been started anew.
    fn forget_what_a_fresh_client_may_be_offered(&mut self) {
        let mut returning = false;
        // Refused endpoints are offered once more on every stream.
        self.condemned.retain(|(kind, ..)| *kind != Kind::Endpoints);
        for request in &self.client.outbox {
            returning |= match &request.interest {
                Interest::Whole { version, .. } => !version.is_empty(),
                Interest::Change { initial, .. } => !initial.is_empty(),
            };
            if !returning {
                self.condemned.retain(|(kind, ..)| *kind != request.kind);
            }
        }
    }

    /// The server takes one request.
    pub fn hear(&mut self) -> bool {
        let Some(request) = self.client.outbox.pop_front() else {
            return false;
        };
        if request.error.is_some() {
            let about = |r: &&Response| r.kind == request.kind && r.nonce == request.nonce;
            let response = self.log.iter().find(about).unwrap();
            // In state of the world a response may repeat what the client has beside the new.
            if let [item] = response.items.as_slice() {
                let name = item.resource.name().to_owned();
                self.condemned.insert((request.kind, name, item.version()));
            }
        }
        self.session.request(request, self.now).unwrap();
        true
    }

    /// The server sends one response.
    pub fn speak(&mut self) -> bool {
        let Some(response) = self.session.poll(self.now) else {
            return false;
        };
        for item in &response.items {
            let name = item.resource.name();
            if self
                .condemned
                .contains(&(response.kind, name.to_owned(), item.version()))
            {
                self.resent.push(format!("{} {name}", response.kind));
            }
        }
        self.client.note_refused(&response, &self.world);
        self.log.push(response.clone());
        self.wire.push_back(response);
        true
    }

    /// The client takes one response.
    pub fn deliver(&mut self) -> bool {
        let Some(response) = self.wire.pop_front() else {
            return false;
        };
        self.client.take(&response, self.now);
        true
    }

    /// Until nothing moves any more, without time passing.
    pub fn settle(&mut self) {
        for _ in 0..3_000 {
            let moved = self.hear() | self.speak() | self.deliver() | self.client.tick(self.now);
            if !moved {
                return;
            }
        }
        panic!("client and server never come to rest");
    }

    /// Until nothing moves any more, however long that takes on the clock.
    pub fn settle_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        let mut left = 1_000;
        while let Some(at) = self.next_deadline().filter(|at| *at <= end) {
            left -= 1;
            assert!(
                left > 0,
                "deadlines follow each other without end: comes too slowly to rest"
            );
            self.now = at.max(self.now);
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.session
            .deadline()
            .into_iter()
            .chain(self.client.deadline())
            .min()
    }

    /// Names sent in every response of `kind` since `from` in the log.
    pub fn names_since(&self, from: usize, kind: Kind) -> Vec<Vec<String>> {
        let of_kind = self.log[from..]
            .iter()
            .filter(|response| response.kind == kind);
        of_kind
            .map(|r| {
                r.items
                    .iter()
                    .map(|item| item.resource.name().to_owned())
                    .collect()
            })
            .collect()
    }
}
