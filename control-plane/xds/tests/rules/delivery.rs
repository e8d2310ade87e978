//! Rules 4, 7, 8 and 9: what is missing, what waits, what is not sent, what is sent again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_xds::session::{Protocol, Session};
use headgate_xds::{Kind, Options, Resource};

use crate::common::{BOTH, Rig, resource, snapshot};
use crate::worlds::{ROUTE, route, subscribe, world};

#[test]
fn rule_04_missing_routes_filters_and_secrets_are_answered_with_silence() {
    for kind in [Kind::Route, Kind::Extension, Kind::Secret] {
        let mut rig = Rig::new(Protocol::Delta, snapshot([]), &[(kind, "x")]);
        rig.settle_for(Duration::from_secs(60));
        assert!(
            rig.log.iter().all(|response| response.kind != kind),
            "{kind}"
        );
        rig.set(snapshot([resource(kind, "x", "1", &[])]));
        rig.settle();
        assert_eq!(rig.client.held(kind, "x"), Some("1"));
        rig.set(snapshot([]));
        rig.settle_for(Duration::from_secs(600));
        assert_eq!(rig.client.held(kind, "x"), Some("1"), "{kind} was removed");
    }
}

#[test]
fn rule_04_vanished_clusters_listeners_and_endpoints_are_reported_on_reconnect() {
    let listener = |name| resource(Kind::Listener, name, "1", &[]);
    let first = world(&[("a", "1"), ("b", "1")], [listener("l"), listener("m")]);
    let mut rig = Rig::new(Protocol::Delta, first, &[]);
    rig.settle();
    rig.world = world(&[("a", "1")], [listener("l")]);
    rig.reconnect();
    rig.settle_for(Duration::from_secs(61));
    let removed = |kind| {
        let of_kind = rig.log.iter().filter(move |response| response.kind == kind);
        of_kind
            .flat_map(|response| response.removed.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(removed(Kind::Cluster), ["b"]);
    assert_eq!(removed(Kind::Listener), ["m"]);
    assert_eq!(rig.client.held(Kind::Cluster, "b"), None);
    assert_eq!(rig.client.held(Kind::Endpoints, "b"), None);
}

#[test]
fn rule_07_only_the_newest_snapshot_waits_for_a_client_that_does_not_read() {
    for protocol in BOTH {
        let mut rig = Rig::new(protocol, snapshot([route("0", &[])]), &ROUTE);
        rig.settle();
        let from = rig.log.len();
        for i in 1..=1000 {
            rig.set(snapshot([route(&i.to_string(), &[])]));
        }
        while rig.speak() {}
        assert_eq!(rig.log.len() - from, 1, "{protocol:?}");
        rig.settle();
        assert_eq!(rig.client.held(Kind::Route, "r"), Some("1000"));
    }
}

#[test]
fn rule_07_a_client_that_never_answers_has_a_bounded_number_of_responses_under_way() {
    for protocol in BOTH {
        let mut rig = Rig::new(protocol, snapshot([route("0", &[])]), &ROUTE);
        while rig.hear() | rig.speak() {}
        for i in 1..=1000 {
            rig.set(snapshot([route(&i.to_string(), &[])]));
            while rig.speak() {}
        }
        let unanswered = rig
            .log
            .iter()
            .filter(|response| response.kind == Kind::Route)
            .count();
        assert_eq!(unanswered, Options::default().in_flight, "{protocol:?}");
        rig.settle();
        assert_eq!(rig.client.held(Kind::Route, "r"), Some("1000"));
    }
}

#[test]
fn rule_08_equal_content_is_not_pushed_again() {
    let make = || {
        let listener = resource(Kind::Listener, "l", "1", &[]);
        world(
            &[("a", "1"), ("b", "1")],
            [route("1", &["a", "b"]), listener],
        )
    };
    for protocol in BOTH {
        let mut rig = Rig::new(protocol, make(), &ROUTE);
        rig.settle();
        let from = rig.log.len();
        rig.set(make());
        rig.settle();
        assert_eq!(rig.log.len(), from, "{protocol:?}");
    }
    let mut rig = Rig::new(Protocol::Delta, make(), &ROUTE);
    rig.settle();
    rig.reconnect();
    rig.settle_for(Duration::from_secs(120));
    let resent: usize = rig
        .log
        .iter()
        .map(|r| r.items.len() + r.removed.len())
        .sum();
    assert_eq!(
        resent, 0,
        "what the client already has was sent again on reconnect"
    );
    assert!(
        rig.session
            .status()
            .values()
            .all(|status| status.is_settled())
    );
}

#[test]
fn rule_09_a_refused_filter_is_retried_in_other_bytes_after_30_s_doubling_to_10_min() {
    let filter = Resource::new(Kind::Extension, "f", "0|bad|")
        .rearmed_by(|n| format!("{n}|{}|", if n < 8 { "bad" } else { "good" }).into());
    for protocol in BOTH {
        let mut rig = Rig::new(
            protocol,
            snapshot([filter.clone()]),
            &[(Kind::Extension, "f")],
        );
        rig.settle();
        let mut last = rig.now;
        for wait in [30, 60, 120, 240, 480, 600, 600, 600] {
            let offers = rig.log.len();
            let due = rig.session.deadline().unwrap();
            assert_eq!(due - last, Duration::from_secs(wait), "{protocol:?}");
            rig.now = due - Duration::from_millis(1);
            rig.settle();
            assert_eq!(rig.log.len(), offers, "too early");
            rig.now = due;
            rig.settle();
            assert_eq!(rig.log.len(), offers + 1);
            last = due;
        }
        let versions: Vec<String> = rig
            .log
            .iter()
            .filter(|response| response.kind == Kind::Extension)
            .map(|response| response.items[0].version())
            .collect();
        let mut distinct = versions.clone();
        distinct.dedup();
        assert_eq!((versions.len(), distinct.len()), (9, 9));
        assert_eq!(rig.client.held(Kind::Extension, "f"), Some("8"));
        let status = &rig.session.status()[&Kind::Extension];
        assert!(status.is_settled());
        assert_eq!(
            status.resources["f"].acked,
            format!("{}+r8", filter.version())
        );
    }
}

#[test]
fn rule_09_an_accepted_retry_is_recognised_on_reconnect() {
    let filter = Resource::new(Kind::Extension, "f", "0|bad|").rearmed_by(|_| "1|good|".into());
    let mut rig = Rig::new(
        Protocol::Delta,
        snapshot([filter]),
        &[(Kind::Extension, "f")],
    );
    rig.settle_for(Duration::from_secs(60));
    assert_eq!(rig.client.held(Kind::Extension, "f"), Some("1"));
    rig.reconnect();
    rig.settle_for(Duration::from_secs(60));
    assert!(rig.log.iter().all(|response| response.items.is_empty()));
}

#[test]
fn a_client_of_filters_alone_does_not_wait_for_clusters_it_gets_elsewhere() {
    let filter = resource(Kind::Extension, "f", "1", &["c"]);
    let mut rig = Rig::new(
        Protocol::Delta,
        world(&[("c", "1")], [filter]),
        &[(Kind::Extension, "f")],
    );
    rig.client
        .outbox
        .retain(|request| request.kind == Kind::Extension);
    rig.hear();
    rig.speak();
    assert_eq!(rig.names_since(0, Kind::Extension), [["f"]]);
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
