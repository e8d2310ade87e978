//! Precedence for one bucket name of one model: a test for each row of the table, with the status of the loser.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixtures;

use std::collections::BTreeMap;

use fixtures::{Build, carrier, objects, policy};
use headgate_contract::{ChargeAt, PolicySpec as _, TokenBucketPolicySpec, TrafficTagPolicySpec};
use headgate_model::{CarrierKey, Objects, Plan, PolicyId, PolicyOutcome, condition_reason};

const ROOT: &str = "headgate-system";

/// Two models in `default`, one of them with two versions; one model in `other`.
fn fleet() -> Objects {
    objects([
        carrier("llama-v1", "v1").label("team", "red"),
        carrier("llama-v2", "v2").weight("10").label("team", "red"),
        carrier("phi", "v1").model("phi"),
        carrier("far", "v1").model("gpt").namespace("other"),
    ])
}

/// A policy with the bucket `fair`, and one of its own name.
fn add_buckets(cluster: &mut Objects, namespace: &str, name: &str, created: i64, target: &str) {
    let bucket =
        |name: &str| format!(r#"{{"name":"{name}","key":["tenant"],"profile":"semantic"}}"#);
    let spec = format!(
        r#"{{{target}"buckets":[{},{}]}}"#,
        bucket("fair"),
        bucket(name)
    );
    let mut policy = policy::<TokenBucketPolicySpec>(name, Some(created), &spec);
    policy.namespace = namespace.to_owned();
    cluster.insert_policy(policy);
}

fn add_tagging(cluster: &mut Objects, namespace: &str, name: &str, spec: &str) {
    let mut policy = policy::<TrafficTagPolicySpec>(name, None, spec);
    policy.namespace = namespace.to_owned();
    cluster.insert_policy(policy);
}

fn planned(cluster: &Objects) -> Plan {
    fixtures::planned_under(ROOT, cluster)
}

/// The policy whose bucket `name` a request for this model and version spends. There is never more than one.
fn spent(plan: &Plan, namespace: &str, model: &str, version: &str, name: &str) -> Option<String> {
    let rules = plan.namespaces[namespace].config.buckets.iter();
    let mut of: Vec<String> = rules
        .filter(|r| r.bucket.name.as_str() == name && r.applies_to(model, version))
        .map(|r| r.policy.clone())
        .collect();
    assert!(of.len() <= 1, "{of:?}");
    of.pop()
}

/// The policy whose bucket `fair` applies to llama, v1.
fn winner(cluster: &Objects) -> String {
    spent(&planned(cluster), "default", "llama", "v1", "fair").unwrap()
}

fn outcome<'a>(plan: &'a Plan, namespace: &str, name: &str) -> &'a PolicyOutcome {
    fixtures::outcome(plan, TokenBucketPolicySpec::KIND, namespace, name)
}

/// The `Accepted` message of a policy that lost its first bucket, `fair`.
fn lost(cluster: &Objects, namespace: &str, name: &str) -> String {
    let plan = planned(cluster);
    outcome(&plan, namespace, name).accepted.message.clone()
}

/// The sentence about the lost bucket: the part of the models that a winner has, and the reason.
fn sentence(models: &str, winner: &str, because: &str) -> String {
    format!(
        "spec.buckets[0]: bucket \"fair\": for {models}, TokenBucketPolicy {winner} takes precedence, because {because}. To apply both, \
         rename one"
    )
}

const MODELS: &str = r#""models":["llama"],"#;
const SELECTOR: &str = r#""selector":{"matchLabels":{"team":"red"}},"#;

#[test]
fn all_buckets_of_all_policies_that_match_apply() {
    let mut cluster = fleet();
    add_buckets(&mut cluster, "default", "a", 1, MODELS);
    add_buckets(&mut cluster, "default", "b", 2, SELECTOR);
    add_buckets(&mut cluster, "default", "c", 3, "");
    add_buckets(&mut cluster, ROOT, "d", 4, "");
    let plan = planned(&cluster);
    for (name, owner) in [
        ("a", "default/a"),
        ("b", "default/b"),
        ("c", "default/c"),
        ("d", "headgate-system/d"),
    ] {
        assert_eq!(
            spent(&plan, "default", "llama", "v1", name).as_deref(),
            Some(owner)
        );
    }
}

#[test]
fn a_policy_that_names_the_model_precedes_one_that_selects_it() {
    let mut cluster = fleet();
    add_buckets(&mut cluster, "default", "a", 1, SELECTOR);
    add_buckets(&mut cluster, "default", "z", 2, MODELS);
    assert_eq!(winner(&cluster), "default/z");
    let expected = sentence(
        "model llama (1 of its 1 models)",
        "default/z",
        "it names the model",
    );
    assert_eq!(lost(&cluster, "default", "a"), expected);
}

#[test]
fn a_selector_precedes_the_namespace() {
    let mut cluster = fleet();
    add_buckets(&mut cluster, "default", "a", 1, "");
    add_buckets(&mut cluster, "default", "z", 2, SELECTOR);
    let plan = planned(&cluster);
    assert_eq!(winner(&cluster), "default/z");
    // The exception does not change other models.
    assert_eq!(
        spent(&plan, "default", "phi", "v1", "fair").unwrap(),
        "default/a"
    );
    let expected = sentence(
        "model llama (1 of its 2 models)",
        "default/z",
        "it selects the model by labels",
    );
    assert_eq!(lost(&cluster, "default", "a"), expected);
}

#[test]
fn the_namespace_precedes_the_root_namespace() {
    let mut cluster = fleet();
    add_buckets(&mut cluster, ROOT, "a", 1, MODELS);
    add_buckets(&mut cluster, "default", "z", 2, "");
    let plan = planned(&cluster);
    assert_eq!(winner(&cluster), "default/z");
    let accepted = &outcome(&plan, ROOT, "a").accepted;
    assert_eq!(accepted.reason, condition_reason::PARTLY_OVERRIDDEN);
    let expected = sentence(
        "model llama (1 of its 1 models)",
        "default/z",
        "it is in the namespace of the model",
    );
    assert_eq!(accepted.message, expected);
}

#[test]
fn a_policy_of_the_root_namespace_is_the_default_of_every_namespace() {
    let mut cluster = fleet();
    add_buckets(&mut cluster, ROOT, "a", 1, "");
    let plan = planned(&cluster);
    assert_eq!(winner(&cluster), "headgate-system/a");
    assert_eq!(
        spent(&plan, "other", "gpt", "v1", "fair").unwrap(),
        "headgate-system/a"
    );
    assert_eq!(
        outcome(&plan, ROOT, "a").accepted.message,
        "applies to 3 models in 2 namespaces"
    );
}

#[test]
fn an_override_is_a_ceiling_that_tenants_cannot_lift() {
    let mut cluster = fleet();
    add_buckets(&mut cluster, ROOT, "ceiling", 9, r#""override":true,"#);
    add_buckets(&mut cluster, "default", "a", 1, MODELS);
    let plan = planned(&cluster);
    assert_eq!(winner(&cluster), "headgate-system/ceiling");
    let lost = &outcome(&plan, "default", "a").accepted;
    assert!(lost.holds, "its other bucket counts");
    let expected = sentence(
        "model llama (1 of its 1 models)",
        "headgate-system/ceiling",
        "it has `override`",
    );
    assert_eq!(lost.message, expected);
}

#[test]
fn rules_and_outcome_of_a_policy_name_the_hop_that_charges() {
    let mut cluster = fleet();
    add_buckets(&mut cluster, "default", "a", 1, "");
    add_buckets(&mut cluster, "default", "z", 2, r#""at":"inbound","#);
    add_tagging(&mut cluster, "default", "tags", "{}");
    let plan = planned(&cluster);
    let rules = plan.namespaces["default"].config.buckets.iter();
    let at: BTreeMap<_, _> = rules.map(|rule| (rule.policy.as_str(), rule.at)).collect();
    let (decide, inbound) = (ChargeAt::Decide, ChargeAt::Inbound);
    assert_eq!(
        at,
        BTreeMap::from([("default/a", decide), ("default/z", inbound)])
    );
    assert_eq!(outcome(&plan, "default", "a").at, Some(decide));
    assert_eq!(outcome(&plan, "default", "z").at, Some(inbound));
    let tags = fixtures::outcome(&plan, TrafficTagPolicySpec::KIND, "default", "tags");
    assert_eq!(tags.at, None);
}

#[test]
fn an_override_outside_the_root_namespace_is_reported() {
    let mut cluster = fleet();
    add_buckets(&mut cluster, "default", "a", 1, r#""override":true,"#);
    add_buckets(&mut cluster, "default", "z", 2, MODELS);
    let plan = planned(&cluster);
    assert_eq!(winner(&cluster), "default/z");
    let accepted = &outcome(&plan, "default", "a").accepted;
    assert!(
        accepted.holds
            && accepted.message.contains(
                "spec.override: takes effect only in the root namespace, which is headgate-system"
            )
    );
}

#[test]
fn among_equals_the_oldest_wins_then_the_first_by_name() {
    let mut cluster = fleet();
    add_buckets(&mut cluster, "default", "b", 7, MODELS);
    add_buckets(&mut cluster, "default", "a", 8, MODELS);
    assert_eq!(winner(&cluster), "default/b");
    add_buckets(&mut cluster, "default", "aa", 7, MODELS);
    assert_eq!(winner(&cluster), "default/aa");
    for (name, because) in [("b", "its name sorts first"), ("a", "it is older")] {
        let expected = sentence("model llama (1 of its 1 models)", "default/aa", because);
        assert_eq!(lost(&cluster, "default", name), expected);
    }
}

#[test]
fn every_winner_is_named_with_its_part() {
    let mut cluster = fleet();
    add_buckets(&mut cluster, "default", "a", 1, "");
    let section = |version: &str| {
        format!(
            r#""targetRefs":[{{"kind":"Deployment","name":"llama-{version}","sectionName":"{version}"}}],"#
        )
    };
    add_buckets(&mut cluster, "default", "part", 2, &section("v2"));
    add_buckets(&mut cluster, "default", "phi", 3, r#""models":["phi"],"#);
    let parts = [
        "version v2 of model llama (a part of 1 of its 2 models), TokenBucketPolicy default/part takes precedence, because it names the \
         version",
        "for model phi (1 of its 2 models)",
    ];
    let expected = sentence(&parts.join("; "), "default/phi", "it names the model");
    assert_eq!(lost(&cluster, "default", "a"), expected);

    // The third policy loses one version to each of the other two.
    let mut cluster = fleet();
    add_buckets(&mut cluster, "default", "part", 1, &section("v2"));
    add_buckets(&mut cluster, "default", "named", 2, MODELS);
    add_buckets(&mut cluster, "default", "a", 3, SELECTOR);
    let message = lost(&cluster, "default", "a");
    for part in [
        "for version v1 of model llama (a part of 1 of its 1 models), TokenBucketPolicy default/named takes precedence, because it names",
        "for version v2 of model llama (a part of 1 of its 1 models), TokenBucketPolicy default/part takes precedence, because it names",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_message_does_not_grow_with_the_fleet() {
    let all: Vec<_> = (0..300)
        .map(|n| carrier(&format!("c{n}"), "v1").model(&format!("m{n}")))
        .collect();
    let mut cluster = objects(all);
    add_buckets(&mut cluster, "default", "a", 1, "");
    for n in 0..300 {
        let target = format!(r#""models":["m{n}"],"#);
        add_buckets(&mut cluster, "default", &format!("p{n}"), 2, &target);
    }
    let message = lost(&cluster, "default", "a");
    assert!(
        message.contains("; and 280 more policies take precedence. To apply both"),
        "{message}"
    );
    assert!(message.len() < 4096, "{}", message.len());
}

#[test]
fn a_target_reference_names_the_model_of_its_object() {
    let mut cluster = fleet();
    add_buckets(&mut cluster, "default", "a", 1, SELECTOR);
    add_buckets(
        &mut cluster,
        "default",
        "z",
        2,
        r#""targetRefs":[{"kind":"Deployment","name":"llama-v2"}],"#,
    );
    assert_eq!(winner(&cluster), "default/z");
    let expected = sentence(
        "model llama (1 of its 1 models)",
        "default/z",
        "it names the model",
    );
    assert_eq!(lost(&cluster, "default", "a"), expected);
}

#[test]
fn a_section_is_a_version_and_precedes_the_model() {
    let mut cluster = fleet();
    add_buckets(&mut cluster, "default", "a", 1, MODELS);
    let section = r#""targetRefs":[{"group":"apps","kind":"Deployment","name":"llama-v2","sectionName":"v2"}],"#;
    add_buckets(&mut cluster, "default", "z", 2, section);
    let plan = planned(&cluster);
    assert_eq!(
        spent(&plan, "default", "llama", "v1", "fair").unwrap(),
        "default/a"
    );
    assert_eq!(
        spent(&plan, "default", "llama", "v2", "fair").unwrap(),
        "default/z"
    );
    let expected = sentence(
        "version v2 of model llama (a part of 1 of its 1 models)",
        "default/z",
        "it names the version",
    );
    assert_eq!(lost(&cluster, "default", "a"), expected);
    // Uncontested buckets apply to all versions of the one policy, and to the version of the other.
    assert_eq!(
        spent(&plan, "default", "llama", "v2", "a").unwrap(),
        "default/a"
    );
    assert_eq!(spent(&plan, "default", "llama", "v1", "z"), None);
    let config = headgate_contract::FilterConfig {
        namespaces: [(
            "default".to_owned(),
            plan.namespaces["default"].config.clone(),
        )]
        .into(),
        ..headgate_contract::FilterConfig::default()
    };
    let parsed = headgate_contract::FilterConfig::parse(config.emit().unwrap().as_bytes());
    assert_eq!(parsed, Ok(config));
}

#[test]
fn a_group_stands_for_the_carriers_that_it_selects() {
    let mut cluster = fleet();
    let key = |kind: &str, name: &str| CarrierKey {
        namespace: "default".into(),
        kind: kind.into(),
        name: name.into(),
    };
    cluster.groups.insert(
        key("inferencepool", "pool"),
        [key("deployment", "phi")].into(),
    );
    add_buckets(
        &mut cluster,
        "default",
        "a",
        1,
        r#""targetRefs":[{"kind":"InferencePool","name":"pool"}],"#,
    );
    let plan = planned(&cluster);
    assert_eq!(
        spent(&plan, "default", "phi", "v1", "fair").unwrap(),
        "default/a"
    );
    assert_eq!(spent(&plan, "default", "llama", "v1", "fair"), None);
}

#[test]
fn a_target_of_an_unread_kind_is_reported_unread_and_not_missing() {
    let mut cluster = fleet();
    let kind = |within: Option<&str>| (within.map(str::to_owned), "inferencepool".to_owned());
    cluster.unread.kinds = [kind(Some("default"))].into();
    let pool = r#""targetRefs":[{"kind":"InferencePool","name":"pool"}],"#;
    let both = r#""targetRefs":[{"kind":"InferencePool","name":"pool"},{"kind":"Deployment","name":"phi"}],"#;
    add_buckets(&mut cluster, "default", "a", 1, pool);
    add_buckets(&mut cluster, "default", "b", 2, both);
    let plan = planned(&cluster);
    for name in ["a", "b"] {
        let resolved = &outcome(&plan, "default", name).resolved;
        assert_eq!((resolved.holds, resolved.reason), (false, "TargetUnread"));
        let message = &resolved.message;
        for part in [
            "spec.targetRefs[0]: InferencePools of namespace default cannot be read",
            "headgate status",
        ] {
            assert!(message.contains(part), "{message}");
        }
        assert!(!message.contains("matches no model"), "{message}");
    }
    assert_eq!(
        spent(&plan, "default", "phi", "v1", "fair").unwrap(),
        "default/b",
        "the rest of it counts"
    );
    let unread = plan.findings.iter().filter(|f| f.reason == "TargetUnread");
    assert_eq!(unread.count(), 2);
    // If the kind is unread only in another namespace, a missing target is missing.
    cluster.unread.kinds = [kind(Some("other"))].into();
    let plan = planned(&cluster);
    assert_eq!(
        outcome(&plan, "default", "a").resolved.reason,
        "MatchesNothing"
    );
}

#[test]
fn unresolved_targets_are_reported_by_field() {
    let mut cluster = fleet();
    add_buckets(
        &mut cluster,
        "default",
        "none",
        1,
        r#""targetRefs":[{"kind":"Service","name":"llama"}],"#,
    );
    add_buckets(
        &mut cluster,
        "default",
        "half",
        2,
        r#""models":["llama","lama"],"#,
    );
    let section = r#""targetRefs":[{"kind":"Deployment","name":"llama-v1"},{"kind":"Deployment","name":"llama-v1","sectionName":"v9"}],"#;
    add_buckets(&mut cluster, "default", "section", 3, section);
    add_buckets(&mut cluster, "empty", "far", 4, "");
    let plan = planned(&cluster);
    let cases = [
        (
            "default",
            "none",
            condition_reason::MATCHES_NOTHING,
            "spec.targetRefs[0]: no Service llama carries a model in namespace default: correct the name, or label the object with its model. Declared models: llama, phi",
        ),
        (
            "default",
            "half",
            condition_reason::PARTLY_RESOLVED,
            "spec.models[1]: no carrier declares model lama: correct the id, or label a workload with it",
        ),
        (
            "default",
            "section",
            condition_reason::PARTLY_RESOLVED,
            "spec.targetRefs[1].sectionName: no model of Deployment llama-v1 has version v9: write a declared version, or remove `sectionName`",
        ),
        (
            "empty",
            "far",
            condition_reason::MATCHES_NOTHING,
            "spec: its namespace declares no model",
        ),
    ];
    for (namespace, name, reason, message) in cases {
        let resolved = &outcome(&plan, namespace, name).resolved;
        assert!(!resolved.holds);
        assert_eq!(resolved.reason, reason, "{name}");
        assert!(
            resolved.message.contains(message),
            "{name}: {}",
            resolved.message
        );
    }
    assert!(outcome(&plan, "default", "none").namespaces.is_empty());
    assert!(
        outcome(&plan, "default", "half")
            .namespaces
            .contains("default")
    );
}

#[test]
fn a_policy_without_effect_is_not_accepted() {
    let mut cluster = fleet();
    let only = |created| {
        policy::<TokenBucketPolicySpec>(
            "x",
            Some(created),
            r#"{"models":["phi"],"buckets":[{"name":"fair","key":[],"profile":"semantic"}]}"#,
        )
    };
    cluster.insert_policy(headgate_model::Policy {
        name: "first".into(),
        ..only(1)
    });
    cluster.insert_policy(headgate_model::Policy {
        name: "second".into(),
        ..only(2)
    });
    let plan = planned(&cluster);
    let accepted = &outcome(&plan, "default", "second").accepted;
    assert_eq!(
        (accepted.holds, accepted.reason),
        (false, condition_reason::OVERRIDDEN)
    );
    let expected = sentence(
        "model phi (1 of its 1 models)",
        "default/first",
        "it is older",
    );
    assert_eq!(
        accepted.message,
        format!("no part of it takes effect: {expected}")
    );
}

#[test]
fn taggings_follow_the_same_precedence() {
    let mut cluster = fleet();
    add_tagging(&mut cluster, ROOT, "house", "{}");
    add_tagging(&mut cluster, "default", "all", "{}");
    add_tagging(&mut cluster, "default", "llama", r#"{"models":["llama"]}"#);
    let order = |cluster: &Objects, namespace: &str| -> Vec<String> {
        let plan = planned(cluster);
        let rules = plan.namespaces[namespace].config.tagging.iter();
        rules.map(|r| r.policy.clone()).collect()
    };
    assert_eq!(order(&cluster, "default"), ["default/llama", "default/all"]);
    assert_eq!(order(&cluster, "other"), ["headgate-system/house"]);
    add_tagging(&mut cluster, ROOT, "law", r#"{"override":true}"#);
    assert_eq!(order(&cluster, "default"), ["headgate-system/law"]);
    let plan = planned(&cluster);
    let id = |name: &str| PolicyId {
        kind: TrafficTagPolicySpec::KIND,
        namespace: "default".into(),
        name: name.into(),
    };
    let sentence = "no part of it takes effect: spec: the tagging: for model llama (1 of its 1 models), TrafficTagPolicy \
                    headgate-system/law takes precedence, because it has `override`. One tagging applies per model";
    assert_eq!(plan.policies[&id("llama")].accepted.message, sentence);
}
