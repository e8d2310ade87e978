//! What is said of a carrier when its plan becomes another one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use headgate_model::{Carrier, LabelKeys, Plan, transitions};
use world::{Build, carrier, objects, planned};

fn one() -> Carrier {
    carrier("v1", "one").created(1)
}

fn two() -> Carrier {
    carrier("v2", "two").created(2)
}

fn plan(carriers: impl IntoIterator<Item = Carrier>) -> Plan {
    planned(&objects(carriers))
}

/// Object and reason of each.
fn said(before: &Plan, after: &Plan) -> Vec<(String, &'static str)> {
    transitions(before, after, &LabelKeys::default())
        .into_iter()
        .map(|t| (t.object, t.reason))
        .collect()
}

fn message(before: &Plan, after: &Plan) -> String {
    let told = transitions(before, after, &LabelKeys::default());
    told.into_iter().map(|t| t.message).next().unwrap()
}

#[test]
fn a_canary_is_told_from_its_start_to_its_promotion_and_back() {
    let v2 = || "deployment default/v2".to_owned();
    let v1 = || "deployment default/v1".to_owned();
    let held = plan([one(), two()]);
    let ten = plan([one(), two().weight("10")]);
    let half = plan([one(), two().weight("50")]);
    let whole = plan([one(), two().weight("100")]);
    let dark = plan([one(), two().weight("0")]);
    assert_eq!(said(&held, &ten), [(v2(), "CanaryStarted")]);
    assert_eq!(
        message(&held, &ten),
        "version two of model llama is a canary and takes 10 % of new sessions. \
         To promote it: kubectl label deployment/v2 -n default canary-weight=100 --overwrite. \
         To take it back: kubectl label deployment/v2 -n default canary-weight=0 --overwrite"
    );
    assert_eq!(said(&ten, &half), [(v2(), "CanaryMoved")]);
    assert_eq!(said(&half, &whole), [(v1(), "Drained"), (v2(), "Promoted")]);
    assert!(
        message(&half, &whole).starts_with(
            "version one of model llama takes no new sessions any more, as a promoted version takes its place: it is reachable by pin only"
        ),
        "{}",
        message(&half, &whole)
    );
    assert_eq!(said(&whole, &dark), [(v1(), "Resumed"), (v2(), "Drained")]);
    assert_eq!(said(&ten, &dark), [(v2(), "Drained")]);
    // That it is held is a finding, which says more.
    assert_eq!(said(&ten, &held), []);
    assert_eq!(said(&ten, &ten), []);
}

#[test]
fn a_version_whose_last_endpoint_is_lost_is_told_and_where_its_share_goes() {
    let ten = plan([one(), two().weight("10")]);
    let dead = plan([one(), two().weight("10").unready(1)]);
    assert_eq!(
        said(&ten, &dead),
        [("deployment default/v2".to_owned(), "Unready")]
    );
    assert!(message(&ten, &dead).contains("kubectl describe deployment/v2 -n default"));
    assert_eq!(
        said(&dead, &ten),
        [("deployment default/v2".to_owned(), "CanaryStarted")]
    );
}

#[test]
fn what_comes_with_its_model_is_no_transition() {
    let nothing = Plan::default();
    assert_eq!(said(&nothing, &plan([one()])), []);
    assert_eq!(said(&nothing, &plan([one(), two().weight("10")])), []);
    // A canary that comes beside a base is one.
    assert_eq!(
        said(&plan([one()]), &plan([one(), two().weight("10")])),
        [("deployment default/v2".to_owned(), "CanaryStarted")]
    );
    assert_eq!(said(&plan([one(), two().weight("10")]), &nothing), []);
}

#[test]
fn shares_are_said_as_people_write_them() {
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
    let told = transitions(&all, &thirds, &LabelKeys::default());
    let told: Vec<&str> = told
        .iter()
        .map(|t| t.message.split(" of new").next().unwrap())
        .collect();
    assert!(
        told.contains(&"version two of model llama now takes 33.33 %"),
        "{told:?}"
    );
}
