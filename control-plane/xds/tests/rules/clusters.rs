//! Rule 3: make before break.

use std::sync::Arc;
use std::time::Duration;

use headgate_xds::Kind;
use headgate_xds::session::Protocol;

use crate::common::{BOTH, Harness, resource};
use crate::snapshots::{ROUTE, route, snapshot_of};

#[test]
fn rule_03_make_before_break_new_routes_wait_until_their_clusters_are_acknowledged() {
    for protocol in BOTH {
        let mut harness = Harness::new(
            protocol,
            snapshot_of(&[("old", "1")], [route("1", &["old"])]),
            &ROUTE,
        );
        harness.settle();
        let from = harness.log.len();
        harness.set_snapshot(snapshot_of(
            &[("old", "1"), ("new", "1")],
            [route("2", &["old", "new"])],
        ));
        while harness.send_response() {}
        assert!(
            harness.names_since(from, Kind::Route).is_empty(),
            "routes before the ACK"
        );
        let waits = &harness.session.status()[&Kind::Route].waiting["r"];
        assert_eq!(
            (waits.clusters.as_slice(), waits.failed),
            ([Arc::from("new")].as_slice(), false)
        );
        harness.settle();
        assert_eq!(
            harness.client.applied(Kind::Route, "r"),
            Some("2"),
            "{protocol:?}"
        );
        let kinds: Vec<Kind> = harness.log[from..]
            .iter()
            .map(|response| response.kind)
            .collect();
        assert_eq!(kinds.first(), Some(&Kind::Cluster));
        assert_eq!(kinds.last(), Some(&Kind::Route));
        assert_eq!(harness.client.violations, Vec::<String>::new());
    }
}

#[test]
fn rule_03_endpoints_follow_their_cluster_unchanged_and_without_waiting_for_its_ack() {
    for protocol in BOTH {
        let mut harness = Harness::new(protocol, snapshot_of(&[("c", "1"), ("d", "1")], []), &[]);
        harness.settle();
        let from = harness.log.len();
        harness.set_snapshot(snapshot_of(&[("c", "2"), ("d", "1")], []));
        while harness.send_response() {}
        // The client has received and answered nothing: both are in flight all the same.
        let kinds: Vec<Kind> = harness.log[from..]
            .iter()
            .map(|response| response.kind)
            .collect();
        assert_eq!(kinds, [Kind::Cluster, Kind::Endpoints], "{protocol:?}");
        assert_eq!(harness.names_since(from, Kind::Endpoints), [["c"]]);
        harness.settle();
        assert!(
            harness.session.status()[&Kind::Cluster].is_current(),
            "{protocol:?}: it never warmed"
        );
    }
}

#[test]
fn rule_03_a_late_cluster_leaves_the_old_routes_and_the_wait_fails_after_15_s() {
    let first = snapshot_of(&[("old", "1")], [route("1", &["old"])]);
    let mut harness = Harness::new(Protocol::Delta, first, &ROUTE);
    harness.settle();
    harness.set_snapshot(snapshot_of(
        &[("old", "1"), ("new", "1")],
        [route("2", &["new"])],
    ));
    while harness.send_response() {}
    let failed = |harness: &Harness| harness.session.status()[&Kind::Route].waiting["r"].failed;
    harness.advance(Duration::from_millis(14_999));
    while harness.send_response() {}
    assert!(!failed(&harness));
    assert_eq!(
        harness.session.deadline(),
        Some(harness.now + Duration::from_millis(1))
    );
    harness.advance(Duration::from_millis(1));
    while harness.send_response() {}
    assert!(failed(&harness), "15 s passed");
    assert_eq!(harness.client.applied(Kind::Route, "r"), Some("1"));
    harness.settle();
    assert_eq!(
        harness.client.applied(Kind::Route, "r"),
        Some("2"),
        "a late ACK still counts"
    );
}

#[test]
fn rule_03_a_rejected_cluster_leaves_the_old_routes_and_other_resources_are_sent() {
    for protocol in BOTH {
        let names = [(Kind::Route, "r"), (Kind::Route, "other")];
        let other = |text| resource(Kind::Route, "other", text, &["old"]);
        let first = snapshot_of(&[("old", "1")], [route("1", &["old"]), other("1")]);
        let mut harness = Harness::new(protocol, first, &names);
        harness.settle();
        let clusters = [("old", "1"), ("new", "bad")];
        harness.set_snapshot(snapshot_of(
            &clusters,
            [route("2", &["old", "new"]), other("2")],
        ));
        harness.settle_for(Duration::from_secs(600));
        assert_eq!(
            harness.client.applied(Kind::Route, "r"),
            Some("1"),
            "{protocol:?}"
        );
        assert_eq!(harness.client.applied(Kind::Route, "other"), Some("2"));
        assert!(harness.session.status()[&Kind::Route].waiting["r"].failed);
        harness.set_snapshot(snapshot_of(
            &[("old", "1"), ("new", "good")],
            [route("2", &["old", "new"]), other("2")],
        ));
        harness.settle();
        assert_eq!(harness.client.applied(Kind::Route, "r"), Some("2"));
        assert_eq!(harness.client.violations, Vec::<String>::new());
    }
}

#[test]
fn rule_03_a_proxy_without_any_route_gets_one_although_it_rejects_a_cluster() {
    for protocol in BOTH {
        let first = snapshot_of(
            &[("good", "1"), ("new", "bad")],
            [route("1", &["good", "new"])],
        );
        let mut harness = Harness::new(protocol, first, &ROUTE);
        harness.settle_for(Duration::from_secs(60));
        assert_eq!(
            harness.client.applied(Kind::Route, "r"),
            Some("1"),
            "{protocol:?}"
        );
    }
}

#[test]
fn rule_03_a_cluster_outlives_the_last_route_to_it_by_60_s() {
    for protocol in BOTH {
        let names = [(Kind::Route, "r"), (Kind::Extension, "f")];
        let filter = |text, clusters: &[&str]| resource(Kind::Extension, "f", text, clusters);
        let first = snapshot_of(
            &[("a", "1"), ("b", "1")],
            [route("1", &["a", "b"]), filter("1", &["b"])],
        );
        let mut harness = Harness::new(protocol, first, &names);
        harness.settle();
        harness.set_snapshot(snapshot_of(
            &[("a", "1")],
            [route("2", &["a"]), filter("2", &["a"])],
        ));
        harness.advance(Duration::from_secs(30));
        harness.settle();
        assert_eq!(harness.client.applied(Kind::Route, "r"), Some("2"));
        harness.settle_for(Duration::from_millis(59_999));
        assert_eq!(
            harness.client.applied(Kind::Cluster, "b"),
            Some("1"),
            "{protocol:?}: no linger"
        );
        harness.settle_for(Duration::from_millis(1));
        assert_eq!(
            harness.client.applied(Kind::Cluster, "b"),
            None,
            "{protocol:?}"
        );
        assert_eq!(harness.client.violations, Vec::<String>::new());
    }
}

#[test]
fn rule_03_a_cluster_stays_while_a_rejected_route_leaves_the_old_one_in_use() {
    for protocol in BOTH {
        let first = snapshot_of(&[("a", "1"), ("b", "1")], [route("1", &["a", "b"])]);
        let mut harness = Harness::new(protocol, first, &ROUTE);
        harness.settle();
        harness.set_snapshot(snapshot_of(&[("a", "1")], [route("bad", &["a"])]));
        harness.settle_for(Duration::from_secs(3600));
        assert_eq!(
            harness.client.applied(Kind::Cluster, "b"),
            Some("1"),
            "{protocol:?}"
        );
        harness.set_snapshot(snapshot_of(&[("a", "1")], [route("2", &["a"])]));
        harness.settle_for(Duration::from_secs(61));
        assert_eq!(harness.client.applied(Kind::Cluster, "b"), None);
    }
}
