//! Rule 3: make before break.

use std::time::Duration;

use headgate_xds::Kind;
use headgate_xds::session::Protocol;

use crate::common::{BOTH, Rig, resource};
use crate::worlds::{ROUTE, route, world};

#[test]
fn rule_03_make_before_break_new_routes_wait_for_the_clusters_acknowledgement() {
    for protocol in BOTH {
        let mut rig = Rig::new(
            protocol,
            world(&[("old", "1")], [route("1", &["old"])]),
            &ROUTE,
        );
        rig.settle();
        let from = rig.log.len();
        rig.set(world(
            &[("old", "1"), ("new", "1")],
            [route("2", &["old", "new"])],
        ));
        while rig.speak() {}
        assert!(
            rig.names_since(from, Kind::Route).is_empty(),
            "routes before the ACK"
        );
        let waits = &rig.session.status()[&Kind::Route].waiting["r"];
        assert_eq!(
            (waits.clusters.as_slice(), waits.failed),
            (["new".to_owned()].as_slice(), false)
        );
        rig.settle();
        assert_eq!(rig.client.held(Kind::Route, "r"), Some("2"), "{protocol:?}");
        let kinds: Vec<Kind> = rig.log[from..]
            .iter()
            .map(|response| response.kind)
            .collect();
        assert_eq!(kinds.first(), Some(&Kind::Cluster));
        assert_eq!(kinds.last(), Some(&Kind::Route));
        assert_eq!(rig.client.breaches, Vec::<String>::new());
    }
}

#[test]
fn rule_03_endpoints_follow_their_cluster_unchanged_and_without_waiting_for_its_ack() {
    for protocol in BOTH {
        let mut rig = Rig::new(protocol, world(&[("c", "1"), ("d", "1")], []), &[]);
        rig.settle();
        let from = rig.log.len();
        rig.set(world(&[("c", "2"), ("d", "1")], []));
        while rig.speak() {}
        // Nothing was delivered, let alone answered: both are on their way all the same.
        let kinds: Vec<Kind> = rig.log[from..]
            .iter()
            .map(|response| response.kind)
            .collect();
        assert_eq!(kinds, [Kind::Cluster, Kind::Endpoints], "{protocol:?}");
        assert_eq!(rig.names_since(from, Kind::Endpoints), [["c"]]);
        rig.settle();
        assert!(
            rig.session.status()[&Kind::Cluster].is_settled(),
            "{protocol:?}: it never warmed"
        );
    }
}

#[test]
fn rule_03_a_late_cluster_leaves_the_old_routes_and_status_says_so_after_15_s() {
    let first = world(&[("old", "1")], [route("1", &["old"])]);
    let mut rig = Rig::new(Protocol::Delta, first, &ROUTE);
    rig.settle();
    rig.set(world(&[("old", "1"), ("new", "1")], [route("2", &["new"])]));
    while rig.speak() {}
    let failed = |rig: &Rig| rig.session.status()[&Kind::Route].waiting["r"].failed;
    rig.advance(Duration::from_millis(14_999));
    while rig.speak() {}
    assert!(!failed(&rig));
    assert_eq!(
        rig.session.deadline(),
        Some(rig.now + Duration::from_millis(1))
    );
    rig.advance(Duration::from_millis(1));
    while rig.speak() {}
    assert!(failed(&rig), "15 s passed");
    assert_eq!(rig.client.held(Kind::Route, "r"), Some("1"));
    rig.settle();
    assert_eq!(
        rig.client.held(Kind::Route, "r"),
        Some("2"),
        "a late ACK still counts"
    );
}

#[test]
fn rule_03_a_refused_cluster_leaves_the_old_routes_and_other_resources_go_out() {
    for protocol in BOTH {
        let names = [(Kind::Route, "r"), (Kind::Route, "other")];
        let other = |text| resource(Kind::Route, "other", text, &["old"]);
        let first = world(&[("old", "1")], [route("1", &["old"]), other("1")]);
        let mut rig = Rig::new(protocol, first, &names);
        rig.settle();
        let clusters = [("old", "1"), ("new", "bad")];
        rig.set(world(&clusters, [route("2", &["old", "new"]), other("2")]));
        rig.settle_for(Duration::from_secs(600));
        assert_eq!(rig.client.held(Kind::Route, "r"), Some("1"), "{protocol:?}");
        assert_eq!(rig.client.held(Kind::Route, "other"), Some("2"));
        assert!(rig.session.status()[&Kind::Route].waiting["r"].failed);
        rig.set(world(
            &[("old", "1"), ("new", "good")],
            [route("2", &["old", "new"]), other("2")],
        ));
        rig.settle();
        assert_eq!(rig.client.held(Kind::Route, "r"), Some("2"));
        assert_eq!(rig.client.breaches, Vec::<String>::new());
    }
}

#[test]
fn rule_03_a_proxy_without_any_route_is_not_left_without_because_of_one_refused_cluster() {
    for protocol in BOTH {
        let first = world(
            &[("good", "1"), ("new", "bad")],
            [route("1", &["good", "new"])],
        );
        let mut rig = Rig::new(protocol, first, &ROUTE);
        rig.settle_for(Duration::from_secs(60));
        assert_eq!(rig.client.held(Kind::Route, "r"), Some("1"), "{protocol:?}");
    }
}

#[test]
fn rule_03_a_cluster_outlives_the_last_route_to_it_by_60_s() {
    for protocol in BOTH {
        let names = [(Kind::Route, "r"), (Kind::Extension, "f")];
        let filter = |text, clusters: &[&str]| resource(Kind::Extension, "f", text, clusters);
        let first = world(
            &[("a", "1"), ("b", "1")],
            [route("1", &["a", "b"]), filter("1", &["b"])],
        );
        let mut rig = Rig::new(protocol, first, &names);
        rig.settle();
        rig.set(world(
            &[("a", "1")],
            [route("2", &["a"]), filter("2", &["a"])],
        ));
        rig.advance(Duration::from_secs(30));
        rig.settle();
        assert_eq!(rig.client.held(Kind::Route, "r"), Some("2"));
        rig.settle_for(Duration::from_millis(59_999));
        assert_eq!(
            rig.client.held(Kind::Cluster, "b"),
            Some("1"),
            "{protocol:?}: no linger"
        );
        rig.settle_for(Duration::from_millis(1));
        assert_eq!(rig.client.held(Kind::Cluster, "b"), None, "{protocol:?}");
        assert_eq!(rig.client.breaches, Vec::<String>::new());
    }
}

#[test]
fn rule_03_a_cluster_stays_while_a_refused_route_leaves_the_old_one_in_use() {
    for protocol in BOTH {
        let first = world(&[("a", "1"), ("b", "1")], [route("1", &["a", "b"])]);
        let mut rig = Rig::new(protocol, first, &ROUTE);
        rig.settle();
        rig.set(world(&[("a", "1")], [route("bad", &["a"])]));
        rig.settle_for(Duration::from_secs(3600));
        assert_eq!(
            rig.client.held(Kind::Cluster, "b"),
            Some("1"),
            "{protocol:?}"
        );
        rig.set(world(&[("a", "1")], [route("2", &["a"])]));
        rig.settle_for(Duration::from_secs(61));
        assert_eq!(rig.client.held(Kind::Cluster, "b"), None);
    }
}
