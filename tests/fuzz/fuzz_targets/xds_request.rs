//! xDS requests of arbitrary bytes, in both protocols, between changes of the snapshot, passing time and reconnects: a session
//! never panics and keeps its invariants.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_xds::session::{Protocol, Request, Response, Session, SubscriptionUpdate};
use headgate_xds::wire::{Delta, StateOfTheWorld, Wire, kind_of};
use headgate_xds::{Kind, Options, Resource, ResourceKey, Snapshot};
use libfuzzer_sys::fuzz_target;
use prost::Message;

/// Requests on one stream that the client may leave unanswered.
const IN_FLIGHT: usize = 4;
/// Names that a stream may subscribe to.
const MAX_NAMES: usize = 64;
/// More responses than can be due after one input.
const MAX_RESPONSES: usize = 1_000;

/// A stream: its session and the state of its client.
struct Stream {
    session: Session,
    options: Arc<Options>,
    now: Instant,
    nonce: u64,
    /// Unanswered responses of each kind, by nonce.
    unanswered: BTreeMap<Kind, BTreeMap<u64, Response>>,
    /// Kind, name and wire version of the resources that the client rejected in a response with a single resource.
    rejected: BTreeSet<(Kind, String, String)>,
}

/// Resources by the bits of a byte: each exists or not, in one of two versions.
fn snapshot(bits: u8) -> Arc<Snapshot> {
    let revision = |bit: u8| if bits & (1 << bit) != 0 { "1" } else { "2" };
    let mut clusters = vec!["c"];
    clusters.extend((bits & 1 != 0).then_some("d"));
    let mut resources = Vec::new();
    for name in &clusters {
        resources.push(Resource::new(Kind::Cluster, *name, revision(1)));
        let endpoints = Resource::new(Kind::Endpoints, *name, revision(2));
        resources.push(if bits & 2 != 0 {
            endpoints.after_routes()
        } else {
            endpoints
        });
    }
    let keys = clusters.iter().map(|c| ResourceKey::new(Kind::Cluster, *c));
    let keys: Arc<[ResourceKey]> = keys.collect();
    for name in ["r", "s"].iter().filter(|_| bits & 8 != 0) {
        let route = Resource::new(Kind::Route, *name, revision(4));
        resources.push(route.requiring_all(keys.clone()));
    }
    let filter = Resource::new(Kind::Extension, "f", revision(5)).requiring_all(keys);
    resources.push(filter.with_retry_body(|retry| format!("retry {retry}").into()));
    if bits & 64 != 0 {
        resources.push(Resource::new(Kind::Listener, "l", revision(6)));
        resources.push(Resource::new(Kind::Secret, "t", revision(7)));
    }
    Arc::new(Snapshot::new(resources).expect("the snapshot is consistent"))
}

impl Stream {
    fn new(protocol: Protocol) -> Self {
        let options = Arc::new(Options {
            in_flight: IN_FLIGHT,
            max_names: MAX_NAMES,
            ..Options::default()
        });
        Self {
            session: Session::new(protocol, options.clone(), snapshot(0)),
            options,
            now: Instant::now(),
            nonce: 0,
            unanswered: BTreeMap::new(),
            rejected: BTreeSet::new(),
        }
    }

    /// The client opens another stream.
    fn reconnect(&mut self, protocol: Protocol) {
        let history = self.session.history(self.now);
        let snapshot = self.session.snapshot().clone();
        let session = Session::new(protocol, self.options.clone(), snapshot);
        self.session = session.with_history(history);
        self.nonce = 0;
        self.unanswered.clear();
        self.rejected.clear();
    }

    /// Handles a request. Returns whether the stream stays open.
    fn receive(&mut self, protocol: Protocol, request: Request) -> bool {
        let kind = request.kind;
        let unanswered = self.unanswered.entry(kind).or_default();
        let nonce = request.nonce.parse::<u64>().ok();
        let answered = nonce.and_then(|nonce| unanswered.remove(&nonce));
        if let (Some(response), Some(nonce)) = (answered, nonce) {
            if protocol == Protocol::StateOfTheWorld {
                unanswered.retain(|other, _| *other > nonce);
            }
            let full = protocol == Protocol::StateOfTheWorld && kind.is_full_state();
            for item in &response.items {
                let version = (
                    kind,
                    item.resource.name().to_owned(),
                    item.version().to_string(),
                );
                if request.error.is_none() {
                    self.rejected.remove(&version);
                } else if response.items.len() == 1 && !full {
                    self.rejected.insert(version);
                }
            }
        }
        self.session.request(request, self.now).is_ok()
    }

    /// Sends everything that is due, and checks it.
    fn send(&mut self, protocol: Protocol) {
        for _ in 0..MAX_RESPONSES {
            let Some(response) = self.session.poll(self.now) else {
                let deadline = self.session.deadline();
                assert!(deadline.is_none_or(|at| at > self.now), "a past deadline");
                let status = self.session.status();
                assert!(status.values().all(|status| !status.wanted.is_empty()));
                self.session.take_events();
                return;
            };
            self.check(protocol, &response);
            let unanswered = self.unanswered.entry(response.kind).or_default();
            unanswered.insert(self.nonce, response);
            assert!(unanswered.len() <= IN_FLIGHT, "too many responses");
        }
        panic!("the session never settles");
    }

    fn check(&mut self, protocol: Protocol, response: &Response) {
        let kind = response.kind;
        let nonce: u64 = response.nonce.parse().expect("a nonce is a number");
        assert!(nonce > self.nonce, "nonces grow");
        self.nonce = nonce;
        if !response.removed.is_empty() {
            assert_eq!(protocol, Protocol::Delta);
            assert!(kind.reports_removal() && response.items.is_empty());
        }
        if kind == Kind::Extension {
            assert!(response.items.len() <= 1, "a filter is sent alone");
        }
        let mut names = BTreeSet::new();
        for item in &response.items {
            assert_eq!(item.resource.kind(), kind);
            assert!(names.insert(item.resource.name()), "a name appears twice");
            let version = (
                kind,
                item.resource.name().to_owned(),
                item.version().to_string(),
            );
            assert!(!self.rejected.contains(&version), "resent: {version:?}");
        }
    }
}

/// The request in these bytes. If its type is not served, it is one of the kind on a per-type stream.
fn parse<P: Wire>(kind: Kind, bytes: &[u8]) -> Option<Request>
where
    P::Request: Message + Default,
{
    let request = P::Request::decode(bytes).ok()?;
    let named = kind_of::<P>(&request, None).ok().flatten();
    Some(P::parse(named.unwrap_or(kind), request))
}

/// Adds all names of the snapshots to what a request subscribes to.
fn subscribe_to_all(request: &mut Request) {
    let names = ["c", "d", "r", "s", "f", "l", "t"].map(str::to_owned);
    match &mut request.subscription {
        SubscriptionUpdate::Replace { names: list, .. } => list.extend(names),
        SubscriptionUpdate::Change { subscribe, .. } => subscribe.extend(names),
    }
}

fuzz_target!(|input: (bool, Vec<(u8, Vec<u8>)>)| {
    let (delta, steps) = input;
    let protocol = if delta {
        Protocol::Delta
    } else {
        Protocol::StateOfTheWorld
    };
    let mut stream = Stream::new(protocol);
    for (action, bytes) in &steps {
        let first = bytes.first().copied().unwrap_or_default();
        match action % 16 {
            0 => stream.session.set_snapshot(snapshot(first)),
            1 => stream.now += Duration::from_secs(u64::from(first)),
            2 => stream.reconnect(protocol),
            _ => {
                let kind = Kind::PUSH_ORDER[usize::from(action % 16) % 6];
                let request = if delta {
                    parse::<Delta>(kind, bytes)
                } else {
                    parse::<StateOfTheWorld>(kind, bytes)
                };
                let Some(mut request) = request else {
                    continue;
                };
                if action & 16 != 0 {
                    let unanswered = stream.unanswered.get(&request.kind);
                    let newest = unanswered.and_then(|u| u.keys().next_back());
                    request.nonce = newest.map(u64::to_string).unwrap_or_default();
                }
                if action & 32 != 0 {
                    request.error = Some("rejected".to_owned());
                }
                if action & 64 != 0 {
                    subscribe_to_all(&mut request);
                }
                if !stream.receive(protocol, request) {
                    stream.reconnect(protocol);
                }
            }
        }
        stream.send(protocol);
    }
});
