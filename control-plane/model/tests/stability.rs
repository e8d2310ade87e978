//! Readiness over time: canaries that flap, pods that become available, versions that never start.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixtures;

use std::time::Duration;

use fixtures::{Build, carrier, llama, model_id, objects, reasons};
use headgate_model::{
    Carrier, LabelKeys, Memory, ModelRecord, Objects, Plan, Registry, Scales, Stability,
    StabilityReport, StoredCarrier, Tick, plan, reason,
};

const START: u64 = 1_800_000_000;

fn tick(seconds: u64) -> Tick {
    Tick {
        elapsed: Duration::from_secs(seconds),
        unix_seconds: START + seconds,
    }
}

/// The tracker and its last stability_report, as a publisher holds them.
#[derive(Default)]
struct Tracker {
    stability: Stability,
    stability_report: StabilityReport,
}

impl Tracker {
    fn wake_after(&self, seconds: u64) -> Option<Duration> {
        self.stability
            .wake_after(&self.stability_report, tick(seconds))
    }
}

fn plan_of(tracker: &mut Tracker, carriers: &[Carrier], seconds: u64) -> Plan {
    plan_of_objects(tracker, &objects(carriers.iter().cloned()), seconds)
}

fn plan_of_objects(tracker: &mut Tracker, objects: &Objects, seconds: u64) -> Plan {
    let registry = Registry::build(objects, &LabelKeys::default());
    tracker.stability_report = tracker.stability.observe(&registry, tick(seconds));
    plan(
        &registry.with_stability(&tracker.stability_report),
        objects,
        &Scales::default(),
    )
}

fn share(plan: &Plan, version: &str) -> u32 {
    llama(plan).variants[version].share
}

fn base() -> Carrier {
    carrier("v1", "v1").created(1)
}

fn canary() -> Carrier {
    carrier("v2", "v2").created(2).weight("20")
}

#[test]
fn a_flapping_canary_takes_no_sessions_until_it_is_stable() {
    let mut stability = Tracker::default();
    for second in 0..4 {
        let up = plan_of(&mut stability, &[base(), canary()], second * 10);
        assert_eq!(share(&up, "v2"), 200_000, "return {second}");
        plan_of(
            &mut stability,
            &[base(), canary().unready(1)],
            second * 10 + 5,
        );
    }
    let fourth = plan_of(&mut stability, &[base(), canary()], 40);
    assert_eq!(share(&fourth, "v2"), 0);
    assert!(reasons(&fourth).contains(&reason::FLAPPING));
    let dark = &llama(&fourth).plan.dark;
    assert_eq!(
        (dark.len(), dark[0].versions[0].endpoints),
        (1, 1),
        "a pin reaches it"
    );
    assert_eq!(stability.wake_after(40), Some(Duration::from_secs(60)));
    assert_eq!(
        share(&plan_of(&mut stability, &[base(), canary()], 99), "v2"),
        0
    );
    assert_eq!(
        share(&plan_of(&mut stability, &[base(), canary()], 100), "v2"),
        200_000
    );
    assert_eq!(stability.wake_after(100), None);
}

#[test]
fn a_flapping_carrier_serves_if_nothing_else_does() {
    let mut stability = Tracker::default();
    for second in 0..6 {
        plan_of(&mut stability, &[canary()], second * 2);
        plan_of(&mut stability, &[canary().unready(1)], second * 2 + 1);
    }
    assert_eq!(
        share(&plan_of(&mut stability, &[canary()], 12), "v2"),
        1_000_000
    );
}

#[test]
fn a_pod_counts_once_it_has_been_ready_for_min_ready_seconds() {
    let mut stability = Tracker::default();
    let mut young = carrier("v2", "v2").created(2).weight("100");
    young.min_ready_seconds = 30;
    young.pods[0].ready_since = Some(i64::try_from(START).unwrap() + 10);
    let both = [base(), young.clone()];
    assert_eq!(share(&plan_of(&mut stability, &both, 11), "v2"), 0);
    assert_eq!(stability.wake_after(11), Some(Duration::from_secs(29)));
    assert_eq!(share(&plan_of(&mut stability, &both, 40), "v2"), 1_000_000);
    // Without another version it serves at once.
    assert_eq!(
        share(&plan_of(&mut Tracker::default(), &[young], 11), "v2"),
        1_000_000
    );
}

#[test]
fn a_canary_that_never_starts_has_a_finding_with_the_reason() {
    let mut stability = Tracker::default();
    let mut stuck = canary().unready(1);
    stuck.unready_reasons = vec!["ImagePullBackOff: no such image".to_owned()];
    let both = [base(), stuck];
    plan_of(&mut stability, &both, 0);
    assert_eq!(stability.wake_after(0), Some(Duration::from_secs(120)));
    assert!(reasons(&plan_of(&mut stability, &both, 119)).is_empty());
    let late = plan_of(&mut stability, &both, 120);
    let finding = late
        .findings
        .iter()
        .find(|f| f.reason == reason::NOT_STARTED)
        .unwrap();
    assert!(
        finding.message.contains("ImagePullBackOff: no such image"),
        "{}",
        finding.message
    );
    assert!(reasons(&plan_of(&mut stability, &[base(), canary()], 121)).is_empty());
}

/// `carrier` with pods that became ready at this second and are available 30 s later.
fn young(carrier: Carrier, second: u64) -> Carrier {
    let mut young = Carrier {
        min_ready_seconds: 30,
        ..carrier
    };
    for pod in &mut young.pods {
        pod.ready_since = Some(i64::try_from(START + second).unwrap());
    }
    young
}

/// Shares of versions in percent, with `v1` as the stored base.
fn with_stored_base(carriers: &[Carrier], second: u64) -> Vec<(String, u32)> {
    let mut objects = objects(carriers.iter().cloned());
    let base = StoredCarrier {
        versions: [headgate_contract::Version::try_from("v1").unwrap()].into(),
        undeclared_since: None,
    };
    let record = ModelRecord {
        memory: Memory {
            base: [("deployment/v1".to_owned(), base)].into(),
            ..Memory::default()
        },
        ..ModelRecord::default()
    };
    let key = ("default".to_owned(), model_id("llama"));
    objects.served_models.insert(key, record);
    let plan = plan_of_objects(&mut Tracker::default(), &objects, second);
    let variants = llama(&plan).variants.iter();
    variants
        .map(|(v, variant)| (v.to_string(), variant.share / 10_000))
        .collect()
}

fn shares(all: &[(&str, u32)]) -> Vec<(String, u32)> {
    all.iter()
        .map(|(v, share)| ((*v).to_owned(), *share))
        .collect()
}

#[test]
fn a_base_with_all_pods_restarted_serves_before_they_are_available_without_stand_in() {
    let restarted = || young(base(), 10);
    let held = carrier("v2", "v2").created(2);
    // The other version is available, and is held or has weight 0.
    let both = [restarted(), held.clone()];
    assert_eq!(
        with_stored_base(&both, 11),
        shares(&[("v1", 100), ("v2", 0)])
    );
    let dark = [restarted(), held.clone().weight("0")];
    assert_eq!(
        with_stored_base(&dark, 11),
        shares(&[("v1", 100), ("v2", 0)])
    );
    // An available canary takes its percent; an unavailable one waits, also beside such a base.
    let beside = [restarted(), canary()];
    assert_eq!(
        with_stored_base(&beside, 11),
        shares(&[("v1", 80), ("v2", 20)])
    );
    let waits = [restarted(), young(canary(), 10)];
    assert_eq!(
        with_stored_base(&waits, 11),
        shares(&[("v1", 100), ("v2", 0)])
    );
    assert_eq!(
        with_stored_base(&waits, 40),
        shares(&[("v1", 80), ("v2", 20)])
    );
    // A promoted version waits while the previous base is available. With an unready base, the held version stands in.
    let promoted = [base(), young(held.clone().weight("100"), 10)];
    assert_eq!(
        with_stored_base(&promoted, 11),
        shares(&[("v1", 100), ("v2", 0)])
    );
    let away = [base().unready(1), young(held, 10)];
    assert_eq!(
        with_stored_base(&away, 11),
        shares(&[("v1", 0), ("v2", 100)])
    );
}
