//! Endpoints of which none is left go after the routes and filters that send nobody there any more (rule 3, out).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{BOTH, Rig, resource, snapshot};
use headgate_xds::{Kind, Resource, Snapshot};

const NAMES: [(Kind, &str); 3] = [
    (Kind::Endpoints, "c"),
    (Kind::Route, "r"),
    (Kind::Extension, "f"),
];

fn none_left() -> Resource {
    resource(Kind::Endpoints, "c", "none", &[]).yielding()
}

fn some() -> Resource {
    resource(Kind::Endpoints, "c", "some", &[])
}

fn world(endpoints: Resource, filter: &str) -> Arc<Snapshot> {
    snapshot([
        resource(Kind::Cluster, "c", "1", &[]),
        endpoints,
        resource(Kind::Route, "r", "1", &["c"]),
        resource(Kind::Extension, "f", filter, &["c"]),
    ])
}

#[test]
fn the_last_endpoints_stay_until_the_filters_that_send_nobody_there_are_acked() {
    for protocol in BOTH {
        let mut rig = Rig::new(protocol, world(some(), "sends"), &NAMES);
        rig.settle();
        let from = rig.log.len();
        rig.set(world(none_left(), "does not"));
        while rig.speak() {}
        assert!(
            rig.names_since(from, Kind::Endpoints).is_empty(),
            "{protocol:?}"
        );
        assert_eq!(rig.names_since(from, Kind::Extension), [["f"]]);
        let status = &rig.session.status()[&Kind::Endpoints];
        assert!(status.waiting["c"].clusters.is_empty() && !status.is_settled());
        rig.settle();
        assert_eq!(rig.client.held(Kind::Extension, "f"), Some("does not"));
        assert_eq!(
            rig.client.held(Kind::Endpoints, "c"),
            Some("none"),
            "{protocol:?}"
        );
        let status = rig.session.status();
        assert!(status[&Kind::Endpoints].is_settled() && status[&Kind::Extension].is_settled());

        // The way back is the usual one: endpoints first.
        let from = rig.log.len();
        rig.set(world(some(), "sends"));
        while rig.speak() {}
        let kinds: Vec<Kind> = rig.log[from..].iter().map(|r| r.kind).collect();
        assert_eq!(kinds, [Kind::Endpoints, Kind::Extension], "{protocol:?}");
    }
}

#[test]
fn endpoints_wait_for_a_refused_filter_no_longer_than_for_a_cluster_to_warm() {
    for protocol in BOTH {
        let mut rig = Rig::new(protocol, world(some(), "sends"), &NAMES);
        rig.settle();
        rig.set(world(none_left(), "bad"));
        rig.settle_for(Duration::from_secs(14));
        assert_eq!(
            rig.client.held(Kind::Endpoints, "c"),
            Some("some"),
            "{protocol:?}"
        );
        rig.settle_for(Duration::from_secs(2));
        assert_eq!(
            rig.client.held(Kind::Endpoints, "c"),
            Some("none"),
            "{protocol:?}"
        );
    }
}

#[test]
fn endpoints_wait_for_nothing_where_no_filter_changes_or_the_proxy_has_none() {
    for protocol in BOTH {
        let mut rig = Rig::new(protocol, world(some(), "same"), &NAMES);
        rig.settle();
        let from = rig.log.len();
        rig.set(world(none_left(), "same"));
        while rig.speak() {}
        assert_eq!(
            rig.names_since(from, Kind::Endpoints),
            [["c"]],
            "{protocol:?}"
        );

        // One that comes only now gets what is there, also nothing.
        let mut rig = Rig::new(protocol, world(none_left(), "same"), &NAMES);
        rig.settle();
        assert_eq!(
            rig.client.held(Kind::Endpoints, "c"),
            Some("none"),
            "{protocol:?}"
        );
        assert_eq!(
            rig.client.held(Kind::Extension, "f"),
            Some("same"),
            "{protocol:?}"
        );
    }
}
