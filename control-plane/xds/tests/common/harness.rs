//! The harness: a client, its session, and the responses in flight between them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_xds::session::{Protocol, Response, Session, SubscriptionUpdate};
use headgate_xds::{Kind, Options, Snapshot};

use super::Client;

/// A client and its session, under a clock that only the test moves.
#[derive(Debug)]
pub struct Harness {
    pub session: Session,
    pub client: Client,
    /// Responses that the server sent and the client has not received.
    pub in_flight: VecDeque<Response>,
    /// Everything the server sent, in order.
    pub log: Vec<Response>,
    pub now: Instant,
    pub snapshot: Arc<Snapshot>,
    /// Offers of versions that the client rejected before, in a response with a single resource.
    pub resent: Vec<String>,
    rejected: BTreeSet<(Kind, String, String)>,
    options: Arc<Options>,
}

impl Harness {
    /// A client that subscribes to all clusters and listeners and to the given other names.
    pub fn new(protocol: Protocol, snapshot: Arc<Snapshot>, names: &[(Kind, &str)]) -> Self {
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
        let session = Session::new(protocol, options.clone(), snapshot.clone());
        let (in_flight, log, resent, rejected) = Default::default();
        Self {
            session,
            client,
            in_flight,
            log,
            now,
            snapshot,
            resent,
            rejected,
            options,
        }
    }

    pub fn set_snapshot(&mut self, snapshot: Arc<Snapshot>) {
        self.snapshot = snapshot.clone();
        self.session.set_snapshot(snapshot);
    }

    pub fn advance(&mut self, by: Duration) {
        self.now += by;
    }

    /// The stream breaks; the client opens another.
    pub fn reconnect(&mut self) {
        self.in_flight.clear();
        self.log.clear();
        self.client.reconnected = true;
        self.client.open(self.now);
        self.forget_rejections_of_a_restarted_client();
        let history = self.session.history(self.now);
        let session = Session::new(
            self.client.protocol,
            self.options.clone(),
            self.snapshot.clone(),
        );
        self.session = session.with_history(history);
    }

    /// The client may have restarted until a request names a version that it accepted earlier: until then everything may be
    /// offered.
    fn forget_rejections_of_a_restarted_client(&mut self) {
        let mut returning = false;
        // Rejected endpoints are offered once more on every stream.
        self.rejected.retain(|(kind, ..)| *kind != Kind::Endpoints);
        for request in &self.client.outbox {
            returning |= match &request.subscription {
                SubscriptionUpdate::Replace { version_info, .. } => !version_info.is_empty(),
                SubscriptionUpdate::Change {
                    initial_versions, ..
                } => !initial_versions.is_empty(),
            };
            if !returning {
                self.rejected.retain(|(kind, ..)| *kind != request.kind);
            }
        }
    }

    /// The server receives one request.
    pub fn receive_request(&mut self) -> bool {
        let Some(request) = self.client.outbox.pop_front() else {
            return false;
        };
        if request.error.is_some() {
            let about = |r: &&Response| r.kind == request.kind && r.nonce == request.nonce;
            let response = self.log.iter().find(about).unwrap();
            // In state of the world a response may also repeat what the client has.
            if let [item] = response.items.as_slice() {
                let name = item.resource.name().to_owned();
                let version = item.version().to_string();
                self.rejected.insert((request.kind, name, version));
            }
        }
        self.session.request(request, self.now).unwrap();
        true
    }

    /// The server sends one response.
    pub fn send_response(&mut self) -> bool {
        let Some(response) = self.session.poll(self.now) else {
            return false;
        };
        for item in &response.items {
            let (name, version) = (item.resource.name(), item.version().to_string());
            if self
                .rejected
                .contains(&(response.kind, name.to_owned(), version))
            {
                self.resent.push(format!("{} {name}", response.kind));
            }
        }
        self.client
            .note_rejected_clusters(&response, &self.snapshot);
        self.log.push(response.clone());
        self.in_flight.push_back(response);
        true
    }

    /// The client receives one response.
    pub fn deliver_response(&mut self) -> bool {
        let Some(response) = self.in_flight.pop_front() else {
            return false;
        };
        self.client.receive(&response, self.now);
        true
    }

    /// Runs both sides until nothing is left to do, without time passing.
    pub fn settle(&mut self) {
        for _ in 0..3_000 {
            let moved = self.receive_request()
                | self.send_response()
                | self.deliver_response()
                | self.client.tick(self.now);
            if !moved {
                return;
            }
        }
        panic!("client and server never settle");
    }

    /// Runs both sides for `time` on the clock.
    pub fn settle_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        let mut left = 1_000;
        while let Some(at) = self.next_deadline().filter(|at| *at <= end) {
            left -= 1;
            assert!(
                left > 0,
                "more than 1000 deadlines: client and server settle too slowly"
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

    /// The names in each response of `kind` since `from` in the log.
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
