//! Overrides: other capacities for some keys of a bucket.
// The tests of speed read a clock.
#![allow(clippy::disallowed_types)]

use std::fmt::Write;
use std::time::Instant;

use headgate_core::effects::Flow;
use headgate_core::stream::Stream;

use crate::proxy::{
    Proxy, SECOND, counted, one_model, reply, reply_header, response_header, state, text, tokens,
};

fn body(max_tokens: u64) -> String {
    format!(r#"{{"model":"m","max_tokens":{max_tokens}}}"#)
}

/// A bucket of 1000 tokens for each tenant, and 10 per second, with these overrides.
fn config(overrides: &str) -> String {
    one_model(&tokens(
        1000,
        "10",
        &format!(r#","overrides":[{overrides}]"#),
    ))
}

fn tenant(name: &str) -> [(&'static str, &str); 1] {
    [("x-tenant-id", name)]
}

/// The status of a request; 200 if it passes.
fn status(proxy: &mut Proxy, headers: &[(&str, &str)], max_tokens: u64) -> u16 {
    match proxy.chat(headers, &body(max_tokens)).1.flow {
        Flow::Reply(reply) => reply.status,
        _ => 200,
    }
}

/// The header `ratelimit-policy` and `ratelimit` of a request that passes.
fn balance(proxy: &mut Proxy, headers: &[(&str, &str)], max_tokens: u64) -> [String; 2] {
    let (mut stream, step) = proxy.chat(headers, &body(max_tokens));
    assert_eq!(step.flow, Flow::Continue, "{step:?}");
    let step = proxy.answer(&mut stream, &[(":status", "200")], "");
    ["ratelimit-policy", "ratelimit"].map(|name| response_header(&step, name).unwrap().to_owned())
}

/// What is left of a tenant's bucket, from a request of one token that is not sent.
fn left(proxy: &mut Proxy, name: &str) -> u64 {
    let (mut stream, step) = proxy.chat(&tenant(name), &body(1));
    assert_eq!(step.flow, Flow::Continue, "{step:?}");
    let step = proxy.answer(&mut stream, &[(":status", "503")], "");
    let left = response_header(&step, "x-ratelimit-remaining-tokens").unwrap();
    proxy.end(&mut stream);
    left.parse::<u64>().unwrap() + 1
}

#[test]
fn a_tenant_with_an_override_has_its_own_capacity() {
    let mut proxy = Proxy::new(&config(
        r#"{"match":{"tenant":"acme"},"capacity":5000},
        {"match":{"tenant":"slow"},"capacity":1000,"refillPerSecond":1},
        {"match":{"tenant":""},"capacity":10}"#,
    ));
    let rows = [
        // The window stays 100 s: the refill follows the capacity.
        (
            "acme",
            500,
            ["\"budget\";q=5000;w=100", "\"budget\";r=4500;t=10"],
        ),
        (
            "slow",
            500,
            ["\"budget\";q=1000;w=1000", "\"budget\";r=500;t=500"],
        ),
        (
            "other",
            500,
            ["\"budget\";q=1000;w=100", "\"budget\";r=500;t=50"],
        ),
        (
            "acme ",
            500,
            ["\"budget\";q=1000;w=100", "\"budget\";r=500;t=50"],
        ),
    ];
    for (name, max_tokens, expected) in rows {
        assert_eq!(
            balance(&mut proxy, &tenant(name), max_tokens),
            expected,
            "{name}"
        );
    }
    assert_eq!(status(&mut proxy, &tenant("acme"), 4501), 429);
    assert_eq!(status(&mut proxy, &tenant("acme"), 5001), 400);
    assert_eq!(
        status(&mut proxy, &[], 11),
        400,
        "requests without a tenant"
    );
    assert_eq!(status(&mut proxy, &[], 10), 200);
    // 1 per second, and 10 per second.
    proxy.host.sleep(10 * SECOND);
    assert_eq!(status(&mut proxy, &tenant("slow"), 590), 429);
    assert_eq!(status(&mut proxy, &tenant("other"), 590), 200);
}

#[test]
fn a_suspended_tenant_gets_403_with_the_reason_in_its_dialect() {
    let config = config(
        r#"{"match":{"tenant":"acme"},"capacity":0,"reason":"invoice 7 is \"open\""},
        {"match":{"tenant":"evil"},"capacity":0}"#,
    );
    let mut proxy = Proxy::new(&config);
    let (_, step) = proxy.chat(&tenant("acme"), &body(1));
    let refused = reply(&step);
    assert_eq!(
        (refused.status, refused.details),
        (403, "headgate_tenant_suspended")
    );
    assert_eq!(
        text(refused),
        r#"{"error":{"message":"suspended by bucket `budget`: invoice 7 is \"open\"; ask the operator of this service","type":"invalid_request_error","param":null,"code":"tenant_suspended"}}"#
    );
    assert_eq!(reply_header(refused, "retry-after"), None);
    assert_eq!(state(&step, "headgate.reason"), Some("tenant_suspended"));
    assert_eq!(state(&step, "headgate.rule"), Some("default/p/budget"));
    let metric = "rule=.=default/p/budget;.;model=.=m;.;version=.=v1;.;outcome=.=tenant_suspended;.;headgate_reserves_total";
    assert_eq!(counted(&step.effects, metric), 1);

    let (_, step) = proxy.chat(&tenant("evil"), &body(1));
    assert!(text(reply(&step)).contains("suspended by bucket `budget`; ask"));
    let messages = [
        (":method", "POST"),
        (":path", "/v1/messages"),
        ("x-tenant-id", "evil"),
    ];
    let (_, step) = proxy.send(&messages, Some(body(1).as_bytes()));
    assert!(
        text(reply(&step)).contains(r#""type":"permission_error""#),
        "{step:?}"
    );
    let models = [
        (":method", "GET"),
        (":path", "/v1/models"),
        ("x-tenant-id", "evil"),
    ];
    let (_, step) = proxy.send(&models, None);
    assert_eq!(reply(&step).status, 200, "what is free is not refused");
    assert_eq!(status(&mut proxy, &tenant("good"), 1000), 200);
}

/// Nothing is taken from the other buckets of a suspended tenant.
#[test]
fn a_suspended_tenant_spends_nothing() {
    let all = tokens(1000, "10", "")
        .replace("budget", "all")
        .replace(r#"["tenant"]"#, "[]");
    let suspending = tokens(
        1000,
        "10",
        r#","overrides":[{"match":{"tenant":"acme"},"capacity":0}]"#,
    );
    let mut proxy = Proxy::new(&one_model(&format!("{all},{suspending}")));
    assert_eq!(status(&mut proxy, &tenant("acme"), 900), 403);
    assert_eq!(status(&mut proxy, &tenant("other"), 1000), 200);
}

#[test]
fn in_shadow_mode_a_suspension_is_only_counted() {
    let more = r#","mode":"shadow","overrides":[{"match":{"tenant":"acme"},"capacity":0}]"#;
    let mut proxy = Proxy::new(&one_model(&tokens(1000, "10", more)));
    let (_, step) = proxy.chat(&tenant("acme"), &body(1));
    assert_eq!(step.flow, Flow::Continue);
    assert_eq!(state(&step, "headgate.reason"), Some("would_limit"));
}

#[test]
fn the_override_that_names_the_most_parts_applies_and_of_several_the_first() {
    let more = r#","overrides":[
        {"match":{"header:x-team":"red"},"capacity":2000},
        {"match":{"tenant":"acme"},"capacity":3000},
        {"match":{"tenant":"acme","header:x-team":"red"},"capacity":4000},
        {"match":{"model":"m","header:x-team":"blue"},"capacity":5000},
        {"match":{"tenant":"acme","model":"m"},"capacity":6000},
        {"match":{"model":"other","tenant":"b"},"capacity":7000}]"#;
    let bucket = tokens(1000, "10", more).replace(
        r#""key":["tenant"]"#,
        r#""key":["model","tenant","header:x-team"]"#,
    );
    let mut proxy = Proxy::new(&one_model(&bucket));
    for (name, team, capacity) in [
        ("acme", "red", 4000),
        ("acme", "blue", 5000),
        ("acme", "green", 6000),
        ("b", "red", 2000),
        ("b", "blue", 5000),
        ("b", "green", 1000),
        // A value belongs to its part.
        ("red", "acme", 1000),
    ] {
        let [policy, _] = balance(&mut proxy, &[("x-tenant-id", name), ("x-team", team)], 1);
        assert_eq!(
            policy,
            format!("\"budget\";q={capacity};w=100"),
            "{name} {team}"
        );
    }
}

#[test]
fn values_are_written_as_clients_send_them() {
    let mut proxy = Proxy::new(&config(
        r#"{"match":{"tenant":"Acme, Inc. 100%"},"capacity":2000},{"match":{"tenant":"zoë"},"capacity":3000}"#,
    ));
    for (name, capacity) in [
        ("Acme, Inc. 100%", 2000),
        ("zoë", 3000),
        ("acme, inc. 100%", 1000),
    ] {
        let [policy, _] = balance(&mut proxy, &tenant(name), 1);
        assert_eq!(policy, format!("\"budget\";q={capacity};w=100"), "{name}");
    }
}

#[test]
fn a_semantic_bucket_is_scaled() {
    let bucket = r#"{"policy":"p","bucket":{"name":"fair","key":["tenant"],"profile":"semantic","overrides":[
        {"match":{"tenant":"acme"},"scale":2.5},{"match":{"tenant":"small"},"scale":0.1},{"match":{"tenant":"evil"},"scale":0}]}}"#;
    let mut proxy = Proxy::new(&one_model(bucket));
    for (name, requests) in [("acme", 50), ("small", 2), ("other", 20), ("evil", 0)] {
        let mut passed = 0;
        while status(&mut proxy, &tenant(name), 512) == 200 {
            passed += 1;
            assert!(passed <= requests, "{name}");
        }
        assert_eq!(passed, requests, "{name}");
    }
    assert_eq!(status(&mut proxy, &tenant("evil"), 512), 403);
}

/// The currency of a bucket is time: with the same window, what is used is a share of any capacity.
#[test]
fn an_edit_of_a_capacity_keeps_the_share_that_is_used() {
    let with = |overrides: &str| config(overrides);
    let mut proxy = Proxy::new(&with(""));
    assert_eq!(status(&mut proxy, &tenant("acme"), 500), 200);
    assert_eq!(status(&mut proxy, &tenant("other"), 500), 200);
    for (overrides, expected) in [
        (r#"{"match":{"tenant":"acme"},"capacity":4000}"#, 2000),
        (
            r#"{"match":{"tenant":"acme"},"capacity":100,"refillPerSecond":1}"#,
            50,
        ),
        // Another window is another table: it begins with a full bucket.
        (
            r#"{"match":{"tenant":"acme"},"capacity":100,"refillPerSecond":2}"#,
            100,
        ),
        ("", 500),
    ] {
        let config = with(overrides);
        proxy.vm.configure(config.as_bytes(), &proxy.host).unwrap();
        assert_eq!(left(&mut proxy, "acme"), expected, "{overrides}");
        assert_eq!(left(&mut proxy, "other"), 500, "{overrides}");
    }
}

/// A stream settles with the rule that it reserved with, also if its override is gone.
#[test]
fn a_stream_is_settled_in_the_bucket_that_it_reserved_in() {
    let own = config(r#"{"match":{"tenant":"acme"},"capacity":2000,"refillPerSecond":1}"#);
    let mut proxy = Proxy::new(&own);
    let (mut stream, _) = proxy.chat(&tenant("acme"), &body(1000));
    proxy
        .vm
        .configure(config("").as_bytes(), &proxy.host)
        .unwrap();
    assert_eq!(
        balance(&mut proxy, &tenant("acme"), 100)[1],
        "\"budget\";r=900;t=10"
    );
    let usage = r#"{"usage":{"prompt_tokens":1,"completion_tokens":9}}"#;
    let json = [(":status", "200"), ("content-type", "application/json")];
    proxy.answer(&mut stream, &json, usage);
    let effects = proxy.end(&mut stream);
    let rule = "rule=.=default/p/budget;.;model=.=m;.;version=.=v1;.;headgate_refunded_milli_total";
    assert_eq!(counted(&effects, rule), 990_000);
    assert_eq!(
        balance(&mut proxy, &tenant("acme"), 100)[1],
        "\"budget\";r=800;t=20"
    );
    proxy.vm.configure(own.as_bytes(), &proxy.host).unwrap();
    assert_eq!(left(&mut proxy, "acme"), 1990);
}

/// A live scale applies to the capacity of an override, too.
#[test]
fn a_live_scale_multiplies_an_override() {
    let scaled = config(r#"{"match":{"tenant":"acme"},"capacity":4000}"#).replace(
        r#""names":["Org/M"],"#,
        r#""names":["Org/M"],"scale":{"percent":50,"epoch":1},"#,
    );
    let mut proxy = Proxy::new(&scaled);
    let [policy, _] = balance(&mut proxy, &tenant("acme"), 1);
    assert_eq!(policy, "\"budget\";q=2000;w=100");
    assert_eq!(status(&mut proxy, &tenant("acme"), 3000), 503);
}

fn many(count: usize) -> String {
    let mut overrides = String::new();
    for i in 0..count {
        let comma = if i > 0 { "," } else { "" };
        write!(
            overrides,
            r#"{comma}{{"match":{{"tenant":"tenant-{i}"}},"capacity":{}}}"#,
            2000 + i
        )
        .unwrap();
    }
    config(&overrides)
}

/// The least time of a request among many, in ns.
fn least_ns(proxy: &mut Proxy, names: &[String]) -> u128 {
    let body = body(1);
    let mut least = u128::MAX;
    for _ in 0..20 {
        let begin = Instant::now();
        for name in names {
            let (_, step): (Stream, _) = proxy.chat(&tenant(name), &body);
            assert_eq!(step.flow, Flow::Continue);
        }
        least = least.min(begin.elapsed().as_nanos() / names.len() as u128);
    }
    least
}

#[test]
fn a_request_takes_as_long_with_10_000_overrides_as_with_one() {
    let names: Vec<String> = (0..200).map(|i| format!("tenant-{}", i * 50)).collect();
    let (none, one, most) = (config(""), many(1), many(10_000));
    let time = |config: &str| {
        let begin = Instant::now();
        let mut proxy = Proxy::new(config);
        let parsed = begin.elapsed();
        (least_ns(&mut proxy, &names), parsed)
    };
    let ((none, _), (one, _), (most, parsed)) = (time(&none), time(&one), time(&most));
    println!(
        "a request: {none} ns without overrides, {one} ns with one, {most} ns with 10 000, which take {parsed:?} to load"
    );
    assert!(
        most < one * 3,
        "{one} ns with one override, {most} ns with 10 000"
    );
    // They are found, each.
    let mut proxy = Proxy::new(&many(10_000));
    for i in [0, 1, 4_999, 9_999] {
        let [policy, _] = balance(&mut proxy, &tenant(&format!("tenant-{i}")), 1);
        assert_eq!(policy, format!("\"budget\";q={};w=100", 2000 + i));
    }
    let [policy, _] = balance(&mut proxy, &tenant("tenant-10000"), 1);
    assert_eq!(policy, "\"budget\";q=1000;w=100");
}
