//! Policies → rules: targets, order, and findings.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixtures;

use fixtures::{Build, carrier, objects, planned, policy};
use headgate_contract::{TokenBucketPolicySpec, TrafficTagPolicySpec};
use headgate_model::{Finding, Objects, Plan, Severity, reason};

fn fleet() -> Objects {
    objects([
        carrier("a", "v1").label("team", "red"),
        carrier("b", "v1").model("phi").label("team", "blue"),
        carrier("c", "v2")
            .model("phi")
            .weight("0")
            .label("team", "red")
            .label("tier", "gold"),
    ])
}

fn bucket(cluster: &mut Objects, name: &str, created: Option<i64>, target: &str, buckets: &[&str]) {
    let list: Vec<String> = buckets
        .iter()
        .map(|b| format!(r#"{{"name":"{b}","key":["tenant"],"profile":"semantic"}}"#))
        .collect();
    let spec = format!(r#"{{{target}"buckets":[{}]}}"#, list.join(","));
    cluster.insert_policy(policy::<TokenBucketPolicySpec>(name, created, &spec));
}

fn tagging(cluster: &mut Objects, name: &str, created: Option<i64>, spec: &str) {
    cluster.insert_policy(policy::<TrafficTagPolicySpec>(name, created, spec));
}

/// `policy:bucket` with its models, in order.
fn buckets(plan: &Plan) -> Vec<String> {
    let rules = plan.namespaces["default"].config.buckets.iter();
    rules
        .map(|r| {
            format!(
                "{}:{}{}",
                r.policy,
                r.bucket.name,
                models(r.models.as_deref())
            )
        })
        .collect()
}

fn models(list: Option<&[headgate_contract::ModelId]>) -> String {
    list.map_or_else(String::new, |list| {
        let ids: Vec<&str> = list
            .iter()
            .map(headgate_contract::ModelId::as_str)
            .collect();
        format!(" for {}", ids.join(" "))
    })
}

fn findings<'a>(plan: &'a Plan, reason: &str) -> Vec<&'a Finding> {
    plan.findings
        .iter()
        .filter(|f| f.reason == reason)
        .collect()
}

#[test]
fn targets_resolve_to_the_models_of_the_namespace() {
    let mut cluster = fleet();
    bucket(&mut cluster, "all", None, "", &["one"]);
    bucket(
        &mut cluster,
        "named",
        None,
        r#""models":["phi","llama","phi"],"#,
        &["two"],
    );
    bucket(
        &mut cluster,
        "picked",
        None,
        r#""selector":{"matchLabels":{"team":"red","tier":"gold"}},"#,
        &["three"],
    );
    let plan = planned(&cluster);
    assert_eq!(
        buckets(&plan),
        [
            "default/all:one",
            "default/named:two for llama phi",
            "default/picked:three for phi"
        ]
    );
    assert!(plan.findings.is_empty(), "{:?}", plan.findings);
}

#[test]
fn a_selector_requires_all_labels_on_one_carrier() {
    let mut cluster = fleet();
    let both = r#""selector":{"matchLabels":{"team":"blue","tier":"gold"}},"#;
    bucket(&mut cluster, "apart", None, both, &["one"]);
    assert_eq!(buckets(&planned(&cluster)), Vec::<String>::new());
}

#[test]
fn a_policy_that_matches_nothing_has_a_finding() {
    let mut cluster = fleet();
    bucket(
        &mut cluster,
        "typo",
        None,
        r#""models":["lama"],"#,
        &["one"],
    );
    bucket(
        &mut cluster,
        "half",
        None,
        r#""models":["lama","phi"],"#,
        &["two"],
    );
    tagging(
        &mut cluster,
        "tags",
        None,
        r#"{"selector":{"matchLabels":{"team":"green"}}}"#,
    );
    let mut elsewhere = policy::<TokenBucketPolicySpec>(
        "far",
        None,
        r#"{"buckets":[{"name":"x","key":[],"profile":"semantic"}]}"#,
    );
    elsewhere.namespace = "empty".into();
    cluster.insert_policy(elsewhere);
    let plan = planned(&cluster);
    assert_eq!(buckets(&plan), ["default/half:two for phi"]);
    let unmatched = findings(&plan, reason::MATCHES_NOTHING);
    let about: Vec<_> = unmatched.iter().map(|f| f.object.to_string()).collect();
    assert_eq!(
        about,
        [
            "TokenBucketPolicy default/half",
            "TokenBucketPolicy default/typo",
            "TokenBucketPolicy empty/far",
            "TrafficTagPolicy default/tags"
        ]
    );
    assert_eq!(
        unmatched[0].message,
        "spec.models[0]: no carrier declares model lama: correct the id, or label a workload with it"
    );
    assert_eq!(unmatched[1].origin, "typo.yaml");
    assert!(!plan.namespaces.contains_key("empty"));
}

#[test]
fn a_bucket_given_by_two_equal_policies_is_an_error_of_the_younger_one() {
    let mut cluster = fleet();
    bucket(&mut cluster, "a-late", Some(20), "", &["fair", "extra"]);
    bucket(&mut cluster, "z-early", Some(10), "", &["fair"]);
    let plan = planned(&cluster);
    assert_eq!(
        buckets(&plan),
        ["default/z-early:fair", "default/a-late:extra"]
    );
    let refused = findings(&plan, reason::DUPLICATE_BUCKET);
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].severity, Severity::Error);
    assert_eq!(
        refused[0].object.to_string(),
        "TokenBucketPolicy default/a-late"
    );
    let message = "spec.buckets[0]: bucket \"fair\": TokenBucketPolicy default/z-early takes precedence, because it is older. To apply \
                   both, rename one";
    assert_eq!(refused[0].message, message);
}

#[test]
fn findings_on_a_policy_do_not_change_when_models_come_and_go() {
    let mut cluster = fleet();
    bucket(&mut cluster, "z-early", Some(10), "", &["fair"]);
    bucket(&mut cluster, "late", Some(20), "", &["fair"]);
    let typo = r#""models":["lama"],"#;
    bucket(&mut cluster, "typo", None, typo, &["one"]);
    let selects = r#""selector":{"matchLabels":{"team":"green"}},"#;
    bucket(&mut cluster, "selects", None, selects, &["one"]);
    let refers = r#""targetRefs":[{"kind":"Service","name":"none"}],"#;
    bucket(&mut cluster, "refers", None, refers, &["one"]);
    let before = planned(&cluster);
    assert_eq!(findings(&before, reason::MATCHES_NOTHING).len(), 3);
    assert_eq!(findings(&before, reason::DUPLICATE_BUCKET).len(), 1);
    let another = carrier("another", "v1").model("another");
    cluster.carriers.insert(another.key.clone(), another);
    let after = planned(&cluster);
    assert_eq!(before.findings, after.findings);
}

#[test]
fn buckets_are_ordered_by_age_and_name_of_their_policies() {
    let mut cluster = fleet();
    for (name, created) in [("b", Some(2)), ("c", Some(1)), ("a", Some(2)), ("z", None)] {
        bucket(&mut cluster, name, created, "", &[name]);
    }
    assert_eq!(
        buckets(&planned(&cluster)),
        ["default/z:z", "default/c:c", "default/a:a", "default/b:b"]
    );
}

#[test]
fn a_tagging_for_a_named_model_takes_precedence_over_one_for_all() {
    let mut cluster = fleet();
    tagging(&mut cluster, "all", Some(1), "{}");
    tagging(
        &mut cluster,
        "picked",
        Some(2),
        r#"{"selector":{"matchLabels":{"tier":"gold"}}}"#,
    );
    tagging(&mut cluster, "named", Some(3), r#"{"models":["llama"]}"#);
    let plan = planned(&cluster);
    let order: Vec<_> = plan.namespaces["default"]
        .config
        .tagging
        .iter()
        .map(|r| format!("{}{}", r.policy, models(r.models.as_deref())))
        .collect();
    assert_eq!(
        order,
        [
            "default/named for llama",
            "default/picked for phi",
            "default/all"
        ]
    );
}

#[test]
fn a_tagging_without_effect_for_a_model_has_a_finding() {
    let mut cluster = fleet();
    tagging(&mut cluster, "first", None, r#"{"models":["phi"]}"#);
    tagging(
        &mut cluster,
        "second",
        None,
        r#"{"models":["llama","phi"]}"#,
    );
    let plan = planned(&cluster);
    let shadowed = findings(&plan, reason::TAGGING_SHADOWED);
    assert_eq!(shadowed.len(), 1);
    assert_eq!(
        shadowed[0].object.to_string(),
        "TrafficTagPolicy default/second"
    );
    assert!(
        shadowed[0]
            .message
            .contains("spec: the tagging: TrafficTagPolicy default/first takes precedence, because its name sorts first")
    );

    let mut exception = fleet();
    tagging(&mut exception, "all", None, "{}");
    tagging(&mut exception, "one", None, r#"{"models":["phi"]}"#);
    assert!(findings(&planned(&exception), reason::TAGGING_SHADOWED).is_empty());
}

#[test]
fn a_policy_outcome_lists_namespaces_without_a_domain() {
    let mut cluster = fleet();
    bucket(&mut cluster, "own", None, "", &["b"]);
    bucket(
        &mut cluster,
        "stray",
        None,
        r#""models":["nothing"],"#,
        &["c"],
    );
    let unserved = |served: Option<&[&str]>| -> Vec<usize> {
        let registry =
            headgate_model::Registry::build(&cluster, &headgate_model::LabelKeys::default());
        let registry = match served {
            Some(served) => {
                registry.with_served_namespaces(served.iter().map(|ns| (*ns).to_owned()).collect())
            }
            None => registry,
        };
        let plan = headgate_model::plan(&registry, &cluster, &headgate_model::Scales::default());
        plan.policies
            .values()
            .map(|outcome| outcome.unserved.len())
            .collect()
    };
    assert_eq!(unserved(Some(&["team"])), [1, 1]);
    assert_eq!(unserved(Some(&["team", "default"])), [0, 0]);
    assert_eq!(
        unserved(None),
        [0, 0],
        "who only checks files knows of no domains"
    );
}
