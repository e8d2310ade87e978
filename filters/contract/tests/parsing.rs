//! Parsing of the contract: accepted documents, refused ones, and the text of the refusals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_contract::{
    Abandoned, Attribute, Bodies, DefaultMaxTokens, FailureCharge, FilterConfig, ModelPlan,
    Profile, Role, Stages, Tagging, TokenBucketPolicySpec, TrafficTagPolicySpec, UsageReport,
    parse_json,
};

#[track_caller]
fn refusal<T: serde::de::DeserializeOwned + std::fmt::Debug>(json: &str) -> String {
    parse_json::<T>(json.as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_policy_with_defaults_needs_only_name_key_and_profile() {
    let spec: TokenBucketPolicySpec = parse_json(
        br#"{"models":["gpt-4"],"buckets":[{"name":"fair","key":["tenant","header:x-team"],"profile":"semantic"}]}"#,
    )
    .unwrap();
    let bucket = &spec.buckets[0];
    assert_eq!(bucket.key.len(), 2);
    assert!(matches!(&bucket.key[1], Attribute::Header(h) if h.as_str() == "x-team"));
    let Profile::Semantic(s) = &bucket.profile else {
        panic!("semantic")
    };
    assert_eq!(s.models["gpt-4"].base_capacity.to_string(), "100");
    assert_eq!(s.models["gpt-4"].temperature_sensitivity.to_string(), "1.2");
    assert_eq!(bucket.max_keys, 1_048_576);
    assert_eq!(bucket.max_debt, None);
    assert_eq!(bucket.max_client_wait.seconds(), 60);
    assert_eq!(bucket.usage, UsageReport::Ask);
    assert_eq!(bucket.abandoned, Abandoned::Elapsed);
    let failure = bucket.on_failure;
    assert_eq!(failure.client_error, FailureCharge::Nothing);
    assert_eq!(failure.rate_limited, FailureCharge::Nothing);
    assert_eq!(failure.server_error, FailureCharge::Nothing);
    assert_eq!(failure.reset, FailureCharge::Prompt);
    assert_eq!(failure.timeout, FailureCharge::Elapsed);
}

#[test]
fn cors_is_for_a_whole_namespace_only() {
    let cors = r#""cors":{"allowOrigins":["https://chat.example"],"maxAge":"1h"}"#;
    let spec: TrafficTagPolicySpec = parse_json(format!("{{{cors}}}").as_bytes()).unwrap();
    assert_eq!(spec.tagging.cors.unwrap().max_age.seconds(), 3600);
    for target in [
        r#""models":["m"]"#,
        r#""selector":{"matchLabels":{"a":"b"}}"#,
        r#""targetRefs":[{"kind":"Service","name":"s"}]"#,
    ] {
        let error = refusal::<TrafficTagPolicySpec>(&format!("{{{target},{cors}}}"));
        assert!(error.contains("`cors` is for a whole namespace"), "{error}");
    }
}

#[test]
fn the_default_for_max_tokens_is_a_number_or_the_context_window() {
    let plan = |json: &str| parse_json::<ModelPlan>(json.as_bytes());
    let read = |json: &str| plan(json).unwrap().default_max_tokens;
    assert_eq!(read("{}"), DefaultMaxTokens::Tokens(512));
    assert_eq!(
        read(r#"{"defaultMaxTokens":2048}"#),
        DefaultMaxTokens::Tokens(2048)
    );
    assert_eq!(
        read(r#"{"contextLength":131072}"#),
        DefaultMaxTokens::Context(131_072)
    );
    for (json, what) in [
        (r#"{"defaultMaxTokens":0}"#, "write 1 to 10000000"),
        (
            r#"{"contextLength":1,"defaultMaxTokens":1}"#,
            "exclude each other",
        ),
    ] {
        let error = plan(json).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    let emitted = serde_json::to_string(&plan(r#"{"contextLength":7}"#).unwrap()).unwrap();
    assert_eq!(emitted, r#"{"contextLength":7}"#);
}

#[test]
fn a_refusal_names_the_path_and_the_fix() {
    let cases = [
        (
            r#"{"buckets":[{"name":"a","key":["tenent"],"profile":"semantic"}]}"#,
            "buckets[0].key[0]: unknown attribute \"tenent\": write tenant, model, version, dialect, operation, path, apiKeySha256, peerSpiffeId, sourceIp, maxTokens, stream, n, promptTokens, temperature, path:N, header:NAME, query:NAME, cookie:NAME, body:PATH, jwtClaim:NAME or sourceNetwork:IPV4_BITS/IPV6_BITS",
        ),
        (
            r#"{"buckets":[{"name":"a","key":[],"profile":"tokens"}]}"#,
            "buckets[0]: `profile: tokens` needs the section `tokens`",
        ),
        (
            r#"{"buckets":[{"name":"a","key":[],"profile":"tokens","tokens":{"capacity":-1,"refillPerSecond":1}}]}"#,
            "buckets[0].tokens.capacity: must be a number of at least 0",
        ),
        (
            r#"{"buckets":[{"name":"a","key":[],"profile":"tokens","tokens":{"capacity":1,"refillPerSecond":1000000}}]}"#,
            "keep it between 1 ms and 366 days",
        ),
        (
            r#"{"buckets":[{"name":"a","key":[],"profile":"tokens","tokens":{"capacity":1,"refillPerSecond":1,"weights":{"input":0,"output":0,"audio":9}}}]}"#,
            "buckets[0]: `tokens.weights.input` and `tokens.weights.output` are both 0",
        ),
        (
            r#"{"buckets":[{"name":"a","key":[],"profile":"tokens","tokens":{"capacity":1,"refillPerSecond":1,"weights":{"cachedInput":1000.000001}}}]}"#,
            "buckets[0]: `tokens.weights.cachedInput` is 1000.000001: write 0 to 1000",
        ),
        (
            r#"{"buckets":[{"name":"a","key":[],"profile":"tokens","tokens":{"capacity":1,"refillPerSecond":1,"weights":{"cached":1}}}]}"#,
            "buckets[0].tokens.weights.cached: unknown field `cached`",
        ),
        (
            r#"{"buckets":[{"name":"a","key":[],"profile":"semantic","semantic":{"fillRatio":0.1234567}}]}"#,
            "buckets[0].semantic.fillRatio: must have at most six digits",
        ),
        (
            r#"{"buckets":[{"name":"a","key":[],"profile":"semantic","burst":1}]}"#,
            "buckets[0].burst: unknown field `burst`",
        ),
        (
            r#"{"buckets":[{"name":"a","key":[],"profile":"semantic","semantic":{"burst":null}}]}"#,
            "buckets[0].semantic.burst: unknown field `burst`",
        ),
        (
            r#"{"buckets":[{"name":"a","key":[],"profile":"semantic"},{"name":"a","key":[],"profile":"semantic"}]}"#,
            "bucket name \"a\" is given twice: rename `buckets[1]`",
        ),
        (
            r#"{"models":["a"],"selector":{"matchLabels":{"a":"b"}},"buckets":[{"name":"a","key":[],"profile":"semantic"}]}"#,
            "`models` and `selector` exclude each other",
        ),
        (
            r#"{"models":[],"buckets":[{"name":"a","key":[],"profile":"semantic"}]}"#,
            "`models` is empty",
        ),
        (r#"{"buckets":[]}"#, "`buckets` is empty"),
        (
            r#"{"buckets":[{"name":"a","key":["tenant","tenant"],"profile":"semantic"}]}"#,
            "buckets[0]: `key` names the same part twice",
        ),
        (
            r#"{"buckets":[{"name":"a","name":"b","key":[],"profile":"semantic"}]}"#,
            "the key \"name\" is given twice: remove one",
        ),
        (
            r#"{"buckets":[{"name":1,"key":[],"profile":"semantic"}]}"#,
            "buckets[0].name: is a whole number: write a string",
        ),
        (
            r#"{"buckets":[{"name":"a","key":[],"profile":"leaky"}]}"#,
            "buckets[0].profile: unknown variant `leaky`, expected `tokens` or `semantic`",
        ),
        (
            r#"{"buckets":[{"key":[],"profile":"semantic"}]}"#,
            "buckets[0]: missing field `name`",
        ),
    ];
    for (json, expected) in cases {
        let got = refusal::<TokenBucketPolicySpec>(json);
        assert!(
            got.contains(expected),
            "{json}\n  got      {got}\n  expected {expected}"
        );
    }
}

/// The object as Kubernetes stores it.
#[test]
fn a_null_field_counts_as_missing() {
    let json = r#"{"models":null,"buckets":[{"name":"a","key":[],"profile":"semantic","semantic":null,"maxDebt":null}]}"#;
    let read = parse_json::<TokenBucketPolicySpec>(json.as_bytes());
    let plain = r#"{"buckets":[{"name":"a","key":[],"profile":"semantic"}]}"#;
    let same = parse_json::<TokenBucketPolicySpec>(plain.as_bytes());
    assert_eq!(read, same);
    assert!(read.is_ok());
}

#[test]
fn decimals_are_exact() {
    for (text, millionths) in [
        ("0.3", 300_000),
        ("1.2", 1_200_000),
        ("0.000001", 1),
        ("10000000", 10_000_000_000_000),
        ("3999999999.999999", 3_999_999_999_999_999),
        ("9000000000", 9_000_000_000_000_000),
        ("1e3", 1_000_000_000),
    ] {
        let d: headgate_contract::Decimal = parse_json(text.as_bytes()).unwrap();
        assert_eq!(d.millionths(), millionths, "{text}");
        let again: headgate_contract::Decimal =
            parse_json(&serde_json::to_vec(&d).unwrap()).unwrap();
        assert_eq!(again, d);
    }
}

#[test]
fn a_bucket_name_given_twice_for_one_model_is_refused_across_policies() {
    let bucket = r#"{"name":"a","key":[],"profile":"semantic"}"#;
    let config = |first: &str, second: &str| {
        format!(
            r#"{{"namespaces":{{"default":{{"buckets":[{{"policy":"p1"{first},"bucket":{bucket}}},{{"policy":"p2"{second},"bucket":{bucket}}}]}}}}}}"#
        )
    };
    let both = refusal::<FilterConfig>(&config("", r#","models":["m"]"#));
    assert!(
        both.contains("both give bucket \"a\" to one model"),
        "{both}"
    );
    let apart = config(r#","models":["m"]"#, r#","models":["n"]"#);
    assert!(FilterConfig::parse(apart.as_bytes()).is_ok());
}

#[test]
fn a_client_name_belongs_to_one_model() {
    let json = r#"{"namespaces":{"default":{"models":{"a":{"names":["x"]},"b":{"names":["x"]}}}}}"#;
    let got = refusal::<FilterConfig>(json);
    assert!(got.contains("claimed by a and b"), "{got}");
}

#[test]
fn a_host_belongs_to_one_namespace() {
    let config = |a: &str, b: &str| {
        format!(r#"{{"namespaces":{{"a":{{"hosts":["{a}"]}},"b":{{"hosts":["{b}"]}}}}}}"#)
    };
    let hosts = [
        "m.b.svc.cluster.local",
        "*.example.com",
        "*",
        "10.0.0.1",
        "fd00::1",
    ];
    for host in hosts {
        let parsed = FilterConfig::parse(config("m.a.svc", host).as_bytes()).unwrap();
        assert_eq!(parsed.namespaces["b"].hosts, [host]);
    }
    let got = refusal::<FilterConfig>(&config("m.svc", "m.svc"));
    let expected =
        r#"`namespaces.b.hosts`: "m.svc" is also a host of namespace a: remove it from one"#;
    assert!(got.contains(expected), "{got}");
    for host in [
        "",
        "M.svc",
        "m.svc.",
        "m.svc:8000",
        "[fd00::1]",
        "[fd00::1]:8000",
    ] {
        let got = refusal::<FilterConfig>(&config("a.svc", host));
        let expected = "write it in lower case, without a port and a final dot";
        assert!(got.contains(expected), "{host}: {got}");
    }
}

#[test]
fn impossible_percents_are_refused() {
    let carrier = |w: u32| {
        format!(
            r#"{{"carrier":"deployment/c{w}","weight":{w},"versions":[{{"version":"v1","endpoints":1}}]}}"#
        )
    };
    let config =
        |plan: &str| format!(r#"{{"namespaces":{{"default":{{"models":{{"m":{{{plan}}}}}}}}}}}"#);
    let over = config(&format!(r#""canaries":[{},{}]"#, carrier(60), carrier(50)));
    assert!(refusal::<FilterConfig>(&over).contains("sum to 110 percent"));
    let alone = config(&format!(r#""canaries":[{}]"#, carrier(60)));
    assert!(refusal::<FilterConfig>(&alone).contains("must sum to 100"));
    let scale = config(r#""scale":{"percent":7,"epoch":1}"#);
    assert!(refusal::<FilterConfig>(&scale).contains("steps of 5"));
}

#[test]
fn a_base_that_holds_has_no_stand_in() {
    let config = |standing: &str| {
        format!(
            r#"{{"dark":[{{"carrier":"deployment/a","versions":[]{standing}}}],"onBaseLost":"hold"}}"#
        )
    };
    let got = refusal::<ModelPlan>(&config(r#","standsIn":true"#));
    assert!(
        got.contains("`standsIn: true`, and `onBaseLost` is hold"),
        "{got}"
    );
    let plan: ModelPlan = parse_json(config("").as_bytes()).unwrap();
    assert_eq!(serde_json::to_string(&plan).unwrap(), config(""));
    let release: ModelPlan = parse_json(br#"{"onBaseLost":"release"}"#).unwrap();
    assert_eq!(release, ModelPlan::default());
}

#[test]
fn own_tags_cannot_have_the_names_of_builtin_tags() {
    let got = refusal::<TrafficTagPolicySpec>(r#"{"tags":[{"name":"lane","value":"x"}]}"#);
    assert!(
        got.contains("tags[0]") && got.contains("Headgate's own"),
        "{got}"
    );
}

#[test]
fn an_own_tag_given_twice_is_refused() {
    let twice = r#"{"tags":[{"name":"team","value":"a"},{"name":"team","header":"x-team"}]}"#;
    let got = refusal::<Tagging>(twice);
    assert!(got.contains("tags") && got.contains("given twice"), "{got}");
    let got = refusal::<TrafficTagPolicySpec>(twice);
    assert!(got.contains("remove `tags[1]`"), "{got}");
}

#[test]
fn an_empty_policy_means_the_defaults_for_every_model() {
    let spec: TrafficTagPolicySpec = parse_json(b"{}").unwrap();
    assert_eq!(spec.tagging, headgate_contract::Tagging::default());
}

#[test]
fn a_tag_source_cannot_be_a_header_that_headgate_strips() {
    let fix = "name the header that clients send";
    let tenant = r#"{"tenantFrom":["header:x-headgate-tenant"]}"#;
    assert!(refusal::<TrafficTagPolicySpec>(tenant).contains(fix));
    let path = refusal::<Tagging>(tenant);
    assert!(
        path.starts_with("tenantFrom[0]: ") && path.contains(fix),
        "{path}"
    );
    let own = r#"{"tags":[{"name":"plan","header":"x-headgate-plan"}]}"#;
    assert!(refusal::<TrafficTagPolicySpec>(own).contains(fix));
    assert!(parse_json::<Tagging>(br#"{"tenantFrom":["header:x-head"]}"#).is_ok());
}

#[test]
fn a_source_of_the_tenant_says_what_it_may_be() {
    let good = r#"{"tenantFrom":["peerSpiffeId","jwtClaim:https://example.com/org","apiKeySha256","header:x-org"]}"#;
    let spec: TrafficTagPolicySpec = parse_json(good.as_bytes()).unwrap();
    assert_eq!(spec.tagging.tenant_from.len(), 4);
    let emitted = serde_json::to_vec(&spec.tagging).unwrap();
    assert_eq!(parse_json::<Tagging>(&emitted).unwrap(), spec.tagging);
    for (sources, fix) in [
        ("[]", "write 1 to 32"),
        (r#"["header:x-a","header:x-a"]"#, "given twice"),
        (r#"["jwtClaim:"]"#, "visible ASCII"),
        (r#"["jwtClaim:a b"]"#, "visible ASCII"),
        (r#"["header:X-A"]"#, "lower-case"),
        (
            r#"["x-tenant-id"]"#,
            "unknown attribute \"x-tenant-id\": write tenant, model",
        ),
    ] {
        let json = format!(r#"{{"tenantFrom":{sources}}}"#);
        for message in [
            refusal::<TrafficTagPolicySpec>(&json),
            refusal::<Tagging>(&json),
        ] {
            assert!(
                message.contains("tenantFrom") && message.contains(fix),
                "{message}"
            );
        }
    }
    let hops = r#"{"trustedHops":["spiffe://example.org/ns/*/sa/gateway","any"]}"#;
    assert!(parse_json::<TrafficTagPolicySpec>(hops.as_bytes()).is_ok());
    let message = refusal::<TrafficTagPolicySpec>(r#"{"trustedHops":["*"]}"#);
    assert!(
        message.contains("trustedHops[0]") && message.contains("or any"),
        "{message}"
    );
}

#[test]
fn weights_whose_sum_overflows_are_refused() {
    let canary = r#"{"carrier":"d/a","weight":9000000000,"versions":[]}"#;
    let many = vec![canary; 2100].join(",");
    let plan = refusal::<ModelPlan>(&format!(r#"{{"canaries":[{many}]}}"#));
    assert!(plan.contains("lower their weights"), "{plan}");
}

#[test]
fn among_the_default_session_keys_a_conversation_precedes_a_user() {
    let keys: Vec<String> = headgate_contract::Tagging::default()
        .session_keys
        .into_iter()
        .map(String::from)
        .collect();
    let place = |key: &str| keys.iter().position(|k| k == key).unwrap();
    // Every header is a valid name, and a policy that sets all of them is accepted.
    assert_eq!(keys.iter().filter(|k| k.starts_with("header:")).count(), 14);
    let all = serde_json::json!({ "sessionKeys": keys }).to_string();
    assert!(parse_json::<TrafficTagPolicySpec>(all.as_bytes()).is_ok());
    for conversation in [
        "header:x-claude-code-session-id",
        "header:session_id",
        "header:x-openwebui-chat-id",
    ] {
        assert!(place(conversation) < place("header:x-user-id"));
    }
    assert_eq!(place("fingerprint"), keys.len() - 1);
    // The reference lists exactly the existing names.
    let raw = include_str!("../src/policy/traffic_tag.rs");
    for header in keys.iter().filter_map(|key| key.strip_prefix("header:")) {
        assert!(raw.contains(&format!("`{header}`")), "{header}");
    }
}

#[test]
fn stages_are_a_list_of_at_least_one_without_repeats() {
    let read = |stages: &str| {
        let json = format!(r#"{{{stages}"namespaces":{{}}}}"#);
        FilterConfig::parse(json.as_bytes()).map(|config| config.stages)
    };
    assert_eq!(read(""), Ok(None));
    assert_eq!(read(r#""stages":null,"#), Ok(None));
    for (stages, expected) in [
        (r#"["tag"]"#, Stages::TAG),
        (r#"["limit"]"#, Stages::LIMIT),
        (r#"["tag","limit"]"#, Stages::ALL),
        (r#"["limit","tag"]"#, Stages::ALL),
    ] {
        let got = read(&format!(r#""stages":{stages},"#));
        assert_eq!(got, Ok(Some(expected)), "{stages}");
    }
    for (stages, expected) in [
        (
            "[]",
            "stages: is empty: list `tag`, `limit` or both, or remove it",
        ),
        (r#"["tag","tag"]"#, "stages: lists `tag` twice: remove one"),
        (
            r#"["tag","route"]"#,
            "stages[1]: unknown variant `route`, expected `tag` or `limit`",
        ),
        (r#""tag""#, "stages: is text: write a sequence"),
    ] {
        let got = read(&format!(r#""stages":{stages},"#));
        assert_eq!(got.unwrap_err().to_string(), expected, "{stages}");
    }
}

#[test]
fn a_filter_that_reads_no_bodies_has_no_limit() {
    let read = |stages: &str| {
        FilterConfig::parse(format!(r#"{{"bodies":"never",{stages}"namespaces":{{}}}}"#).as_bytes())
    };
    for stages in ["", r#""stages":["tag"],"#] {
        let config = read(stages).unwrap();
        assert_eq!(config.bodies, Bodies::Never);
        assert_eq!(
            FilterConfig::parse(config.emit().unwrap().as_bytes()),
            Ok(config)
        );
    }
    for stages in [r#""stages":["limit"],"#, r#""stages":["tag","limit"],"#] {
        let got = read(stages).unwrap_err().to_string();
        assert!(got.contains("write `stages: [tag]`"), "{got}");
    }
}

#[test]
fn configurations_for_different_filters_differ_only_in_stages_and_role() {
    let json = r#"{"stages":["limit"],"role":"follow","retry":3,"maxBodyBytes":4096,"namespaces":{"a":{"models":{"m":{"names":["x"]}}},"b":{"models":{}}}}"#;
    let config = FilterConfig::parse(json.as_bytes()).unwrap();
    assert_eq!(config.emit().unwrap(), json);
    let heads = [
        (None, Role::Decide),
        (Some(Stages::TAG), Role::Follow),
        (Some(Stages::ALL), Role::Decide),
    ];
    let emitted = config.emit_with(heads).unwrap();
    for (json, (stages, role)) in emitted.iter().zip(heads) {
        let expected = FilterConfig {
            stages,
            role,
            ..config.clone()
        };
        assert_eq!(FilterConfig::parse(json.as_bytes()), Ok(expected));
    }
}

#[test]
fn weights_are_written_as_they_were_given() {
    let policy = |weights: &str| {
        format!(
            r#"{{"buckets":[{{"name":"a","key":[],"profile":"tokens","tokens":{{"capacity":10,"refillPerSecond":1,"weights":{weights}}}}}]}}"#
        )
    };
    for (given, kept) in [
        (
            r#"{"cachedInput":0.1,"output":4,"reasoning":4}"#,
            Some(r#""weights":{"cachedInput":0.1,"output":4,"reasoning":4}"#),
        ),
        (r#"{"input":1,"output":1}"#, None),
        ("{}", None),
        // As much as its whole, but not by default.
        (
            r#"{"input":0,"audio":1}"#,
            Some(r#""weights":{"input":0,"audio":1}"#),
        ),
    ] {
        let spec: TokenBucketPolicySpec = parse_json(policy(given).as_bytes()).unwrap();
        let written = serde_json::to_string(&spec).unwrap();
        match kept {
            Some(kept) => assert!(written.contains(kept), "{written}"),
            None => assert!(!written.contains("weights"), "{written}"),
        }
    }
}
