//! Rules 4, 7, 8 and 9: missing resources, coalescing, equal content, retries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_xds::session::{Protocol, Session};
use headgate_xds::{Kind, Options, Resource};

use crate::common::{BOTH, Harness, resource, snapshot};
use crate::snapshots::{ROUTE, route, snapshot_of, subscribe};

#[test]
fn rule_04_missing_routes_filters_and_secrets_are_answered_with_silence() {
    for kind in [Kind::Route, Kind::Extension, Kind::Secret] {
        let mut harness = Harness::new(Protocol::Delta, snapshot([]), &[(kind, "x")]);
        harness.settle_for(Duration::from_secs(60));
        assert!(
            harness.log.iter().all(|response| response.kind != kind),
            "{kind}"
        );
        harness.set_snapshot(snapshot([resource(kind, "x", "1", &[])]));
        harness.settle();
        assert_eq!(harness.client.applied(kind, "x"), Some("1"));
        harness.set_snapshot(snapshot([]));
        harness.settle_for(Duration::from_secs(600));
        assert_eq!(
            harness.client.applied(kind, "x"),
            Some("1"),
            "{kind} was removed"
        );
    }
}

#[test]
fn rule_04_vanished_clusters_listeners_and_endpoints_are_reported_on_reconnect() {
    let listener = |name| resource(Kind::Listener, name, "1", &[]);
    let first = snapshot_of(&[("a", "1"), ("b", "1")], [listener("l"), listener("m")]);
    let mut harness = Harness::new(Protocol::Delta, first, &[]);
    harness.settle();
    harness.snapshot = snapshot_of(&[("a", "1")], [listener("l")]);
    harness.reconnect();
    harness.settle_for(Duration::from_secs(61));
    let removed = |kind| {
        let of_kind = harness
            .log
            .iter()
            .filter(move |response| response.kind == kind);
        of_kind
            .flat_map(|response| response.removed.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(removed(Kind::Cluster), [Arc::from("b")]);
    assert_eq!(removed(Kind::Listener), [Arc::from("m")]);
    assert_eq!(harness.client.applied(Kind::Cluster, "b"), None);
    assert_eq!(harness.client.applied(Kind::Endpoints, "b"), None);
}

#[test]
fn rule_07_only_the_newest_snapshot_waits_for_a_client_that_does_not_read() {
    for protocol in BOTH {
        let mut harness = Harness::new(protocol, snapshot([route("0", &[])]), &ROUTE);
        harness.settle();
        let from = harness.log.len();
        for i in 1..=1000 {
            harness.set_snapshot(snapshot([route(&i.to_string(), &[])]));
        }
        while harness.send_response() {}
        assert_eq!(harness.log.len() - from, 1, "{protocol:?}");
        harness.settle();
        assert_eq!(harness.client.applied(Kind::Route, "r"), Some("1000"));
    }
}

#[test]
fn rule_07_a_client_that_never_answers_has_a_bounded_number_of_responses_in_flight() {
    for protocol in BOTH {
        let mut harness = Harness::new(protocol, snapshot([route("0", &[])]), &ROUTE);
        while harness.receive_request() | harness.send_response() {}
        for i in 1..=1000 {
            harness.set_snapshot(snapshot([route(&i.to_string(), &[])]));
            while harness.send_response() {}
        }
        let unanswered = harness
            .log
            .iter()
            .filter(|response| response.kind == Kind::Route)
            .count();
        assert_eq!(unanswered, Options::default().in_flight, "{protocol:?}");
        harness.settle();
        assert_eq!(harness.client.applied(Kind::Route, "r"), Some("1000"));
    }
}

#[test]
fn rule_08_equal_content_is_not_pushed_again() {
    let make = || {
        let listener = resource(Kind::Listener, "l", "1", &[]);
        snapshot_of(
            &[("a", "1"), ("b", "1")],
            [route("1", &["a", "b"]), listener],
        )
    };
    for protocol in BOTH {
        let mut harness = Harness::new(protocol, make(), &ROUTE);
        harness.settle();
        let from = harness.log.len();
        harness.set_snapshot(make());
        harness.settle();
        assert_eq!(harness.log.len(), from, "{protocol:?}");
    }
    let mut harness = Harness::new(Protocol::Delta, make(), &ROUTE);
    harness.settle();
    harness.reconnect();
    harness.settle_for(Duration::from_secs(120));
    let resent: usize = harness
        .log
        .iter()
        .map(|r| r.items.len() + r.removed.len())
        .sum();
    assert_eq!(
        resent, 0,
        "what the client already has was sent again on reconnect"
    );
    assert!(
        harness
            .session
            .status()
            .values()
            .all(|status| status.is_current())
    );
}

#[test]
fn rule_09_a_rejected_filter_is_retried_in_other_bytes_after_30_s_doubling_to_10_min() {
    let filter = Resource::new(Kind::Extension, "f", "0|bad|")
        .with_retry_body(|n| format!("{n}|{}|", if n < 8 { "bad" } else { "good" }).into());
    for protocol in BOTH {
        let mut harness = Harness::new(
            protocol,
            snapshot([filter.clone()]),
            &[(Kind::Extension, "f")],
        );
        harness.settle();
        let mut last = harness.now;
        for wait in [30, 60, 120, 240, 480, 600, 600, 600] {
            let offers = harness.log.len();
            let due = harness.session.deadline().unwrap();
            assert_eq!(due - last, Duration::from_secs(wait), "{protocol:?}");
            harness.now = due - Duration::from_millis(1);
            harness.settle();
            assert_eq!(harness.log.len(), offers, "too early");
            harness.now = due;
            harness.settle();
            assert_eq!(harness.log.len(), offers + 1);
            last = due;
        }
        let versions: Vec<Arc<str>> = harness
            .log
            .iter()
            .filter(|response| response.kind == Kind::Extension)
            .map(|response| response.items[0].version())
            .collect();
        let mut distinct = versions.clone();
        distinct.dedup();
        assert_eq!((versions.len(), distinct.len()), (9, 9));
        assert_eq!(harness.client.applied(Kind::Extension, "f"), Some("8"));
        let status = &harness.session.status()[&Kind::Extension];
        assert!(status.is_current());
        assert_eq!(
            *status.resources.get("f").unwrap().acked,
            *format!("{}+r8", filter.version())
        );
    }
}

/// A deadline in the past would make a stream poll its session in a busy loop.
#[test]
fn rule_09_a_due_retry_that_waits_for_a_cluster_sets_no_past_deadline() {
    let filter = resource(Kind::Extension, "f", "bad", &["c"])
        .with_retry_body(|n| format!("{n}|good|c").into());
    for protocol in BOTH {
        let mut harness = Harness::new(
            protocol,
            snapshot_of(&[("c", "1")], [filter.clone()]),
            &[(Kind::Extension, "f")],
        );
        // The client rejects the filter before it subscribes to clusters.
        let requests = harness.client.outbox.drain(..);
        let (filters, others): (Vec<_>, Vec<_>) =
            requests.partition(|request| request.kind == Kind::Extension);
        harness.client.outbox.extend(filters);
        harness.settle();
        harness.client.outbox.extend(others);
        while harness.receive_request() | harness.send_response() {}
        harness.advance(Duration::from_secs(31));
        while harness.send_response() {}
        let deadline = harness.session.deadline();
        assert!(deadline.is_none_or(|at| at > harness.now), "{protocol:?}");
        harness.settle();
        let applied = harness.client.applied(Kind::Extension, "f");
        assert_eq!(applied, Some("1"), "{protocol:?}");
    }
}

#[test]
fn rule_09_an_accepted_retry_is_recognised_on_reconnect() {
    let filter =
        Resource::new(Kind::Extension, "f", "0|bad|").with_retry_body(|_| "1|good|".into());
    let mut harness = Harness::new(
        Protocol::Delta,
        snapshot([filter]),
        &[(Kind::Extension, "f")],
    );
    harness.settle_for(Duration::from_secs(60));
    assert_eq!(harness.client.applied(Kind::Extension, "f"), Some("1"));
    harness.reconnect();
    harness.settle_for(Duration::from_secs(60));
    assert!(harness.log.iter().all(|response| response.items.is_empty()));
}

#[test]
fn a_client_that_gets_only_filters_here_does_not_wait_for_clusters() {
    let filter = resource(Kind::Extension, "f", "1", &["c"]);
    let mut harness = Harness::new(
        Protocol::Delta,
        snapshot_of(&[("c", "1")], [filter]),
        &[(Kind::Extension, "f")],
    );
    harness
        .client
        .outbox
        .retain(|request| request.kind == Kind::Extension);
    harness.receive_request();
    harness.send_response();
    assert_eq!(harness.names_since(0, Kind::Extension), [["f"]]);
}

#[test]
fn too_many_names_end_the_stream() {
    let options = Arc::new(Options {
        max_names: 2,
        ..Options::default()
    });
    let mut session = Session::new(Protocol::Delta, options, snapshot([]));
    let now = Instant::now();
    session
        .request(subscribe(Kind::Route, "", &["a", "b"]), now)
        .unwrap();
    session
        .request(subscribe(Kind::Endpoints, "", &["c"]), now)
        .unwrap_err();
}
