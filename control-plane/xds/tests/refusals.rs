//! Where a refusal (server rule 2) meets make before break (rule 3): what a refused version holds back,
//! what a version still on its way does, and what it keeps alive.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{BOTH, Rig, resource, snapshot};
use headgate_xds::session::Protocol;
use headgate_xds::{Kind, Resource, Snapshot};

fn world(clusters: &[(&str, &str)], routes: impl IntoIterator<Item = Resource>) -> Arc<Snapshot> {
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
fn rule_03_a_first_route_waits_for_the_good_version_of_a_refused_cluster_that_is_on_its_way() {
    for protocol in BOTH {
        let mut rig = Rig::new(protocol, world(&[("a", "1")], []), &[(Kind::Route, "r")]);
        rig.set(world(&[("a", "1"), ("c", "bad")], []));
        rig.settle();
        rig.set(world(&[("a", "1"), ("c", "1")], []));
        while rig.speak() {}
        // The client has not heard of the good version yet when the refused one is wanted again.
        rig.set(world(
            &[("a", "1"), ("c", "bad")],
            [route("r", "1", &["c"])],
        ));
        while rig.speak() {}
        let sent = rig.log.iter().any(|r| r.kind == Kind::Route);
        assert!(!sent, "{protocol:?}: a route to a cluster that still comes");
        rig.settle();
        assert_eq!(rig.client.held(Kind::Route, "r"), Some("1"), "{protocol:?}");
        assert_eq!(rig.client.held(Kind::Cluster, "c"), Some("1"));
        assert_eq!(rig.client.breaches, Vec::<String>::new());
    }
}

#[test]
fn rule_03_a_cluster_goes_once_its_last_route_refused_among_others_and_gone_is_known_refused() {
    for protocol in BOTH {
        let names = [(Kind::Route, "bad"), (Kind::Route, "good")];
        let mut rig = Rig::new(protocol, world(&[("c", "1")], []), &names);
        rig.settle();
        let routes = [route("bad", "bad", &["c"]), route("good", "1", &[])];
        rig.set(world(&[("c", "1")], routes));
        while rig.speak() {}
        // Both are gone before the client says that it refuses the two of them.
        rig.set(world(&[], []));
        rig.settle_for(Duration::from_secs(120));
        assert_eq!(rig.client.held(Kind::Cluster, "c"), None, "{protocol:?}");
        assert!(rig.session.status()[&Kind::Route].is_settled());
    }
}

#[test]
fn rule_03_a_cluster_stays_where_a_route_refused_among_others_and_gone_was_taken() {
    for protocol in BOTH {
        let names = [(Kind::Route, "a"), (Kind::Route, "b")];
        let mut rig = Rig::new(protocol, world(&[("c", "1")], []), &names);
        rig.settle();
        // Taken in order: `a` is with the client although the response is refused.
        let routes = [route("a", "1", &["c"]), route("b", "bad", &[])];
        rig.set(world(&[("c", "1")], routes));
        while rig.speak() {}
        rig.set(world(&[], []));
        rig.settle_for(Duration::from_secs(3600));
        assert_eq!(rig.client.held(Kind::Route, "a"), Some("1"));
        assert_eq!(
            rig.client.held(Kind::Cluster, "c"),
            Some("1"),
            "{protocol:?}"
        );
        assert_eq!(rig.client.breaches, Vec::<String>::new());
    }
}

#[test]
fn rule_03_a_cluster_goes_where_a_later_version_of_its_only_route_was_refused_too() {
    for protocol in BOTH {
        let names = [(Kind::Route, "a"), (Kind::Route, "b")];
        let mut rig = Rig::new(protocol, world(&[("c", "1")], []), &names);
        rig.settle();
        let routes = [route("a", "bad", &["c"]), route("b", "1", &[])];
        rig.set(world(&[("c", "1")], routes));
        while rig.speak() {}
        rig.set(world(&[], [route("a", "bad", &[])]));
        rig.settle_for(Duration::from_secs(120));
        assert_eq!(rig.client.held(Kind::Cluster, "c"), None, "{protocol:?}");
    }
}

#[test]
fn rule_03_a_route_that_comes_after_it_was_dropped_and_asked_for_again_is_a_route_to_keep() {
    let first = world(&[("a", "1")], [route("r", "1", &["a"])]);
    let mut rig = Rig::new(Protocol::Delta, first, &[(Kind::Route, "r")]);
    while rig.hear() {}
    while rig.speak() {}
    let taken = |rig: &Rig| rig.wire.iter().any(|r| r.kind == Kind::Route);
    while !taken(&rig) {
        // The route waits for its cluster: everything before it is taken and answered.
        while rig.deliver() {}
        while rig.hear() {}
        while rig.speak() {}
    }
    // Dropped and asked for again while it is under way.
    let names = ["r".to_owned()];
    rig.client.resubscribe(Kind::Route, &[], &names);
    rig.client.resubscribe(Kind::Route, &names, &[]);
    rig.set(world(
        &[("a", "1"), ("c", "bad")],
        [route("r", "2", &["c"])],
    ));
    rig.settle();
    assert_eq!(rig.client.held(Kind::Route, "r"), Some("1"));
    assert_eq!(rig.client.breaches, Vec::<String>::new());
}
