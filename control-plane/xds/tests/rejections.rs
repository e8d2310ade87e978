//! Rejections (server rule 2) together with make before break (rule 3): what a rejected version holds back, what a version in
//! flight does, and which clusters either keeps.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{BOTH, Harness, resource, snapshot};
use headgate_xds::session::Protocol;
use headgate_xds::{Kind, Resource, Snapshot};

fn snapshot_of(
    clusters: &[(&str, &str)],
    routes: impl IntoIterator<Item = Resource>,
) -> Arc<Snapshot> {
    let clusters = clusters.iter().flat_map(|(name, text)| {
        [
            resource(Kind::Cluster, name, text, &[]),
            resource(Kind::Endpoints, name, "e", &[]),
        ]
    });
    snapshot(clusters.chain(routes))
}

fn route(name: &str, text: &str, clusters: &[&str]) -> Resource {
    resource(Kind::Route, name, text, clusters)
}

#[test]
fn rule_03_a_first_route_waits_for_the_good_version_of_a_rejected_cluster_that_is_in_flight() {
    for protocol in BOTH {
        let mut harness = Harness::new(
            protocol,
            snapshot_of(&[("a", "1")], []),
            &[(Kind::Route, "r")],
        );
        harness.set_snapshot(snapshot_of(&[("a", "1"), ("c", "bad")], []));
        harness.settle();
        harness.set_snapshot(snapshot_of(&[("a", "1"), ("c", "1")], []));
        while harness.send_response() {}
        // The client has not received the valid version yet when the rejected one is current again.
        harness.set_snapshot(snapshot_of(
            &[("a", "1"), ("c", "bad")],
            [route("r", "1", &["c"])],
        ));
        while harness.send_response() {}
        let sent = harness.log.iter().any(|r| r.kind == Kind::Route);
        assert!(
            !sent,
            "{protocol:?}: a route to a cluster that is in flight"
        );
        harness.settle();
        assert_eq!(
            harness.client.applied(Kind::Route, "r"),
            Some("1"),
            "{protocol:?}"
        );
        assert_eq!(harness.client.applied(Kind::Cluster, "c"), Some("1"));
        assert_eq!(harness.client.violations, Vec::<String>::new());
    }
}

#[test]
fn rule_03_a_cluster_is_removed_once_its_vanished_route_is_found_to_be_rejected() {
    for protocol in BOTH {
        let names = [(Kind::Route, "bad"), (Kind::Route, "good")];
        let mut harness = Harness::new(protocol, snapshot_of(&[("c", "1")], []), &names);
        harness.settle();
        let routes = [route("bad", "bad", &["c"]), route("good", "1", &[])];
        harness.set_snapshot(snapshot_of(&[("c", "1")], routes));
        while harness.send_response() {}
        // Both leave the snapshot before the client rejects the response with the two of them.
        harness.set_snapshot(snapshot_of(&[], []));
        harness.settle_for(Duration::from_secs(120));
        assert_eq!(
            harness.client.applied(Kind::Cluster, "c"),
            None,
            "{protocol:?}"
        );
        assert!(harness.session.status()[&Kind::Route].is_current());
    }
}

#[test]
fn rule_03_a_cluster_stays_if_its_vanished_route_was_applied_from_a_rejected_response() {
    for protocol in BOTH {
        let names = [(Kind::Route, "a"), (Kind::Route, "b")];
        let mut harness = Harness::new(protocol, snapshot_of(&[("c", "1")], []), &names);
        harness.settle();
        // Applied in order: the client has `a` although it rejects the response.
        let routes = [route("a", "1", &["c"]), route("b", "bad", &[])];
        harness.set_snapshot(snapshot_of(&[("c", "1")], routes));
        while harness.send_response() {}
        harness.set_snapshot(snapshot_of(&[], []));
        harness.settle_for(Duration::from_secs(3600));
        assert_eq!(harness.client.applied(Kind::Route, "a"), Some("1"));
        assert_eq!(
            harness.client.applied(Kind::Cluster, "c"),
            Some("1"),
            "{protocol:?}"
        );
        assert_eq!(harness.client.violations, Vec::<String>::new());
    }
}

#[test]
fn rule_03_a_cluster_is_removed_if_a_later_version_of_its_only_route_is_rejected_too() {
    for protocol in BOTH {
        let names = [(Kind::Route, "a"), (Kind::Route, "b")];
        let mut harness = Harness::new(protocol, snapshot_of(&[("c", "1")], []), &names);
        harness.settle();
        let routes = [route("a", "bad", &["c"]), route("b", "1", &[])];
        harness.set_snapshot(snapshot_of(&[("c", "1")], routes));
        while harness.send_response() {}
        harness.set_snapshot(snapshot_of(&[], [route("a", "bad", &[])]));
        harness.settle_for(Duration::from_secs(120));
        assert_eq!(
            harness.client.applied(Kind::Cluster, "c"),
            None,
            "{protocol:?}"
        );
    }
}

#[test]
fn rule_03_a_route_in_flight_while_the_client_resubscribes_counts_as_held() {
    let first = snapshot_of(&[("a", "1")], [route("r", "1", &["a"])]);
    let mut harness = Harness::new(Protocol::Delta, first, &[(Kind::Route, "r")]);
    while harness.receive_request() {}
    while harness.send_response() {}
    let taken = |harness: &Harness| harness.in_flight.iter().any(|r| r.kind == Kind::Route);
    while !taken(&harness) {
        // The route waits for its cluster: everything before it is applied and answered.
        while harness.deliver_response() {}
        while harness.receive_request() {}
        while harness.send_response() {}
    }
    // The client unsubscribes and subscribes again while it is in flight.
    let names = ["r".to_owned()];
    harness.client.resubscribe(Kind::Route, &[], &names);
    harness.client.resubscribe(Kind::Route, &names, &[]);
    harness.set_snapshot(snapshot_of(
        &[("a", "1"), ("c", "bad")],
        [route("r", "2", &["c"])],
    ));
    harness.settle();
    assert_eq!(harness.client.applied(Kind::Route, "r"), Some("1"));
    assert_eq!(harness.client.violations, Vec::<String>::new());
}
