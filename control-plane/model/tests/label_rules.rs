//! The label rules of the design, each as a table under its number and words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use headgate_contract::Decimal;
use headgate_model::{Carrier, Standing, reason};
use world::{Build, carrier, llama, objects, percents, planned, reasons, version};

/// A world, what each version gets in percent, and the reasons of the findings.
struct Row {
    case: &'static str,
    carriers: Vec<Carrier>,
    shares: &'static [(&'static str, f64)],
    findings: &'static [&'static str],
}

fn check(rows: Vec<Row>) {
    for row in rows {
        let plan = planned(&objects(row.carriers));
        let want = row
            .shares
            .iter()
            .map(|(v, p)| ((*v).to_owned(), *p))
            .collect();
        assert_eq!(percents(llama(&plan)), want, "{}", row.case);
        assert_eq!(
            reasons(&plan),
            row.findings,
            "{}: {:#?}",
            row.case,
            plan.findings
        );
    }
}

fn row(
    case: &'static str,
    carriers: Vec<Carrier>,
    shares: &'static [(&'static str, f64)],
    findings: &'static [&'static str],
) -> Row {
    Row {
        case,
        carriers,
        shares,
        findings,
    }
}

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
                carrier("b", "v2").weight("100").desired(3),
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
            "equal ones go by name",
            vec![carrier("z", "v1").created(5), carrier("y", "v2").created(5)],
            &[("v1", 0.0), ("v2", 100.0)],
            &[reason::VERSION_HELD],
        ),
        row(
            "a dark or canary carrier beside it is no base: it is not held by those",
            vec![
                old().weight("0"),
                new(),
                carrier("c", "v3").created(0).weight("40"),
            ],
            &[("v1", 0.0), ("v2", 60.0), ("v3", 40.0)],
            &[],
        ),
        row(
            "older than a promoted one, it stands by and nobody is told to weigh it",
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
    assert_eq!(finding.object, "deployment default/b");
    assert_eq!(finding.origin, "b.yaml");
    let command = "kubectl label deployment/b -n default canary-weight=10 --overwrite";
    assert!(finding.message.contains(command), "{}", finding.message);
    assert!(
        finding.message.contains("beside deployment default/a"),
        "{}",
        finding.message
    );
    let standing = &llama(&plan).carriers[1].standing;
    assert!(matches!(standing, Standing::Held { beside } if beside.name == "a"));
}

#[test]
fn rule_4_readiness_counts_only_as_none_or_some() {
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
            &[],
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
                carrier("a", "v1").weight("0").desired(3),
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
fn rule_4_a_model_none_of_whose_pods_is_ready_stays_known_and_answers_503() {
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

#[test]
fn rule_5_canaries_above_100_in_sum_are_scaled_to_100() {
    check(vec![
        row(
            "in proportion; the base takes nothing",
            vec![
                carrier("a", "v1"),
                carrier("b", "v2").weight("90"),
                carrier("c", "v3").weight("60"),
            ],
            &[("v1", 0.0), ("v2", 60.0), ("v3", 40.0)],
            &[reason::CANARIES_SCALED],
        ),
        row(
            "exactly 100 is not scaled",
            vec![
                carrier("a", "v1"),
                carrier("b", "v2").weight("90"),
                carrier("c", "v3").weight("10"),
            ],
            &[("v1", 0.0), ("v2", 90.0), ("v3", 10.0)],
            &[],
        ),
    ]);
    let thirds = ["b", "c", "d"].map(|n| carrier(n, n).weight("50"));
    let plan = planned(&objects(thirds));
    let exact: Vec<u64> = llama(&plan)
        .plan
        .canaries
        .iter()
        .map(|c| c.weight.millionths())
        .collect();
    assert_eq!(exact, [33_333_334, 33_333_333, 33_333_333]);
}

#[test]
fn rule_6_an_invalid_weight_counts_as_0_only_while_another_can_serve() {
    let bad = &[reason::INVALID_WEIGHT];
    check(vec![
        row(
            "0 while an older stable carrier is ready",
            vec![
                carrier("a", "v1").created(1),
                carrier("b", "v2").created(2).weight("1O"),
            ],
            &[("v1", 100.0), ("v2", 0.0)],
            bad,
        ),
        row(
            "0 while a promoted carrier is ready, of any age",
            vec![
                carrier("a", "v1").created(2).weight("100"),
                carrier("b", "v2").created(1).weight("150"),
            ],
            &[("v1", 100.0), ("v2", 0.0)],
            bad,
        ),
        row(
            "0 beside an older promoted carrier: it is wrong, not held",
            vec![
                carrier("a", "v1").created(1).weight("100"),
                carrier("b", "v2").created(2).weight("1,5"),
            ],
            &[("v1", 100.0), ("v2", 0.0)],
            bad,
        ),
        row(
            "absent beside a stable one that is not older: two missing ages share",
            vec![carrier("a", "v1"), carrier("b", "v2").weight("x")],
            &[("v1", 50.0), ("v2", 50.0)],
            bad,
        ),
        row(
            "absent beside a younger stable carrier, which is then held",
            vec![
                carrier("a", "v1").created(2),
                carrier("b", "v2").created(1).weight("-5"),
            ],
            &[("v1", 0.0), ("v2", 100.0)],
            &[reason::VERSION_HELD, reason::INVALID_WEIGHT],
        ),
        row(
            "absent when alone",
            vec![carrier("a", "v1").weight("")],
            &[("v1", 100.0)],
            bad,
        ),
        row(
            "absent when the older one is dead",
            vec![
                carrier("a", "v1").created(1).unready(1),
                carrier("b", "v2").created(2).weight("ten"),
            ],
            &[("v1", 0.0), ("v2", 100.0)],
            bad,
        ),
        row(
            "absent beside nothing but a canary",
            vec![
                carrier("a", "v1").weight("20"),
                carrier("b", "v2").weight("1e1"),
            ],
            &[("v1", 20.0), ("v2", 80.0)],
            bad,
        ),
        row(
            "of two invalid ones, the older serves",
            vec![
                carrier("a", "v1").created(1).weight("x"),
                carrier("b", "v2").created(2).weight("y"),
            ],
            &[("v1", 100.0), ("v2", 0.0)],
            &[reason::INVALID_WEIGHT, reason::INVALID_WEIGHT],
        ),
    ]);
    for valid in ["0", "1", "99", "100"] {
        let plan = planned(&objects([carrier("a", "v1").weight(valid)]));
        assert!(!reasons(&plan).contains(&reason::INVALID_WEIGHT), "{valid}");
    }
    for invalid in [
        "101",
        "010",
        "+5",
        " 5",
        "5 ",
        "5%",
        "0.5",
        "٥",
        "-1",
        "999999999999",
    ] {
        let plan = planned(&objects([carrier("a", "v1").weight(invalid)]));
        assert_eq!(reasons(&plan), [reason::INVALID_WEIGHT], "{invalid:?}");
    }
}

#[test]
fn rule_7_levels_are_canaries_then_base_carriers_then_versions_by_ready_endpoints() {
    let plan = planned(&objects([
        carrier("a", "v1").ready(3).rolling("v2", 1).desired(2),
        carrier("b", "v3").desired(2),
        carrier("c", "v4").weight("20"),
    ]));
    let model = llama(&plan);
    let shares = [("v1", 30.0), ("v2", 10.0), ("v3", 40.0), ("v4", 20.0)];
    assert_eq!(
        percents(model),
        shares.map(|(v, p)| (v.to_owned(), p)).into()
    );
    assert_eq!(model.plan.canaries[0].carrier, "deployment/c");
    assert_eq!(model.plan.canaries[0].weight, Decimal::whole(20));
    let rolling = &model.plan.base[0];
    let endpoints: Vec<_> = rolling
        .versions
        .iter()
        .map(|v| (v.version.as_str(), v.endpoints))
        .collect();
    assert_eq!(endpoints, [("v1", 3), ("v2", 1)]);
}

#[test]
fn rule_8_every_declared_version_is_known_for_pins() {
    let plan = planned(&objects([
        carrier("a", "v1").created(1),
        carrier("b", "held").created(2),
        carrier("c", "dark").weight("0"),
        carrier("d", "dead").weight("50").unready(1),
        carrier("e", "canary").weight("5"),
    ]));
    let mut known: Vec<&str> = llama(&plan)
        .plan
        .versions()
        .map(|v| v.version.as_str())
        .collect();
    known.sort_unstable();
    assert_eq!(known, ["canary", "dark", "dead", "held", "v1"]);
}

#[test]
fn one_version_in_two_carriers_merges_endpoints_and_the_oldest_weight_counts() {
    let plan = planned(&objects([
        carrier("old", "v2").created(1).weight("10").ready(2),
        carrier("new", "v2").created(2).weight("80").ready(3),
        carrier("base", "v1").created(0),
    ]));
    let model = llama(&plan);
    assert_eq!(
        percents(model),
        [("v1".to_owned(), 90.0), ("v2".to_owned(), 10.0)].into()
    );
    let merged = &model.variants[&version("v2")];
    assert_eq!((merged.endpoints.len(), merged.total_endpoints), (5, 5));
    let brought: Vec<&str> = merged.carriers.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(brought, ["old", "new"]);
    assert_eq!(reasons(&plan), [reason::VERSION_MERGED]);
    assert_eq!(plan.findings[0].object, "deployment default/new");
}

#[test]
fn merged_carriers_are_ready_together_and_the_replicas_of_both_count() {
    let plan = planned(&objects([
        carrier("old", "v1").created(1).unready(1).desired(2),
        carrier("new", "v1").created(2).ready(3).desired(4),
        carrier("peer", "v2").created(3).joins().desired(2),
    ]));
    assert_eq!(
        percents(llama(&plan)),
        [("v1".to_owned(), 75.0), ("v2".to_owned(), 25.0)].into()
    );
}

#[test]
fn a_client_name_claimed_twice_goes_to_the_oldest() {
    let plan = planned(&objects([
        carrier("a", "v1")
            .created(2)
            .names("meta-llama/Llama-3.1, big,, big"),
        carrier("b", "v1")
            .model("phi")
            .created(1)
            .names("big, Big, llama"),
    ]));
    let models = &plan.namespaces["default"].config.models;
    assert_eq!(
        models["phi"].names,
        ["Big", "big"],
        "case-sensitive, sorted"
    );
    assert_eq!(models["llama"].names, ["meta-llama/Llama-3.1"]);
    assert_eq!(reasons(&plan), [reason::NAME_CLAIMED, reason::NAME_CLAIMED]);
    let messages: Vec<_> = plan.findings.iter().map(|f| &f.message).collect();
    assert!(
        messages
            .iter()
            .any(|m| m.contains("is the id of model llama")),
        "{messages:?}"
    );
}

#[test]
fn namespaces_are_apart() {
    let plan = planned(&objects([
        carrier("a", "v1").created(1),
        carrier("b", "v2").created(2).namespace("other"),
    ]));
    assert_eq!(percents(llama(&plan)), [("v1".to_owned(), 100.0)].into());
    let other = &plan.namespaces["other"].models["llama"];
    assert_eq!(percents(other), [("v2".to_owned(), 100.0)].into());
    assert!(plan.findings.is_empty());
}

#[test]
fn a_version_that_no_pod_of_a_template_may_have_is_said_once_and_the_carriers_counts() {
    let plan = planned(&objects([carrier("a", "v1").ready(1).rolling("-v3", 40)]));
    assert_eq!(
        percents(llama(&plan)),
        [("v1".to_owned(), 100.0)].into(),
        "what is served is served on"
    );
    let [finding] = plan.findings.as_slice() else {
        panic!("{:?}", plan.findings)
    };
    assert_eq!(finding.reason, reason::INVALID_VERSION);
    for part in [
        "of its pods",
        "template",
        "kubectl edit deployment/a -n default",
    ] {
        assert!(finding.message.contains(part), "{}", finding.message);
    }
}

#[test]
fn a_label_that_is_no_name_is_reported_and_takes_nothing_else_with_it() {
    let mut service = carrier("s", "v9").label("model-name", "llama");
    service.key.kind = "service".into();
    service.labels.remove("model-version");
    let plan = planned(&objects([
        carrier("a", "v1"),
        carrier("b", "v2").model("no spaces"),
        carrier("c", "-v3").rolling("v4", 1).weight("10"),
        service,
    ]));
    assert_eq!(
        percents(llama(&plan)),
        [("v1".to_owned(), 90.0), ("v4".to_owned(), 10.0)].into()
    );
    assert_eq!(
        reasons(&plan),
        [reason::INVALID_MODEL, reason::INVALID_VERSION]
    );
}
