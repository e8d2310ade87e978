//! Server rules 2, 3, 4 and 9 over several streams of one proxy, and after the proxy has restarted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{BOTH, Client, Harness, resource, snapshot};
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

/// Whether a resource with this text was sent on this stream.
fn was_sent(harness: &Harness, text: &str) -> bool {
    let mut items = harness.log.iter().flat_map(|response| &response.items);
    items.any(|item| item.body().starts_with(text.as_bytes()))
}

#[test]
fn rule_02_a_rejected_version_is_not_resent_on_the_proxys_next_stream() {
    for protocol in BOTH {
        let mut harness = Harness::new(protocol, clusters(&[("c", "1"), ("d", "1")]), &[]);
        harness.settle();
        harness.set_snapshot(clusters(&[("c", "bad"), ("d", "1")]));
        harness.settle();
        harness.reconnect();
        harness.settle_for(Duration::from_secs(100));
        assert!(!was_sent(&harness, "bad"), "{protocol:?}");
        assert_eq!(
            harness.client.applied(Kind::Cluster, "c"),
            Some("1"),
            "{protocol:?}"
        );
        assert!(
            harness.session.status()[&Kind::Cluster]
                .nacked
                .contains_key("c")
        );
        harness.set_snapshot(clusters(&[("c", "2"), ("d", "1")]));
        harness.settle();
        assert_eq!(
            harness.client.applied(Kind::Cluster, "c"),
            Some("2"),
            "{protocol:?}"
        );
    }
}

#[test]
fn rule_02_a_restarted_proxy_is_offered_what_it_rejected() {
    for protocol in BOTH {
        let mut harness = Harness::new(protocol, clusters(&[("c", "1")]), &[]);
        harness.settle();
        harness.set_snapshot(clusters(&[("c", "bad")]));
        harness.settle();
        harness.client = Client::new(protocol, harness.now);
        harness.reconnect();
        harness.settle();
        assert!(was_sent(&harness, "bad"), "{protocol:?}");
    }
}

#[test]
fn rule_02_a_version_rejected_by_the_last_request_of_a_stream_is_not_resent_on_the_next() {
    let listeners = |all: &[(&str, &str)]| {
        snapshot(all.iter().map(|(n, t)| resource(Kind::Listener, n, t, &[])))
    };
    for protocol in BOTH {
        let mut harness = Harness::new(protocol, listeners(&[("l", "1")]), &[]);
        harness.settle();
        // In state of the world one response removes `l` and offers `m`.
        harness.set_snapshot(listeners(&[("m", "bad")]));
        harness.send_response();
        harness.deliver_response();
        while harness.receive_request() {}
        harness.reconnect();
        harness.settle();
        assert!(!was_sent(&harness, "bad"), "{protocol:?}");
        assert_eq!(
            harness.client.applied(Kind::Listener, "l"),
            None,
            "{protocol:?}"
        );
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
        let mut harness = Harness::new(protocol, both, &[(Kind::Route, "r")]);
        harness.settle();
        harness.set_snapshot(with(&[("d", "1")], route(&["d"])));
        harness.reconnect();
        harness.settle_for(Duration::from_secs(50));
        assert_eq!(
            harness.client.applied(Kind::Cluster, "c"),
            Some("1"),
            "{protocol:?}"
        );
        harness.settle_for(Duration::from_secs(20));
        assert_eq!(
            harness.client.applied(Kind::Cluster, "c"),
            None,
            "{protocol:?}"
        );
        assert_eq!(harness.client.violations, Vec::<String>::new());
    }
}

#[test]
fn rule_03_a_vanished_cluster_lingers_whichever_of_several_responses_was_applied_last() {
    let with = |names: &[&str], text: &str, to: &[&str]| {
        let clusters = names.iter().flat_map(|name| cluster(name, "1"));
        snapshot(clusters.chain([resource(Kind::Route, "r", text, to)]))
    };
    for protocol in BOTH {
        let mut harness = Harness::new(protocol, with(&["c"], "1", &["c"]), &[(Kind::Route, "r")]);
        harness.settle();
        for names in [["d"].as_slice(), &["d", "e"], &["d", "e", "f"]] {
            harness.set_snapshot(with(names, "1", &[]));
            harness.send_response();
        }
        // The client applies the first of them, its answer is lost, and the others never arrive.
        harness.deliver_response();
        harness.reconnect();
        harness.settle_for(Duration::from_secs(50));
        assert_eq!(
            harness.client.applied(Kind::Cluster, "c"),
            Some("1"),
            "{protocol:?}"
        );
        harness.settle_for(Duration::from_secs(100));
        assert_eq!(
            harness.client.applied(Kind::Cluster, "c"),
            None,
            "{protocol:?}"
        );
        assert_eq!(harness.client.violations, Vec::<String>::new());
    }
}

#[test]
fn rule_03_a_route_that_was_in_flight_to_a_late_cluster_waits_again_on_the_next_stream() {
    for protocol in BOTH {
        let first = clusters(&[("a", "1")]);
        let mut harness = Harness::new(protocol, first, &[(Kind::Route, "r")]);
        harness.settle();
        let route = resource(Kind::Route, "r", "1", &["c"]);
        let new = cluster("a", "1").into_iter().chain(cluster("c", "1"));
        harness.set_snapshot(snapshot(new.chain([route])));
        while harness.send_response() {}
        harness.advance(Duration::from_secs(15));
        while harness.send_response() {}
        // The cluster is late and there is no other route, so the route was sent. The client has received none of it.
        assert!(
            harness.log.iter().any(|r| r.kind == Kind::Route),
            "{protocol:?}"
        );
        harness.reconnect();
        harness.settle();
        assert_eq!(
            harness.client.applied(Kind::Route, "r"),
            Some("1"),
            "{protocol:?}"
        );
        assert_eq!(harness.client.violations, Vec::<String>::new());
    }
}

#[test]
fn rule_03_a_first_route_waits_for_the_version_of_a_rejected_cluster_that_the_client_still_warms() {
    for protocol in BOTH {
        let mut harness = Harness::new(protocol, clusters(&[("c", "bad")]), &[(Kind::Route, "r")]);
        harness.settle();
        // A valid version is accepted and warms when the stream breaks and the rejected one is current again. Other endpoints,
        // which the client rejects, delay its own.
        let others = [
            resource(Kind::Cluster, "a", "1", &[]),
            resource(Kind::Endpoints, "a", "bad", &[]),
        ];
        let with = |text: &str| others.clone().into_iter().chain(cluster("c", text));
        harness.set_snapshot(snapshot(with("1")));
        harness.send_response();
        harness.deliver_response();
        let route = resource(Kind::Route, "r", "1", &["c"]);
        harness.set_snapshot(snapshot(with("bad").chain([route])));
        harness.reconnect();
        harness.settle();
        assert_eq!(
            harness.client.applied(Kind::Route, "r"),
            Some("1"),
            "{protocol:?}"
        );
        assert_eq!(
            harness.client.violations,
            Vec::<String>::new(),
            "{protocol:?}"
        );
    }
}

/// Endpoints that vanish together with their cluster are not reported. This client holds them by name, without any cluster.
#[test]
fn rule_04_endpoints_that_vanished_alone_are_reported_on_reconnect() {
    let endpoints = |name| resource(Kind::Endpoints, name, "1", &[]);
    let both = snapshot([endpoints("x"), endpoints("y")]);
    let names = [(Kind::Endpoints, "x"), (Kind::Endpoints, "y")];
    let mut harness = Harness::new(Protocol::Delta, both, &names);
    harness.settle();
    assert_eq!(harness.client.applied(Kind::Endpoints, "x"), Some("1"));
    harness.snapshot = snapshot([endpoints("y")]);
    harness.reconnect();
    harness.settle();
    let of_kind = harness.log.iter().filter(|r| r.kind == Kind::Endpoints);
    let removed: Vec<_> = of_kind.flat_map(|r| r.removed.clone()).collect();
    assert_eq!(removed, [Arc::from("x")]);
    assert_eq!(harness.client.applied(Kind::Endpoints, "x"), None);
    assert_eq!(harness.client.applied(Kind::Endpoints, "y"), Some("1"));
}

#[test]
fn rule_09_a_filter_that_was_not_answered_before_the_stream_broke_is_sent_in_other_bytes() {
    let filter = Resource::new(Kind::Extension, "f", "1|good|")
        .with_retry_body(|n| format!("1 again {n}|good|").into());
    let wanted = snapshot(cluster("c", "1").into_iter().chain([filter]));
    let mut harness = Harness::new(Protocol::Delta, wanted, &[(Kind::Extension, "f")]);
    // Everything is sent and applied, but the answer about the filter is lost.
    while harness.receive_request()
        || harness.send_response()
        || harness
            .in_flight
            .front()
            .is_some_and(|r| r.kind != Kind::Extension)
            && harness.deliver_response()
    {}
    assert_eq!(
        harness.in_flight.front().map(|r| r.kind),
        Some(Kind::Extension)
    );
    harness.reconnect();
    harness.settle();
    assert_eq!(
        harness.client.applied(Kind::Extension, "f"),
        Some("1 again 1")
    );
    assert!(harness.session.status()[&Kind::Extension].is_current());
}
