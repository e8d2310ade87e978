//! Rules 1 to 4: states of carriers, and readiness.

use headgate_contract::Decimal;
use headgate_model::{CarrierState, reason};

use crate::fixtures::{Build, carrier, llama, objects, planned};
use crate::table::{check, row};

#[test]
fn rule_1_canary_promoted_stable_dark() {
    check(vec![
        row(
            "1-99 is a canary and takes exactly that percent",
            vec![carrier("a", "v1"), carrier("b", "v2").weight("10")],
            &[("v1", 90.0), ("v2", 10.0)],
            &[],
        ),
        row(
            "however many replicas it has",
            vec![
                carrier("a", "v1").desired(1),
                carrier("b", "v2").weight("1").ready(50).desired(50),
            ],
            &[("v1", 99.0), ("v2", 1.0)],
            &[],
        ),
        row(
            "100 is promoted: the stable one takes nothing",
            vec![carrier("a", "v1"), carrier("b", "v2").weight("100")],
            &[("v1", 0.0), ("v2", 100.0)],
            &[],
        ),
        row(
            "absent is stable",
            vec![carrier("a", "v1")],
            &[("v1", 100.0)],
            &[],
        ),
        row(
            "0 is dark",
            vec![carrier("a", "v1"), carrier("b", "v2").weight("0")],
            &[("v1", 100.0), ("v2", 0.0)],
            &[],
        ),
    ]);
    let plan = planned(&objects([
        carrier("a", "v1"),
        carrier("b", "v2").weight("0"),
    ]));
    let dark = &llama(&plan).plan.dark;
    assert_eq!(
        dark[0].carrier, "deployment/b",
        "reachable by pin: known, with its endpoints"
    );
    assert_eq!(dark[0].versions[0].endpoints, 1);
}

#[test]
fn rule_2_the_base_takes_what_the_canaries_leave_by_desired_replicas() {
    check(vec![
        row(
            "ready promoted carriers are the base, the canary keeps its percent",
            vec![
                carrier("a", "v1"),
                carrier("b", "v2").weight("100").desired(3).ready(3),
                carrier("c", "v3").weight("100").desired(1),
                carrier("d", "v4").weight("20"),
            ],
            &[("v1", 0.0), ("v2", 60.0), ("v3", 20.0), ("v4", 20.0)],
            &[],
        ),
        row(
            "else the ready stable ones; desired replicas, not ready ones, and unrounded",
            vec![
                carrier("a", "v1").desired(1).ready(1),
                carrier("b", "v2").desired(2).ready(1),
                carrier("c", "v3").weight("1"),
            ],
            &[("v1", 33.0), ("v2", 66.0), ("v3", 1.0)],
            &[],
        ),
        row(
            "a promoted carrier that is not ready leaves its level to the stable ones",
            vec![
                carrier("a", "v1"),
                carrier("b", "v2").weight("100").unready(2),
            ],
            &[("v1", 100.0), ("v2", 0.0)],
            &[],
        ),
    ]);
    let plan = planned(&objects([
        carrier("a", "v1").desired(1),
        carrier("b", "v2").desired(2),
    ]));
    let shares: Vec<u32> = llama(&plan).variants.values().map(|v| v.share).collect();
    assert_eq!(shares, [333_333, 666_667]);
    let base = &llama(&plan).plan.base;
    assert_eq!(
        base[1].weight,
        Decimal::whole(2),
        "a base carrier's weight is its desired replicas"
    );
}

#[test]
fn rule_3_a_new_unlabelled_carrier_is_held() {
    let (old, new) = (
        || carrier("a", "v1").created(1),
        || carrier("b", "v2").created(2),
    );
    check(vec![
        row(
            "beside an older base carrier with a ready endpoint, at 0",
            vec![old(), new()],
            &[("v1", 100.0), ("v2", 0.0)],
            &[reason::VERSION_HELD],
        ),
        row(
            "also beside a canary and a promoted carrier that is older",
            vec![
                old().weight("100"),
                new(),
                carrier("c", "v3").created(0).weight("5"),
            ],
            &[("v1", 95.0), ("v2", 0.0), ("v3", 5.0)],
            &[reason::VERSION_HELD],
        ),
        row(
            "until it is weighted",
            vec![old(), new().weight("30")],
            &[("v1", 70.0), ("v2", 30.0)],
            &[],
        ),
        row(
            "until no other base carrier has a ready endpoint",
            vec![old().unready(3), new()],
            &[("v1", 0.0), ("v2", 100.0)],
            &[],
        ),
        row(
            "or with the annotation join: share",
            vec![old(), new().joins()],
            &[("v1", 50.0), ("v2", 50.0)],
            &[],
        ),
        row(
            "the third waits too, when the second took over",
            vec![old().unready(1), new(), carrier("c", "v3").created(3)],
            &[("v1", 0.0), ("v2", 100.0), ("v3", 0.0)],
            &[reason::VERSION_HELD],
        ),
        row(
            "a missing age is the oldest",
            vec![carrier("b", "v1"), carrier("a", "v2").created(0)],
            &[("v1", 100.0), ("v2", 0.0)],
            &[reason::VERSION_HELD],
        ),
        row(
            "two missing ones share",
            vec![carrier("a", "v1"), carrier("b", "v2")],
            &[("v1", 50.0), ("v2", 50.0)],
            &[],
        ),
        row(
            "equal ones share, and a finding names the command that ends it",
            vec![carrier("z", "v1").created(5), carrier("y", "v2").created(5)],
            &[("v1", 50.0), ("v2", 50.0)],
            &[reason::EQUAL_AGE],
        ),
        row(
            "a dark or canary carrier beside it is not a base, so it is not held",
            vec![
                old().weight("0"),
                new(),
                carrier("c", "v3").created(0).weight("40"),
            ],
            &[("v1", 0.0), ("v2", 60.0), ("v3", 40.0)],
            &[],
        ),
        row(
            "older than a promoted one, it stands by without a finding",
            vec![old(), new().weight("100")],
            &[("v1", 0.0), ("v2", 100.0)],
            &[],
        ),
    ]);
}

#[test]
fn rule_3_the_event_names_the_command() {
    let plan = planned(&objects([
        carrier("a", "v1").created(1),
        carrier("b", "v2").created(2),
    ]));
    let finding = &plan.findings[0];
    assert_eq!(finding.object.to_string(), "deployment default/b");
    assert_eq!(finding.origin, "b.yaml");
    let command = "kubectl label deployment/b -n default canary-weight=10 --overwrite";
    assert!(finding.message.contains(command), "{}", finding.message);
    assert!(
        finding.message.contains("deployment default/a is the base"),
        "{}",
        finding.message
    );
    let state = &llama(&plan).carriers[1].state;
    assert!(matches!(state, CarrierState::Held { beside } if beside.name == "a"));
}

#[test]
fn rule_4_a_carrier_without_a_ready_endpoint_leaves_its_level() {
    check(vec![
        row(
            "one endpoint of many is enough to keep the whole share",
            vec![carrier("a", "v1").desired(4).ready(4), {
                let mut c = carrier("b", "v2").weight("10").unready(9);
                c.pods[3].ready = true;
                c
            }],
            &[("v1", 90.0), ("v2", 10.0)],
            &[],
        ),
        row(
            "a dead canary's share goes to the base",
            vec![
                carrier("a", "v1"),
                carrier("b", "v2").weight("30").unready(2),
            ],
            &[("v1", 100.0), ("v2", 0.0)],
            &[],
        ),
        row(
            "no base (dead): the canaries share in proportion",
            vec![
                carrier("a", "v1").unready(1),
                carrier("b", "v2").weight("30"),
                carrier("c", "v3").weight("10"),
            ],
            &[("v1", 0.0), ("v2", 75.0), ("v3", 25.0)],
            &[reason::BASE_LOST],
        ),
        row(
            "no base (absent): the canaries share in proportion",
            vec![
                carrier("b", "v2").weight("1"),
                carrier("c", "v3").weight("3"),
            ],
            &[("v2", 25.0), ("v3", 75.0)],
            &[],
        ),
        row(
            "nothing but dark carriers: they act as the base, with an Event each",
            vec![
                carrier("a", "v1").weight("0").desired(3).ready(3),
                carrier("b", "v2").weight("0").desired(1),
            ],
            &[("v1", 75.0), ("v2", 25.0)],
            &[reason::DARK_SERVES, reason::DARK_SERVES],
        ),
        row(
            "also when everything else is dead",
            vec![
                carrier("a", "v1").unready(1),
                carrier("b", "v2").weight("0"),
            ],
            &[("v1", 0.0), ("v2", 100.0)],
            &[reason::DARK_SERVES],
        ),
        row(
            "nothing ready: the clusters stay, nothing is picked",
            vec![
                carrier("a", "v1").unready(1),
                carrier("b", "v2").weight("10").unready(0),
            ],
            &[("v1", 0.0), ("v2", 0.0)],
            &[reason::NOTHING_READY],
        ),
    ]);
}

#[test]
fn rule_4_a_model_without_a_ready_pod_keeps_its_clusters_and_answers_503() {
    let mut versionless = carrier("a", "v1").ready(0);
    versionless.labels.remove("model-version");
    for (carriers, versions) in [
        (vec![carrier("a", "v1").unready(2)], 1),
        (vec![carrier("a", "v1").ready(0)], 1),
        (vec![versionless], 0),
    ] {
        let plan = planned(&objects(carriers));
        let served = &plan.namespaces["default"].config.models["llama"];
        assert!(!served.ready(), "503 before any reserve");
        assert_eq!(
            served.versions().count(),
            versions,
            "a pin is 503 too, not 404"
        );
        assert_eq!(llama(&plan).variants.len(), versions);
    }
}
