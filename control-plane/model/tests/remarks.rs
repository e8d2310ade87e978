//! Findings on valid policies: a hidden `cors`, and buckets that a restart of a proxy resets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixtures;

use fixtures::{carrier, objects, policy};
use headgate_contract::{PolicySpec as _, TokenBucketPolicySpec, TrafficTagPolicySpec};
use headgate_model::{Finding, Objects, Plan, PolicyOutcome, Severity, condition_reason, reason};

const ROOT: &str = "headgate-system";
const CORS: &str = r#"{"cors":{"allowOrigins":["https://a.example"]}}"#;

fn planned(cluster: &Objects) -> Plan {
    fixtures::planned_under(ROOT, cluster)
}

/// A plan of model `llama` in `default` with these tagging policies (namespace, name, spec), the oldest first.
fn tagged(policies: &[(&str, &str, &str)]) -> Plan {
    let mut cluster = objects([carrier("a", "v1")]);
    for (created, (namespace, name, spec)) in (0..).zip(policies) {
        let mut policy = policy::<TrafficTagPolicySpec>(name, Some(created), spec);
        policy.namespace = (*namespace).to_owned();
        cluster.insert_policy(policy);
    }
    planned(&cluster)
}

fn outcome<'a>(plan: &'a Plan, namespace: &str, name: &str) -> &'a PolicyOutcome {
    fixtures::outcome(plan, TrafficTagPolicySpec::KIND, namespace, name)
}

fn found<'a>(plan: &'a Plan, reason: &str) -> Vec<&'a Finding> {
    let all = plan.findings.iter();
    all.filter(|finding| finding.reason == reason).collect()
}

#[test]
fn a_hidden_cors_is_reported() {
    let plan = tagged(&[("default", "old", "{}"), ("default", "young", CORS)]);
    let [finding] = found(&plan, reason::TAGGING_SHADOWED)[..] else {
        panic!("{:?}", plan.findings)
    };
    let hidden = "spec.cors: has no effect where TrafficTagPolicy default/old takes precedence for the whole namespace";
    assert!(finding.message.contains(hidden), "{}", finding.message);
    let young = outcome(&plan, "default", "young");
    assert_eq!(young.accepted.reason, condition_reason::OVERRIDDEN);
    assert!(young.accepted.message.contains(hidden));
    assert!(young.namespaces.is_empty());

    // A policy of the root namespace has a `cors`, and the namespace has a policy of its own without one.
    let plan = tagged(&[(ROOT, "all", CORS), ("default", "own", "{}")]);
    let [finding] = found(&plan, reason::TAGGING_SHADOWED)[..] else {
        panic!("{:?}", plan.findings)
    };
    assert!(finding.message.contains("spec.cors"), "{}", finding.message);
}

#[test]
fn a_cors_takes_effect_although_more_specific_taggings_have_every_model() {
    let closer = r#"{"models":["llama"]}"#;
    let plan = tagged(&[("default", "pages", CORS), ("default", "closer", closer)]);
    let pages = outcome(&plan, "default", "pages");
    assert!(pages.accepted.holds, "{:?}", pages.accepted);
    assert_eq!(pages.accepted.reason, condition_reason::PARTLY_OVERRIDDEN);
    assert!(
        pages
            .accepted
            .message
            .ends_with("; its `spec.cors` takes effect"),
        "{}",
        pages.accepted.message
    );
    assert!(pages.namespaces.contains("default"));
    assert!(plan.findings.is_empty(), "{:?}", plan.findings);
    let alone = tagged(&[("default", "pages", CORS)]);
    assert_eq!(
        outcome(&alone, "default", "pages").accepted.reason,
        condition_reason::ACCEPTED
    );
}

#[test]
fn a_bucket_that_takes_longer_than_an_hour_to_fill_has_a_finding_about_restarts() {
    let findings_of = |profiles: &[&str]| {
        let buckets: Vec<String> = (0..)
            .zip(profiles)
            .map(|(i, profile)| format!(r#"{{"name":"b{i}","key":["tenant"],{profile}}}"#))
            .collect();
        let spec = format!(r#"{{"buckets":[{}]}}"#, buckets.join(","));
        let mut cluster = objects([carrier("a", "v1")]);
        cluster.insert_policy(policy::<TokenBucketPolicySpec>("p", None, &spec));
        planned(&cluster).findings
    };
    let tokens = |capacity: u32, refill: &str| {
        format!(
            r#""profile":"tokens","tokens":{{"capacity":{capacity},"refillPerSecond":{refill}}}"#
        )
    };
    let semantic =
        |ratio: &str| format!(r#""profile":"semantic","semantic":{{"fillRatio":{ratio}}}"#);
    assert_eq!(findings_of(&[&tokens(3600, "1"), &semantic("0.0003")]), []);
    let findings = findings_of(&[&tokens(3601, "1"), &tokens(60, "1"), &semantic("0.0002")]);
    let [finding] = &findings[..] else {
        panic!("{findings:?}")
    };
    assert_eq!(
        (finding.reason, finding.severity, finding.object.to_string()),
        (
            reason::LONG_WINDOW,
            Severity::Info,
            "TokenBucketPolicy default/p".to_owned()
        )
    );
    for part in [
        r#"to fill: "b0" (1h1s), "b2" (1h23m20s)"#,
        "a restart of Envoy loses them",
    ] {
        assert!(finding.message.contains(part), "{}", finding.message);
    }
}
