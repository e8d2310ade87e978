//! What holds over the streams of one proxy: the server rules 2, 3, 4 and 9, and where they begin anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{BOTH, Client, Rig, resource, snapshot};
use headgate_xds::session::Protocol;
use headgate_xds::{Kind, Resource, Snapshot};

fn cluster(name: &str, text: &str) -> [Resource; 2] {
    [
        resource(Kind::Cluster, name, text, &[]),
        resource(Kind::Endpoints, name, "e", &[]),
    ]
}

fn clusters(all: &[(&str, &str)]) -> Arc<Snapshot> {
    snapshot(all.iter().flat_map(|(name, text)| cluster(name, text)))
}

/// Whether anything on this stream held this text.
fn was_sent(rig: &Rig, text: &str) -> bool {
    let mut items = rig.log.iter().flat_map(|response| &response.items);
    items.any(|item| item.body().starts_with(text.as_bytes()))
}

#[test]
fn rule_02_a_refused_version_is_not_resent_on_the_proxys_next_stream() {
    for protocol in BOTH {
        let mut rig = Rig::new(protocol, clusters(&[("c", "1"), ("d", "1")]), &[]);
        rig.settle();
        rig.set(clusters(&[("c", "bad"), ("d", "1")]));
        rig.settle();
        rig.reconnect();
        rig.settle_for(Duration::from_secs(100));
        assert!(!was_sent(&rig, "bad"), "{protocol:?}");
        assert_eq!(
            rig.client.held(Kind::Cluster, "c"),
            Some("1"),
            "{protocol:?}"
        );
        assert!(
            rig.session.status()[&Kind::Cluster]
                .nacked
                .contains_key("c")
        );
        rig.set(clusters(&[("c", "2"), ("d", "1")]));
        rig.settle();
        assert_eq!(
            rig.client.held(Kind::Cluster, "c"),
            Some("2"),
            "{protocol:?}"
        );
    }
}

#[test]
fn rule_02_a_proxy_that_was_started_anew_is_offered_what_it_refused() {
    for protocol in BOTH {
        let mut rig = Rig::new(protocol, clusters(&[("c", "1")]), &[]);
        rig.settle();
        rig.set(clusters(&[("c", "bad")]));
        rig.settle();
        rig.client = Client::new(protocol, rig.now);
        rig.reconnect();
        rig.settle();
        assert!(was_sent(&rig, "bad"), "{protocol:?}");
    }
}

#[test]
fn rule_02_a_version_refused_as_the_last_word_of_a_stream_is_not_resent_on_the_next() {
    let listeners = |all: &[(&str, &str)]| {
        snapshot(all.iter().map(|(n, t)| resource(Kind::Listener, n, t, &[])))
    };
    for protocol in BOTH {
        let mut rig = Rig::new(protocol, listeners(&[("l", "1")]), &[]);
        rig.settle();
        // In state of the world one response takes `l` away and offers `m`.
        rig.set(listeners(&[("m", "bad")]));
        rig.speak();
        rig.deliver();
        while rig.hear() {}
        rig.reconnect();
        rig.settle();
        assert!(!was_sent(&rig, "bad"), "{protocol:?}");
        assert_eq!(rig.client.held(Kind::Listener, "l"), None, "{protocol:?}");
    }
}

#[test]
fn rule_03_a_vanished_cluster_lingers_over_a_reconnect() {
    for protocol in BOTH {
        let route = |clusters: &[&str]| resource(Kind::Route, "r", "r", clusters);
        let with = |all: &[(&str, &str)], route: Resource| {
            let clusters = all.iter().flat_map(|(name, text)| cluster(name, text));
            snapshot(clusters.chain([route]))
        };
        let both = with(&[("c", "1"), ("d", "1")], route(&["c", "d"]));
        let mut rig = Rig::new(protocol, both, &[(Kind::Route, "r")]);
        rig.settle();
        rig.set(with(&[("d", "1")], route(&["d"])));
        rig.reconnect();
        rig.settle_for(Duration::from_secs(50));
        assert_eq!(
            rig.client.held(Kind::Cluster, "c"),
            Some("1"),
            "{protocol:?}"
        );
        rig.settle_for(Duration::from_secs(20));
        assert_eq!(rig.client.held(Kind::Cluster, "c"), None, "{protocol:?}");
        assert_eq!(rig.client.breaches, Vec::<String>::new());
    }
}

#[test]
fn rule_03_a_vanished_cluster_lingers_whichever_of_several_responses_was_the_last_taken() {
    let with = |names: &[&str], text: &str, to: &[&str]| {
        let clusters = names.iter().flat_map(|name| cluster(name, "1"));
        snapshot(clusters.chain([resource(Kind::Route, "r", text, to)]))
    };
    for protocol in BOTH {
        let mut rig = Rig::new(protocol, with(&["c"], "1", &["c"]), &[(Kind::Route, "r")]);
        rig.settle();
        for names in [["d"].as_slice(), &["d", "e"], &["d", "e", "f"]] {
            rig.set(with(names, "1", &[]));
            rig.speak();
        }
        // The first of them is taken, its answer lost, the others never come.
        rig.deliver();
        rig.reconnect();
        rig.settle_for(Duration::from_secs(50));
        assert_eq!(
            rig.client.held(Kind::Cluster, "c"),
            Some("1"),
            "{protocol:?}"
        );
        rig.settle_for(Duration::from_secs(100));
        assert_eq!(rig.client.held(Kind::Cluster, "c"), None, "{protocol:?}");
        assert_eq!(rig.client.breaches, Vec::<String>::new());
    }
}

#[test]
fn rule_03_a_route_that_was_under_way_to_a_late_cluster_waits_again_on_the_next_stream() {
    for protocol in BOTH {
        let first = clusters(&[("a", "1")]);
        let mut rig = Rig::new(protocol, first, &[(Kind::Route, "r")]);
        rig.settle();
        let route = resource(Kind::Route, "r", "1", &["c"]);
        let new = cluster("a", "1").into_iter().chain(cluster("c", "1"));
        rig.set(snapshot(new.chain([route])));
        while rig.speak() {}
        rig.advance(Duration::from_secs(15));
        while rig.speak() {}
        // Late, and there is no other route: it went out. The client has taken nothing of all that.
        assert!(
            rig.log.iter().any(|r| r.kind == Kind::Route),
            "{protocol:?}"
        );
        rig.reconnect();
        rig.settle();
        assert_eq!(rig.client.held(Kind::Route, "r"), Some("1"), "{protocol:?}");
        assert_eq!(rig.client.breaches, Vec::<String>::new());
    }
}

#[test]
fn rule_03_a_first_route_waits_for_the_version_of_a_refused_cluster_that_the_client_still_warms() {
    for protocol in BOTH {
        let mut rig = Rig::new(protocol, clusters(&[("c", "bad")]), &[(Kind::Route, "r")]);
        rig.settle();
        // A good version is taken and warms when the stream breaks and the refused one is wanted again;
        // other endpoints that are refused delay its own.
        let beside = [
            resource(Kind::Cluster, "a", "1", &[]),
            resource(Kind::Endpoints, "a", "bad", &[]),
        ];
        let with = |text: &str| beside.clone().into_iter().chain(cluster("c", text));
        rig.set(snapshot(with("1")));
        rig.speak();
        rig.deliver();
        let route = resource(Kind::Route, "r", "1", &["c"]);
        rig.set(snapshot(with("bad").chain([route])));
        rig.reconnect();
        rig.settle();
        assert_eq!(rig.client.held(Kind::Route, "r"), Some("1"), "{protocol:?}");
        assert_eq!(rig.client.breaches, Vec::<String>::new(), "{protocol:?}");
    }
}

/// Endpoints that go with their cluster go unsaid: here is a client that holds them by name, without any cluster.
#[test]
fn rule_04_endpoints_that_vanished_alone_are_reported_on_reconnect() {
    let endpoints = |name| resource(Kind::Endpoints, name, "1", &[]);
    let both = snapshot([endpoints("x"), endpoints("y")]);
    let names = [(Kind::Endpoints, "x"), (Kind::Endpoints, "y")];
    let mut rig = Rig::new(Protocol::Delta, both, &names);
    rig.settle();
    assert_eq!(rig.client.held(Kind::Endpoints, "x"), Some("1"));
    rig.world = snapshot([endpoints("y")]);
    rig.reconnect();
    rig.settle();
    let of_kind = rig.log.iter().filter(|r| r.kind == Kind::Endpoints);
    let removed: Vec<_> = of_kind.flat_map(|r| r.removed.clone()).collect();
    assert_eq!(removed, ["x"]);
    assert_eq!(rig.client.held(Kind::Endpoints, "x"), None);
    assert_eq!(rig.client.held(Kind::Endpoints, "y"), Some("1"));
}

#[test]
fn rule_09_a_filter_that_was_not_answered_before_the_stream_broke_comes_in_other_bytes() {
    let filter = Resource::new(Kind::Extension, "f", "1|good|")
        .rearmed_by(|n| format!("1 again {n}|good|").into());
    let world = snapshot(cluster("c", "1").into_iter().chain([filter]));
    let mut rig = Rig::new(Protocol::Delta, world, &[(Kind::Extension, "f")]);
    // Everything is sent and taken, but the answer about the filter is lost.
    while rig.hear()
        || rig.speak()
        || rig.wire.front().is_some_and(|r| r.kind != Kind::Extension) && rig.deliver()
    {}
    assert_eq!(rig.wire.front().map(|r| r.kind), Some(Kind::Extension));
    rig.reconnect();
    rig.settle();
    assert_eq!(rig.client.held(Kind::Extension, "f"), Some("1 again 1"));
    assert!(rig.session.status()[&Kind::Extension].is_settled());
}
