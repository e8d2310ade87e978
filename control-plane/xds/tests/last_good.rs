//! What a proxy gets that refuses the newest version and has none (server rule 2: the last good stays).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod loopback;

use std::sync::Arc;
use std::time::Duration;

use common::{BOTH, Client, Rig, resource, snapshot};
use headgate_xds::session::{Good, Protocol};
use headgate_xds::{Kind, Options, Resource, Snapshot};
use loopback::{answer, ask, next};

const VITAL: [(Kind, &str); 3] = [
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
fn world((kind, name): (Kind, &str), text: &str, clusters: &[&str]) -> Arc<Snapshot> {
    let all = clusters.iter().flat_map(|name| cluster(name));
    snapshot(all.chain([resource(kind, name, text, clusters)]))
}

/// A scope, as a server knows it.
#[derive(Default)]
struct Scope(Good);

impl Scope {
    /// A proxy takes a world.
    fn takes(&mut self, rig: &mut Rig, world: Arc<Snapshot>) {
        rig.set(world);
        rig.settle();
        for resource in rig.session.take_good() {
            self.0.accept(&resource, &rig.world);
        }
    }

    /// The proxy is started anew: it has nothing.
    fn restarts(&self, rig: &mut Rig) {
        let names: Vec<_> = rig
            .client
            .kinds
            .iter()
            .map(|(k, s)| (*k, s.names.clone()))
            .collect();
        rig.client = Client::new(rig.client.protocol, rig.now);
        for (kind, names) in names {
            let own = [Kind::Route, Kind::Extension].contains(&kind);
            let state = rig.client.kinds.get_mut(&kind).unwrap();
            state.names = if own { names } else { Default::default() };
        }
        rig.reconnect();
        rig.session.know_good(Arc::new(self.0.clone()));
    }
}

fn rig(protocol: Protocol, (kind, name): (Kind, &str), world: Arc<Snapshot>) -> Rig {
    let named = (kind != Kind::Listener).then_some((kind, name));
    Rig::new(protocol, world, named.as_slice())
}

fn sent(rig: &Rig, kind: Kind) -> Vec<String> {
    let items = rig
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
fn rule_02_a_proxy_started_anew_is_given_the_last_good_version_of_what_it_refuses() {
    for protocol in BOTH {
        for what in VITAL {
            let (kind, name) = what;
            let (mut scope, mut rig) = (
                Scope::default(),
                rig(protocol, what, world(what, "1", &["c"])),
            );
            scope.takes(&mut rig, world(what, "1", &["c"]));
            scope.takes(&mut rig, world(what, "bad", &["c"]));
            assert_eq!(
                rig.client.held(kind, name),
                Some("1"),
                "it keeps what it has"
            );
            scope.restarts(&mut rig);
            rig.settle();
            assert_eq!(
                rig.client.held(kind, name),
                Some("1"),
                "{protocol:?} {kind}"
            );
            assert_eq!(
                sent(&rig, kind),
                ["bad", "1"],
                "{protocol:?}: the newest first"
            );
            let status = &rig.session.status()[&kind];
            assert!(status.nacked.contains_key(name) && !status.is_settled());
            assert_eq!(rig.client.breaches, Vec::<String>::new());
            // The newest other version is what it gets next, as ever.
            scope.takes(&mut rig, world(what, "2", &["c"]));
            assert_eq!(
                rig.client.held(kind, name),
                Some("2"),
                "{protocol:?} {kind}"
            );
            assert!(rig.session.status()[&kind].is_settled());
        }
    }
}

#[test]
fn rule_02_a_last_good_version_that_needs_what_is_gone_is_not_given() {
    for protocol in BOTH {
        for what in VITAL {
            let (kind, name) = what;
            let (mut scope, mut rig) = (
                Scope::default(),
                rig(protocol, what, world(what, "1", &["c", "d"])),
            );
            scope.takes(&mut rig, world(what, "1", &["c", "d"]));
            scope.takes(&mut rig, world(what, "bad", &["c"]));
            scope.restarts(&mut rig);
            // Longer than anything waits.
            rig.settle_for(Duration::from_secs(100));
            assert_eq!(rig.client.held(kind, name), None, "{protocol:?} {kind}");
        }
    }
}

#[test]
fn rule_02_where_the_last_good_version_of_others_is_refused_too_the_one_before_is_given() {
    for protocol in BOTH {
        let what = (Kind::Route, "r");
        let mut scope = Scope::default();
        let mut rig = rig(protocol, what, world(what, "1", &["c"]));
        scope.takes(&mut rig, world(what, "1", &["c"]));
        // Taken by another proxy alone.
        let other = world(what, "bad for one", &["c"]);
        scope.0.accept(other.get(what.0, what.1).unwrap(), &other);
        rig.set(world(what, "bad for all", &["c"]));
        scope.restarts(&mut rig);
        rig.settle();
        assert_eq!(sent(&rig, Kind::Route), ["bad for all", "bad for one", "1"]);
        assert_eq!(rig.client.held(Kind::Route, "r"), Some("1"), "{protocol:?}");
    }
}

#[test]
fn rule_02_old_endpoints_and_clusters_are_given_to_nobody() {
    for protocol in BOTH {
        let with = |endpoints: &str, text: &str| {
            snapshot([
                resource(Kind::Cluster, "c", text, &[]),
                resource(Kind::Endpoints, "c", endpoints, &[]),
            ])
        };
        let mut scope = Scope::default();
        let mut rig = Rig::new(protocol, with("1", "1"), &[]);
        scope.takes(&mut rig, with("1", "1"));
        scope.takes(&mut rig, with("bad", "1"));
        scope.restarts(&mut rig);
        rig.settle();
        assert_eq!(rig.client.held(Kind::Endpoints, "c"), None, "{protocol:?}");
        scope.takes(&mut rig, with("1", "bad"));
        scope.restarts(&mut rig);
        rig.settle();
        assert_eq!(rig.client.held(Kind::Cluster, "c"), None, "{protocol:?}");
    }
}

/// A route that needs nothing.
fn route(text: &str) -> Arc<Snapshot> {
    snapshot([resource(Kind::Route, "r", text, &[])])
}

#[tokio::test]
async fn rule_02_what_one_proxy_accepted_is_given_to_the_next_that_refuses_the_newest() {
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
