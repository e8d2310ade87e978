//! Reserves: the keys of buckets, the rate limit headers, and all or nothing.

use headgate_core::effects::{Effect, Flow, Step};
use headgate_core::headers::Headers;
use headgate_core::vm::Stages;

use crate::proxy::{
    Proxy, SECOND, at_inbound, counted, one_model, removed, reply, reply_header, response_header,
    text, tokens,
};

const LIMIT: Stages = Stages {
    tag: false,
    limit: true,
};

fn body(max_tokens: u64) -> String {
    format!(r#"{{"model":"m","max_tokens":{max_tokens}}}"#)
}

fn admitted(proxy: &mut Proxy, headers: &[(&str, &str)], body: &str) -> bool {
    proxy.chat(headers, body).1.flow == Flow::Continue
}

#[test]
fn over_budget_is_429_with_every_rate_limit_header() {
    let mut proxy = Proxy::new(&one_model(&tokens(1000, "10", "")));
    assert!(admitted(&mut proxy, &[], &body(900)));
    let (_, step) = proxy.chat(&[], &body(300));
    let refused = reply(&step);
    assert_eq!(refused.status, 429);
    assert_eq!(refused.details, "headgate_over_budget");
    assert_eq!(
        text(refused),
        r#"{"error":{"message":"over the budget of bucket `budget`: the request costs 300 tokens, 100 of 1000 are left; try again in 21 s","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#
    );
    for (name, value) in [
        ("retry-after", "21"),
        ("content-type", "application/json"),
        ("x-ratelimit-limit-tokens", "1000"),
        ("x-ratelimit-remaining-tokens", "100"),
        ("x-ratelimit-reset-tokens", "1m30s"),
        ("ratelimit-policy", "\"budget\";q=1000;w=100"),
        ("ratelimit", "\"budget\";r=100;t=90"),
    ] {
        assert_eq!(reply_header(refused, name), Some(value), "{name}");
    }
    let rule = "rule=.=default/p/budget;.;model=.=m;.;version=.=v1;.;outcome=.=rate_limit_exceeded;.;headgate_reserves_total";
    assert_eq!(counted(&step.effects, rule), 1);
    let request = "model_namespace=.=default;.;model=.=m;.;version=.=v1;.;lane=.=base;.;outcome=.=rate_limit_exceeded;.;headgate_requests_total";
    assert_eq!(counted(&step.effects, request), 1);
    // A client that waits for that long is admitted. (Costs are rounded up to cells, a few nanoseconds beyond the 20 s.)
    proxy.host.sleep(20 * SECOND);
    assert!(!admitted(&mut proxy, &[], &body(300)));
    proxy.host.sleep(SECOND);
    assert!(admitted(&mut proxy, &[], &body(300)));
}

#[test]
fn the_balance_after_the_reserve_is_on_the_answer() {
    let semantic = r#"{"policy":"p","bucket":{"name":"fair","key":[],"profile":"semantic"}}"#;
    let mut proxy = Proxy::new(&one_model(&format!(
        "{},{semantic}",
        tokens(1000, "10", "")
    )));
    let (mut stream, _) = proxy.chat(&[], &body(256));
    let step = proxy.answer(&mut stream, &[(":status", "200")], "");
    for (name, value) in [
        ("x-ratelimit-limit-tokens", "1000"),
        ("x-ratelimit-remaining-tokens", "744"),
        ("x-ratelimit-reset-tokens", "26s"),
        ("x-ratelimit-limit-requests", "20"),
        ("x-ratelimit-remaining-requests", "19"),
        ("x-ratelimit-reset-requests", "84ms"),
        (
            "ratelimit-policy",
            "\"budget\";q=1000;w=100, \"fair\";q=20;w=4",
        ),
        ("ratelimit", "\"budget\";r=744;t=26, \"fair\";r=19;t=1"),
    ] {
        assert_eq!(response_header(&step, name), Some(value), "{name}");
    }
}

#[test]
fn answers_have_no_balance_if_the_tagging_turns_it_off() {
    let quiet = one_model(&tokens(1000, "10", r#","settleOn":"reservation""#)).replace(
        r#""buckets""#,
        r#""tagging":[{"policy":"t","tagging":{"responseHeaders":false}}],"buckets""#,
    );
    let mut proxy = Proxy::new(&quiet);
    let (mut stream, _) = proxy.chat(&[], &body(900));
    assert!(!stream.wants_response_headers(), "nothing to read them for");
    let step = proxy.answer(&mut stream, &[(":status", "200")], "");
    let touches = |e: &Effect| matches!(e, Effect::SetResponseHeader(..));
    assert!(!step.effects.iter().any(touches), "{:?}", step.effects);
    let (_, step) = proxy.chat(&[], &body(300));
    let refused = reply(&step);
    assert_eq!(refused.status, 429);
    assert_eq!(
        reply_header(refused, "x-ratelimit-remaining-tokens"),
        Some("100")
    );
}

/// If one of two hops with buckets refuses, the client gets the balance of that hop.
#[test]
fn a_429_of_a_later_hop_keeps_its_own_balance() {
    for settle_on in ["usage", "reservation"] {
        let more = format!(r#","settleOn":"{settle_on}""#);
        let mut proxy = Proxy::new(&one_model(&tokens(1000, "10", &more)));
        let shown = |step: &Step| response_header(step, "ratelimit").is_some();
        for (status, shows) in [("200", true), ("429", false), ("500", true)] {
            let (mut stream, _) = proxy.chat(&[], &body(10));
            assert!(stream.wants_response_headers());
            let step = proxy.answer(&mut stream, &[(":status", status)], "");
            assert_eq!(shown(&step), shows, "{settle_on} {status}");
            proxy.end(&mut stream);
        }
    }
}

/// This error comes first, also if the key of the bucket cannot be read.
#[test]
fn a_cost_above_the_capacity_precedes_an_error_of_the_key() {
    let bucket = tokens(1000, "10", "").replace("tenant", "header:x-team");
    let mut proxy = Proxy::new(&one_model(&bucket));
    let teams = [("x-team", "a"), ("x-team", "b")];
    for (max_tokens, code) in [(1200, "cost_exceeds_capacity"), (100, "duplicate_header")] {
        let (_, step) = proxy.chat(&teams, &body(max_tokens));
        let body = text(reply(&step));
        assert!(body.contains(code), "{max_tokens}: {body}");
    }
}

#[test]
fn a_cost_above_the_capacity_is_400() {
    let mut proxy = Proxy::new(&one_model(&tokens(1000, "10", "")));
    let (_, step) = proxy.chat(&[], r#"{"model":"m","max_tokens":600,"n":2}"#);
    assert_eq!(reply(&step).status, 400);
    assert_eq!(
        text(reply(&step)),
        r#"{"error":{"message":"the request costs 1200 tokens, more than bucket `budget` ever holds (1000); lower `max_tokens` or `n`, or shorten the prompt","type":"invalid_request_error","param":"max_tokens","code":"cost_exceeds_capacity"}}"#
    );
    assert_eq!(
        reply_header(reply(&step), "retry-after"),
        None,
        "it can never pass"
    );
}

#[test]
fn contention_is_503_or_admitted_by_policy() {
    let mut proxy = Proxy::new(&one_model(&tokens(1000, "10", "")));
    proxy.host.contended.set(true);
    let (_, step) = proxy.chat(&[], &body(300));
    assert_eq!(reply(&step).status, 503);
    assert!(text(reply(&step)).contains("bucket_contended"));
    assert_eq!(reply_header(reply(&step), "retry-after"), Some("1"));

    let mut proxy = Proxy::new(&one_model(&tokens(
        1000,
        "10",
        r#","onContention":"admit""#,
    )));
    proxy.host.contended.set(true);
    let (_, step) = proxy.chat(&[], &body(300));
    assert_eq!(step.flow, Flow::Continue);
    let owed_metric = "rule=.=default/p/budget;.;model=.=m;.;version=.=v1;.;outcome=.=owed;.;headgate_reserves_total";
    assert_eq!(counted(&step.effects, owed_metric), 1);
    // The unwritten charge is written with the next write.
    proxy.host.contended.set(false);
    proxy.vm.tick(&proxy.host);
    assert!(!admitted(&mut proxy, &[], &body(800)));
    assert!(admitted(&mut proxy, &[], &body(700)));
}

#[test]
fn tenants_headers_and_versions_have_buckets_as_the_key_defines() {
    let keyed = |key: &str| {
        let bucket = tokens(1000, "0.001", "").replace(r#"["tenant"]"#, key);
        Proxy::new(&one_model(&bucket))
    };
    let mut tenants = keyed(r#"["tenant"]"#);
    assert!(admitted(&mut tenants, &[("x-tenant-id", "a")], &body(900)));
    assert!(!admitted(&mut tenants, &[("x-tenant-id", "a")], &body(900)));
    assert!(admitted(&mut tenants, &[("x-tenant-id", "b")], &body(900)));
    assert!(
        admitted(&mut tenants, &[], &body(900)),
        "no tenant is one of its own"
    );
    assert!(!admitted(&mut tenants, &[("x-tenant-id", "")], &body(900)));
    let mut headers = keyed(r#"["header:x-team","header:x-user"]"#);
    assert!(admitted(
        &mut headers,
        &[("x-team", "ab"), ("x-user", "c")],
        &body(900)
    ));
    assert!(admitted(
        &mut headers,
        &[("x-team", "a"), ("x-user", "bc")],
        &body(900)
    ));
    assert!(!admitted(
        &mut headers,
        &[("x-team", "a"), ("x-user", "bc")],
        &body(900)
    ));
    let (_, step) = headers.chat(&[("x-team", "a"), ("x-team", "b")], &body(9));
    assert_eq!(reply(&step).status, 400, "whose bucket is it?");
    let mut one = keyed("[]");
    assert!(admitted(&mut one, &[("x-tenant-id", "a")], &body(900)));
    assert!(!admitted(&mut one, &[("x-tenant-id", "b")], &body(900)));
}

#[test]
fn a_key_with_the_header_of_a_tag_uses_the_value_of_this_hop_and_not_of_the_client() {
    let bucket = |key: &str| {
        let bucket = tokens(1000, "0.001", "").replace(r#"["tenant"]"#, key);
        let tagging = r#""tagging":[{"policy":"t","tagging":{"tags":[{"name":"plan","header":"x-plan"}]}}],"buckets""#;
        one_model(&bucket).replace(r#""buckets""#, tagging)
    };
    let forged = [
        ("x-headgate-plan", "free"),
        ("x-headgate-tenant", "free"),
        ("x-headgate-lane", "free"),
        ("x-headgate-made-up", "free"),
        ("x-model", "free"),
    ];
    for (name, _) in forged {
        let mut proxy = Proxy::new(&bucket(&format!(r#"["header:{name}"]"#)));
        assert!(admitted(&mut proxy, &[], &body(900)), "{name}");
        assert!(!admitted(&mut proxy, &forged, &body(900)), "{name}");
    }
    let mut proxy = Proxy::new(&bucket(r#"["header:x-headgate-plan"]"#));
    for plan in ["gold", "silver"] {
        assert!(admitted(&mut proxy, &[("x-plan", plan)], &body(900)));
        assert!(!admitted(&mut proxy, &[("x-plan", plan)], &body(900)));
    }
}

#[test]
fn a_later_refusal_gives_back_the_earlier_reserve() {
    let second = tokens(500, "0.001", "")
        .replace("\"name\":\"budget\"", "\"name\":\"small\"")
        .replace(r#"["tenant"]"#, "[]");
    let mut proxy = Proxy::new(&one_model(&format!(
        "{},{second}",
        tokens(1000, "0.001", "")
    )));
    assert!(admitted(&mut proxy, &[("x-tenant-id", "a")], &body(400)));
    for _ in 0..20 {
        let (_, step) = proxy.chat(&[("x-tenant-id", "b")], &body(200));
        assert_eq!(reply(&step).status, 429);
        assert!(text(reply(&step)).contains("`small`"));
    }
    let (mut stream, _) = proxy.chat(&[("x-tenant-id", "b")], &body(100));
    let step = proxy.answer(&mut stream, &[(":status", "200")], "");
    assert!(
        response_header(&step, "ratelimit")
            .unwrap()
            .starts_with("\"budget\";r=900")
    );
}

#[test]
fn a_metered_answer_is_requested_uncompressed() {
    let encodings = [("accept-encoding", "gzip, br")];
    let mut proxy = Proxy::new(&one_model(&tokens(1000, "10", "")));
    let (_, step) = proxy.chat(&encodings, &body(10));
    assert!(removed(&step, "accept-encoding"));
    let metric = "model=.=m;.;version=.=v1;.;headgate_accept_encoding_removed_total";
    assert_eq!(counted(&step.effects, metric), 1);
    let mut reserved = Proxy::new(&one_model(&tokens(
        1000,
        "10",
        r#","settleOn":"reservation""#,
    )));
    let (stream, step) = reserved.chat(&encodings, &body(10));
    assert!(!removed(&step, "accept-encoding"));
    assert!(!stream.wants_response_body());
}

#[test]
fn a_separate_limiter_takes_model_and_version_from_the_tagger() {
    let bucket = tokens(1000, "0.001", "").replace(r#"["tenant"]"#, r#"["model","version"]"#);
    let mut proxy = Proxy::with(&one_model(&bucket), LIMIT);
    let tagged = [
        ("x-model", "m"),
        ("x-model-version", "v1"),
        ("x-headgate-tenant", "a"),
    ];
    let body = r#"{"model":"Org/M","max_tokens":900}"#;
    let (stream, step) = proxy.chat(&tagged, body);
    assert_eq!(step.flow, Flow::Continue);
    let touches = |e: &Effect| {
        matches!(
            e,
            Effect::AddRequestHeader(..) | Effect::SetRequestHeader(..) | Effect::SetState(..)
        )
    };
    assert!(
        !step.effects.iter().any(touches),
        "it tags nothing: {:?}",
        step.effects
    );
    assert!(stream.wants_response_body() || stream.wants_response_headers());
    assert!(!admitted(&mut proxy, &tagged, body));
    assert!(
        admitted(&mut proxy, &[("x-model", "m")], body),
        "no version is one of its own"
    );
    // A version that the model does not have creates no new bucket.
    assert!(!admitted(
        &mut proxy,
        &[("x-model-version", "made-up")],
        body
    ));
}

#[test]
fn unknown_models_share_one_bucket_if_no_hop_answers_404() {
    let bucket = tokens(1000, "0.001", "").replace(r#"["tenant"]"#, r#"["model"]"#);
    let mut proxy = Proxy::with(&one_model(&bucket), LIMIT);
    assert!(admitted(
        &mut proxy,
        &[],
        r#"{"model":"x1","max_tokens":900}"#
    ));
    assert!(!admitted(
        &mut proxy,
        &[],
        r#"{"model":"x2","max_tokens":900}"#
    ));
    let follow = at_inbound(&one_model(&bucket)).replacen('{', "{\"role\":\"follow\",", 1);
    let mut proxy = Proxy::new(&follow);
    assert!(admitted(
        &mut proxy,
        &[("x-model", "y1")],
        r#"{"max_tokens":900}"#
    ));
    assert!(!admitted(&mut proxy, &[], r#"{"max_tokens":900}"#));
}

#[test]
fn a_following_hop_believes_the_tenant_of_a_trusted_hop_and_a_deciding_one_does_not() {
    let follow = at_inbound(&one_model(&tokens(1000, "0.001", ""))).replacen(
        '{',
        "{\"role\":\"follow\",",
        1,
    );
    let follow = crate::tenants::with_tagging(&follow, r#"{"trustedHops":["any"]}"#);
    let mut proxy = Proxy::new(&follow);
    let tag = |t: &'static str| {
        [
            ("x-model", "m"),
            ("x-headgate-tenant", t),
            ("x-tenant-id", "same"),
        ]
    };
    assert!(admitted(&mut proxy, &tag("a"), &body(900)));
    assert!(admitted(&mut proxy, &tag("b"), &body(900)));
    assert!(!admitted(&mut proxy, &tag("b"), &body(900)));
    for stages in [LIMIT, crate::proxy::BOTH] {
        let mut proxy = Proxy::with(&one_model(&tokens(1000, "0.001", "")), stages);
        assert!(admitted(&mut proxy, &tag("a"), &body(900)));
        assert!(!admitted(&mut proxy, &tag("b"), &body(900)));
    }
}

#[test]
fn header_facts_determine_the_cost_without_a_readable_body() {
    let mut proxy = Proxy::new(&one_model(&tokens(1000, "0.001", "")));
    let post = |tokens: &'static str| {
        [
            (":method", "POST"),
            (":path", "/infer"),
            ("x-model", "m"),
            ("x-max-tokens", tokens),
        ]
    };
    let (mut stream, step) = proxy.send(&post("900"), Some(b"\x00\x01"));
    assert_eq!(step.flow, Flow::Continue);
    assert!(!stream.wants_request_body());
    let answer = Headers::from_pairs(&[(":status", "200")]);
    let step = stream.response_headers(&mut proxy.vm, &proxy.host, &answer, true);
    assert_eq!(
        response_header(&step, "x-ratelimit-remaining-tokens"),
        Some("100")
    );
    assert_eq!(reply(&proxy.send(&post("200"), None).1).status, 429);
}

fn two_versions(buckets: &str) -> Proxy {
    let config = one_model(buckets).replace(
        r#""base":["#,
        r#""dark":[{"carrier":"deployment/b","versions":[{"version":"v2","endpoints":1}]}],"base":["#,
    );
    Proxy::new(&config)
}

fn of_version(bucket: &str, version: &str) -> String {
    bucket.replace(
        r#""policy":"p","#,
        &format!(r#""policy":"p","versions":["{version}"],"#),
    )
}

#[test]
fn a_bucket_of_one_version_is_not_spent_by_others() {
    let mut proxy = two_versions(&of_version(&tokens(1000, "10", ""), "v2"));
    let (v1, v2) = ([("x-model-version", "v1")], [("x-model-version", "v2")]);
    assert!(admitted(&mut proxy, &v2, &body(900)));
    assert!(!admitted(&mut proxy, &v2, &body(300)));
    assert!(admitted(&mut proxy, &v1, &body(300)));
    assert!(admitted(&mut proxy, &v1, &body(5000)));
}

#[test]
fn a_bucket_listed_for_each_version_is_one_bucket() {
    let bucket = tokens(1000, "10", "");
    let both = format!(
        "{},{}",
        of_version(&bucket, "v1"),
        of_version(&bucket, "v2")
    );
    let mut proxy = two_versions(&both);
    assert!(admitted(
        &mut proxy,
        &[("x-model-version", "v1")],
        &body(900)
    ));
    assert!(!admitted(
        &mut proxy,
        &[("x-model-version", "v2")],
        &body(300)
    ));
}
