//! A client that behaves like Envoy 1.40, without a socket, and a rig that runs it against a session.
//!
//! Like Envoy: clusters warm once their endpoints come after them, and cluster responses are answered
//! only when nothing warms; good clusters and listeners of a refused response are applied, while
//! endpoints, routes and filter configurations stop at the first bad one; endpoints are subscribed to
//! per cluster. It notes every breach of an invariant in [`Client::breaches`].

#![allow(dead_code, missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_xds::session::{Interest, Protocol, Request, Response, Session};
use headgate_xds::{Kind, Options, Resource, ResourceKey, Snapshot};

/// Envoy's default wait for a cluster's first endpoints.
const INITIAL_FETCH_TIMEOUT: Duration = Duration::from_secs(15);

pub const BOTH: [Protocol; 2] = [Protocol::StateOfTheWorld, Protocol::Delta];

/// A resource whose body says what the client needs to know: `text|bad?|cluster,cluster`.
pub fn resource(kind: Kind, name: &str, text: &str, clusters: &[&str]) -> Resource {
    let bad = if text.contains("bad") { "bad" } else { "good" };
    let body = format!("{text}|{bad}|{}", clusters.join(","));
    Resource::new(kind, name, body)
        .requiring(clusters.iter().map(|c| ResourceKey::new(Kind::Cluster, *c)))
}

pub fn snapshot(resources: impl IntoIterator<Item = Resource>) -> Arc<Snapshot> {
    Arc::new(Snapshot::new(resources).unwrap())
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    pub version: String,
    pub text: String,
    pub bad: bool,
    pub clusters: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct ClientKind {
    pub wildcard: bool,
    pub names: BTreeSet<String>,
    pub held: BTreeMap<String, Body>,
    version_info: String,
    nonce: String,
}

#[derive(Debug)]
pub struct Client {
    pub protocol: Protocol,
    pub kinds: BTreeMap<Kind, ClientKind>,
    /// Clusters that take traffic.
    pub active: BTreeSet<String>,
    /// Clusters that wait for their endpoints, and since when.
    warming: BTreeMap<String, Instant>,
    withheld: Vec<Request>,
    pub outbox: VecDeque<Request>,
    /// Every version of a cluster that it refused.
    refused: BTreeSet<(String, String)>,
    /// By nonce: clusters of which the version wanted when that response was made is one it refused.
    without_hope: BTreeMap<String, BTreeSet<String>>,
    /// Clusters it was given a route to before the server knew it to have them, for lack of any
    /// other route.
    without: BTreeSet<String>,
    last_used: BTreeMap<String, Instant>,
    pub connected_at: Instant,
    pub reconnected: bool,
    pub breaches: Vec<String>,
}

impl Client {
    pub fn new(protocol: Protocol, now: Instant) -> Self {
        let kinds = Kind::PUSH_ORDER.map(|kind| {
            let wildcard = matches!(kind, Kind::Cluster | Kind::Listener);
            (
                kind,
                ClientKind {
                    wildcard,
                    ..ClientKind::default()
                },
            )
        });
        Self {
            protocol,
            kinds: kinds.into(),
            active: BTreeSet::new(),
            warming: BTreeMap::new(),
            withheld: Vec::new(),
            outbox: VecDeque::new(),
            refused: BTreeSet::new(),
            without_hope: BTreeMap::new(),
            without: BTreeSet::new(),
            last_used: BTreeMap::new(),
            connected_at: now,
            reconnected: false,
            breaches: Vec::new(),
        }
    }

    pub fn held(&self, kind: Kind, name: &str) -> Option<&str> {
        self.kinds[&kind]
            .held
            .get(name)
            .map(|body| body.text.as_str())
    }

    /// Opens a stream: one request per kind, with what is already held.
    pub fn open(&mut self, now: Instant) {
        self.outbox.clear();
        self.withheld.clear();
        self.without_hope.clear();
        self.connected_at = now;
        for kind in Kind::PUSH_ORDER {
            let state = self.kinds.get_mut(&kind).unwrap();
            state.nonce.clear();
            let names: Vec<String> = state.names.iter().cloned().collect();
            if names.is_empty() && !state.wildcard {
                continue;
            }
            let held = state.held.iter();
            let interest = match self.protocol {
                Protocol::StateOfTheWorld => Interest::Whole {
                    names,
                    version: state.version_info.clone(),
                },
                Protocol::Delta => Interest::Change {
                    subscribe: names,
                    unsubscribe: Vec::new(),
                    initial: held
                        .map(|(name, body)| (name.clone(), body.version.clone()))
                        .collect(),
                },
            };
            self.outbox.push_back(Request {
                kind,
                nonce: String::new(),
                error: None,
                interest,
            });
        }
    }

    /// Changes what it subscribes to by name.
    pub fn resubscribe(&mut self, kind: Kind, subscribe: &[String], unsubscribe: &[String]) {
        let state = self.kinds.get_mut(&kind).unwrap();
        state.names.extend(subscribe.iter().cloned());
        for name in unsubscribe {
            state.names.remove(name);
            state.held.remove(name);
        }
        let interest = match self.protocol {
            Protocol::StateOfTheWorld => state.whole(),
            Protocol::Delta => Interest::Change {
                subscribe: subscribe.to_vec(),
                unsubscribe: unsubscribe.to_vec(),
                initial: Vec::new(),
            },
        };
        let nonce = match self.protocol {
            Protocol::StateOfTheWorld => state.nonce.clone(),
            Protocol::Delta => String::new(),
        };
        self.outbox.push_back(Request {
            kind,
            nonce,
            error: None,
            interest,
        });
    }

    pub fn take(&mut self, response: &Response, now: Instant) {
        self.check_offers(response);
        let error = match response.kind {
            Kind::Cluster => self.take_clusters(response, now),
            Kind::Listener => self.take_listeners(response),
            kind => self.take_others(kind, response, now),
        };
        self.note_use(now);
        let answer = self.answer(response, error);
        if response.kind == Kind::Cluster {
            self.withheld.push(answer);
        } else {
            self.outbox.push_back(answer);
        }
        self.end_warming();
    }

    fn end_warming(&mut self) {
        if self.warming.is_empty() {
            self.outbox.extend(self.withheld.drain(..));
        }
    }

    /// When a cluster stops waiting for its endpoints.
    pub fn deadline(&self) -> Option<Instant> {
        self.warming
            .values()
            .min()
            .map(|since| *since + INITIAL_FETCH_TIMEOUT)
    }

    /// Clusters whose endpoints did not come in time take traffic without any.
    pub fn tick(&mut self, now: Instant) -> bool {
        let late = self
            .warming
            .iter()
            .filter(|(_, since)| now >= **since + INITIAL_FETCH_TIMEOUT);
        let late: Vec<String> = late.map(|(name, _)| name.clone()).collect();
        for name in &late {
            self.warming.remove(name);
            self.active.insert(name.clone());
        }
        self.end_warming();
        !late.is_empty()
    }

    fn check_offers(&mut self, response: &Response) {
        if matches!(response.kind, Kind::Route | Kind::Extension | Kind::Secret)
            && !response.removed.is_empty()
        {
            self.breaches.push(format!(
                "removal of {}: {:?}",
                response.kind, response.removed
            ));
        }
    }

    fn gone(&self, response: &Response) -> Vec<String> {
        match self.protocol {
            Protocol::Delta => response.removed.clone(),
            Protocol::StateOfTheWorld => {
                let sent: BTreeSet<&str> = response
                    .items
                    .iter()
                    .map(|item| item.resource.name())
                    .collect();
                let held = self.kinds[&response.kind].held.keys();
                held.filter(|name| !sent.contains(name.as_str()))
                    .cloned()
                    .collect()
            }
        }
    }

    fn take_clusters(&mut self, response: &Response, now: Instant) -> Option<String> {
        let gone = self.gone(response);
        let mut errors = Vec::new();
        let (mut come, mut left) = (Vec::new(), Vec::new());
        for (name, body) in bodies(response) {
            let state = self.kinds.get_mut(&Kind::Cluster).unwrap();
            if body.bad {
                self.refused.insert((name.clone(), body.version));
                errors.push(name);
                continue;
            }
            if state.held.get(&name) != Some(&body) {
                state.held.insert(name.clone(), body);
                self.warming.insert(name.clone(), now);
                if !self.kinds[&Kind::Endpoints].names.contains(&name) {
                    come.push(name);
                }
            }
        }
        for name in gone {
            self.check_removal(&name, now);
            let known = self
                .kinds
                .get_mut(&Kind::Cluster)
                .unwrap()
                .held
                .remove(&name)
                .is_some();
            self.active.remove(&name);
            self.warming.remove(&name);
            if known {
                left.push(name);
            }
        }
        if !come.is_empty() || !left.is_empty() {
            self.resubscribe(Kind::Endpoints, &come, &left);
        }
        (!errors.is_empty()).then(|| format!("bad clusters {errors:?}"))
    }

    fn check_removal(&mut self, cluster: &str, now: Instant) {
        // A state-of-the-world client cannot say what it has when it reconnects.
        let sotw = self.protocol == Protocol::StateOfTheWorld;
        let excused = sotw && self.without.contains(cluster);
        let held = self.kinds[&Kind::Cluster].held.contains_key(cluster);
        if held && self.routes_to(cluster) && !excused {
            self.breaches
                .push(format!("cluster {cluster} removed under a route"));
        }
        let linger = Options::default().linger;
        let used = self
            .last_used
            .get(cluster)
            .is_some_and(|at| now < *at + linger);
        if used && !excused {
            self.breaches
                .push(format!("cluster {cluster} removed without linger"));
        }
    }

    fn take_listeners(&mut self, response: &Response) -> Option<String> {
        let gone = self.gone(response);
        let state = self.kinds.get_mut(&Kind::Listener).unwrap();
        let mut error = None;
        for (name, body) in bodies(response) {
            if body.bad {
                error = Some(format!("bad listener {name}"));
            } else {
                state.held.insert(name, body);
            }
        }
        for name in gone {
            state.held.remove(&name);
        }
        error
    }

    fn take_others(&mut self, kind: Kind, response: &Response, now: Instant) -> Option<String> {
        for (name, body) in bodies(response) {
            if !self.kinds[&kind].names.contains(&name) {
                continue;
            }
            if kind == Kind::Endpoints && self.warming.remove(&name).is_some() {
                // Refused endpoints end the warming too, with no host.
                self.active.insert(name.clone());
            }
            if body.bad {
                return Some(format!("bad {kind} {name}"));
            }
            self.check_clusters(response, &name, &body, now);
            self.kinds.get_mut(&kind).unwrap().held.insert(name, body);
        }
        for name in &response.removed {
            self.kinds.get_mut(&kind).unwrap().held.remove(name);
        }
        None
    }

    /// A route or filter configuration names only clusters that take traffic, but for a client that
    /// has no version of it and a cluster that is late, or that it refuses and has no version of.
    fn check_clusters(&mut self, response: &Response, name: &str, body: &Body, now: Instant) {
        let kind = response.kind;
        let held = self.kinds[&kind].held.get(name);
        if held == Some(body) {
            return;
        }
        let fresh = held.is_none();
        let late = now >= self.connected_at + Options::default().warm_timeout;
        let refused = self.without_hope.get(&response.nonce);
        let refused = refused.cloned().unwrap_or_default();
        if fresh && (late || body.clusters.iter().any(|c| refused.contains(c))) {
            self.without.extend(body.clusters.iter().cloned());
        }
        let has = &self.kinds[&Kind::Cluster].held;
        for cluster in body.clusters.iter().filter(|c| !self.active.contains(*c)) {
            let never_comes = refused.contains(cluster) && !has.contains_key(cluster);
            if !(fresh && (late || never_comes)) {
                let breach = format!("{kind} {name} ({}) routes to {cluster}", body.text);
                self.breaches.push(breach);
            }
        }
    }

    /// Notes what a response that is being sent may route to although the client does not have it.
    fn note_refused(&mut self, response: &Response, world: &Snapshot) {
        let refuses = |c: &&Arc<Resource>| {
            let version = (c.name().to_owned(), c.version().to_owned());
            self.refused.contains(&version)
        };
        let clusters = world.of(Kind::Cluster).filter(refuses);
        let names = clusters.map(|c| c.name().to_owned()).collect();
        self.without_hope.insert(response.nonce.clone(), names);
    }

    /// Whether the server cannot know everything it routes to: it runs something else than is wanted
    /// (gone, refused, brought from an earlier stream, half applied from a refused response). In state of
    /// the world it does not say what it brought, and what waits for a refused cluster is not sent again.
    pub fn routes_unknown(&self, world: &Snapshot) -> bool {
        let refused = |key: &ResourceKey| {
            let cluster = world.get(key.kind, &key.name);
            cluster.is_some_and(|c| c.body().starts_with(b"bad"))
        };
        let unknown = |kind: &Kind| {
            let state = &self.kinds[kind];
            let sotw = self.reconnected && self.protocol == Protocol::StateOfTheWorld;
            let mut names = state.names.iter().filter(|_| sotw).chain(state.held.keys());
            names.any(|name| {
                let held = state.held.get(name).map(|body| body.version.as_str());
                world.get(*kind, name).is_none_or(|wanted| {
                    let waits = sotw && wanted.requires().iter().any(refused);
                    waits || Some(wanted.version()) != held
                })
            })
        };
        [Kind::Listener, Kind::Route, Kind::Extension]
            .iter()
            .any(unknown)
    }

    pub fn routes_to(&self, cluster: &str) -> bool {
        [Kind::Route, Kind::Extension]
            .iter()
            .flat_map(|kind| self.kinds[kind].held.values())
            .any(|body| body.clusters.iter().any(|c| c == cluster))
    }

    fn note_use(&mut self, now: Instant) {
        let used: Vec<String> = self
            .active
            .iter()
            .filter(|cluster| self.routes_to(cluster))
            .cloned()
            .collect();
        self.last_used
            .extend(used.into_iter().map(|cluster| (cluster, now)));
    }

    fn answer(&mut self, response: &Response, error: Option<String>) -> Request {
        let state = self.kinds.get_mut(&response.kind).unwrap();
        state.nonce.clone_from(&response.nonce);
        if error.is_none() {
            state.version_info.clone_from(&response.version);
        }
        let interest = match self.protocol {
            Protocol::StateOfTheWorld => state.whole(),
            Protocol::Delta => Interest::Change {
                subscribe: Vec::new(),
                unsubscribe: Vec::new(),
                initial: Vec::new(),
            },
        };
        Request {
            kind: response.kind,
            nonce: response.nonce.clone(),
            error,
            interest,
        }
    }
}

impl ClientKind {
    fn whole(&self) -> Interest {
        Interest::Whole {
            names: self.names.iter().cloned().collect(),
            version: self.version_info.clone(),
        }
    }
}

fn bodies(response: &Response) -> Vec<(String, Body)> {
    let body = |item: &headgate_xds::session::Item| {
        let raw = String::from_utf8(item.body().to_vec()).unwrap();
        let mut parts = raw.splitn(3, '|');
        let text = parts.next().unwrap().to_owned();
        let bad = parts.next() == Some("bad");
        let clusters = parts.next().unwrap_or_default();
        let clusters = clusters
            .split(',')
            .filter(|c| !c.is_empty())
            .map(str::to_owned)
            .collect();
        Body {
            version: item.version(),
            text,
            bad,
            clusters,
        }
    };
    response
        .items
        .iter()
        .map(|item| (item.resource.name().to_owned(), body(item)))
        .collect()
}

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
