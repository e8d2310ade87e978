//! Random interleavings of snapshot changes, reconnects, NACKs and (un)subscribes, in both protocols,
//! against a client that behaves like Envoy. The three properties bear the names of the design.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Rig, resource, snapshot};
use headgate_xds::session::Protocol;
use headgate_xds::{Kind, Snapshot};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// What a random world holds: a revision per resource; the highest revision of each is a bad one.
#[derive(Clone)]
struct World {
    clusters: [Option<u8>; 4],
    endpoints: [u8; 4],
    routes: [Option<(u8, u8)>; 2],
    filter: Option<(u8, u8)>,
    listeners: [Option<u8>; 2],
    secret: Option<u8>,
}

impl std::fmt::Debug for World {
    /// On one line, so that a failing case can be read.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            clusters,
            endpoints,
            routes,
            filter,
            listeners,
            secret,
        } = self;
        let (c, e, r) = (clusters, endpoints, routes);
        write!(
            f,
            "cds {c:.0?} eds {e:.0?} rds {r:.0?} ecds {filter:.0?} lds {listeners:.0?} sds {secret:.0?}"
        )
    }
}

const CLUSTERS: [&str; 4] = ["c0", "c1", "c2", "c3"];
const ROUTES: [&str; 2] = ["r0", "r1"];

fn text(revision: u8) -> String {
    if revision == 3 {
        "bad".to_owned()
    } else {
        format!("rev{revision}")
    }
}

impl World {
    fn snapshot(&self) -> Arc<Snapshot> {
        let mut resources = Vec::new();
        for (i, revision) in self.clusters.iter().enumerate() {
            let Some(revision) = revision else { continue };
            resources.push(resource(Kind::Cluster, CLUSTERS[i], &text(*revision), &[]));
            let endpoints = text(self.endpoints[i]);
            let endpoints = resource(Kind::Endpoints, CLUSTERS[i], &endpoints, &[]);
            // One revision is that of nobody being there any more.
            let gone = self.endpoints[i] == 2;
            resources.push(if gone {
                endpoints.yielding()
            } else {
                endpoints
            });
        }
        let there = |mask: u8| -> Vec<&str> {
            let there = |i: &usize| mask & (1 << i) != 0 && self.clusters[*i].is_some();
            (0..4).filter(there).map(|i| CLUSTERS[i]).collect()
        };
        for (i, route) in self.routes.iter().enumerate() {
            if let Some((revision, mask)) = route {
                resources.push(resource(
                    Kind::Route,
                    ROUTES[i],
                    &text(*revision),
                    &there(*mask),
                ));
            }
        }
        if let Some((revision, mask)) = self.filter {
            resources.push(resource(
                Kind::Extension,
                "f",
                &text(revision),
                &there(mask),
            ));
        }
        for (i, revision) in self.listeners.iter().enumerate() {
            if let Some(revision) = revision {
                resources.push(resource(
                    Kind::Listener,
                    ["l0", "l1"][i],
                    &text(*revision),
                    &[],
                ));
            }
        }
        if let Some(revision) = self.secret {
            resources.push(resource(Kind::Secret, "s", &text(revision), &[]));
        }
        snapshot(resources)
    }
}

fn world() -> impl Strategy<Value = World> {
    let maybe = || prop::option::weighted(0.8, 0u8..4);
    let routing = || prop::option::weighted(0.9, (0u8..4, 0u8..16));
    (
        prop::array::uniform4(maybe()),
        prop::array::uniform4(0u8..4),
        prop::array::uniform2(routing()),
        routing(),
        prop::array::uniform2(maybe()),
        maybe(),
    )
        .prop_map(
            |(clusters, endpoints, routes, filter, listeners, secret)| World {
                clusters,
                endpoints,
                routes,
                filter,
                listeners,
                secret,
            },
        )
}

#[derive(Clone, Debug)]
enum Step {
    World(World),
    Hear(u8),
    Speak(u8),
    Deliver(u8),
    Settle,
    Advance(u8),
    Reconnect,
    Secret(bool),
    Route(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => world().prop_map(Step::World),
        4 => (1u8..5).prop_map(Step::Hear),
        4 => (1u8..5).prop_map(Step::Speak),
        4 => (1u8..5).prop_map(Step::Deliver),
        3 => Just(Step::Settle),
        2 => (1u8..80).prop_map(Step::Advance),
        1 => Just(Step::Reconnect),
        1 => any::<bool>().prop_map(Step::Secret),
        1 => any::<bool>().prop_map(Step::Route),
    ]
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Delta), Just(Protocol::StateOfTheWorld)]
}

fn perform(rig: &mut Rig, step: &Step) {
    match step {
        Step::World(world) => rig.set(world.snapshot()),
        Step::Hear(n) => (0..*n).for_each(|_| _ = rig.hear()),
        Step::Speak(n) => (0..*n).for_each(|_| _ = rig.speak()),
        Step::Deliver(n) => (0..*n).for_each(|_| _ = rig.deliver()),
        Step::Settle => rig.settle(),
        Step::Advance(seconds) => {
            // A server reads what has come long before a second passes.
            while rig.hear() {}
            rig.advance(Duration::from_secs(u64::from(*seconds)));
        }
        Step::Reconnect => rig.reconnect(),
        Step::Secret(wanted) => toggle(rig, Kind::Secret, "s", *wanted),
        Step::Route(wanted) => toggle(rig, Kind::Route, "r1", *wanted),
    }
}

fn toggle(rig: &mut Rig, kind: Kind, name: &str, wanted: bool) {
    let names = vec![name.to_owned()];
    match (wanted, rig.client.kinds[&kind].names.contains(name)) {
        (true, false) => rig.client.resubscribe(kind, &names, &[]),
        (false, true) => rig.client.resubscribe(kind, &[], &names),
        _ => {}
    }
}

fn run(protocol: Protocol, first: &World, steps: &[Step]) -> Rig {
    let names = [
        (Kind::Route, "r0"),
        (Kind::Route, "r1"),
        (Kind::Extension, "f"),
    ];
    let mut rig = Rig::new(protocol, first.snapshot(), &names);
    for step in steps {
        perform(&mut rig, step);
    }
    // Long enough for every wait and every linger, one after the other.
    rig.settle_for(Duration::from_secs(300));
    rig
}

/// The text of a wanted resource, if the client can be expected to run exactly that.
fn expected(rig: &Rig, kind: Kind, name: &str) -> Option<Option<String>> {
    let Some(wanted) = rig.world.get(kind, name) else {
        // Vanished routes, filter configurations and secrets stay, and so does what they route to.
        let client = &rig.client;
        let used = client.routes_to(name) || client.routes_unknown(&rig.world);
        let stays = !kind.reports_removal() || (kind != Kind::Listener && used);
        return (!stays).then_some(None);
    };
    let body = String::from_utf8(wanted.body().to_vec()).unwrap();
    let text = body.split('|').next().unwrap().to_owned();
    let refused = |kind, name: &str| {
        rig.world
            .get(kind, name)
            .is_some_and(|r| r.body().starts_with(b"bad"))
    };
    let waits = wanted
        .requires()
        .iter()
        .any(|key| refused(Kind::Cluster, &key.name));
    (!waits && !refused(kind, name)).then_some(Some(text))
}

fn assert_equal(rig: &Rig) -> Result<(), TestCaseError> {
    for kind in Kind::PUSH_ORDER {
        let client = &rig.client.kinds[&kind];
        let mut names = client.names.clone();
        names.extend(client.held.keys().cloned());
        if client.wildcard {
            names.extend(rig.world.of(kind).map(|r| r.name().to_owned()));
        }
        for name in names {
            if let Some(expected) = expected(rig, kind, &name) {
                let held = rig.client.held(kind, &name).map(str::to_owned);
                prop_assert_eq!(held, expected, "{} {}", kind, name);
            }
        }
    }
    Ok(())
}

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource(
            "proptest-regressions",
        ))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn quiescent_client_equals_snapshot(
        protocol in protocol(), first in world(), steps in prop::collection::vec(step(), 1..40),
    ) {
        let rig = run(protocol, &first, &steps);
        assert_equal(&rig)?;
    }

    #[test]
    fn nacked_version_never_resent(
        protocol in protocol(), first in world(), steps in prop::collection::vec(step(), 1..40),
    ) {
        let rig = run(protocol, &first, &steps);
        prop_assert_eq!(rig.resent, Vec::<String>::new());
    }

    #[test]
    fn no_route_without_cluster(
        protocol in protocol(), first in world(), steps in prop::collection::vec(step(), 1..40),
    ) {
        let rig = run(protocol, &first, &steps);
        prop_assert_eq!(rig.client.breaches, Vec::<String>::new());
    }
}

#[test]
fn a_version_suspected_once_is_offered_when_it_is_wanted_again() {
    let world = |clusters, endpoints| World {
        clusters,
        endpoints,
        routes: [None, None],
        filter: None,
        listeners: [None, None],
        secret: None,
    };
    let first = world([Some(0), Some(0), None, Some(0)], [0; 4]);
    let steps = [
        Step::Settle,
        Step::World(world([None, Some(3), None, None], [0; 4])),
        Step::Speak(1),
        Step::World(world([Some(3), None, Some(1), Some(1)], [0, 0, 0, 3])),
        Step::Settle,
        Step::World(world([Some(0), None, Some(2), None], [0; 4])),
        Step::Settle,
        Step::World(world([None, None, Some(1), None], [0; 4])),
    ];
    let rig = run(Protocol::StateOfTheWorld, &first, &steps);
    assert_eq!(rig.client.held(Kind::Cluster, "c2"), Some("rev1"));
}
