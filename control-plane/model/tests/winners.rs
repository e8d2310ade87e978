//! For one bucket name of one model, who wins: a test for each row of the table, and what the loser's status says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use headgate_model::{
    CarrierKey, Objects, Plan, PolicyId, PolicyKind, PolicyOutcome, condition_reason,
};
use world::{Build, carrier, objects, policy};

const ROOT: &str = "headgate-system";

/// Two models in `default`, one of them in two versions; one model in `other`.
fn fleet() -> Objects {
    objects([
        carrier("llama-v1", "v1").label("team", "red"),
        carrier("llama-v2", "v2").weight("10").label("team", "red"),
        carrier("phi", "v1").model("phi"),
        carrier("far", "v1").model("gpt").namespace("other"),
    ])
}

/// A policy with the bucket `fair`, and one of its own name.
fn give(world: &mut Objects, namespace: &str, name: &str, created: i64, target: &str) {
    let bucket =
        |name: &str| format!(r#"{{"name":"{name}","key":["tenant"],"profile":"semantic"}}"#);
    let spec = format!(
        r#"{{{target}"buckets":[{},{}]}}"#,
        bucket("fair"),
        bucket(name)
    );
    let mut given = policy(name, Some(created), &spec);
    given.namespace = namespace.to_owned();
    world
        .bucket_policies
        .insert((namespace.into(), name.into()), given);
}

fn tag(world: &mut Objects, namespace: &str, name: &str, spec: &str) {
    let mut given = policy(name, None, spec);
    given.namespace = namespace.to_owned();
    world
        .tag_policies
        .insert((namespace.into(), name.into()), given);
}

fn planned(world: &Objects) -> Plan {
    world::planned_under(ROOT, world)
}

/// The policies whose bucket `name` a request for that model and version spends. Never more than one.
fn spent(plan: &Plan, namespace: &str, model: &str, version: &str, name: &str) -> Option<String> {
    let rules = plan.namespaces[namespace].config.buckets.iter();
    let mut of: Vec<String> = rules
        .filter(|r| r.bucket.name.as_str() == name && r.applies_to(model, version))
        .map(|r| r.policy.clone())
        .collect();
    assert!(of.len() <= 1, "{of:?}");
    of.pop()
}

/// Who gives `fair` to llama, v1.
fn winner(world: &Objects) -> String {
    spent(&planned(world), "default", "llama", "v1", "fair").unwrap()
}

fn outcome<'a>(plan: &'a Plan, namespace: &str, name: &str) -> &'a PolicyOutcome {
    world::outcome(plan, PolicyKind::TokenBucket, namespace, name)
}

/// What the status says of the first bucket, `fair`, that it lost.
fn lost(world: &Objects, namespace: &str, name: &str) -> String {
    let plan = planned(world);
    outcome(&plan, namespace, name).accepted.message.clone()
}

/// The loser's sentence: the part of its models that a winner has, and why.
fn told(models: &str, winner: &str, because: &str) -> String {
    format!(
        "spec.buckets[0]: bucket \"fair\": for {models}, TokenBucketPolicy {winner} takes precedence, because {because}. To apply both, \
         rename one"
    )
}

const MODELS: &str = r#""models":["llama"],"#;
const SELECTOR: &str = r#""selector":{"matchLabels":{"team":"red"}},"#;

#[test]
fn all_buckets_of_all_policies_that_match_apply() {
    let mut world = fleet();
    give(&mut world, "default", "a", 1, MODELS);
    give(&mut world, "default", "b", 2, SELECTOR);
    give(&mut world, "default", "c", 3, "");
    give(&mut world, ROOT, "d", 4, "");
    let plan = planned(&world);
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
fn a_policy_that_names_the_model_comes_before_one_that_selects_it() {
    let mut world = fleet();
    give(&mut world, "default", "a", 1, SELECTOR);
    give(&mut world, "default", "z", 2, MODELS);
    assert_eq!(winner(&world), "default/z");
    let sentence = told(
        "model llama (1 of its 1 models)",
        "default/z",
        "it names the model",
    );
    assert_eq!(lost(&world, "default", "a"), sentence);
}

#[test]
fn a_selector_comes_before_the_namespace() {
    let mut world = fleet();
    give(&mut world, "default", "a", 1, "");
    give(&mut world, "default", "z", 2, SELECTOR);
    let plan = planned(&world);
    assert_eq!(winner(&world), "default/z");
    // The exception leaves the rest to the rule.
    assert_eq!(
        spent(&plan, "default", "phi", "v1", "fair").unwrap(),
        "default/a"
    );
    let sentence = told(
        "model llama (1 of its 2 models)",
        "default/z",
        "it selects the model by labels",
    );
    assert_eq!(lost(&world, "default", "a"), sentence);
}

#[test]
fn the_namespace_comes_before_the_root_namespace() {
    let mut world = fleet();
    give(&mut world, ROOT, "a", 1, MODELS);
    give(&mut world, "default", "z", 2, "");
    let plan = planned(&world);
    assert_eq!(winner(&world), "default/z");
    let accepted = &outcome(&plan, ROOT, "a").accepted;
    assert_eq!(accepted.reason, condition_reason::PARTLY_OVERRIDDEN);
    let sentence = told(
        "model llama (1 of its 1 models)",
        "default/z",
        "it is in the namespace of the model",
    );
    assert_eq!(accepted.message, sentence);
}

#[test]
fn a_policy_of_the_root_namespace_is_the_default_of_every_namespace() {
    let mut world = fleet();
    give(&mut world, ROOT, "a", 1, "");
    let plan = planned(&world);
    assert_eq!(winner(&world), "headgate-system/a");
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
    let mut world = fleet();
    give(&mut world, ROOT, "ceiling", 9, r#""override":true,"#);
    give(&mut world, "default", "a", 1, MODELS);
    let plan = planned(&world);
    assert_eq!(winner(&world), "headgate-system/ceiling");
    let lost = &outcome(&plan, "default", "a").accepted;
    assert!(lost.holds, "its other bucket counts");
    let sentence = told(
        "model llama (1 of its 1 models)",
        "headgate-system/ceiling",
        "it has `override`",
    );
    assert_eq!(lost.message, sentence);
}

#[test]
fn an_override_of_a_tenant_is_told_that_it_has_no_effect() {
    let mut world = fleet();
    give(&mut world, "default", "a", 1, r#""override":true,"#);
    give(&mut world, "default", "z", 2, MODELS);
    let plan = planned(&world);
    assert_eq!(winner(&world), "default/z");
    let told = &outcome(&plan, "default", "a").accepted;
    assert!(
        told.holds
            && told.message.contains(
                "spec.override: takes effect only in the root namespace, which is headgate-system"
            )
    );
}

#[test]
fn among_equals_the_oldest_wins_then_the_first_by_name() {
    let mut world = fleet();
    give(&mut world, "default", "b", 7, MODELS);
    give(&mut world, "default", "a", 8, MODELS);
    assert_eq!(winner(&world), "default/b");
    give(&mut world, "default", "aa", 7, MODELS);
    assert_eq!(winner(&world), "default/aa");
    for (name, because) in [("b", "its name sorts first"), ("a", "it is older")] {
        let sentence = told("model llama (1 of its 1 models)", "default/aa", because);
        assert_eq!(lost(&world, "default", name), sentence);
    }
}

#[test]
fn every_winner_is_named_with_what_is_its_own() {
    let mut world = fleet();
    give(&mut world, "default", "a", 1, "");
    let section = |version: &str| {
        format!(
            r#""targetRefs":[{{"kind":"Deployment","name":"llama-{version}","sectionName":"{version}"}}],"#
        )
    };
    give(&mut world, "default", "part", 2, &section("v2"));
    give(&mut world, "default", "phi", 3, r#""models":["phi"],"#);
    let parts = [
        "version v2 of model llama (a part of 1 of its 2 models), TokenBucketPolicy default/part takes precedence, because it names the \
         version",
        "for model phi (1 of its 2 models)",
    ];
    let sentence = told(&parts.join("; "), "default/phi", "it names the model");
    assert_eq!(lost(&world, "default", "a"), sentence);

    // Who comes third loses the version to the one, and what the one left to the other.
    let mut world = fleet();
    give(&mut world, "default", "part", 1, &section("v2"));
    give(&mut world, "default", "named", 2, MODELS);
    give(&mut world, "default", "a", 3, SELECTOR);
    let message = lost(&world, "default", "a");
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
    let mut world = objects(all);
    give(&mut world, "default", "a", 1, "");
    for n in 0..300 {
        let target = format!(r#""models":["m{n}"],"#);
        give(&mut world, "default", &format!("p{n}"), 2, &target);
    }
    let message = lost(&world, "default", "a");
    assert!(
        message.contains("; and 280 more policies take precedence. To apply both"),
        "{message}"
    );
    assert!(message.len() < 4096, "{}", message.len());
}

#[test]
fn an_object_that_carries_the_model_names_it() {
    let mut world = fleet();
    give(&mut world, "default", "a", 1, SELECTOR);
    give(
        &mut world,
        "default",
        "z",
        2,
        r#""targetRefs":[{"kind":"Deployment","name":"llama-v2"}],"#,
    );
    assert_eq!(winner(&world), "default/z");
    let sentence = told(
        "model llama (1 of its 1 models)",
        "default/z",
        "it names the model",
    );
    assert_eq!(lost(&world, "default", "a"), sentence);
}

#[test]
fn a_section_is_a_version_and_comes_before_the_model() {
    let mut world = fleet();
    give(&mut world, "default", "a", 1, MODELS);
    let section = r#""targetRefs":[{"group":"apps","kind":"Deployment","name":"llama-v2","sectionName":"v2"}],"#;
    give(&mut world, "default", "z", 2, section);
    let plan = planned(&world);
    assert_eq!(
        spent(&plan, "default", "llama", "v1", "fair").unwrap(),
        "default/a"
    );
    assert_eq!(
        spent(&plan, "default", "llama", "v2", "fair").unwrap(),
        "default/z"
    );
    let sentence = told(
        "version v2 of model llama (a part of 1 of its 1 models)",
        "default/z",
        "it names the version",
    );
    assert_eq!(lost(&world, "default", "a"), sentence);
    // What is not contested is for all versions of the one, and for that version of the other.
    assert_eq!(
        spent(&plan, "default", "llama", "v2", "a").unwrap(),
        "default/a"
    );
    assert_eq!(spent(&plan, "default", "llama", "v1", "z"), None);
    let config = headgate_contract::FilterConfig {
        role: headgate_contract::Role::Decide,
        retry: 0,
        max_body_bytes: 1 << 20,
        namespaces: [(
            "default".to_owned(),
            plan.namespaces["default"].config.clone(),
        )]
        .into(),
    };
    let parsed = headgate_contract::FilterConfig::parse(config.emit().unwrap().as_bytes());
    assert_eq!(parsed, Ok(config));
}

#[test]
fn a_group_stands_for_the_carriers_behind_it() {
    let mut world = fleet();
    let key = |kind: &str, name: &str| CarrierKey {
        namespace: "default".into(),
        kind: kind.into(),
        name: name.into(),
    };
    world.groups.insert(
        key("inferencepool", "pool"),
        [key("deployment", "phi")].into(),
    );
    give(
        &mut world,
        "default",
        "a",
        1,
        r#""targetRefs":[{"kind":"InferencePool","name":"pool"}],"#,
    );
    let plan = planned(&world);
    assert_eq!(
        spent(&plan, "default", "phi", "v1", "fair").unwrap(),
        "default/a"
    );
    assert_eq!(spent(&plan, "default", "llama", "v1", "fair"), None);
}

#[test]
fn a_target_whose_kind_cannot_be_read_is_said_to_be_unread_and_not_to_be_missing() {
    let mut world = fleet();
    let kind = |within: Option<&str>| (within.map(str::to_owned), "inferencepool".to_owned());
    world.unread.kinds = [kind(Some("default"))].into();
    let pool = r#""targetRefs":[{"kind":"InferencePool","name":"pool"}],"#;
    let both = r#""targetRefs":[{"kind":"InferencePool","name":"pool"},{"kind":"Deployment","name":"phi"}],"#;
    give(&mut world, "default", "a", 1, pool);
    give(&mut world, "default", "b", 2, both);
    let plan = planned(&world);
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
    // Elsewhere, and of another kind, what is not there is not there.
    world.unread.kinds = [kind(Some("other"))].into();
    let plan = planned(&world);
    assert_eq!(
        outcome(&plan, "default", "a").resolved.reason,
        "MatchesNothing"
    );
}

#[test]
fn a_policy_that_matches_nothing_or_only_some_says_which_field() {
    let mut world = fleet();
    give(
        &mut world,
        "default",
        "none",
        1,
        r#""targetRefs":[{"kind":"Service","name":"llama"}],"#,
    );
    give(
        &mut world,
        "default",
        "half",
        2,
        r#""models":["llama","lama"],"#,
    );
    let section = r#""targetRefs":[{"kind":"Deployment","name":"llama-v1"},{"kind":"Deployment","name":"llama-v1","sectionName":"v9"}],"#;
    give(&mut world, "default", "section", 3, section);
    give(&mut world, "empty", "far", 4, "");
    let plan = planned(&world);
    let cases = [
        (
            "default",
            "none",
            condition_reason::MATCHES_NOTHING,
            "spec.targetRefs[0]: no Service llama carries a model in namespace default. Declared models: llama, phi",
        ),
        (
            "default",
            "half",
            condition_reason::PARTLY_RESOLVED,
            "spec.models[1]: no carrier declares model lama",
        ),
        (
            "default",
            "section",
            condition_reason::PARTLY_RESOLVED,
            "spec.targetRefs[1].sectionName: no model of Deployment llama-v1 has version v9",
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
fn a_policy_of_which_nothing_counts_is_not_accepted() {
    let mut world = fleet();
    let only = |created| {
        policy(
            "x",
            Some(created),
            r#"{"models":["phi"],"buckets":[{"name":"fair","key":[],"profile":"semantic"}]}"#,
        )
    };
    world.bucket_policies.insert(
        ("default".into(), "first".into()),
        headgate_model::Policy {
            name: "first".into(),
            ..only(1)
        },
    );
    world.bucket_policies.insert(
        ("default".into(), "second".into()),
        headgate_model::Policy {
            name: "second".into(),
            ..only(2)
        },
    );
    let plan = planned(&world);
    let accepted = &outcome(&plan, "default", "second").accepted;
    assert_eq!(
        (accepted.holds, accepted.reason),
        (false, condition_reason::OVERRIDDEN)
    );
    let sentence = told(
        "model phi (1 of its 1 models)",
        "default/first",
        "it is older",
    );
    assert_eq!(
        accepted.message,
        format!("no part of it takes effect: {sentence}")
    );
}

#[test]
fn taggings_follow_the_same_table() {
    let mut world = fleet();
    tag(&mut world, ROOT, "house", "{}");
    tag(&mut world, "default", "all", "{}");
    tag(&mut world, "default", "llama", r#"{"models":["llama"]}"#);
    let order = |world: &Objects, namespace: &str| -> Vec<String> {
        let plan = planned(world);
        let rules = plan.namespaces[namespace].config.tagging.iter();
        rules.map(|r| r.policy.clone()).collect()
    };
    assert_eq!(order(&world, "default"), ["default/llama", "default/all"]);
    assert_eq!(order(&world, "other"), ["headgate-system/house"]);
    tag(&mut world, ROOT, "law", r#"{"override":true}"#);
    assert_eq!(order(&world, "default"), ["headgate-system/law"]);
    let plan = planned(&world);
    let id = |name: &str| PolicyId {
        kind: PolicyKind::TrafficTag,
        namespace: "default".into(),
        name: name.into(),
    };
    let sentence = "no part of it takes effect: spec: the tagging: for model llama (1 of its 1 models), TrafficTagPolicy \
                    headgate-system/law takes precedence, because it has `override`. One tagging applies per model";
    assert_eq!(plan.policies[&id("llama")].accepted.message, sentence);
}
