//! The version of a session: the label rules in a filter, and the sessions that stay when weights move.

use std::collections::BTreeMap;

use headgate_contract::{
    CarrierShare, DarkCarrier, Decimal, ModelPlan, OnBaseLost, Version, VersionShare,
};
use headgate_core::pick::{Lane, Picker, Pinned};
use proptest::prelude::*;

fn version(name: &str, endpoints: u32) -> VersionShare {
    VersionShare {
        version: Version::try_from(name).unwrap(),
        endpoints,
    }
}

fn share(name: &str, millionths: u64, endpoints: u32) -> CarrierShare {
    CarrierShare {
        carrier: format!("deployment/{name}"),
        weight: Decimal::from_millionths(millionths),
        versions: vec![version(name, endpoints)],
    }
}

fn carrier(name: &str, weight: u64, endpoints: u32) -> CarrierShare {
    share(name, weight * 1_000_000, endpoints)
}

fn plan(canaries: Vec<CarrierShare>, base: Vec<CarrierShare>) -> ModelPlan {
    ModelPlan {
        canaries,
        base,
        ..ModelPlan::default()
    }
}

/// A session key that is spread as well as a hash.
fn session(i: u64) -> u64 {
    i.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (i << 7)
}

fn shares(plan: &ModelPlan, sessions: u64) -> BTreeMap<String, u64> {
    let picker = Picker::new(plan);
    let mut shares = BTreeMap::new();
    for i in 0..sessions {
        if let Some((version, _)) = picker.pick(session(i)) {
            *shares.entry(version.to_owned()).or_default() += 1;
        }
    }
    shares
}

/// Within four standard deviations of a binomial share.
#[track_caller]
fn close(got: u64, share: f64, sessions: u64) {
    let n = sessions as f64;
    let sigma = (n * share * (1.0 - share)).sqrt();
    let off = (got as f64 - n * share).abs();
    assert!(
        off <= 4.0 * sigma + 1.0,
        "{got} of {sessions} is not {share}"
    );
}

#[test]
fn every_level_splits_sessions_by_its_weights() {
    let rolling = CarrierShare {
        carrier: "deployment/r".into(),
        weight: Decimal::whole(3),
        versions: vec![version("r1", 1), version("r2", 3)],
    };
    let got = shares(
        &plan(vec![carrier("c", 10, 1)], vec![carrier("a", 1, 9), rolling]),
        20_000,
    );
    close(got["c"], 0.10, 20_000);
    close(got["a"], 0.90 / 4.0, 20_000);
    close(got["r1"], 0.90 * 0.75 / 4.0, 20_000);
    close(got["r2"], 0.90 * 0.75 * 0.75, 20_000);
}

#[test]
fn a_dead_carrier_leaves_its_level() {
    // A dead canary's share goes to the base.
    let got = shares(
        &plan(
            vec![carrier("c", 10, 0), carrier("d", 20, 1)],
            vec![carrier("a", 1, 1)],
        ),
        10_000,
    );
    assert!(!got.contains_key("c"));
    close(got["d"], 0.2, 10_000);
    // No base: the canaries share in proportion.
    let got = shares(
        &plan(
            vec![carrier("c", 10, 1), carrier("d", 30, 1)],
            vec![carrier("a", 1, 0)],
        ),
        10_000,
    );
    close(got["c"], 0.25, 10_000);
    assert_eq!(got.len(), 2);
    // A version without an endpoint is not picked while another of the carrier is ready.
    let mut rolling = carrier("a", 1, 0);
    rolling.versions.push(version("b", 1));
    assert_eq!(
        shares(&plan(vec![], vec![rolling]), 100),
        BTreeMap::from([("b".into(), 100)])
    );
}

#[test]
fn dark_carriers_named_by_the_plan_stand_in() {
    let dark = ModelPlan {
        base: vec![carrier("a", 1, 0)],
        dark: vec![DarkCarrier {
            carrier: "deployment/x".into(),
            versions: vec![version("x", 2)],
            stands_in: true,
        }],
        ..ModelPlan::default()
    };
    assert_eq!(shares(&dark, 50), BTreeMap::from([("x".into(), 50)]));
    // A canary keeps its percent.
    let canary_and_base = ModelPlan {
        canaries: vec![carrier("c", 10, 1)],
        ..dark
    };
    let got = shares(&canary_and_base, 10_000);
    close(got["c"], 0.1, 10_000);
    close(got["x"], 0.9, 10_000);
}

#[test]
fn a_base_with_hold_that_is_not_ready_leaves_new_sessions_unserved() {
    let with_hold = |endpoints| ModelPlan {
        on_base_lost: OnBaseLost::Hold,
        ..plan(
            vec![carrier("c", 10, 1)],
            vec![carrier("a", 1, endpoints), carrier("b", 1, 0)],
        )
    };
    let picker = Picker::new(&with_hold(0));
    assert!((0..100).all(|i| picker.pick(session(i)).is_none()));
    assert_eq!(picker.pin("c"), Pinned::Ready);
    let got = shares(&with_hold(1), 10_000);
    close(got["c"], 0.1, 10_000);
    close(got["a"], 0.9, 10_000);
    // Without a base there is nothing to hold.
    let canaries = ModelPlan {
        on_base_lost: OnBaseLost::Hold,
        ..plan(vec![carrier("c", 100, 1)], vec![])
    };
    assert_eq!(shares(&canaries, 50), BTreeMap::from([("c".into(), 50)]));
}

#[test]
fn a_model_without_ready_versions_has_no_pick() {
    let dead = Picker::new(&plan(vec![], vec![carrier("a", 1, 0)]));
    assert!(!dead.ready());
    assert_eq!(dead.pick(7), None);
    assert_eq!(dead.pin("a"), Pinned::NotReady);
}

#[test]
fn a_pin_reaches_versions_without_a_weight() {
    let picker = Picker::new(&ModelPlan {
        canaries: vec![carrier("c", 10, 0)],
        base: vec![carrier("a", 1, 1)],
        dark: vec![DarkCarrier {
            carrier: "deployment/x".into(),
            versions: vec![version("x", 1)],
            stands_in: false,
        }],
        ..ModelPlan::default()
    });
    assert_eq!(picker.pin("x"), Pinned::Ready);
    assert_eq!(picker.pin("a"), Pinned::Ready);
    assert_eq!(picker.pin("c"), Pinned::NotReady);
    let near = vec!["a".to_owned(), "c".to_owned(), "x".to_owned()];
    assert_eq!(picker.pin("q"), Pinned::Unknown { near });
}

#[test]
fn an_unknown_pin_lists_at_most_20_versions_with_the_nearest_first() {
    let base = (0..50)
        .map(|i| carrier(&format!("v{i}-cuda"), 1, 1))
        .collect();
    let Pinned::Unknown { near } = Picker::new(&plan(vec![], base)).pin("v17-cud") else {
        panic!("it is unknown");
    };
    assert_eq!(near.len(), 20);
    assert_eq!(near[0], "v17-cuda");
    assert!(
        near.iter()
            .skip(1)
            .take(9)
            .all(|v| v.contains('1') || v.contains('7'))
    );
}

#[test]
fn a_pick_is_the_same_on_every_proxy_and_in_every_build() {
    let picker = Picker::new(&plan(
        vec![carrier("c", 30, 1)],
        vec![carrier("a", 2, 1), carrier("b", 3, 1)],
    ));
    let picks: String = (0..40)
        .filter_map(|i| picker.pick(session(i)))
        .map(|(v, _)| v)
        .collect();
    assert_eq!(picks, include_str!("golden_picks.txt").trim());
}

/// Canaries with random percents of at most 100 in sum, and base carriers with random replicas.
fn plans() -> impl Strategy<Value = ModelPlan> {
    let canaries = prop::collection::vec((0_u64..=40_000_000, 0_u32..3), 0..3);
    let base = prop::collection::vec((1_u64..20, 0_u32..3), 0..4);
    (canaries, base).prop_map(|(canaries, base)| {
        let sum: u64 = canaries.iter().map(|c| c.0).sum();
        let over = sum > 100_000_000;
        let canaries = canaries
            .into_iter()
            .enumerate()
            .map(|(i, (w, n))| share(&format!("c{i}"), if over { w / 2 } else { w }, n));
        let base = base
            .into_iter()
            .enumerate()
            .map(|(i, (r, n))| carrier(&format!("b{i}"), r, n));
        plan(canaries.collect(), base.collect())
    })
}

/// The share each version should have.
fn expected(plan: &ModelPlan) -> BTreeMap<String, f64> {
    let alive = |c: &&CarrierShare| c.versions[0].endpoints > 0;
    let name = |c: &CarrierShare| c.versions[0].version.as_str().to_owned();
    let percent: f64 = plan
        .canaries
        .iter()
        .filter(alive)
        .map(|c| c.weight.as_f64())
        .sum();
    let replicas: f64 = plan
        .base
        .iter()
        .filter(alive)
        .map(|c| c.weight.as_f64())
        .sum();
    let whole = if replicas > 0.0 { 100.0 } else { percent };
    let canaries = plan
        .canaries
        .iter()
        .filter(alive)
        .map(|c| (name(c), c.weight.as_f64() / whole));
    let base = plan.base.iter().filter(alive);
    let base = base.map(|c| {
        (
            name(c),
            (100.0 - percent) / 100.0 * c.weight.as_f64() / replicas,
        )
    });
    canaries.chain(base).filter(|(_, s)| *s > 0.0).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Every session gets a version while any version with a share is ready: the shares sum to 100 %.
    #[test]
    fn weights_sum_to_100(plan in plans()) {
        let got = shares(&plan, 500);
        let whole: u64 = got.values().sum();
        prop_assert_eq!(whole, if expected(&plan).is_empty() { 0 } else { 500 });
    }

    #[test]
    fn shares_follow_weights(plan in plans()) {
        let sessions = 4000;
        let got = shares(&plan, sessions);
        let expected = expected(&plan);
        for (version, share) in &expected {
            let n = sessions as f64;
            let off = (*got.get(version).unwrap_or(&0) as f64 - n * share).abs();
            // Five sigma, because every run checks some hundred shares.
            prop_assert!(off <= 5.0 * (n * share * (1.0 - share)).sqrt() + 1.0, "{version}: {off} off {share}");
        }
        prop_assert!(got.keys().all(|v| expected.contains_key(v)));
    }

    /// The guarantees when one weight changes, whatever the other weights are.
    #[test]
    fn monotone_stickiness(plan in plans(), which in 0_usize..8, to in 0_u64..=40_000_000, seed: u64) {
        let changed = edit(&plan, which, to);
        let Some((changed, name, raised, single)) = changed else { return Ok(()) };
        let (before, after) = (Picker::new(&plan), Picker::new(&changed));
        for i in 0..400 {
            let key = session(seed.wrapping_add(i));
            let (Some((was, lane)), Some((is, now))) = (before.pick(key), after.pick(key)) else { continue };
            if was == is { continue }
            if raised {
                prop_assert_ne!(was, name.as_str(), "left what was raised");
            } else {
                prop_assert_ne!(is, name.as_str(), "entered what was lowered");
            }
            if single {
                prop_assert!(was == name || is == name, "{was} → {is} though only {name} changed");
            } else if raised {
                // The base shrinks; only its sessions may go elsewhere.
                prop_assert!(is == name || lane == Lane::Base, "{was} → {is}");
            } else {
                prop_assert!(was == name || now == Lane::Base, "{was} → {is}");
            }
        }
    }

    /// When pods are added or removed, only sessions of that version, or sessions that get it, move.
    #[test]
    fn monotone_stickiness_when_pods_come_and_go(counts in prop::collection::vec(1_u32..9, 2..5), which: usize, to in 0_u32..12, seed: u64) {
        let rolling = |counts: &[u32]| {
            let versions = counts.iter().enumerate().map(|(i, n)| version(&format!("v{i}"), *n)).collect();
            plan(vec![], vec![CarrierShare { carrier: "deployment/r".into(), weight: Decimal::whole(1), versions }])
        };
        let which = which % counts.len();
        let mut changed = counts.clone();
        changed[which] = to;
        let name = format!("v{which}");
        let (before, after) = (Picker::new(&rolling(&counts)), Picker::new(&rolling(&changed)));
        for i in 0..400 {
            let key = session(seed.wrapping_add(i));
            let (was, is) = (before.pick(key).map(|p| p.0), after.pick(key).map(|p| p.0));
            let right = if to > counts[which] { is } else { was };
            prop_assert!(was == is || right == Some(name.as_str()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A carrier loses its last endpoint and gets it back. Without an endpoint, its sessions are elsewhere. For other sessions
    /// it depends on the carrier:
    /// - for a base carrier, the only canary, or a canary without a base, no other session moves;
    /// - one of several canaries leaves its percent to the base: sessions of the other canaries stay or move to the base,
    ///   never to another canary, and no session leaves the base.
    ///
    /// Once it is back, every session has its former version.
    #[test]
    fn monotone_stickiness_when_a_carrier_dies_and_returns(plan in plans(), which: usize, seed: u64) {
        let Some((dead, name, alone)) = without_endpoints(&plan, which) else { return Ok(()) };
        let (before, during, after) = (Picker::new(&plan), Picker::new(&dead), Picker::new(&plan.clone()));
        for i in 0..400 {
            let key = session(seed.wrapping_add(i));
            let (was, is) = (before.pick(key), during.pick(key));
            prop_assert_eq!(was, after.pick(key), "the plan is as it was");
            let Some((was, lane)) = was else { continue };
            let Some((is, now)) = is else {
                // No other version is ready, so only its own sessions had a version.
                prop_assert_eq!(was, name.as_str());
                continue;
            };
            prop_assert_ne!(is, name.as_str(), "picked although it has no endpoint");
            if was == name || was == is { continue }
            prop_assert!(!alone, "{} → {} though only {} died", was, is, name);
            prop_assert!(lane == Lane::Canary && now == Lane::Base, "{} → {}: {:?} → {:?}", was, is, lane, now);
        }
    }
}

/// The plan without the endpoints of one carrier, its version, and whether no other share depends on it: a base carrier,
/// the only canary with endpoints, or a canary without a base with endpoints.
fn without_endpoints(plan: &ModelPlan, which: usize) -> Option<(ModelPlan, String, bool)> {
    let alive = |c: &&mut CarrierShare| c.versions[0].endpoints > 0;
    let mut dead = plan.clone();
    let canaries = dead.canaries.iter_mut().filter(alive).count();
    let base = dead.base.iter_mut().filter(alive).count();
    let which = which.checked_rem(canaries + base)?;
    let all = dead.canaries.iter_mut().chain(&mut dead.base);
    let carrier = all.filter(alive).nth(which)?;
    carrier.versions[0].endpoints = 0;
    let name = carrier.versions[0].version.as_str().to_owned();
    let alone = which >= canaries || canaries == 1 || base == 0;
    Some((dead, name, alone))
}

/// A plan with another weight of one carrier, its version, whether the weight was raised, and whether no other share
/// depends on it (one canary, or a base carrier).
fn edit(plan: &ModelPlan, which: usize, to: u64) -> Option<(ModelPlan, String, bool, bool)> {
    let mut changed = plan.clone();
    let canaries = plan.canaries.len();
    let base = which >= canaries;
    let carrier = if base {
        changed.base.get_mut(which - canaries)?
    } else {
        changed.canaries.get_mut(which)?
    };
    let old = carrier.weight.millionths();
    carrier.weight = Decimal::from_millionths(if base { to % 20_000_000 + 1 } else { to });
    let raised = carrier.weight.millionths() > old;
    let name = carrier.versions[0].version.as_str().to_owned();
    let sum: u64 = changed.canaries.iter().map(|c| c.weight.millionths()).sum();
    let alive = changed.base.iter().any(|c| c.versions[0].endpoints > 0);
    let alone = base || canaries == 1 || !alive;
    (sum <= 100_000_000).then_some((changed, name, raised, alone))
}
