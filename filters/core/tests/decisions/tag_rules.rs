//! Tag rules: conditions over every attribute, the first match, its tags and its version.

use headgate_core::effects::{Effect, Step};

use crate::proxy::{Proxy, counted, request_header, state};

const BODY: &str = r#"{"model":"m","stream":true,"max_tokens":100,"metadata":{"tier":"gold"},"messages":[{"role":"user","content":"hi"}]}"#;
const PATH: &str = "/v1/chat/completions?team=red+%26%20blue&empty=";

/// A model with versions v1 (base), v2 (a canary of 0 %) and v3 (no endpoint), and these rules.
fn configured(rules: &str, more: &str) -> Proxy {
    let versions = r#"{"base":[{"carrier":"deployment/a","weight":1,"versions":[{"version":"v1","endpoints":1}]}],
        "canaries":[{"carrier":"deployment/b","weight":0,"versions":[{"version":"v2","endpoints":1},{"version":"v3","endpoints":0}]}]}"#;
    Proxy::new(&format!(
        r#"{{"namespaces":{{"default":{{"models":{{"m":{versions}}},"tagging":[{{"policy":"t","tagging":{{"rules":[{rules}]{more}}}}}]}}}}}}"#
    ))
}

fn send(proxy: &mut Proxy, headers: &[(&str, &str)]) -> Step {
    let mut all = vec![(":method", "POST"), (":path", PATH)];
    all.extend_from_slice(headers);
    proxy.send(&all, Some(BODY.as_bytes())).1
}

/// Whether a rule with these conditions matches a request with these headers.
fn matches(when: &str, headers: &[(&str, &str)]) -> bool {
    let rules = format!(r#"{{"name":"r","when":{when},"tags":{{"hit":"yes"}}}}"#);
    let mut proxy = configured(&rules, "");
    *proxy.host.source.borrow_mut() = Some("[::ffff:10.1.2.3]:4711".into());
    *proxy.host.peer.borrow_mut() = Some("spiffe://td/ns/a/sa/b".into());
    let claims = [
        ("org", b"acme".to_vec()),
        ("id", 42.0_f64.to_le_bytes().to_vec()),
    ];
    *proxy.host.claims.borrow_mut() = claims.map(|(n, v)| (n.to_owned(), v)).into();
    let step = send(&mut proxy, headers);
    request_header(&step, "x-headgate-hit") == Some("yes")
}

fn all(attribute: &str, test: &str) -> String {
    format!(r#"{{"all":[{{"attribute":"{attribute}",{test}}}]}}"#)
}

#[test]
fn every_attribute_has_its_value() {
    let headers = [
        ("x-plan", "pro"),
        ("x-list", "a"),
        ("x-list", "b"),
        ("x-tenant-id", "acme"),
        ("cookie", "a=1; plan=\"gold\"; b=2"),
        ("cookie", "late=x"),
        ("x-api-key", "k"),
        ("x-temperature", "1.5"),
    ];
    for (attribute, value) in [
        ("tenant", "acme"),
        ("model", "m"),
        ("dialect", "openai"),
        ("operation", "openai.chat"),
        ("path", "/v1/chat/completions"),
        ("path:1", "v1"),
        ("path:3", "completions"),
        ("header:x-plan", "pro"),
        ("header:x-list", "a,b"),
        ("query:team", "red & blue"),
        ("cookie:plan", "gold"),
        ("cookie:late", "x"),
        ("cookie:a", "1"),
        ("body:metadata.tier", "gold"),
        ("body:messages[0].role", "user"),
        ("body:stream", "true"),
        ("body:max_tokens", "100"),
        ("jwtClaim:org", "acme"),
        ("jwtClaim:id", "42"),
        (
            "apiKeySha256",
            "8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a",
        ),
        ("peerSpiffeId", "spiffe://td/ns/a/sa/b"),
        ("sourceIp", "10.1.2.3"),
        ("sourceNetwork:24/56", "10.1.2.0/24"),
        ("maxTokens", "100"),
        ("stream", "true"),
        ("n", "1"),
        ("promptTokens", "12"),
        ("temperature", "1.5"),
    ] {
        if attribute != "promptTokens" {
            assert!(
                matches(&all(attribute, &format!(r#""equal":"{value}""#)), &headers),
                "{attribute}"
            );
        }
        assert!(
            !matches(&all(attribute, r#""equal":"1.1.1.1""#), &headers),
            "{attribute}"
        );
        assert!(
            matches(&all(attribute, r#""regex":".""#), &headers),
            "{attribute}"
        );
    }
    for absent in [
        "header:x-none",
        "query:none",
        "query:empty",
        "cookie:none",
        "cookie:pla",
        "body:none",
        "body:metadata",
        "body:messages[1].role",
        "jwtClaim:none",
        "path:4",
    ] {
        assert!(
            !matches(&all(absent, r#""regex":".*""#), &headers),
            "{absent}"
        );
    }
}

#[test]
fn every_test_compares_as_it_says() {
    for (test, plan, fits) in [
        (r#""equal":"pro""#, Some("pro"), true),
        (r#""equal":"pro""#, Some("Pro"), false),
        (r#""equal":"pro""#, None, false),
        (r#""notEqual":"pro""#, Some("pro"), false),
        (r#""notEqual":"pro""#, Some("free"), true),
        (r#""notEqual":"pro""#, None, true),
        (r#""notEqual":"pro""#, Some(""), true),
        (r#""prefix":"pr""#, Some("pro"), true),
        (r#""prefix":"pr""#, Some("p"), false),
        (r#""prefix":"pr""#, None, false),
        (r#""in":["z","pro","a"]"#, Some("pro"), true),
        (r#""in":["z","pro","a"]"#, Some("b"), false),
        (r#""in":["z","pro"]"#, None, false),
        (r#""notIn":["z","pro"]"#, Some("z"), false),
        (r#""notIn":["z","pro"]"#, Some("b"), true),
        (r#""notIn":["z","pro"]"#, None, true),
        (r#""regex":"r""#, Some("pro"), true),
        (r#""regex":"^r""#, Some("pro"), false),
        (r#""regex":"^(pro|free)$""#, Some("free"), true),
        (r#""regex":".*""#, None, false),
        (r#""atLeast":10"#, Some("10"), true),
        (r#""atLeast":10"#, Some("9.99"), false),
        (r#""atLeast":10"#, Some("many"), false),
        (r#""atLeast":0"#, None, false),
        (r#""atMost":10"#, Some("10"), true),
        (r#""atMost":10"#, Some("10.1"), false),
        (r#""percentage":100"#, Some("a"), true),
        (r#""percentage":100"#, None, false),
        (r#""percentage":0"#, Some("a"), false),
    ] {
        let headers: Vec<_> = plan.map(|plan| ("x-plan", plan)).into_iter().collect();
        assert_eq!(
            matches(&all("header:x-plan", test), &headers),
            fits,
            "{test} {plan:?}"
        );
    }
    let long = "a".repeat(1025);
    assert!(matches(
        &all("header:x-plan", r#""regex":"a""#),
        &[("x-plan", &long[1..])]
    ));
    assert!(
        !matches(
            &all("header:x-plan", r#""regex":"a""#),
            &[("x-plan", &long)]
        ),
        "too long for a pattern"
    );
}

#[test]
fn an_address_is_in_networks() {
    for (test, fits) in [
        (r#""in":["192.168.0.0/16","10.0.0.0/8"]"#, true),
        (r#""equal":"10.1.2.3""#, true),
        (r#""in":["10.1.2.4","fd00::/8"]"#, false),
        (r#""notIn":["10.0.0.0/8"]"#, false),
        (r#""notEqual":"11.0.0.0/8""#, true),
        (r#""equal":"0.0.0.0/0""#, true),
        (r#""equal":"::/0""#, false),
        (r#""prefix":"10.1.""#, true),
    ] {
        assert_eq!(matches(&all("sourceIp", test), &[]), fits, "{test}");
    }
}

#[test]
fn all_and_any_nest() {
    let yes = r#"{"attribute":"model","equal":"m"}"#;
    let no = r#"{"attribute":"model","equal":"x"}"#;
    for (when, fits) in [
        (format!(r#"{{"all":[{yes},{no}]}}"#), false),
        (format!(r#"{{"any":[{no},{yes}]}}"#), true),
        (
            format!(r#"{{"any":[{no},{{"all":[{yes},{{"any":[{no},{{"all":[{yes}]}}]}}]}}]}}"#),
            true,
        ),
        (
            format!(r#"{{"all":[{yes},{{"any":[{no},{{"all":[{yes},{no}]}}]}}]}}"#),
            false,
        ),
        (format!(r#"{{"any":[{{"percentage":0}},{no}]}}"#), false),
    ] {
        assert_eq!(matches(&when, &[]), fits, "{when}");
    }
}

#[test]
fn the_first_rule_that_matches_ends_the_list() {
    let rule = |name: &str, plan: &str, tags: &str| {
        let when = all("header:x-plan", &format!(r#""equal":"{plan}""#));
        format!(r#"{{"name":"{name}","when":{when},"tags":{tags}}}"#)
    };
    let rules = [
        rule("a", "pro", r#"{"cohort":"a"}"#),
        rule("b", "pro", r#"{"cohort":"b","only-b":"1"}"#),
        rule("c", "free", r#"{"cohort":"c"}"#),
        format!(
            r#"{{"name":"d","when":{},"tags":{{"cohort":"d"}}}}"#,
            all("header:x-plan", r#""prefix":"p""#)
        ),
        rule("e", "plus", r#"{"cohort":"e"}"#),
    ];
    let mut proxy = configured(
        &rules.join(","),
        r#","tags":[{"name":"cohort","value":"none"},{"name":"site","value":"x"}]"#,
    );
    for (plan, cohort) in [
        ("pro", "a"),
        ("free", "c"),
        ("plus", "d"),
        ("other", "none"),
    ] {
        let step = send(&mut proxy, &[("x-plan", plan)]);
        assert_eq!(
            request_header(&step, "x-headgate-cohort"),
            Some(cohort),
            "{plan}"
        );
        assert_eq!(state(&step, "headgate.cohort"), Some(cohort), "{plan}");
        assert_eq!(request_header(&step, "x-headgate-only-b"), None);
        assert_eq!(
            request_header(&step, "x-headgate-site"),
            Some("x"),
            "an own tag stays"
        );
        let baggage = request_header(&step, "baggage").unwrap();
        assert!(
            baggage.ends_with(&format!("headgate.cohort={cohort}")) || cohort == "none",
            "{baggage}"
        );
    }
}

#[test]
fn a_tag_of_a_rule_cannot_be_forged() {
    let rules = format!(
        r#"{{"name":"r","when":{},"tags":{{"cohort":"a"}}}}"#,
        all("header:x-plan", r#""equal":"pro""#)
    );
    let step = send(&mut configured(&rules, ""), &[("x-headgate-cohort", "a")]);
    assert!(crate::proxy::removed(&step, "x-headgate-cohort"));
}

#[test]
fn groups_of_the_pattern_are_in_the_values() {
    let rule = |regex: &str, tags: &str| {
        let when = all("header:x-user", &format!(r#""regex":"{regex}""#));
        format!(r#"{{"name":"r","when":{when},"tags":{tags}}}"#)
    };
    for (regex, tag, user, value) in [
        ("^([a-z]+)-([0-9]+)$", "b-$1", "red-7", Some("b-red")),
        ("^([a-z]+)-([0-9]+)$", "$2$1", "red-7", Some("7red")),
        (
            "^(?P<team>[a-z]+)",
            "t:${team}:$0",
            "red-7",
            Some("t:red:red"),
        ),
        ("^([a-z]+)", "$$1-$1", "red", Some("$1-red")),
        ("(x)?red", "v$1", "red", Some("v")),
        ("(x)?red", "$1", "red", None),
        ("(.*)", "$1", "a,b", None),
        ("(.*)", "$1", "ä", None),
        ("(.*)", "$1", &"a".repeat(129), None),
        ("(.*)", "$1", &"a".repeat(128), Some(&"a".repeat(128))),
    ] {
        let mut proxy = configured(
            &rule(regex, &format!(r#"{{"cohort":"{tag}","hit":"1"}}"#)),
            "",
        );
        let step = send(&mut proxy, &[("x-user", user)]);
        assert_eq!(
            request_header(&step, "x-headgate-hit"),
            Some("1"),
            "{regex}"
        );
        assert_eq!(
            request_header(&step, "x-headgate-cohort"),
            value,
            "{regex} {tag} {user}"
        );
        let left_out = counted(
            &step.effects,
            "model=.=m;.;version=.=v1;.;headgate_tag_values_left_out_total",
        );
        assert_eq!(left_out, u64::from(value.is_none()), "{regex} {tag} {user}");
    }
}

#[test]
fn only_a_pattern_of_a_condition_that_holds_gives_groups() {
    let when = r#"{"any":[{"all":[{"attribute":"header:x-a","regex":"(.+)"},{"attribute":"model","equal":"x"}]},{"attribute":"header:x-b","regex":"(.+)"}]}"#;
    let rules = format!(r#"{{"name":"r","when":{when},"tags":{{"cohort":"$1"}}}}"#);
    let step = send(&mut configured(&rules, ""), &[("x-a", "a"), ("x-b", "b")]);
    assert_eq!(request_header(&step, "x-headgate-cohort"), Some("b"));
}

#[test]
fn a_version_is_a_pin_that_a_client_overrides() {
    let rules = |version: &str| {
        format!(
            r#"{{"name":"r","when":{},"version":"{version}"}}"#,
            all("header:x-plan", r#""equal":"pro""#)
        )
    };
    let missed = |version: &str| {
        format!("model=.=m;.;version=.={version};.;headgate_rule_versions_not_ready_total")
    };
    for (version, sent, picked, lane) in [
        ("v2", &[("x-plan", "pro")][..], "v2", "rule"),
        ("v2", &[("x-plan", "free")], "v1", "base"),
        (
            "v2",
            &[("x-plan", "pro"), ("x-model-version", "v1")],
            "v1",
            "pin",
        ),
        ("v3", &[("x-plan", "pro")], "v1", "base"),
        ("v9", &[("x-plan", "pro")], "v1", "base"),
    ] {
        let step = send(&mut configured(&rules(version), ""), sent);
        assert_eq!(
            request_header(&step, "x-model-version"),
            Some(picked).filter(|_| lane != "pin"),
            "{version} {sent:?}"
        );
        assert_eq!(
            request_header(&step, "x-headgate-lane"),
            Some(lane),
            "{version} {sent:?}"
        );
        let count = counted(&step.effects, &missed(version));
        assert_eq!(
            count,
            u64::from(matches!(version, "v3" | "v9")),
            "{version} {sent:?}"
        );
    }
}

/// The sessions of 4000 that a rule of this name and percentage takes.
fn taken(name: &str, percent: &str) -> Vec<bool> {
    let rules = format!(
        r#"{{"name":"{name}","when":{{"all":[{{"percentage":{percent}}}]}},"tags":{{"hit":"1"}}}}"#
    );
    let mut proxy = configured(&rules, "");
    let hit = |session: u32| {
        let step = send(&mut proxy, &[("x-session-id", &session.to_string())]);
        request_header(&step, "x-headgate-hit").is_some()
    };
    (0..4000).map(hit).collect()
}

#[test]
fn a_percentage_is_sticky_independent_and_only_grows() {
    let count = |taken: &[bool]| taken.iter().filter(|hit| **hit).count();
    let (ten, eleven, other) = (taken("a", "10"), taken("a", "11.5"), taken("b", "10"));
    assert_eq!(ten, taken("a", "10"), "the same sessions again");
    assert!((340..460).contains(&count(&ten)), "{}", count(&ten));
    assert!(
        ten.iter().zip(&eleven).all(|(ten, eleven)| *eleven || !ten),
        "raising it only adds"
    );
    assert!(count(&eleven) > count(&ten));
    let both = ten.iter().zip(&other).filter(|(a, b)| **a && **b).count();
    assert!(
        (15..70).contains(&both),
        "two rules of 10 % are independent: {both}"
    );
}

#[test]
fn a_percentage_of_the_conversation_is_sticky_without_a_session_header() {
    let rules = r#"{"name":"a","when":{"all":[{"percentage":50}]},"version":"v2"}"#;
    let mut proxy = configured(rules, "");
    for user in 0..50 {
        let body = BODY.replace("\"hi\"", &format!("\"hi {user}\""));
        let picks: Vec<_> = (0..3)
            .map(|_| {
                let step = proxy.chat(&[], &body).1;
                request_header(&step, "x-model-version").map(str::to_owned)
            })
            .collect();
        assert!(picks.iter().all(|pick| *pick == picks[0]), "{picks:?}");
    }
}

#[test]
fn a_hop_that_follows_logs_the_tags_of_rules_and_applies_none() {
    let rules = format!(
        r#"{{"name":"r","when":{},"tags":{{"cohort":"mine"}},"version":"v2"}}"#,
        all("model", r#""equal":"m""#)
    );
    let config = format!(
        r#"{{"role":"follow","namespaces":{{"default":{{"models":{{"m":{{"base":[{{"carrier":"deployment/a","weight":1,"versions":[{{"version":"v1","endpoints":1}}]}}]}}}},"tagging":[{{"policy":"t","tagging":{{"rules":[{rules}]}}}}]}}}}}}"#
    );
    let step = send(
        &mut Proxy::new(&config),
        &[
            ("x-model", "m"),
            ("x-model-version", "v1"),
            ("x-headgate-cohort", "theirs"),
        ],
    );
    assert_eq!(state(&step, "headgate.cohort"), Some("theirs"));
    let written =
        |e: &Effect| matches!(e, Effect::SetRequestHeader(n, _) if n == "x-headgate-cohort");
    assert!(!step.effects.iter().any(written));
}

#[test]
fn the_index_decides_as_the_list_does() {
    // 60 rules over two attributes with overlaps; the same rules without the index (each with an `any` that cannot be indexed).
    let rule = |i: usize, indexed: bool| {
        let condition = match i % 3 {
            0 => format!(
                r#"{{"attribute":"header:x-a","in":["{}","{}"]}}"#,
                i % 7,
                i % 5
            ),
            1 => format!(
                r#"{{"any":[{{"attribute":"header:x-b","equal":"{}"}},{{"attribute":"header:x-a","equal":"{}"}}]}}"#,
                i % 4,
                i % 11
            ),
            _ => format!(
                r#"{{"all":[{{"attribute":"header:x-a","equal":"{}"}},{{"attribute":"header:x-b","notEqual":"{}"}}]}}"#,
                i % 9,
                i % 3
            ),
        };
        let never = r#"{"attribute":"header:x-none","prefix":"x"}"#;
        let condition = if indexed {
            condition
        } else {
            format!(r#"{{"any":[{never},{condition}]}}"#)
        };
        format!(r#"{{"name":"r{i}","when":{{"all":[{condition}]}},"tags":{{"rule":"{i}"}}}}"#)
            .replace("\"rule\":", "\"hit\":")
    };
    let rules = |indexed| {
        (0..60)
            .map(|i| rule(i + 7, indexed))
            .collect::<Vec<_>>()
            .join(",")
    };
    let (mut fast, mut slow) = (configured(&rules(true), ""), configured(&rules(false), ""));
    let mut hits = 0;
    for a in 0..13 {
        for b in 0..6 {
            let (a, b) = (a.to_string(), b.to_string());
            let sent = [("x-a", &*a), ("x-b", &*b)];
            let hit = |proxy: &mut Proxy| {
                request_header(&send(proxy, &sent), "x-headgate-hit").map(str::to_owned)
            };
            let hit_fast = hit(&mut fast);
            hits += usize::from(hit_fast.is_some());
            assert_eq!(hit_fast, hit(&mut slow), "{sent:?}");
        }
    }
    assert!(hits > 30, "{hits}");
}
