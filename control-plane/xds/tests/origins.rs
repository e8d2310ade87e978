//! The origin of a resource, handed back with every ACK and NACK.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::{BOTH, Harness, resource, snapshot};
use headgate_xds::session::{Event, LastGood, Protocol};
use headgate_xds::{Kind, Origin, OriginObject, Resource, Snapshot};

/// An origin of deployments at these revisions.
fn origin(objects: &[(&str, &str)]) -> Origin {
    Origin::new(objects.iter().map(|(name, revision)| OriginObject {
        kind: "deployment".to_owned(),
        namespace: "default".to_owned(),
        name: (*name).to_owned(),
        revision: (*revision).to_owned(),
    }))
}

fn filter(text: &str, objects: &[(&str, &str)]) -> Arc<Snapshot> {
    let filter = resource(Kind::Extension, "f", text, &[]);
    snapshot([filter.with_origin(origin(objects))])
}

const FILTER: [(Kind, &str); 1] = [(Kind::Extension, "f")];

/// The objects that the client's state blames for the rejection of the filter.
fn blamed(harness: &Harness) -> Vec<String> {
    let status = &harness.session.status()[&Kind::Extension];
    let blamed = status.nacked["f"].blamed();
    blamed.into_iter().map(ToString::to_string).collect()
}

#[test]
fn an_origin_takes_no_part_in_versions() {
    let (one, other) = (filter("1", &[("a", "1")]), filter("1", &[("b", "1")]));
    assert!(one.same_content(&other) && !one.same_origins(&other));
    assert!(one.same_origins(&filter("1", &[("a", "1")])));
    let version = |snapshot: &Snapshot| snapshot.version(Kind::Extension).to_owned();
    assert_eq!(version(&one), version(&filter("1", &[])));
}

#[test]
fn an_answer_hands_back_the_origin_of_the_version_that_was_sent() {
    for protocol in BOTH {
        let mut harness = Harness::new(protocol, filter("1", &[("a", "1")]), &FILTER);
        let serve =
            |harness: &mut Harness| while harness.receive_request() | harness.send_response() {};
        serve(&mut harness);
        // By the time of the answer another version is wanted.
        harness.set_snapshot(filter("bad", &[("a", "2")]));
        while harness.deliver_response() {}
        serve(&mut harness);
        harness.set_snapshot(filter("3", &[("a", "3")]));
        while harness.deliver_response() {}
        while harness.receive_request() {}
        let (mut acked, mut nacked) = (Vec::new(), Vec::new());
        for event in harness.session.take_events() {
            match event {
                Event::Sent { .. } => {}
                Event::Acked { items, .. } => acked.extend(items),
                Event::Nacked { items, .. } => nacked.extend(items),
            }
        }
        let [acked] = acked.as_slice() else {
            panic!("{protocol:?}: {acked:?}");
        };
        assert_eq!(acked.origin, origin(&[("a", "1")]), "{protocol:?}");
        let [nacked] = nacked.as_slice() else {
            panic!("{protocol:?}: {nacked:?}");
        };
        assert_eq!(nacked.origin, origin(&[("a", "2")]), "{protocol:?}");
        assert_eq!(nacked.running, Some(origin(&[("a", "1")])));
    }
}

#[test]
fn only_objects_that_changed_since_the_running_version_are_blamed() {
    for protocol in BOTH {
        let first = filter("1", &[("a", "1"), ("b", "1")]);
        let mut harness = Harness::new(protocol, first, &FILTER);
        harness.settle();
        let objects = [("a", "1"), ("b", "2"), ("c", "1")];
        harness.set_snapshot(filter("bad", &objects));
        harness.settle();
        let expected = ["deployment default/b", "deployment default/c"];
        assert_eq!(blamed(&harness), expected, "{protocol:?}");
    }
}

#[test]
fn all_objects_are_blamed_if_the_proxy_runs_no_version() {
    for protocol in BOTH {
        let first = filter("bad", &[("a", "1"), ("b", "1")]);
        let mut harness = Harness::new(protocol, first, &FILTER);
        harness.settle();
        let status = &harness.session.status()[&Kind::Extension];
        assert_eq!(status.nacked["f"].running, None, "{protocol:?}");
        let expected = ["deployment default/a", "deployment default/b"];
        assert_eq!(blamed(&harness), expected, "{protocol:?}");
    }
}

/// A NACK names no resource. The one at fault is found by bisection, and with it its origin.
#[test]
fn of_a_rejected_wildcard_response_only_the_objects_of_the_bad_resource_are_blamed() {
    for protocol in BOTH {
        let names: Vec<String> = (0..32).map(|n| format!("c{n:02}")).collect();
        let clusters = names.iter().flat_map(|name| {
            let text = if name == "c17" { "bad" } else { "good" };
            let cluster = resource(Kind::Cluster, name, text, &[]);
            let endpoints = resource(Kind::Endpoints, name, "1", &[]);
            [cluster.with_origin(origin(&[(name, "1")])), endpoints]
        });
        let mut harness = Harness::new(protocol, snapshot(clusters), &[]);
        harness.settle();
        let status = &harness.session.status()[&Kind::Cluster];
        let rejected: Vec<_> = status.nacked.iter().collect();
        let [(name, nacked)] = rejected.as_slice() else {
            panic!("{protocol:?}: {rejected:?}");
        };
        assert_eq!(
            (&***name, &nacked.origin),
            ("c17", &origin(&[("c17", "1")]))
        );
    }
}

#[test]
fn the_newest_origin_of_equal_bytes_counts_and_nothing_is_sent_for_it() {
    for protocol in BOTH {
        let mut harness = Harness::new(protocol, filter("1", &[("a", "1")]), &FILTER);
        harness.settle();
        let sent = harness.log.len();
        harness.set_snapshot(filter("1", &[("a", "2")]));
        harness.settle();
        assert_eq!(harness.log.len(), sent, "{protocol:?}");
        let status = &harness.session.status()[&Kind::Extension];
        assert_eq!(
            status.resources.get("f").unwrap().origin,
            origin(&[("a", "2")])
        );
        // What changed since then is compared with the newest origin too.
        harness.set_snapshot(filter("bad", &[("a", "2"), ("b", "1")]));
        harness.settle();
        assert_eq!(blamed(&harness), ["deployment default/b"], "{protocol:?}");
    }
}

/// A delta client names the version that it runs when it reconnects. The server knows its origin if it is a last good version.
#[test]
fn the_origin_of_the_running_version_survives_a_reconnect() {
    let mut harness = Harness::new(Protocol::Delta, filter("1", &[("a", "1")]), &FILTER);
    harness.settle();
    let mut last_good = LastGood::default();
    for resource in harness.session.take_accepted() {
        last_good.accept(&resource, &harness.snapshot);
    }
    harness.set_snapshot(filter("bad", &[("a", "1"), ("b", "1")]));
    harness.settle();
    harness.reconnect();
    harness.session.set_last_good(Arc::new(last_good));
    harness.settle();
    assert_eq!(blamed(&harness), ["deployment default/b"]);
}

#[test]
fn a_resource_without_an_origin_blames_nothing() {
    let plain: Resource = resource(Kind::Extension, "f", "bad", &[]);
    assert!(!plain.origin().is_known());
    let mut harness = Harness::new(Protocol::Delta, snapshot([plain]), &FILTER);
    harness.settle();
    assert!(blamed(&harness).is_empty());
}
