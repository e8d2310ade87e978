//! Random interleavings over the streams of a proxy that has one for each kind: whatever order things come in, it never routes to a
//! cluster without endpoints, never loses one that it routes to, and comes to the newest world.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{resource, snapshot};
use headgate_xds::session::{Interest, Protocol, Request, Response, Session};
use headgate_xds::{Kind, Options, Snapshot};
use proptest::prelude::*;

const CLUSTERS: [&str; 4] = ["a", "b", "c", "d"];
const KINDS: [Kind; 3] = [Kind::Cluster, Kind::Endpoints, Kind::Route];

/// One stream: what is under way on it, in both directions.
struct Stream {
    session: Session,
    requests: VecDeque<Request>,
    responses: VecDeque<Response>,
}

/// A proxy with three streams. Unlike on an aggregated stream it answers about clusters at once, warm or not.
struct Proxy {
    streams: BTreeMap<Kind, Stream>,
    clusters: BTreeSet<String>,
    endpoints: BTreeSet<String>,
    routed: BTreeSet<String>,
    now: Instant,
    breaches: Vec<String>,
}

/// Clusters of which some are routed to, given by their bits.
fn world(clusters: u8, routed: u8) -> Arc<Snapshot> {
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
        interest: Interest::Change {
            subscribe: subscribe.to_vec(),
            unsubscribe: unsubscribe.to_vec(),
            initial: Vec::new(),
        },
    }
}

impl Proxy {
    fn new(world: &Arc<Snapshot>) -> Self {
        let options = Arc::new(Options::default());
        let stream = |kind: Kind| {
            let session = Session::new(Protocol::Delta, options.clone(), world.clone());
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
            breaches: Vec::new(),
        };
        // As Envoy does: clusters and their endpoints come first.
        for kind in KINDS {
            proxy.hear(kind);
            proxy.settle();
        }
        proxy
    }

    fn stream(&mut self, kind: Kind) -> &mut Stream {
        self.streams.get_mut(&kind).unwrap()
    }

    fn set(&mut self, kind: Kind, world: &Arc<Snapshot>) {
        self.stream(kind).session.snapshot(world.clone());
    }

    /// No two things happen at once.
    fn tick(&mut self) -> Instant {
        self.now += Duration::from_micros(1);
        self.now
    }

    /// The server takes a request.
    fn hear(&mut self, kind: Kind) -> bool {
        let now = self.tick();
        let stream = self.stream(kind);
        let heard = stream.requests.pop_front();
        let heard = heard.map(|request| stream.session.request(request, now).unwrap());
        heard.is_some()
    }

    /// The server says something.
    fn speak(&mut self, kind: Kind) -> bool {
        let now = self.tick();
        let mut own = self.streams.remove(&kind).unwrap();
        let others: Vec<&Session> = self.streams.values().map(|other| &other.session).collect();
        own.session.look_at(&others, now);
        let said = own.session.poll(now);
        let spoke = said.is_some();
        own.responses.extend(said);
        self.streams.insert(kind, own);
        spoke
    }

    /// The proxy takes a response.
    fn take(&mut self, kind: Kind) -> bool {
        let Some(response) = self.stream(kind).responses.pop_front() else {
            return false;
        };
        let names = response
            .items
            .iter()
            .map(|item| item.resource.name().to_owned());
        let names: Vec<String> = names.collect();
        match kind {
            Kind::Cluster => self.take_clusters(&names, &response.removed),
            Kind::Endpoints => {
                let clusters = &self.clusters;
                self.endpoints
                    .extend(names.into_iter().filter(|name| clusters.contains(name)));
                self.endpoints
                    .retain(|name| !response.removed.contains(name));
            }
            _ => {
                let routes = response.items[0].resource.requires().iter();
                self.routed = routes.map(|key| key.name.clone()).collect();
            }
        }
        let answer = request(kind, &[], &[], &response.nonce);
        self.stream(kind).requests.push_back(answer);
        for cluster in self.routed.difference(&self.endpoints) {
            self.breaches
                .push(format!("routes to {cluster} after {kind}"));
        }
        true
    }

    fn take_clusters(&mut self, come: &[String], gone: &[String]) {
        self.clusters.extend(come.iter().cloned());
        for name in gone {
            self.clusters.remove(name);
            self.endpoints.remove(name);
        }
        let asked = request(Kind::Endpoints, come, gone, "");
        self.stream(Kind::Endpoints).requests.push_back(asked);
    }

    /// Until nothing moves any more.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            let mut moved = false;
            for kind in KINDS {
                moved |= self.hear(kind) | self.speak(kind) | self.take(kind);
            }
            if !moved {
                return;
            }
        }
        panic!("proxy and server never come to rest");
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// The world changes; no stream hears of it yet.
    World(u8, u8),
    /// A stream hears of the newest world.
    See(usize),
    Hear(usize),
    Speak(usize),
    Take(usize),
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = 0..KINDS.len();
    prop_oneof![
        2 => (0u8..16, 0u8..16).prop_map(|(clusters, routed)| Step::World(clusters, routed)),
        3 => kind.clone().prop_map(Step::See),
        4 => kind.clone().prop_map(Step::Hear),
        4 => kind.clone().prop_map(Step::Speak),
        4 => kind.prop_map(Step::Take),
        1 => Just(Step::Wait),
    ]
}

/// What holds after any steps, and what the proxy comes to once the newest world had its time.
fn check(first: (u8, u8), steps: Vec<Step>) {
    let mut newest = first;
    let mut proxy = Proxy::new(&world(first.0, first.1));
    for step in steps {
        match step {
            Step::World(clusters, routed) => newest = (clusters, routed),
            Step::See(kind) => proxy.set(KINDS[kind], &world(newest.0, newest.1)),
            Step::Hear(kind) => _ = proxy.hear(KINDS[kind]),
            Step::Speak(kind) => _ = proxy.speak(KINDS[kind]),
            Step::Take(kind) => _ = proxy.take(KINDS[kind]),
            Step::Wait => proxy.now += Duration::from_secs(7),
        }
    }
    let (clusters, routed) = newest;
    for kind in KINDS {
        proxy.set(kind, &world(clusters, routed));
    }
    for _ in 0..40 {
        proxy.settle();
        proxy.now += Duration::from_secs(7);
    }
    assert_eq!(proxy.breaches, Vec::<String>::new());
    let names = |set: u8| -> BTreeSet<String> {
        let named = (0..4).filter(|n| set & (1 << n) != 0);
        named.map(|n| CLUSTERS[n].to_owned()).collect()
    };
    assert_eq!(proxy.clusters, names(clusters));
    assert_eq!(proxy.endpoints, names(clusters));
    assert_eq!(proxy.routed, names(clusters & routed));
}

#[test]
fn rule_03_a_stream_that_has_not_heard_of_a_cluster_yet_says_nothing_of_its_endpoints() {
    let [clusters, routes] = [0, 2];
    let steps = [
        Step::World(2, 2),
        Step::See(clusters),
        Step::Speak(clusters),
        Step::See(routes),
        Step::Take(clusters),
        Step::Hear(clusters),
        Step::Speak(routes),
        Step::Take(routes),
    ];
    check((0, 0), steps.to_vec());
}

/// Streams hear of worlds at different times: when the cluster comes back, the client still has endpoints that it will drop.
#[test]
fn rule_03_endpoints_of_a_removed_cluster_do_not_warm_the_recreated_one() {
    let [clusters, endpoints] = [0, 1];
    let steps = [
        Step::World(2, 0),
        Step::See(clusters),
        Step::Speak(clusters),
        Step::Wait,
        Step::Wait,
        Step::Wait,
        Step::Wait,
        Step::Wait,
        Step::See(endpoints),
        Step::World(13, 1),
        Step::Speak(clusters),
        Step::Speak(endpoints),
        Step::See(endpoints),
        Step::Take(endpoints),
        Step::Speak(endpoints),
        Step::Take(endpoints),
        Step::Take(clusters),
    ];
    check((1, 6), steps.to_vec());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn rule_03_streams_of_single_kinds_make_before_they_break(
        first in (0u8..16, 0u8..16),
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        check(first, steps);
    }
}
