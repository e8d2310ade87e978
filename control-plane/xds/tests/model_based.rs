//! Random interleavings of snapshot changes, reconnects, NACKs and (un)subscribes, in both protocols, against a client that
//! behaves like Envoy. The three properties have the names that the design gives them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Harness, resource, snapshot};
use headgate_xds::session::Protocol;
use headgate_xds::{Kind, Snapshot};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// The content of a random snapshot: a revision of each resource. Revision 3 is a bad one.
#[derive(Clone)]
struct Content {
    clusters: [Option<u8>; 4],
    endpoints: [u8; 4],
    routes: [Option<(u8, u8)>; 2],
    filter: Option<(u8, u8)>,
    listeners: [Option<u8>; 2],
    secret: Option<u8>,
}

impl std::fmt::Debug for Content {
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

impl Content {
    fn snapshot(&self) -> Arc<Snapshot> {
        let mut resources = Vec::new();
        for (i, revision) in self.clusters.iter().enumerate() {
            let Some(revision) = revision else { continue };
            resources.push(resource(Kind::Cluster, CLUSTERS[i], &text(*revision), &[]));
            let endpoints = text(self.endpoints[i]);
            let endpoints = resource(Kind::Endpoints, CLUSTERS[i], &endpoints, &[]);
            // Revision 2 has no endpoint left.
            let none_left = self.endpoints[i] == 2;
            resources.push(if none_left {
                endpoints.after_routes()
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

fn content() -> impl Strategy<Value = Content> {
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
            |(clusters, endpoints, routes, filter, listeners, secret)| Content {
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
    Snapshot(Content),
    ReceiveRequests(u8),
    SendResponses(u8),
    DeliverResponses(u8),
    Settle,
    Advance(u8),
    Reconnect,
    Secret(bool),
    Route(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => content().prop_map(Step::Snapshot),
        4 => (1u8..5).prop_map(Step::ReceiveRequests),
        4 => (1u8..5).prop_map(Step::SendResponses),
        4 => (1u8..5).prop_map(Step::DeliverResponses),
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

fn perform(harness: &mut Harness, step: &Step) {
    match step {
        Step::Snapshot(content) => harness.set_snapshot(content.snapshot()),
        Step::ReceiveRequests(n) => (0..*n).for_each(|_| _ = harness.receive_request()),
        Step::SendResponses(n) => (0..*n).for_each(|_| _ = harness.send_response()),
        Step::DeliverResponses(n) => (0..*n).for_each(|_| _ = harness.deliver_response()),
        Step::Settle => harness.settle(),
        Step::Advance(seconds) => {
            // A server reads all requests long before a second passes.
            while harness.receive_request() {}
            harness.advance(Duration::from_secs(u64::from(*seconds)));
        }
        Step::Reconnect => harness.reconnect(),
        Step::Secret(wanted) => toggle(harness, Kind::Secret, "s", *wanted),
        Step::Route(wanted) => toggle(harness, Kind::Route, "r1", *wanted),
    }
}

fn toggle(harness: &mut Harness, kind: Kind, name: &str, wanted: bool) {
    let names = vec![name.to_owned()];
    match (wanted, harness.client.kinds[&kind].names.contains(name)) {
        (true, false) => harness.client.resubscribe(kind, &names, &[]),
        (false, true) => harness.client.resubscribe(kind, &[], &names),
        _ => {}
    }
}

fn run(protocol: Protocol, first: &Content, steps: &[Step]) -> Harness {
    let names = [
        (Kind::Route, "r0"),
        (Kind::Route, "r1"),
        (Kind::Extension, "f"),
    ];
    let mut harness = Harness::new(protocol, first.snapshot(), &names);
    for step in steps {
        perform(&mut harness, step);
    }
    // Long enough for all waits and lingers, one after the other.
    harness.settle_for(Duration::from_secs(300));
    harness
}

/// The text of a resource that the client must run, or `None` in it if it must have none; `None` if either is allowed.
fn expected(harness: &Harness, kind: Kind, name: &str) -> Option<Option<String>> {
    let Some(wanted) = harness.snapshot.get(kind, name) else {
        // Routes, filter configurations and secrets that left the snapshot stay, and so do the clusters they route to.
        let client = &harness.client;
        let used = client.routes_to(name) || client.routes_unknown(&harness.snapshot);
        let stays = !kind.reports_removal() || (kind != Kind::Listener && used);
        return (!stays).then_some(None);
    };
    let body = String::from_utf8(wanted.body().to_vec()).unwrap();
    let text = body.split('|').next().unwrap().to_owned();
    let is_bad = |kind, name: &str| {
        harness
            .snapshot
            .get(kind, name)
            .is_some_and(|r| r.body().starts_with(b"bad"))
    };
    let waits = wanted
        .requires()
        .iter()
        .any(|key| is_bad(Kind::Cluster, &key.name));
    (!waits && !is_bad(kind, name)).then_some(Some(text))
}

fn assert_equal(harness: &Harness) -> Result<(), TestCaseError> {
    for kind in Kind::PUSH_ORDER {
        let client = &harness.client.kinds[&kind];
        let mut names = client.names.clone();
        names.extend(client.applied.keys().cloned());
        if client.wildcard {
            names.extend(harness.snapshot.of(kind).map(|r| r.name().to_owned()));
        }
        for name in names {
            if let Some(expected) = expected(harness, kind, &name) {
                let applied = harness.client.applied(kind, &name).map(str::to_owned);
                prop_assert_eq!(applied, expected, "{} {}", kind, name);
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
        protocol in protocol(), first in content(), steps in prop::collection::vec(step(), 1..40),
    ) {
        let harness = run(protocol, &first, &steps);
        assert_equal(&harness)?;
    }

    #[test]
    fn nacked_version_never_resent(
        protocol in protocol(), first in content(), steps in prop::collection::vec(step(), 1..40),
    ) {
        let harness = run(protocol, &first, &steps);
        prop_assert_eq!(harness.resent, Vec::<String>::new());
    }

    #[test]
    fn no_route_without_cluster(
        protocol in protocol(), first in content(), steps in prop::collection::vec(step(), 1..40),
    ) {
        let harness = run(protocol, &first, &steps);
        prop_assert_eq!(harness.client.violations, Vec::<String>::new());
    }
}

#[test]
fn a_former_suspect_version_is_offered_when_it_is_current_again() {
    let content = |clusters, endpoints| Content {
        clusters,
        endpoints,
        routes: [None, None],
        filter: None,
        listeners: [None, None],
        secret: None,
    };
    let first = content([Some(0), Some(0), None, Some(0)], [0; 4]);
    let steps = [
        Step::Settle,
        Step::Snapshot(content([None, Some(3), None, None], [0; 4])),
        Step::SendResponses(1),
        Step::Snapshot(content([Some(3), None, Some(1), Some(1)], [0, 0, 0, 3])),
        Step::Settle,
        Step::Snapshot(content([Some(0), None, Some(2), None], [0; 4])),
        Step::Settle,
        Step::Snapshot(content([None, None, Some(1), None], [0; 4])),
    ];
    let harness = run(Protocol::StateOfTheWorld, &first, &steps);
    assert_eq!(harness.client.applied(Kind::Cluster, "c2"), Some("rev1"));
}
