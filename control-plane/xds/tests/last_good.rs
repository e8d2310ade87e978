//! The last good version, for a proxy that rejects the newest version and has none (server rule 2).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod loopback;

use std::sync::Arc;
use std::time::Duration;

use common::{BOTH, Client, Harness, resource, snapshot};
use headgate_xds::session::{LastGood, Protocol};
use headgate_xds::{Kind, Options, Resource, Snapshot};
use loopback::{answer, ask, next};

const ESSENTIAL: [(Kind, &str); 3] = [
    (Kind::Listener, "l"),
    (Kind::Route, "r"),
    (Kind::Extension, "f"),
];

fn cluster(name: &str) -> [Resource; 2] {
    [
        resource(Kind::Cluster, name, "1", &[]),
        resource(Kind::Endpoints, name, "e", &[]),
    ]
}

/// A resource that routes to clusters, and these clusters.
fn snapshot_of((kind, name): (Kind, &str), text: &str, clusters: &[&str]) -> Arc<Snapshot> {
    let all = clusters.iter().flat_map(|name| cluster(name));
    snapshot(all.chain([resource(kind, name, text, clusters)]))
}

/// The last good versions of a scope, as a server keeps them.
#[derive(Default)]
struct Scope(LastGood);

impl Scope {
    /// A proxy gets a snapshot.
    fn publish(&mut self, harness: &mut Harness, snapshot: Arc<Snapshot>) {
        harness.set_snapshot(snapshot);
        harness.settle();
        for resource in harness.session.take_accepted() {
            self.0.accept(&resource, &harness.snapshot);
        }
    }

    /// The proxy restarts: it has nothing.
    fn restart(&self, harness: &mut Harness) {
        let names: Vec<_> = harness
            .client
            .kinds
            .iter()
            .map(|(k, s)| (*k, s.names.clone()))
            .collect();
        harness.client = Client::new(harness.client.protocol, harness.now);
        for (kind, names) in names {
            let own = [Kind::Route, Kind::Extension].contains(&kind);
            let state = harness.client.kinds.get_mut(&kind).unwrap();
            state.names = if own { names } else { Default::default() };
        }
        harness.reconnect();
        harness.session.set_last_good(Arc::new(self.0.clone()));
    }
}

fn harness(protocol: Protocol, (kind, name): (Kind, &str), snapshot: Arc<Snapshot>) -> Harness {
    let named = (kind != Kind::Listener).then_some((kind, name));
    Harness::new(protocol, snapshot, named.as_slice())
}

fn sent(harness: &Harness, kind: Kind) -> Vec<String> {
    let items = harness
        .log
        .iter()
        .filter(|r| r.kind == kind)
        .flat_map(|r| &r.items);
    let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
    items
        .map(|item| text(&item.body()).split('|').next().unwrap().to_owned())
        .collect()
}

#[test]
fn rule_02_a_restarted_proxy_is_offered_the_last_good_version_of_a_resource_that_it_rejects() {
    for protocol in BOTH {
        for what in ESSENTIAL {
            let (kind, name) = what;
            let (mut scope, mut harness) = (
                Scope::default(),
                harness(protocol, what, snapshot_of(what, "1", &["c"])),
            );
            scope.publish(&mut harness, snapshot_of(what, "1", &["c"]));
            scope.publish(&mut harness, snapshot_of(what, "bad", &["c"]));
            assert_eq!(
                harness.client.applied(kind, name),
                Some("1"),
                "it keeps what it has"
            );
            scope.restart(&mut harness);
            harness.settle();
            assert_eq!(
                harness.client.applied(kind, name),
                Some("1"),
                "{protocol:?} {kind}"
            );
            assert_eq!(
                sent(&harness, kind),
                ["bad", "1"],
                "{protocol:?}: the newest first"
            );
            let status = &harness.session.status()[&kind];
            assert!(status.nacked.contains_key(name) && !status.is_current());
            assert_eq!(harness.client.violations, Vec::<String>::new());
            // Next it gets the newest other version, as usual.
            scope.publish(&mut harness, snapshot_of(what, "2", &["c"]));
            assert_eq!(
                harness.client.applied(kind, name),
                Some("2"),
                "{protocol:?} {kind}"
            );
            assert!(harness.session.status()[&kind].is_current());
        }
    }
}

#[test]
fn rule_02_a_last_good_version_with_a_missing_requirement_is_not_offered() {
    for protocol in BOTH {
        for what in ESSENTIAL {
            let (kind, name) = what;
            let (mut scope, mut harness) = (
                Scope::default(),
                harness(protocol, what, snapshot_of(what, "1", &["c", "d"])),
            );
            scope.publish(&mut harness, snapshot_of(what, "1", &["c", "d"]));
            scope.publish(&mut harness, snapshot_of(what, "bad", &["c"]));
            scope.restart(&mut harness);
            // Longer than the longest wait.
            harness.settle_for(Duration::from_secs(100));
            assert_eq!(
                harness.client.applied(kind, name),
                None,
                "{protocol:?} {kind}"
            );
        }
    }
}

#[test]
fn rule_02_if_the_last_good_version_is_rejected_too_the_one_before_is_offered() {
    for protocol in BOTH {
        let what = (Kind::Route, "r");
        let mut scope = Scope::default();
        let mut harness = harness(protocol, what, snapshot_of(what, "1", &["c"]));
        scope.publish(&mut harness, snapshot_of(what, "1", &["c"]));
        // Only another proxy accepted this one.
        let other = snapshot_of(what, "bad for one", &["c"]);
        scope.0.accept(other.get(what.0, what.1).unwrap(), &other);
        harness.set_snapshot(snapshot_of(what, "bad for all", &["c"]));
        scope.restart(&mut harness);
        harness.settle();
        assert_eq!(
            sent(&harness, Kind::Route),
            ["bad for all", "bad for one", "1"]
        );
        assert_eq!(
            harness.client.applied(Kind::Route, "r"),
            Some("1"),
            "{protocol:?}"
        );
    }
}

#[test]
fn rule_02_old_endpoints_and_clusters_are_not_offered() {
    for protocol in BOTH {
        let with = |endpoints: &str, text: &str| {
            snapshot([
                resource(Kind::Cluster, "c", text, &[]),
                resource(Kind::Endpoints, "c", endpoints, &[]),
            ])
        };
        let mut scope = Scope::default();
        let mut harness = Harness::new(protocol, with("1", "1"), &[]);
        scope.publish(&mut harness, with("1", "1"));
        scope.publish(&mut harness, with("bad", "1"));
        scope.restart(&mut harness);
        harness.settle();
        assert_eq!(
            harness.client.applied(Kind::Endpoints, "c"),
            None,
            "{protocol:?}"
        );
        scope.publish(&mut harness, with("1", "bad"));
        scope.restart(&mut harness);
        harness.settle();
        assert_eq!(
            harness.client.applied(Kind::Cluster, "c"),
            None,
            "{protocol:?}"
        );
    }
}

/// A route without requirements.
fn route(text: &str) -> Arc<Snapshot> {
    snapshot([resource(Kind::Route, "r", text, &[])])
}

#[tokio::test]
async fn rule_02_a_version_that_one_proxy_accepted_is_offered_to_the_next_that_rejects_the_newest()
{
    let running = loopback::start_with(Some(route("1")), Options::default()).await;
    let (send, mut stream) = running.delta().await;
    send.send(ask(Kind::Route, &["r"])).await.unwrap();
    let first = next(&mut stream).await;
    send.send(answer(&first, None)).await.unwrap();
    running.set(route("2"));
    let newest = next(&mut stream).await;
    drop((send, stream));
    let (send, mut stream) = running.delta().await;
    send.send(ask(Kind::Route, &["r"])).await.unwrap();
    let offered = next(&mut stream).await;
    assert_eq!(offered.resources[0].version, newest.resources[0].version);
    send.send(answer(&offered, Some("no"))).await.unwrap();
    let good = next(&mut stream).await;
    assert_eq!(good.resources[0].version, first.resources[0].version);
    send.send(answer(&good, None)).await.unwrap();
    running.set(route("3"));
    let third = next(&mut stream).await;
    assert_ne!(third.resources[0].version, first.resources[0].version);
}
