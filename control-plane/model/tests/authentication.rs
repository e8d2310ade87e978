//! Policies of authentication → the providers of each namespace, conflicts, and findings.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixtures;

use std::collections::BTreeSet;

use fixtures::{Build, carrier, objects, policy};
use headgate_contract::{AuthenticationPolicySpec, PolicySpec as _};
use headgate_model::{
    Finding, HostRules, LabelKeys, Objects, Plan, PolicyId, PolicyOutcome, Registry, Scales,
    Severity, condition_reason, reason,
};

const ROOT: &str = "headgate-system";

/// A policy of `namespace` with issuers `(name, audience)`.
fn add(
    cluster: &mut Objects,
    (namespace, name): (&str, &str),
    created: i64,
    required: bool,
    issuers: &[(&str, &str)],
) {
    let issuers: Vec<String> = issuers
        .iter()
        .map(|(issuer, audience)| {
            format!(
                r#"{{"issuer":"{issuer}","audiences":[{audience}],"jwks":{{"uri":"https://{issuer}/keys"}}}}"#
            )
        })
        .collect();
    let spec = format!(r#"{{"required":{required},"jwt":[{}]}}"#, issuers.join(","));
    let mut policy = policy::<AuthenticationPolicySpec>(name, Some(created), &spec);
    policy.namespace = namespace.to_owned();
    cluster.insert_policy(policy);
}

fn cluster() -> Objects {
    let mut other = carrier("b", "v1");
    other.key.namespace = "other".to_owned();
    objects([carrier("a", "v1").label("x", "y"), other])
}

/// Whether a token is required, and the issuers with their policies.
fn of(plan: &Plan, namespace: &str) -> Option<(bool, Vec<String>)> {
    let authentication = plan.namespaces[namespace].authentication.as_ref()?;
    let providers = authentication.providers.iter();
    let providers = providers.map(|p| format!("{} by {}", p.jwt.issuer, p.policy));
    Some((authentication.required, providers.collect()))
}

fn found<'a>(plan: &'a Plan, reason: &str) -> Vec<&'a Finding> {
    let all = plan.findings.iter();
    all.filter(|finding| finding.reason == reason).collect()
}

fn outcome<'a>(plan: &'a Plan, name: &str) -> &'a PolicyOutcome {
    fixtures::outcome(plan, AuthenticationPolicySpec::KIND, "default", name)
}

#[test]
fn providers_of_all_policies_of_a_namespace_apply_together() {
    let mut cluster = cluster();
    add(
        &mut cluster,
        ("default", "optional"),
        1,
        false,
        &[("a", r#""m""#)],
    );
    add(
        &mut cluster,
        ("default", "young"),
        3,
        true,
        &[("b", r#""m""#)],
    );
    add(&mut cluster, (ROOT, "all"), 2, false, &[("c", r#""m""#)]);
    let plan = fixtures::planned_under(ROOT, &cluster);
    let providers = [
        "a by default/optional",
        "c by headgate-system/all",
        "b by default/young",
    ];
    assert_eq!(
        of(&plan, "default"),
        Some((true, providers.map(str::to_owned).to_vec()))
    );
    // The policy of the root namespace alone.
    assert_eq!(
        of(&plan, "other"),
        Some((false, vec!["c by headgate-system/all".to_owned()]))
    );
    assert_eq!(plan.findings, []);
    let id = |namespace: &str, name: &str| PolicyId {
        kind: AuthenticationPolicySpec::KIND,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let view = &plan.namespaces["default"];
    assert_eq!(view.models_of_rules(&id("default", "young")), [None]);
    assert!(view.models_of_rules(&id("default", "absent")).is_empty());
    assert!(plan.policy_revisions.contains_key(&id(ROOT, "all")));
}

#[test]
fn of_two_providers_of_one_issuer_the_older_stays() {
    let mut cluster = cluster();
    add(
        &mut cluster,
        ("default", "old"),
        1,
        true,
        &[("a", r#""m""#)],
    );
    add(
        &mut cluster,
        ("default", "young"),
        2,
        true,
        &[("a", r#""other""#), ("b", r#""m""#)],
    );
    let plan = fixtures::planned_under(ROOT, &cluster);
    let providers = ["a by default/old", "b by default/young"];
    assert_eq!(
        of(&plan, "default"),
        Some((true, providers.map(str::to_owned).to_vec()))
    );
    let [finding] = found(&plan, reason::DUPLICATE_ISSUER)[..] else {
        panic!("{:?}", plan.findings)
    };
    let message = "spec.jwt[0]: issuer \"a\": AuthenticationPolicy default/old takes precedence, because it is older. An issuer has one \
                   provider: merge both into one";
    assert_eq!(
        (finding.severity, finding.message.as_str()),
        (Severity::Error, message)
    );
    let young = outcome(&plan, "young");
    assert!(young.accepted.holds);
    assert_eq!(young.accepted.reason, condition_reason::PARTLY_OVERRIDDEN);
}

#[test]
fn a_namespace_replaces_an_issuer_of_the_root_namespace_and_cannot_lift_the_requirement() {
    let mut cluster = cluster();
    add(&mut cluster, (ROOT, "all"), 1, true, &[("a", r#""m""#)]);
    add(
        &mut cluster,
        ("default", "own"),
        2,
        false,
        &[("a", r#""own""#)],
    );
    let plan = fixtures::planned_under(ROOT, &cluster);
    assert_eq!(
        of(&plan, "default"),
        Some((true, vec!["a by default/own".to_owned()]))
    );
    assert_eq!(
        of(&plan, "other"),
        Some((true, vec!["a by headgate-system/all".to_owned()]))
    );
    assert!(found(&plan, reason::DUPLICATE_ISSUER).is_empty());
}

#[test]
fn an_issuer_without_audiences_gets_a_remark() {
    let mut cluster = cluster();
    add(
        &mut cluster,
        ("default", "open"),
        1,
        true,
        &[("a", ""), ("b", r#""m""#)],
    );
    let plan = fixtures::planned_under(ROOT, &cluster);
    let [finding] = found(&plan, reason::ANY_AUDIENCE)[..] else {
        panic!("{:?}", plan.findings)
    };
    assert_eq!(finding.severity, Severity::Info);
    assert!(
        finding.message.contains("`audiences`"),
        "{}",
        finding.message
    );
    assert!(finding.message.contains(": a. "), "{}", finding.message);
}

#[test]
fn in_a_mesh_the_policy_says_what_to_use_instead() {
    let mut cluster = cluster();
    add(
        &mut cluster,
        ("default", "login"),
        1,
        true,
        &[("a", r#""m""#)],
    );
    let plan = |domains: &[&str]| {
        let domains: BTreeSet<String> = domains.iter().map(|d| (*d).to_owned()).collect();
        let registry = Registry::build(&cluster, &LabelKeys::default())
            .with_served_namespaces(domains)
            .in_mesh(HostRules::default(), true);
        headgate_model::plan(&registry, &cluster, &Scales::default())
    };
    let only_mesh = plan(&[]);
    let accepted = &outcome(&only_mesh, "login").accepted;
    assert_eq!(
        (accepted.holds, accepted.reason),
        (false, condition_reason::NOT_IN_MESH)
    );
    assert!(
        accepted.message.contains("RequestAuthentication"),
        "{}",
        accepted.message
    );
    assert_eq!(found(&only_mesh, reason::NOT_IN_MESH).len(), 1);
    // A listener that Headgate renders, outside of the mesh, applies it.
    let both = plan(&["default"]);
    assert!(outcome(&both, "login").accepted.holds);
    assert_eq!(found(&both, reason::NOT_IN_MESH).len(), 1);
}
