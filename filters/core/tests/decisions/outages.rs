//! A version that cannot be reached is passed over for new sessions, tried again, and takes back what it had.

use std::collections::BTreeSet;

use headgate_contract::names;
use headgate_core::effects::Effect;
use headgate_core::stream::Stream;
use headgate_core::vm::Vm;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::proxy::{BOTH, Proxy, SECOND, counted, reply, request_header, state, text, tokens};

const REFUSED: &str = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}";
const SESSION: &str = "x-conversation-id";

/// `v1`, and `v2` as a canary of a half. `more`: what else the namespace has.
fn half(more: &str) -> String {
    plan(
        r#""canaries":[{"carrier":"deployment/b","weight":50,"versions":[{"version":"v2","endpoints":1}]}],
        "base":[{"carrier":"deployment/a","weight":1,"versions":[{"version":"v1","endpoints":1}]}]"#,
        more,
    )
}

fn plan(model: &str, more: &str) -> String {
    format!(
        r#"{{"maxBodyBytes":4096,"namespaces":{{"default":{{"models":{{"m":{{{model}}}}}{more}}}}}}}"#
    )
}

/// Sends a request of a session and returns its version and its effects.
fn send(proxy: &mut Proxy, session: u64) -> (Stream, String, Vec<Effect>) {
    let session = session.to_string();
    let headers = [(SESSION, session.as_str())];
    let (stream, step) = proxy.chat(&headers, r#"{"model":"m","messages":[]}"#);
    let version = request_header(&step, names::HEADER_VERSION)
        .unwrap()
        .to_owned();
    (stream, version, step.effects)
}

/// The same with the end of the stream: `v2` cannot be reached.
fn send_and_answer(proxy: &mut Proxy, session: u64) -> (String, Vec<Effect>) {
    let (mut stream, version, mut effects) = send(proxy, session);
    effects.extend(answer(proxy, &mut stream, &version, "v2"));
    (version, effects)
}

fn answer(proxy: &mut Proxy, stream: &mut Stream, version: &str, dead: &str) -> Vec<Effect> {
    let status = match version == dead {
        true => {
            proxy.host.ends(REFUSED, true);
            "503"
        }
        false => {
            proxy.host.serves(version);
            "200"
        }
    };
    let mut effects = proxy.answer(stream, &[(":status", status)], "{}").effects;
    effects.extend(proxy.end(stream));
    effects
}

fn warnings(effects: &[Effect]) -> Vec<&str> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Warn(line) => Some(line.as_str()),
            _ => None,
        })
        .collect()
}

/// Sends sessions from 0 on until the version is passed over. Returns the number of failures and all effects.
fn fail(proxy: &mut Proxy) -> (usize, Vec<Effect>) {
    let mut effects = Vec::new();
    let mut failed = 0;
    for session in 0..200 {
        let (version, done) = send_and_answer(proxy, session);
        failed += usize::from(version == "v2");
        effects.extend(done);
    }
    (failed, effects)
}

/// A session of `v2` while `v2` is reachable.
fn session_of_v2() -> u64 {
    let mut fresh = Proxy::new(&half(""));
    let found = (0..100).find(|session| send(&mut fresh, *session).1 == "v2");
    found.unwrap()
}

#[test]
fn five_failures_in_a_row_pass_a_version_over() {
    let mut proxy = Proxy::new(&half(""));
    let (failed, effects) = fail(&mut proxy);
    assert_eq!(failed, 5, "of 200 sessions");
    assert_eq!(
        counted(
            &effects,
            "model=.=m;.;version=.=v2;.;headgate_outages_total"
        ),
        1
    );
    let passed = counted(
        &effects,
        "model=.=m;.;version=.=v2;.;headgate_passed_over_total",
    );
    assert!((70..130).contains(&passed), "{passed}");
    let lines = warnings(&effects);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("version v2 of model m in namespace default"),
        "{lines:?}"
    );
}

#[test]
fn an_answer_resets_the_count_of_failures() {
    let mut proxy = Proxy::new(&half(""));
    let session = session_of_v2();
    for n in 0..40 {
        let (mut stream, version, _) = send(&mut proxy, session);
        assert_eq!(version, "v2", "{n}");
        let dead = if n % 5 == 4 { "none" } else { "v2" };
        answer(&mut proxy, &mut stream, &version, dead);
    }
}

#[test]
fn an_answer_of_a_server_is_not_an_outage() {
    for (details, status) in [
        ("via_upstream", "503"),
        (
            "upstream_reset_before_response_started{connection_termination}",
            "503",
        ),
        ("upstream_reset_before_response_started{overflow}", "503"),
        ("response_timeout", "504"),
        ("cluster_not_found", "503"),
    ] {
        let mut proxy = Proxy::new(&half(""));
        let session = session_of_v2();
        for _ in 0..20 {
            let (mut stream, version, _) = send(&mut proxy, session);
            assert_eq!(version, "v2", "{details}");
            proxy.host.ends(details, true);
            proxy.answer(&mut stream, &[(":status", status)], "{}");
            proxy.end(&mut stream);
        }
    }
}

#[test]
fn every_kind_of_connection_failure_counts() {
    for details in [
        REFUSED,
        "no_healthy_upstream",
        "upstream_reset_before_response_started{connection_timeout}",
        "upstream_reset_before_response_started{local_connection_failure}",
        "upstream_reset_before_response_started{remote_connection_failure|TLS_error:|1:CERTIFICATE_VERIFY_FAILED}",
    ] {
        // With tags the answer is checked at its start; without tags and buckets, at the end of the stream.
        for more in [
            "",
            r#","tagging":[{"policy":"t","tagging":{"responseHeaders":false}}]"#,
        ] {
            let mut proxy = Proxy::new(&half(more));
            let session = session_of_v2();
            for n in 0..6 {
                let (mut stream, version, _) = send(&mut proxy, session);
                assert_eq!(version == "v2", n < 5, "{details} {more} {n}");
                proxy.host.ends(details, false);
                if stream.wants_response() {
                    proxy.answer(&mut stream, &[(":status", "503")], "{}");
                }
                proxy.end(&mut stream);
            }
        }
    }
}

#[test]
fn one_request_tries_again_after_ten_seconds_doubling_up_to_five_minutes() {
    let mut proxy = Proxy::new(&half(""));
    fail(&mut proxy);
    let session = session_of_v2();
    for seconds in [10, 20, 40, 80, 160, 300, 300] {
        proxy.host.sleep(seconds * SECOND - 1);
        assert_eq!(
            send_and_answer(&mut proxy, session).0,
            "v1",
            "before {seconds} s"
        );
        proxy.host.sleep(1);
        // One request tries it; the others go elsewhere until its result is known.
        let (mut stream, tried, _) = send(&mut proxy, session);
        assert_eq!(tried, "v2", "after {seconds} s");
        assert_eq!(send(&mut proxy, session).1, "v1");
        let effects = answer(&mut proxy, &mut stream, &tried, "v2");
        assert!(warnings(&effects).is_empty(), "it is the same outage");
        assert_eq!(send_and_answer(&mut proxy, session).0, "v1");
    }
    proxy.host.sleep(300 * SECOND);
    let (mut stream, tried, _) = send(&mut proxy, session);
    assert_eq!(tried, "v2");
    answer(&mut proxy, &mut stream, &tried, "none");
    assert_eq!(
        send(&mut proxy, session).1,
        "v2",
        "it has its sessions again"
    );
    // The history is cleared: one failure is not enough, and five failures start with ten seconds again.
    for _ in 0..5 {
        assert_eq!(send_and_answer(&mut proxy, session).0, "v2");
    }
    assert_eq!(send_and_answer(&mut proxy, session).0, "v1");
    proxy.host.sleep(10 * SECOND);
    assert_eq!(send(&mut proxy, session).1, "v2");
}

#[test]
fn a_trial_that_does_not_end_is_followed_by_another() {
    let mut proxy = Proxy::new(&half(""));
    fail(&mut proxy);
    let session = session_of_v2();
    proxy.host.sleep(10 * SECOND);
    assert_eq!(send(&mut proxy, session).1, "v2");
    proxy.host.sleep(10 * SECOND - 1);
    assert_eq!(send(&mut proxy, session).1, "v1");
    proxy.host.sleep(1);
    assert_eq!(send(&mut proxy, session).1, "v2");
}

#[test]
fn a_pin_still_reaches_the_version_and_its_answer_ends_the_outage() {
    let mut proxy = Proxy::new(&half(""));
    fail(&mut proxy);
    let session = session_of_v2();
    let pin = [(names::HEADER_VERSION, "v2")];
    let body = r#"{"model":"m","messages":[]}"#;
    let (mut stream, step) = proxy.chat(&pin, body);
    assert_eq!(state(&step, "headgate.version"), Some("v2"));
    answer(&mut proxy, &mut stream, "v2", "v2");
    proxy.host.sleep(10 * SECOND - 1);
    assert_eq!(
        send_and_answer(&mut proxy, session).0,
        "v1",
        "a failed pin makes it no longer"
    );
    let (mut stream, _) = proxy.chat(&pin, body);
    answer(&mut proxy, &mut stream, "v2", "none");
    assert_eq!(send(&mut proxy, session).1, "v2");
}

#[test]
fn a_version_without_an_alternative_is_not_passed_over() {
    let alone = r#""base":[{"carrier":"deployment/a","weight":1,"versions":[{"version":"v2","endpoints":1}]}],
        "dark":[{"carrier":"deployment/b","versions":[{"version":"v1","endpoints":1}]}]"#;
    let mut proxy = Proxy::new(&plan(alone, ""));
    let (failed, effects) = fail(&mut proxy);
    assert_eq!(failed, 200);
    assert_eq!(
        counted(
            &effects,
            "model=.=m;.;version=.=v2;.;headgate_outages_total"
        ),
        0
    );
    assert!(
        proxy.host.cells.borrow().is_empty(),
        "nothing to tell others"
    );

    // The same for two versions that are both unreachable.
    let mut proxy = Proxy::new(&half(""));
    for session in 0..200 {
        let (mut stream, version, _) = send(&mut proxy, session);
        answer(&mut proxy, &mut stream, &version, &version);
    }
    assert!(["v1", "v2"].contains(&&*send(&mut proxy, 1).1));
}

#[test]
fn a_stand_in_takes_over_from_an_unreachable_base() {
    let base = r#""base":[{"carrier":"deployment/a","weight":1,"versions":[{"version":"v2","endpoints":1}]}],
        "dark":[{"carrier":"deployment/b","versions":[{"version":"v1","endpoints":1}],"standsIn":true},
        {"carrier":"deployment/c","versions":[{"version":"v0","endpoints":1}]}]"#;
    let mut proxy = Proxy::new(&plan(base, ""));
    assert_eq!(fail(&mut proxy).0, 5);
    assert_eq!(send_and_answer(&mut proxy, 1).0, "v1");
}

#[test]
fn with_a_canary_a_stand_in_takes_the_sessions_of_an_unreachable_base() {
    let both = r#""canaries":[{"carrier":"deployment/c","weight":30,"versions":[{"version":"v2","endpoints":1}]}],
        "base":[{"carrier":"deployment/a","weight":1,"versions":[{"version":"v1","endpoints":1}]}],
        "dark":[{"carrier":"deployment/b","versions":[{"version":"v0","endpoints":1}],"standsIn":true}]"#;
    let mut whole = Proxy::new(&plan(both, ""));
    let mut proxy = Proxy::new(&plan(both, ""));
    for session in 0..200 {
        let (mut stream, version, _) = send(&mut proxy, session);
        answer(&mut proxy, &mut stream, &version, "v1");
    }
    for session in 0..200 {
        let own = send(&mut whole, session).1;
        let wanted = if own == "v1" { "v0" } else { &own };
        assert_eq!(send(&mut proxy, session).1, wanted, "{session}");
    }
}

/// A base with hold and a canary of 50 %. Requests of the version `dead` fail.
fn proxy_with_hold(dead: &'static str) -> Proxy {
    let mut proxy = Proxy::new(&plan(
        r#""onBaseLost":"hold",
        "canaries":[{"carrier":"deployment/b","weight":30,"versions":[{"version":"v2","endpoints":1}]},
        {"carrier":"deployment/c","weight":20,"versions":[{"version":"v3","endpoints":1}]}],
        "base":[{"carrier":"deployment/a","weight":1,"versions":[{"version":"v1","endpoints":1}]}],
        "dark":[{"carrier":"deployment/d","versions":[{"version":"v0","endpoints":1}]}]"#,
        "",
    ));
    for session in 0..200 {
        let (mut stream, version, _) = send(&mut proxy, session);
        answer(&mut proxy, &mut stream, &version, dead);
    }
    proxy
}

#[test]
fn a_base_with_hold_keeps_its_sessions_while_it_is_unreachable() {
    let mut whole = proxy_with_hold("none");
    let mut proxy = proxy_with_hold("v1");
    for session in 0..200 {
        let own = send(&mut whole, session).1;
        assert_eq!(send(&mut proxy, session).1, own, "{session}");
    }
    assert!(
        proxy.host.cells.borrow().is_empty(),
        "its sessions have nowhere else to go: nothing to learn"
    );
}

#[test]
fn an_unreachable_canary_leaves_its_sessions_to_a_base_with_hold() {
    let mut whole = proxy_with_hold("none");
    let mut proxy = proxy_with_hold("v2");
    for session in 0..200 {
        let own = send(&mut whole, session).1;
        let wanted = if own == "v2" { "v1" } else { &own };
        assert_eq!(send(&mut proxy, session).1, wanted, "{session}");
    }
}

#[test]
fn all_workers_of_a_proxy_agree_after_a_tick() {
    let mut first = Proxy::new(&half(""));
    let session = session_of_v2();
    let mut second = Vm::new(BOTH);
    second.configure(half("").as_bytes(), &first.host).unwrap();
    // Failures of all workers count together.
    for n in 0..5 {
        if n % 2 == 1 {
            std::mem::swap(&mut first.vm, &mut second);
        }
        assert_eq!(send_and_answer(&mut first, session).0, "v2");
        if n % 2 == 1 {
            std::mem::swap(&mut first.vm, &mut second);
        }
    }
    second.tick(&first.host);
    assert_eq!(send_and_answer(&mut first, session).0, "v1");
    std::mem::swap(&mut first.vm, &mut second);
    assert_eq!(send_and_answer(&mut first, session).0, "v1");
    // One of the two workers tries it.
    first.host.sleep(10 * SECOND);
    let (mut stream, tried, _) = send(&mut first, session);
    assert_eq!(tried, "v2");
    std::mem::swap(&mut first.vm, &mut second);
    assert_eq!(send(&mut first, session).1, "v1");
    std::mem::swap(&mut first.vm, &mut second);
    answer(&mut first, &mut stream, &tried, "none");
    second.tick(&first.host);
    std::mem::swap(&mut first.vm, &mut second);
    assert_eq!(send(&mut first, session).1, "v2");
}

#[test]
fn a_new_configuration_keeps_all_outages() {
    let mut proxy = Proxy::new(&half(""));
    fail(&mut proxy);
    let session = session_of_v2();
    let again = half(r#","buckets":[]"#);
    proxy.vm.configure(again.as_bytes(), &proxy.host).unwrap();
    assert_eq!(send_and_answer(&mut proxy, session).0, "v1");
}

#[test]
fn a_change_of_endpoints_in_the_plan_ends_or_tries_an_outage() {
    let with = |endpoints: u32| {
        let version = r#""version":"v2","endpoints":"#;
        half("").replace(&format!("{version}1"), &format!("{version}{endpoints}"))
    };
    let session = session_of_v2();
    // It has no endpoint for a while; a new endpoint has not failed yet.
    let mut proxy = Proxy::new(&half(""));
    fail(&mut proxy);
    for endpoints in [0, 1] {
        proxy
            .vm
            .configure(with(endpoints).as_bytes(), &proxy.host)
            .unwrap();
    }
    for _ in 0..5 {
        assert_eq!(send_and_answer(&mut proxy, session).0, "v2");
    }
    assert_eq!(send_and_answer(&mut proxy, session).0, "v1");
    // One more endpoint: one request tries it at once.
    proxy.vm.configure(with(2).as_bytes(), &proxy.host).unwrap();
    assert_eq!(send_and_answer(&mut proxy, session).0, "v2");
    assert_eq!(send_and_answer(&mut proxy, session).0, "v1");
    // One endpoint less triggers no trial.
    proxy.vm.configure(with(1).as_bytes(), &proxy.host).unwrap();
    assert_eq!(send_and_answer(&mut proxy, session).0, "v1");
}

#[test]
fn without_failures_no_state_is_shared() {
    let mut proxy = Proxy::new(&half(""));
    for session in 0..50 {
        let (mut stream, version, _) = send(&mut proxy, session);
        answer(&mut proxy, &mut stream, &version, "none");
    }
    assert!(proxy.host.cells.borrow().is_empty());
}

#[test]
fn an_unreachable_version_refunds_the_reservation() {
    let bucket = format!(r#","buckets":[{}]"#, tokens(1_000_000, "1", ""));
    let mut proxy = Proxy::new(&half(&bucket));
    let (failed, effects) = fail(&mut proxy);
    assert_eq!(failed, 5);
    let settled = "rule=.=default/p/budget;.;model=.=m;.;version=.=v2;.;outcome=.=never_sent;.;headgate_settlements_total";
    assert_eq!(counted(&effects, settled), 5);
}

#[test]
fn without_a_stand_in_only_pins_reach_a_model_whose_versions_are_dark() {
    let dark = r#""dark":[{"carrier":"deployment/b","versions":[{"version":"v2","endpoints":1}]}]"#;
    let mut proxy = Proxy::new(&plan(dark, ""));
    let (_, step) = proxy.chat(&[], r#"{"model":"m","messages":[]}"#);
    assert_eq!(reply(&step).status, 503);
    let body: serde_json::Value = serde_json::from_str(&text(reply(&step))).unwrap();
    assert_eq!(body["error"]["code"], "model_not_ready", "{body}");
    let (_, step) = proxy.chat(
        &[(names::HEADER_VERSION, "v2")],
        r#"{"model":"m","messages":[]}"#,
    );
    assert_eq!(state(&step, "headgate.version"), Some("v2"));
}

/// The carriers of one level as configuration: 0–2 endpoints of each version of each carrier. Versions have consecutive numbers.
fn level(letter: char, carriers: &[Vec<u32>], weight: u32) -> String {
    let carrier = |(i, versions): (usize, &Vec<u32>)| {
        let version = |(j, endpoints): (usize, &u32)| {
            format!(r#"{{"version":"{letter}{i}-{j}","endpoints":{endpoints}}}"#)
        };
        let versions: Vec<String> = versions.iter().enumerate().map(version).collect();
        let versions = versions.join(",");
        let weight = match weight {
            0 => r#""standsIn":true"#.to_owned(),
            weight => format!(r#""weight":{weight}"#),
        };
        format!(r#"{{"carrier":"deployment/{letter}{i}",{weight},"versions":[{versions}]}}"#)
    };
    let carriers: Vec<String> = carriers.iter().enumerate().map(carrier).collect();
    carriers.join(",")
}

fn carriers(most: usize) -> impl Strategy<Value = Vec<Vec<u32>>> {
    vec(vec(0..3_u32, 1..3), 0..=most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// `monotone_stickiness` and `never_routes_to_nothing`, of versions that are passed over.
    #[test]
    fn only_sessions_of_a_passed_over_version_move_and_they_move_to_a_reachable_one(
        canaries in carriers(3),
        base in vec(vec(0..3_u32, 1..3), 1..3),
        dark in carriers(2),
        dead in vec(any::<bool>(), 24),
    ) {
        let config = plan(
            &format!(
                r#""canaries":[{}],"base":[{}],"dark":[{}]"#,
                level('c', &canaries, 15), level('b', &base, 2), level('d', &dark, 0),
            ),
            "",
        );
        let (mut whole, mut proxy) = (Proxy::new(&config), Proxy::new(&config));
        let all: Vec<String> = [('c', &canaries), ('b', &base), ('d', &dark)]
            .into_iter()
            .flat_map(|(letter, level)| level.iter().enumerate().map(move |(i, v)| (letter, i, v)))
            .flat_map(|(letter, i, v)| (0..v.len()).map(move |j| format!("{letter}{i}-{j}")))
            .collect();
        let dead: BTreeSet<&String> = all.iter().zip(&dead).filter(|(_, d)| **d).map(|(v, _)| v).collect();
        let body = r#"{"model":"m","messages":[]}"#;
        for version in &dead {
            for _ in 0..5 {
                let pin = [(names::HEADER_VERSION, version.as_str())];
                let (mut stream, _) = proxy.chat(&pin, body);
                answer(&mut proxy, &mut stream, version, version);
            }
        }
        let pick = |proxy: &mut Proxy, session: u64| {
            let session = session.to_string();
            let (_, step) = proxy.chat(&[(SESSION, session.as_str())], body);
            request_header(&step, names::HEADER_VERSION).map(str::to_owned)
        };
        let mut before = BTreeSet::new();
        let mut after = BTreeSet::new();
        for session in 0..64 {
            let (own, got) = (pick(&mut whole, session), pick(&mut proxy, session));
            prop_assert_eq!(own.is_some(), got.is_some());
            let (Some(own), Some(got)) = (own, got) else { continue };
            if !dead.contains(&own) {
                prop_assert_eq!(&got, &own);
            } else if dead.contains(&got) {
                prop_assert_eq!(&got, &own, "from one that cannot be reached to another");
            }
            before.insert(own);
            after.insert(got);
        }
        // Sessions avoid versions that are passed over while any other one is left.
        if before.iter().any(|version| !dead.contains(version)) {
            prop_assert!(after.iter().all(|version| !dead.contains(version)), "{:?}", after);
        }
    }
}
