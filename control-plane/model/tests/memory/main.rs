//! The stored memory of a model: it determines the base and the names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../fixtures/mod.rs"]
mod fixtures;
mod lost_bases;
mod names;
mod promotions;
mod stand_ins;
mod twins;

use std::sync::Arc;

use fixtures::{Build, carrier, llama, model_id, objects, percents, planned, reasons};
use headgate_contract::{Duration, OnBaseLost, ServedModelSpec};
use headgate_model::{
    Carrier, Finding, LabelKeys, Memory, ModelRecord, Objects, Plan, Readiness, Registry, Severity,
    StoredCarrier, Transitions, Unread, WrittenBase, next_memories, next_memory_change, reason,
};

/// A cluster with a leader that writes the memories.
struct Cluster {
    served: ModelRecord,
    unread: Unread,
    now: i64,
}

impl Cluster {
    fn new(spec: ServedModelSpec) -> Self {
        let memory = Memory::default();
        Self {
            served: ModelRecord {
                spec,
                memory,
                ..ModelRecord::default()
            },
            unread: Unread::default(),
            now: 1_800_000_000,
        }
    }

    fn objects(&self, carriers: &[Carrier]) -> Objects {
        let mut objects = objects(carriers.iter().cloned());
        let key = ("default".to_owned(), model_id("llama"));
        objects.served_models.insert(key, self.served.clone());
        objects.unread = self.unread.clone();
        objects
    }

    /// The plan after the memories are written.
    fn settle(&mut self, carriers: &[Carrier]) -> Plan {
        for _ in 0..5 {
            let objects = self.objects(carriers);
            let plan = planned(&objects);
            let memories = next_memories(&plan, &objects, self.now);
            let memory = memories.into_values().next().unwrap_or_default();
            if memory == self.served.memory {
                return plan;
            }
            self.served.memory = memory;
        }
        panic!("the memory does not settle: {:?}", self.served.memory);
    }

    /// The next time at which time alone changes the memory.
    fn due(&self, carriers: &[Carrier]) -> Option<i64> {
        let objects = self.objects(carriers);
        next_memory_change(&planned(&objects), &objects, self.now)
    }

    fn percents(&mut self, carriers: &[Carrier]) -> Vec<(String, f64)> {
        percents(llama(&self.settle(carriers)))
            .into_iter()
            .collect()
    }
}

fn shares(of: &[(&str, f64)]) -> Vec<(String, f64)> {
    of.iter()
        .map(|(v, share)| ((*v).to_owned(), *share))
        .collect()
}

fn one() -> Carrier {
    carrier("m-v1", "v1").created(1).desired(2).ready(2)
}

fn two() -> Carrier {
    carrier("m-v2", "v2").created(2).desired(2).ready(2)
}

#[test]
fn a_recreated_stable_version_is_the_base_again() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    assert_eq!(
        cluster.percents(&[one(), two()]),
        shares(&[("v1", 100.0), ("v2", 0.0)])
    );
    // It is deleted: the held version stands in and is not promoted.
    assert_eq!(cluster.percents(&[two()]), shares(&[("v2", 100.0)]));
    let younger = carrier("m-v1", "v1").created(9).desired(2);
    let starting = [two(), younger.clone().unready(2)];
    assert_eq!(
        cluster.percents(&starting),
        shares(&[("v1", 0.0), ("v2", 100.0)])
    );
    let back = [two(), younger.clone().ready(2)];
    assert_eq!(
        cluster.percents(&back),
        shares(&[("v1", 100.0), ("v2", 0.0)])
    );
    assert!(reasons(&cluster.settle(&back)).contains(&reason::VERSION_HELD));
    // A process that starts now makes the same plan.
    assert_eq!(planned(&cluster.objects(&back)), cluster.settle(&back));
}

#[test]
fn a_recreated_base_is_reported_as_stand_in_and_not_as_promotion() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let (mut transitions, keys) = (Transitions::default(), LabelKeys::default());
    let mut reported = Vec::new();
    let back = carrier("m-v1", "v1").created(9).ready(2).desired(2);
    for carriers in [vec![one(), two()], vec![two()], vec![back, two()]] {
        let plan = Arc::new(cluster.settle(&carriers));
        let findings = transitions.follow(&plan, &keys);
        reported.push(
            findings
                .into_iter()
                .map(|t| (t.object.to_string(), t.reason))
                .collect::<Vec<_>>(),
        );
    }
    let v2 = || "deployment default/m-v2".to_owned();
    assert_eq!(
        reported,
        [
            vec![],
            // A finding reports the stand-in.
            vec![],
            vec![(v2(), reason::DRAINED)]
        ]
    );
}

#[test]
fn a_base_is_forgotten_after_its_grace() {
    let mut cluster = Cluster::new(ServedModelSpec {
        base_grace: Some(Duration::from_seconds(60)),
        ..ServedModelSpec::default()
    });
    cluster.settle(&[one(), two()]);
    cluster.settle(&[two()]);
    assert_eq!(cluster.due(&[two()]), Some(cluster.now + 60));
    cluster.now += 59;
    cluster.settle(&[two()]);
    assert!(cluster.served.memory.base.contains_key("deployment/m-v1"));
    cluster.now += 1;
    cluster.settle(&[two()]);
    let base: Vec<_> = cluster.served.memory.base.keys().cloned().collect();
    assert_eq!(base, ["deployment/m-v2"]);
    assert_eq!(cluster.due(&[two()]), None);
    let late = carrier("m-v1", "v1").created(9).ready(2).desired(2);
    assert_eq!(
        cluster.percents(&[late, two()]),
        shares(&[("v1", 0.0), ("v2", 100.0)])
    );
}

#[test]
fn a_base_that_is_scaled_to_zero_or_unready_is_never_forgotten() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    cluster.settle(&[one(), two()]);
    for away in [one().ready(0).desired(0), one().unready(2)] {
        cluster.now += 1_000_000;
        assert_eq!(cluster.percents(&[away, two()])[1].1, 100.0);
    }
    assert_eq!(cluster.percents(&[one(), two()])[0].1, 100.0);
}

#[test]
fn a_renamed_base_is_recognized_by_its_version() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    cluster.settle(&[one(), two()]);
    let mut service = carrier("m", "v1").created(9).ready(2).desired(2);
    service.key.kind = "service".to_owned();
    assert_eq!(cluster.percents(&[service.clone(), two()])[0].1, 100.0);
    let base: Vec<_> = cluster.served.memory.base.keys().cloned().collect();
    assert_eq!(base, ["service/m"]);
}

#[test]
fn a_written_base_that_names_nothing_declared_is_refused_and_the_stored_base_stays() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    cluster.settle(&[one(), two()]);
    cluster.served.object = Some("llama-object".to_owned());
    let stored = cluster.served.memory.clone();
    let write = |carrier: &str, version: &str| WrittenBase {
        text: format!("{carrier}={version}"),
        base: [(
            carrier.to_owned(),
            StoredCarrier {
                versions: [fixtures::version(version)].into(),
                undeclared_since: None,
            },
        )]
        .into(),
    };
    let malformed = WrittenBase {
        text: "v2".to_owned(),
        ..WrittenBase::default()
    };
    for (written, words) in [
        (
            write("deployment/m-v9", "v9"),
            "`headgate.dev/base: \"deployment/m-v9=v9\"` names no carrier and no version of model llama that exists",
        ),
        (malformed, "`headgate.dev/base: \"v2\"` is not of the form"),
    ] {
        cluster.served.written = Some(written);
        // Longer than any grace.
        cluster.now += 1_000_000;
        let plan = cluster.settle(&[one(), two()]);
        assert_eq!(cluster.served.memory, stored);
        assert_eq!(percents(llama(&plan))["v1"], 100.0);
        let mut found = plan.findings.iter();
        let found = found.find(|f| f.reason == reason::INVALID_BASE).unwrap();
        assert_eq!(found.severity, Severity::Warning);
        for words in [
            words,
            "Versions that exist: deployment/m-v1=v1, deployment/m-v2=v2",
            "kubectl annotate servedmodel/llama-object -n default headgate.dev/base=deployment/m-v1=v1 --overwrite",
        ] {
            assert!(found.message.contains(words), "{}", found.message);
        }
    }
    // Known by its name or by its version.
    for written in [
        write("deployment/m-v2", "v9"),
        write("deployment/other", "v2"),
    ] {
        cluster.served.written = Some(written);
        let plan = planned(&cluster.objects(&[one(), two()]));
        assert!(!reasons(&plan).contains(&reason::INVALID_BASE));
        assert_eq!(percents(llama(&plan))["v2"], 100.0);
    }
}

#[test]
fn a_younger_version_that_serves_first_is_stored_only_after_the_grace() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let loading = one().unready(2);
    assert_eq!(cluster.percents(&[loading.clone(), two()])[1].1, 100.0);
    assert!(cluster.served.memory.base.is_empty());
    assert_eq!(
        cluster.percents(&[one(), two()])[0].1,
        100.0,
        "the older one is ready in time"
    );
    let mut cluster = Cluster::new(ServedModelSpec::default());
    cluster.settle(&[loading.clone(), two()]);
    cluster.now += 300;
    cluster.settle(&[loading, two()]);
    assert!(cluster.served.memory.base.contains_key("deployment/m-v2"));
}

/// A version created at this second, with pods that became ready at these seconds.
fn applied(name: &str, version: &str, created: i64, ready: &[i64]) -> Carrier {
    let mut carrier = carrier(name, version).ready(u32::try_from(ready.len()).unwrap());
    carrier.created = Some(created);
    for (pod, since) in carrier.pods.iter_mut().zip(ready) {
        pod.ready_since = Some(*since);
    }
    carrier
}

#[test]
fn without_a_stored_base_a_serving_version_holds_one_applied_seconds_later() {
    let serves = || applied("m-v1", "v1", 1_000, &[1_004, 1_001]);
    let (v1, both) = (("v1", 100.0), [("v1", 50.0), ("v2", 50.0)]);
    for (case, second, expected) in [
        (
            "2 s after it was ready",
            applied("m-v2", "v2", 1_003, &[1_003]),
            [v1, ("v2", 0.0)],
        ),
        (
            "in the second it was ready",
            applied("m-v2", "v2", 1_001, &[1_002]),
            [v1, ("v2", 0.0)],
        ),
        (
            "with it, in one command",
            applied("m-v2", "v2", 1_000, &[1_000]),
            both,
        ),
    ] {
        // Names do not determine the order.
        let renamed = Carrier {
            key: headgate_model::CarrierKey {
                name: "a".to_owned(),
                ..second.key.clone()
            },
            ..second.clone()
        };
        for second in [second, renamed] {
            let mut cluster = Cluster::new(ServedModelSpec::default());
            let plan = planned(&cluster.objects(&[serves(), second.clone()]));
            let first: Vec<_> = percents(llama(&plan)).into_iter().collect();
            assert_eq!(first, shares(&expected), "{case}");
            // The stored memory leads to the same shares.
            assert_eq!(
                cluster.percents(&[serves(), second]),
                shares(&expected),
                "{case}"
            );
        }
    }
    // A version that was not ready when the second was applied did not serve.
    let loading = applied("m-v1", "v1", 1_000, &[1_009]);
    let plan = planned(&objects([loading, applied("m-v2", "v2", 1_003, &[1_008])]));
    assert_eq!(
        percents(llama(&plan)).into_iter().collect::<Vec<_>>(),
        shares(&both)
    );
    assert!(reasons(&plan).contains(&reason::EQUAL_AGE));
    // A third version, created first and ready last, does not change which version served.
    let late = applied("m-v0", "v0", 999, &[1_010]);
    let plan = planned(&objects([
        late,
        serves(),
        applied("m-v2", "v2", 1_003, &[1_003]),
    ]));
    assert_eq!(percents(llama(&plan))["v2"], 0.0);
}

#[test]
fn an_invalid_weight_on_the_base_moves_no_session() {
    // The base is recreated, so the held version is older.
    let mut cluster = Cluster::new(ServedModelSpec::default());
    cluster.settle(&[one(), two()]);
    let young = one().created(9);
    cluster.settle(&[young.clone(), two()]);
    let wrong = [young.weight("abc"), two()];
    let expected = shares(&[("v1", 100.0), ("v2", 0.0)]);
    assert_eq!(cluster.percents(&wrong), expected);
    // A promoted version whose weight then has a letter in the number.
    let mut cluster = Cluster::new(ServedModelSpec::default());
    cluster.settle(&[one(), two()]);
    cluster.settle(&[one(), two().weight("100")]);
    let wrong = [one(), two().weight("10O")];
    let expected = shares(&[("v1", 0.0), ("v2", 100.0)]);
    assert_eq!(cluster.percents(&wrong), expected);
    let plan = cluster.settle(&wrong);
    let mut all = plan.findings.iter();
    let finding = all.find(|f| f.reason == reason::INVALID_WEIGHT).unwrap();
    assert!(
        finding.message.contains("absent, because this is the base"),
        "{}",
        finding.message
    );
}

/// Another object that declares v1.
fn twin(created: i64) -> Carrier {
    carrier("a-twin", "v1").created(created)
}
