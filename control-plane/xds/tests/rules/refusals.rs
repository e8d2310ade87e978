//! Rules 1 and 2: what a request says, and what is refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_xds::session::{Interest, Protocol, Session};
use headgate_xds::{Kind, Options};

use crate::common::{BOTH, Rig, resource, snapshot};
use crate::worlds::{ROUTE, route, routes, subscribe, whole, world};

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
