//! Random interleavings over the per-type streams of one proxy: in whatever order things happen, it never routes to a cluster
//! without endpoints, never loses a cluster that it routes to, and ends with the newest snapshot.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{resource, snapshot};
use headgate_xds::session::{Protocol, Request, Response, Session, SubscriptionUpdate};
use headgate_xds::{Kind, Options, Snapshot};
use proptest::prelude::*;

const CLUSTERS: [&str; 4] = ["a", "b", "c", "d"];
const KINDS: [Kind; 3] = [Kind::Cluster, Kind::Endpoints, Kind::Route];

/// One stream, with the messages in flight in both directions.
struct Stream {
    session: Session,
    requests: VecDeque<Request>,
    responses: VecDeque<Response>,
}

/// A proxy with three streams. Unlike on an aggregated stream, it acknowledges clusters at once, warm or not.
struct Proxy {
    streams: BTreeMap<Kind, Stream>,
    clusters: BTreeSet<String>,
    endpoints: BTreeSet<String>,
    routed: BTreeSet<String>,
    now: Instant,
    violations: Vec<String>,
}

/// Clusters and a route to some of them, given as bits.
fn snapshot_of(clusters: u8, routed: u8) -> Arc<Snapshot> {
    let bits = |set: u8| {
        (0..4)
            .filter(move |n| set & (1 << n) != 0)
            .map(|n| CLUSTERS[n])
    };
    let routed: Vec<&str> = bits(routed & clusters).collect();
    let all = bits(clusters).flat_map(|name| {
        [
            resource(Kind::Cluster, name, "1", &[]),
            resource(Kind::Endpoints, name, "1", &[]),
        ]
    });
    snapshot(all.chain([resource(Kind::Route, "r", "1", &routed)]))
}

fn request(kind: Kind, subscribe: &[String], unsubscribe: &[String], nonce: &str) -> Request {
    Request {
        kind,
        nonce: nonce.to_owned(),
        error: None,
        subscription: SubscriptionUpdate::Change {
            subscribe: subscribe.to_vec(),
            unsubscribe: unsubscribe.to_vec(),
            initial_versions: Vec::new(),
        },
    }
}

impl Proxy {
    fn new(snapshot: &Arc<Snapshot>) -> Self {
        let options = Arc::new(Options::default());
        let stream = |kind: Kind| {
            let session = Session::new(Protocol::Delta, options.clone(), snapshot.clone());
            let names = match kind {
                Kind::Route => vec!["r".to_owned()],
                _ => Vec::new(),
            };
            let stream = Stream {
                session,
                requests: [request(kind, &names, &[], "")].into(),
                responses: VecDeque::new(),
            };
            (kind, stream)
        };
        let mut proxy = Self {
            streams: KINDS.map(stream).into(),
            clusters: BTreeSet::new(),
            endpoints: BTreeSet::new(),
            routed: BTreeSet::new(),
            now: Instant::now(),
            violations: Vec::new(),
        };
        // Clusters and their endpoints come first, as in Envoy.
        for kind in KINDS {
            proxy.receive_request(kind);
            proxy.settle();
        }
        proxy
    }

    fn stream(&mut self, kind: Kind) -> &mut Stream {
        self.streams.get_mut(&kind).unwrap()
    }

    fn set_snapshot(&mut self, kind: Kind, snapshot: &Arc<Snapshot>) {
        self.stream(kind).session.set_snapshot(snapshot.clone());
    }

    /// The clock, advanced: no two things happen at the same time.
    fn tick(&mut self) -> Instant {
        self.now += Duration::from_micros(1);
        self.now
    }

    /// The server receives a request.
    fn receive_request(&mut self, kind: Kind) -> bool {
        let now = self.tick();
        let stream = self.stream(kind);
        let received = stream.requests.pop_front();
        let received = received.map(|request| stream.session.request(request, now).unwrap());
        received.is_some()
    }

    /// The server sends a response.
    fn send_response(&mut self, kind: Kind) -> bool {
        let now = self.tick();
        let mut own = self.streams.remove(&kind).unwrap();
        let others: Vec<&Session> = self.streams.values().map(|other| &other.session).collect();
        own.session.update_siblings(&others, now);
        let response = own.session.poll(now);
        let sent = response.is_some();
        own.responses.extend(response);
        self.streams.insert(kind, own);
        sent
    }

    /// The proxy receives a response.
    fn receive_response(&mut self, kind: Kind) -> bool {
        let Some(response) = self.stream(kind).responses.pop_front() else {
            return false;
        };
        let names = response
            .items
            .iter()
            .map(|item| item.resource.name().to_owned());
        let names: Vec<String> = names.collect();
        let removed: Vec<String> = response.removed.iter().map(ToString::to_string).collect();
        match kind {
            Kind::Cluster => self.apply_clusters(&names, &removed),
            Kind::Endpoints => {
                let clusters = &self.clusters;
                self.endpoints
                    .extend(names.into_iter().filter(|name| clusters.contains(name)));
                self.endpoints.retain(|name| !removed.contains(name));
            }
            _ => {
                let routes = response.items[0].resource.requires().iter();
                self.routed = routes.map(|key| key.name.to_string()).collect();
            }
        }
        let answer = request(kind, &[], &[], &response.nonce);
        self.stream(kind).requests.push_back(answer);
        for cluster in self.routed.difference(&self.endpoints) {
            self.violations
                .push(format!("routes to {cluster} after {kind}"));
        }
        true
    }

    fn apply_clusters(&mut self, added: &[String], removed: &[String]) {
        self.clusters.extend(added.iter().cloned());
        for name in removed {
            self.clusters.remove(name);
            self.endpoints.remove(name);
        }
        let subscribe = request(Kind::Endpoints, added, removed, "");
        self.stream(Kind::Endpoints).requests.push_back(subscribe);
    }

    /// Runs all streams until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            let mut moved = false;
            for kind in KINDS {
                moved |= self.receive_request(kind)
                    | self.send_response(kind)
                    | self.receive_response(kind);
            }
            if !moved {
                return;
            }
        }
        panic!("proxy and server never settle");
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// The snapshot changes; no stream has it yet.
    Snapshot(u8, u8),
    /// A stream gets the newest snapshot.
    Publish(usize),
    ReceiveRequest(usize),
    SendResponse(usize),
    ReceiveResponse(usize),
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = 0..KINDS.len();
    prop_oneof![
        2 => (0u8..16, 0u8..16).prop_map(|(clusters, routed)| Step::Snapshot(clusters, routed)),
        3 => kind.clone().prop_map(Step::Publish),
        4 => kind.clone().prop_map(Step::ReceiveRequest),
        4 => kind.clone().prop_map(Step::SendResponse),
        4 => kind.prop_map(Step::ReceiveResponse),
        1 => Just(Step::Wait),
    ]
}

/// Runs the steps, then gives the newest snapshot time to settle, and checks the violations and the state of the proxy.
fn check(first: (u8, u8), steps: Vec<Step>) {
    let mut newest = first;
    let mut proxy = Proxy::new(&snapshot_of(first.0, first.1));
    for step in steps {
        match step {
            Step::Snapshot(clusters, routed) => newest = (clusters, routed),
            Step::Publish(kind) => {
                proxy.set_snapshot(KINDS[kind], &snapshot_of(newest.0, newest.1))
            }
            Step::ReceiveRequest(kind) => _ = proxy.receive_request(KINDS[kind]),
            Step::SendResponse(kind) => _ = proxy.send_response(KINDS[kind]),
            Step::ReceiveResponse(kind) => _ = proxy.receive_response(KINDS[kind]),
            Step::Wait => proxy.now += Duration::from_secs(7),
        }
    }
    let (clusters, routed) = newest;
    for kind in KINDS {
        proxy.set_snapshot(kind, &snapshot_of(clusters, routed));
    }
    for _ in 0..40 {
        proxy.settle();
        proxy.now += Duration::from_secs(7);
    }
    assert_eq!(proxy.violations, Vec::<String>::new());
    let names = |set: u8| -> BTreeSet<String> {
        let named = (0..4).filter(|n| set & (1 << n) != 0);
        named.map(|n| CLUSTERS[n].to_owned()).collect()
    };
    assert_eq!(proxy.clusters, names(clusters));
    assert_eq!(proxy.endpoints, names(clusters));
    assert_eq!(proxy.routed, names(clusters & routed));
}

#[test]
fn rule_03_endpoints_wait_for_a_stream_that_does_not_have_the_cluster_yet() {
    let [clusters, routes] = [0, 2];
    let steps = [
        Step::Snapshot(2, 2),
        Step::Publish(clusters),
        Step::SendResponse(clusters),
        Step::Publish(routes),
        Step::ReceiveResponse(clusters),
        Step::ReceiveRequest(clusters),
        Step::SendResponse(routes),
        Step::ReceiveResponse(routes),
    ];
    check((0, 0), steps.to_vec());
}

/// Streams get snapshots at different times: when the cluster comes back, the client still has endpoints that it will drop.
#[test]
fn rule_03_endpoints_of_a_removed_cluster_do_not_warm_the_recreated_one() {
    let [clusters, endpoints] = [0, 1];
    let steps = [
        Step::Snapshot(2, 0),
        Step::Publish(clusters),
        Step::SendResponse(clusters),
        Step::Wait,
        Step::Wait,
        Step::Wait,
        Step::Wait,
        Step::Wait,
        Step::Publish(endpoints),
        Step::Snapshot(13, 1),
        Step::SendResponse(clusters),
        Step::SendResponse(endpoints),
        Step::Publish(endpoints),
        Step::ReceiveResponse(endpoints),
        Step::SendResponse(endpoints),
        Step::ReceiveResponse(endpoints),
        Step::ReceiveResponse(clusters),
    ];
    check((1, 6), steps.to_vec());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn rule_03_per_type_streams_make_before_they_break(
        first in (0u8..16, 0u8..16),
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        check(first, steps);
    }
}
