//! The server rules of the design, one by one, against a client that behaves like Envoy and under a
//! clock that only the test moves. (Rule 5, the wire's half of rule 6 and rule 7's bound on memory
//! are in `over_loopback.rs`, pacing is in `pacing.rs`.)

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{BOTH, Rig, resource, snapshot};
use headgate_xds::session::{Interest, Protocol, Request, Session};
use headgate_xds::{Kind, Options, Resource, Snapshot};

const ROUTE: [(Kind, &str); 1] = [(Kind::Route, "r")];

fn cluster(name: &str, text: &str) -> [Resource; 2] {
    [
        resource(Kind::Cluster, name, text, &[]),
        resource(Kind::Endpoints, name, "e", &[]),
    ]
}

fn route(text: &str, clusters: &[&str]) -> Resource {
    resource(Kind::Route, "r", text, clusters)
}

fn world(clusters: &[(&str, &str)], rest: impl IntoIterator<Item = Resource>) -> Arc<Snapshot> {
    snapshot(
        clusters
            .iter()
            .flat_map(|(name, text)| cluster(name, text))
            .chain(rest),
    )
}

fn whole(kind: Kind, nonce: &str, names: &[&str]) -> Request {
    let names = names.iter().map(|s| (*s).to_owned()).collect();
    let interest = Interest::Whole {
        names,
        version: String::new(),
    };
    Request {
        kind,
        nonce: nonce.to_owned(),
        error: None,
        interest,
    }
}

fn subscribe(kind: Kind, nonce: &str, names: &[&str]) -> Request {
    let subscribe = names.iter().map(|s| (*s).to_owned()).collect();
    let interest = Interest::Change {
        subscribe,
        unsubscribe: Vec::new(),
        initial: Vec::new(),
    };
    Request {
        kind,
        nonce: nonce.to_owned(),
        error: None,
        interest,
    }
}

fn routes(a: &str, b: &str) -> Arc<Snapshot> {
    snapshot([
        resource(Kind::Route, "a", a, &[]),
        resource(Kind::Route, "b", b, &[]),
    ])
}

#[test]
fn rule_01_a_stale_nonce_is_ignored_in_state_of_the_world() {
    let now = Instant::now();
    let options = Arc::new(Options::default());
    let mut session = Session::new(Protocol::StateOfTheWorld, options, routes("1", "1"));
    session
        .request(whole(Kind::Route, "", &["a"]), now)
        .unwrap();
    let first = session.poll(now).unwrap();
    session.snapshot(routes("2", "1"));
    let second = session.poll(now).unwrap();
    session
        .request(whole(Kind::Route, &first.nonce, &["a", "b"]), now)
        .unwrap();
    assert!(session.poll(now).is_none(), "a stale list was honoured");
    session
        .request(whole(Kind::Route, &second.nonce, &["a", "b"]), now)
        .unwrap();
    let third = session.poll(now).unwrap();
    assert_eq!(third.items.len(), 1);
    assert_eq!(third.items[0].resource.name(), "b");
}

#[test]
fn rule_01_a_name_that_only_a_stale_list_left_out_is_sent_again() {
    let now = Instant::now();
    let options = Arc::new(Options::default());
    let mut session = Session::new(Protocol::StateOfTheWorld, options, routes("1", "1"));
    let request = |session: &mut Session, nonce: &str, names: &[&str]| {
        session
            .request(whole(Kind::Route, nonce, names), now)
            .unwrap();
    };
    request(&mut session, "", &["a", "b"]);
    let first = session.poll(now).unwrap();
    request(&mut session, &first.nonce, &["a", "b"]);
    session.snapshot(routes("1", "2"));
    let second = session.poll(now).unwrap();
    // It drops `a`, asks for it again, and only then takes the second response.
    request(&mut session, &first.nonce, &["b"]);
    request(&mut session, &first.nonce, &["a", "b"]);
    assert!(session.poll(now).is_none(), "a stale list was honoured");
    request(&mut session, &second.nonce, &["a", "b"]);
    let third = session.poll(now).expect("it was left without `a`");
    assert_eq!(third.items.len(), 1);
    assert_eq!(third.items[0].resource.name(), "a");
    request(&mut session, &third.nonce, &["a", "b"]);
    assert!(session.poll(now).is_none());
}

#[test]
fn rule_01_delta_interest_is_honoured_even_with_a_stale_nonce() {
    let now = Instant::now();
    let options = Arc::new(Options::default());
    let mut session = Session::new(Protocol::Delta, options, routes("1", "1"));
    session
        .request(subscribe(Kind::Route, "", &["a"]), now)
        .unwrap();
    let first = session.poll(now).unwrap();
    session.snapshot(routes("2", "1"));
    session.poll(now).unwrap();
    session
        .request(subscribe(Kind::Route, &first.nonce, &["b"]), now)
        .unwrap();
    let third = session.poll(now).unwrap();
    assert_eq!(third.items[0].resource.name(), "b");
}

#[test]
fn rule_01_a_nack_is_judged_by_error_detail_alone() {
    for protocol in BOTH {
        let mut rig = Rig::new(protocol, snapshot([route("1", &[])]), &ROUTE);
        rig.settle();
        assert!(rig.session.status()[&Kind::Route].is_settled());
        rig.set(snapshot([route("2", &[])]));
        rig.speak();
        rig.deliver();
        let mut answer = rig.client.outbox.pop_back().unwrap();
        // The version of the response, as an ACK would have it.
        if let Interest::Whole { version, .. } = &mut answer.interest {
            version.clone_from(&rig.log.last().unwrap().version);
        }
        answer.error = Some("no".to_owned());
        rig.session.request(answer, rig.now).unwrap();
        let status = &rig.session.status()[&Kind::Route];
        assert_eq!(status.nacked["r"].message, "no", "{protocol:?}");
        assert!(!status.is_settled());
    }
}

#[test]
fn rule_02_a_refused_version_is_never_resent_and_the_newest_other_is() {
    for protocol in BOTH {
        let mut rig = Rig::new(protocol, world(&[("c", "1")], []), &[]);
        rig.settle();
        rig.set(world(&[("c", "bad")], []));
        while rig.speak() {}
        rig.settle();
        assert_eq!(
            rig.client.held(Kind::Cluster, "c"),
            Some("1"),
            "the last good one stays"
        );
        let status = &rig.session.status()[&Kind::Cluster];
        assert!(status.nacked.contains_key("c"));
        assert_ne!(
            status.acked, status.wanted,
            "a refused version counts as acknowledged"
        );
        rig.set(world(&[("c", "bad"), ("d", "1")], []));
        rig.settle_for(Duration::from_secs(3600));
        let bad = rig
            .world
            .get(Kind::Cluster, "c")
            .unwrap()
            .version()
            .to_owned();
        let offers = rig.log.iter().flat_map(|response| &response.items);
        let offers = offers.filter(|item| item.version() == bad).count();
        assert_eq!(offers, 1, "{protocol:?}");
        assert!(
            rig.session.status()[&Kind::Cluster]
                .nacked
                .contains_key("c")
        );
        rig.set(world(&[("c", "2"), ("d", "1")], []));
        rig.settle();
        assert_eq!(rig.client.held(Kind::Cluster, "c"), Some("2"));
        assert!(
            rig.session.status()[&Kind::Cluster].is_settled(),
            "{protocol:?}"
        );
    }
}

#[test]
fn rule_02_one_bad_resource_is_quarantined_and_the_rest_goes_out() {
    let names: Vec<String> = (0..64).map(|i| format!("s{i:02}")).collect();
    let secrets: Vec<(Kind, &str)> = names.iter().map(|n| (Kind::Secret, n.as_str())).collect();
    for (protocol, kind) in BOTH
        .into_iter()
        .flat_map(|p| [(p, Kind::Cluster), (p, Kind::Secret)])
    {
        let text = |i: usize| if i == 41 { "bad" } else { "good" };
        let bad_or_not = names
            .iter()
            .enumerate()
            .map(|(i, n)| resource(kind, n, text(i), &[]));
        let endpoints = names.iter().map(|n| resource(Kind::Endpoints, n, "e", &[]));
        let resources = bad_or_not.chain(endpoints);
        let mut rig = Rig::new(protocol, snapshot(resources), &secrets);
        rig.settle_for(Duration::from_secs(60));
        assert_eq!(
            rig.client.kinds[&kind].held.len(),
            63,
            "{protocol:?} {kind}"
        );
        let status = &rig.session.status()[&kind];
        assert_eq!(status.nacked.keys().collect::<Vec<_>>(), ["s41"]);
        let bad = rig.world.get(kind, "s41").unwrap().version().to_owned();
        let offers = rig
            .log
            .iter()
            .filter(|r| r.items.iter().any(|i| i.version() == bad))
            .count();
        assert!(offers <= 8, "{offers} offers: not a bisection");
    }
}

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
