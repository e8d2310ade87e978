//! Findings on changes of carriers between plans.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixtures;

use std::sync::Arc;

use fixtures::{Build, carrier, objects, planned};
use headgate_model::{Carrier, Finding, LabelKeys, Plan, Transitions};

fn one() -> Carrier {
    carrier("v1", "one").created(1)
}

fn two() -> Carrier {
    carrier("v2", "two").created(2)
}

fn plan(carriers: impl IntoIterator<Item = Carrier>) -> Arc<Plan> {
    Arc::new(planned(&objects(carriers)))
}

fn transitions(before: &Arc<Plan>, after: &Arc<Plan>) -> Vec<Finding> {
    let (mut transitions, keys) = (Transitions::default(), LabelKeys::default());
    assert_eq!(transitions.follow(before, &keys), []);
    transitions.follow(after, &keys)
}

/// Object and reason of the transitions of each plan after the first.
fn course(plans: &[&Arc<Plan>]) -> Vec<Vec<(String, &'static str)>> {
    let (mut transitions, keys) = (Transitions::default(), LabelKeys::default());
    let found = plans.iter().map(|plan| {
        let findings = transitions.follow(plan, &keys).into_iter();
        findings.map(|f| (f.object.to_string(), f.reason)).collect()
    });
    found.skip(1).collect()
}

/// Object and reason of the transitions from one plan to another.
fn reasons(before: &Arc<Plan>, after: &Arc<Plan>) -> Vec<(String, &'static str)> {
    transitions(before, after)
        .into_iter()
        .map(|t| (t.object.to_string(), t.reason))
        .collect()
}

fn message(before: &Arc<Plan>, after: &Arc<Plan>) -> String {
    let findings = transitions(before, after);
    findings.into_iter().map(|f| f.message).next().unwrap()
}

#[test]
fn a_canary_is_reported_from_its_start_to_its_promotion_and_rollback() {
    let v2 = || "deployment default/v2".to_owned();
    let v1 = || "deployment default/v1".to_owned();
    let held = plan([one(), two()]);
    let ten = plan([one(), two().weight("10")]);
    let half = plan([one(), two().weight("50")]);
    let whole = plan([one(), two().weight("100")]);
    let dark = plan([one(), two().weight("0")]);
    assert_eq!(reasons(&held, &ten), [(v2(), "CanaryStarted")]);
    assert_eq!(
        message(&held, &ten),
        "version two of model llama is a canary and takes 10 % of new sessions. \
         To promote it: kubectl label deployment/v2 -n default canary-weight=100 --overwrite. \
         To end the canary: kubectl label deployment/v2 -n default canary-weight=0 --overwrite"
    );
    assert_eq!(reasons(&ten, &half), [(v2(), "CanaryMoved")]);
    assert_eq!(
        reasons(&half, &whole),
        [(v1(), "Drained"), (v2(), "Promoted")]
    );
    assert!(
        message(&half, &whole).starts_with(
            "version one of model llama no longer takes new sessions, because a promoted version takes its place: it is reachable by pin only"
        ),
        "{}",
        message(&half, &whole)
    );
    assert_eq!(
        reasons(&whole, &dark),
        [(v1(), "Resumed"), (v2(), "Drained")]
    );
    assert_eq!(reasons(&ten, &dark), [(v2(), "Drained")]);
    // The finding `VersionHeld` reports it with more details.
    assert_eq!(reasons(&ten, &held), []);
    assert_eq!(reasons(&ten, &ten), []);
}

#[test]
fn a_version_that_loses_its_last_endpoint_is_reported_unready() {
    let ten = plan([one(), two().weight("10")]);
    let dead = plan([one(), two().weight("10").unready(1)]);
    assert_eq!(
        reasons(&ten, &dead),
        [("deployment default/v2".to_owned(), "Unready")]
    );
    assert!(message(&ten, &dead).contains("kubectl describe deployment/v2 -n default"));
}

#[test]
fn a_version_that_recovers_is_reported_recovered_and_one_created_unready_started() {
    let v1 = |reason| vec![("deployment default/v1".to_owned(), reason)];
    let v2 = |reason| vec![("deployment default/v2".to_owned(), reason)];
    let ten = plan([one(), two().weight("10")]);
    let dead = plan([one(), two().weight("10").unready(1)]);
    let back = plan([one(), two().weight("30")]);
    assert_eq!(
        course(&[&ten, &dead, &back, &dead, &ten]),
        [
            v2("Unready"),
            v2("Recovered"),
            v2("Unready"),
            v2("Recovered")
        ]
    );
    // Its first pod is not ready yet: this is how a canary starts.
    let held = plan([one()]);
    assert_eq!(course(&[&held, &dead, &ten]), [vec![], v2("CanaryStarted")]);
    // Taken back while it was unready, and started again.
    let dark = plan([one(), two().weight("0")]);
    assert_eq!(
        course(&[&ten, &dead, &dark, &ten]),
        [v2("Unready"), vec![], v2("CanaryStarted")]
    );
    let alone = plan([one().unready(1), two().weight("10")]);
    assert_eq!(
        course(&[&ten, &alone, &ten]),
        [
            [v1("Unready"), v2("CanaryMoved")].concat(),
            [v1("Recovered"), v2("CanaryMoved")].concat()
        ]
    );
}

#[test]
fn a_carrier_created_with_its_model_is_not_a_transition() {
    let nothing = Arc::new(Plan::default());
    assert_eq!(reasons(&nothing, &plan([one()])), []);
    assert_eq!(reasons(&nothing, &plan([one(), two().weight("10")])), []);
    // A canary that is created beside a base is a transition.
    assert_eq!(
        reasons(&plan([one()]), &plan([one(), two().weight("10")])),
        [("deployment default/v2".to_owned(), "CanaryStarted")]
    );
    assert_eq!(reasons(&plan([one(), two().weight("10")]), &nothing), []);
}

#[test]
fn shares_are_shown_in_percent_with_two_decimals() {
    let thirds = plan([
        one().unready(1),
        two().weight("10"),
        carrier("v3", "three").created(3).weight("20"),
    ]);
    let all = plan([
        one(),
        two().weight("10"),
        carrier("v3", "three").created(3).weight("20"),
    ]);
    let findings = transitions(&all, &thirds);
    let messages: Vec<&str> = findings
        .iter()
        .map(|t| t.message.split(" of new").next().unwrap())
        .collect();
    assert!(
        messages.contains(&"version two of model llama now takes 33.33 %"),
        "{messages:?}"
    );
}
