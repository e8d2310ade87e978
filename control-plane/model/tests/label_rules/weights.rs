//! Rules 5 to 8: weights above 100, invalid weights, the levels of a pick, pins.

use headgate_contract::Decimal;
use headgate_model::reason;

use crate::fixtures::{Build, carrier, llama, objects, percents, planned, reasons};
use crate::table::{check, row};

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
            "0 beside an older promoted carrier: it is invalid, not held",
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
fn rule_8_a_pin_reaches_every_declared_version() {
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
