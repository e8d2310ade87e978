//! The removal of the last endpoint is sent after the routes and filters that no longer send traffic to them (rule 3, removing).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{BOTH, Harness, resource, snapshot};
use headgate_xds::{Kind, Resource, Snapshot};

const NAMES: [(Kind, &str); 3] = [
    (Kind::Endpoints, "c"),
    (Kind::Route, "r"),
    (Kind::Extension, "f"),
];

fn none_left() -> Resource {
    resource(Kind::Endpoints, "c", "none", &[]).after_routes()
}

fn some() -> Resource {
    resource(Kind::Endpoints, "c", "some", &[])
}

fn snapshot_of(endpoints: Resource, filter: &str) -> Arc<Snapshot> {
    snapshot([
        resource(Kind::Cluster, "c", "1", &[]),
        endpoints,
        resource(Kind::Route, "r", "1", &["c"]),
        resource(Kind::Extension, "f", filter, &["c"]),
    ])
}

#[test]
fn the_last_endpoints_stay_until_the_filters_that_no_longer_use_them_are_acked() {
    for protocol in BOTH {
        let mut harness = Harness::new(protocol, snapshot_of(some(), "sends"), &NAMES);
        harness.settle();
        let from = harness.log.len();
        harness.set_snapshot(snapshot_of(none_left(), "does not"));
        while harness.send_response() {}
        assert!(
            harness.names_since(from, Kind::Endpoints).is_empty(),
            "{protocol:?}"
        );
        assert_eq!(harness.names_since(from, Kind::Extension), [["f"]]);
        let status = &harness.session.status()[&Kind::Endpoints];
        assert!(status.waiting["c"].clusters.is_empty() && !status.is_current());
        harness.settle();
        assert_eq!(
            harness.client.applied(Kind::Extension, "f"),
            Some("does not")
        );
        assert_eq!(
            harness.client.applied(Kind::Endpoints, "c"),
            Some("none"),
            "{protocol:?}"
        );
        let status = harness.session.status();
        assert!(status[&Kind::Endpoints].is_current() && status[&Kind::Extension].is_current());

        // In the other direction endpoints go first, as usual.
        let from = harness.log.len();
        harness.set_snapshot(snapshot_of(some(), "sends"));
        while harness.send_response() {}
        let kinds: Vec<Kind> = harness.log[from..].iter().map(|r| r.kind).collect();
        assert_eq!(kinds, [Kind::Endpoints, Kind::Extension], "{protocol:?}");
    }
}

#[test]
fn endpoints_wait_for_a_rejected_filter_no_longer_than_for_a_cluster_to_warm() {
    for protocol in BOTH {
        let mut harness = Harness::new(protocol, snapshot_of(some(), "sends"), &NAMES);
        harness.settle();
        harness.set_snapshot(snapshot_of(none_left(), "bad"));
        harness.settle_for(Duration::from_secs(14));
        assert_eq!(
            harness.client.applied(Kind::Endpoints, "c"),
            Some("some"),
            "{protocol:?}"
        );
        harness.settle_for(Duration::from_secs(2));
        assert_eq!(
            harness.client.applied(Kind::Endpoints, "c"),
            Some("none"),
            "{protocol:?}"
        );
    }
}

#[test]
fn endpoints_do_not_wait_if_no_filter_changes_or_the_proxy_has_none() {
    for protocol in BOTH {
        let mut harness = Harness::new(protocol, snapshot_of(some(), "same"), &NAMES);
        harness.settle();
        let from = harness.log.len();
        harness.set_snapshot(snapshot_of(none_left(), "same"));
        while harness.send_response() {}
        assert_eq!(
            harness.names_since(from, Kind::Endpoints),
            [["c"]],
            "{protocol:?}"
        );

        // A proxy that connects now gets the endpoints as they are, even if there are none.
        let mut harness = Harness::new(protocol, snapshot_of(none_left(), "same"), &NAMES);
        harness.settle();
        assert_eq!(
            harness.client.applied(Kind::Endpoints, "c"),
            Some("none"),
            "{protocol:?}"
        );
        assert_eq!(
            harness.client.applied(Kind::Extension, "f"),
            Some("same"),
            "{protocol:?}"
        );
    }
}
