//! Rules 1 and 2: requests and rejections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_xds::session::{Protocol, Session, SubscriptionUpdate};
use headgate_xds::{Kind, Options};

use crate::common::{BOTH, Harness, resource, snapshot};
use crate::snapshots::{ROUTE, replace, route, routes, snapshot_of, subscribe};

#[test]
fn rule_01_a_stale_nonce_is_ignored_in_state_of_the_world() {
    let now = Instant::now();
    let options = Arc::new(Options::default());
    let mut session = Session::new(Protocol::StateOfTheWorld, options, routes("1", "1"));
    session
        .request(replace(Kind::Route, "", &["a"]), now)
        .unwrap();
    let first = session.poll(now).unwrap();
    session.set_snapshot(routes("2", "1"));
    let second = session.poll(now).unwrap();
    session
        .request(replace(Kind::Route, &first.nonce, &["a", "b"]), now)
        .unwrap();
    assert!(session.poll(now).is_none(), "a stale list was honoured");
    session
        .request(replace(Kind::Route, &second.nonce, &["a", "b"]), now)
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
            .request(replace(Kind::Route, nonce, names), now)
            .unwrap();
    };
    request(&mut session, "", &["a", "b"]);
    let first = session.poll(now).unwrap();
    request(&mut session, &first.nonce, &["a", "b"]);
    session.set_snapshot(routes("1", "2"));
    let second = session.poll(now).unwrap();
    // The client unsubscribes from `a`, subscribes again, and only then accepts the second response.
    request(&mut session, &first.nonce, &["b"]);
    request(&mut session, &first.nonce, &["a", "b"]);
    assert!(session.poll(now).is_none(), "a stale list was honoured");
    request(&mut session, &second.nonce, &["a", "b"]);
    let third = session.poll(now).expect("it is left without `a`");
    assert_eq!(third.items.len(), 1);
    assert_eq!(third.items[0].resource.name(), "a");
    request(&mut session, &third.nonce, &["a", "b"]);
    assert!(session.poll(now).is_none());
}

#[test]
fn rule_01_delta_subscriptions_are_honoured_even_with_a_stale_nonce() {
    let now = Instant::now();
    let options = Arc::new(Options::default());
    let mut session = Session::new(Protocol::Delta, options, routes("1", "1"));
    session
        .request(subscribe(Kind::Route, "", &["a"]), now)
        .unwrap();
    let first = session.poll(now).unwrap();
    session.set_snapshot(routes("2", "1"));
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
        let mut harness = Harness::new(protocol, snapshot([route("1", &[])]), &ROUTE);
        harness.settle();
        assert!(harness.session.status()[&Kind::Route].is_current());
        harness.set_snapshot(snapshot([route("2", &[])]));
        harness.send_response();
        harness.deliver_response();
        let mut answer = harness.client.outbox.pop_back().unwrap();
        // The version of the response, as an ACK would have it.
        if let SubscriptionUpdate::Replace { version_info, .. } = &mut answer.subscription {
            *version_info = harness.log.last().unwrap().version.to_string();
        }
        answer.error = Some("no".to_owned());
        harness.session.request(answer, harness.now).unwrap();
        let status = &harness.session.status()[&Kind::Route];
        assert_eq!(status.nacked["r"].message, "no", "{protocol:?}");
        assert!(!status.is_current());
    }
}

#[test]
fn rule_02_a_rejected_version_is_never_resent_and_the_newest_other_is() {
    for protocol in BOTH {
        let mut harness = Harness::new(protocol, snapshot_of(&[("c", "1")], []), &[]);
        harness.settle();
        harness.set_snapshot(snapshot_of(&[("c", "bad")], []));
        while harness.send_response() {}
        harness.settle();
        assert_eq!(
            harness.client.applied(Kind::Cluster, "c"),
            Some("1"),
            "the last good one stays"
        );
        let status = &harness.session.status()[&Kind::Cluster];
        assert!(status.nacked.contains_key("c"));
        assert_ne!(
            status.acked, status.wanted,
            "a rejected version counts as acknowledged"
        );
        harness.set_snapshot(snapshot_of(&[("c", "bad"), ("d", "1")], []));
        harness.settle_for(Duration::from_secs(3600));
        let bad = harness
            .snapshot
            .get(Kind::Cluster, "c")
            .unwrap()
            .version()
            .to_owned();
        let offers = harness.log.iter().flat_map(|response| &response.items);
        let offers = offers.filter(|item| *item.version() == *bad).count();
        assert_eq!(offers, 1, "{protocol:?}");
        assert!(
            harness.session.status()[&Kind::Cluster]
                .nacked
                .contains_key("c")
        );
        harness.set_snapshot(snapshot_of(&[("c", "2"), ("d", "1")], []));
        harness.settle();
        assert_eq!(harness.client.applied(Kind::Cluster, "c"), Some("2"));
        assert!(
            harness.session.status()[&Kind::Cluster].is_current(),
            "{protocol:?}"
        );
    }
}

#[test]
fn rule_02_one_bad_resource_is_quarantined_and_the_rest_is_sent() {
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
        let mut harness = Harness::new(protocol, snapshot(resources), &secrets);
        harness.settle_for(Duration::from_secs(60));
        assert_eq!(
            harness.client.kinds[&kind].applied.len(),
            63,
            "{protocol:?} {kind}"
        );
        let status = &harness.session.status()[&kind];
        assert_eq!(
            status.nacked.keys().collect::<Vec<_>>(),
            [&Arc::from("s41")]
        );
        let bad = harness
            .snapshot
            .get(kind, "s41")
            .unwrap()
            .version()
            .to_owned();
        let offers = harness
            .log
            .iter()
            .filter(|r| r.items.iter().any(|i| *i.version() == *bad))
            .count();
        assert!(offers <= 8, "{offers} offers: not a bisection");
    }
}
