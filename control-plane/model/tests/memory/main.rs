//! The stored memory of a model decides which version is its base.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lost_bases;
#[path = "../world/mod.rs"]
mod world;

use std::sync::Arc;

use headgate_contract::{Duration, OnBaseLost, ServedModelSpec};
use headgate_model::{
    Carrier, Finding, LabelKeys, Memory, ModelRecord, Objects, Plan, Readiness, Registry, Severity,
    StoredCarrier, Transitions, Unread, WrittenBase, next_memories, next_memory_change, reason,
};
use world::{Build, carrier, llama, model_id, objects, percents, planned, reasons};

/// A cluster whose leader writes the memories.
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

    /// The plan once the memories are written.
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
        panic!("what is remembered never settles: {:?}", self.served.memory);
    }

    /// When time alone changes a memory.
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
fn a_stable_version_that_is_recreated_takes_back_what_it_had() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    assert_eq!(
        cluster.percents(&[one(), two()]),
        shares(&[("v1", 100.0), ("v2", 0.0)])
    );
    // It is gone: the held one stands in, and nobody is promoted.
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
    // Another process that starts now agrees.
    assert_eq!(planned(&cluster.objects(&back)), cluster.settle(&back));
}

#[test]
fn the_events_of_a_recreated_base_say_stands_in_and_not_promoted() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let (mut transitions, keys) = (Transitions::default(), LabelKeys::default());
    let mut said = Vec::new();
    let back = carrier("m-v1", "v1").created(9).ready(2).desired(2);
    for carriers in [vec![one(), two()], vec![two()], vec![back, two()]] {
        let plan = Arc::new(cluster.settle(&carriers));
        let told = transitions.follow(&plan, &keys);
        said.push(
            told.into_iter()
                .map(|t| (t.object.to_string(), t.reason))
                .collect::<Vec<_>>(),
        );
    }
    let v2 = || "deployment default/m-v2".to_owned();
    assert_eq!(
        said,
        [
            vec![],
            // A finding says that it stands in.
            vec![],
            vec![(v2(), reason::DRAINED)]
        ]
    );
}

#[test]
fn a_base_that_is_gone_for_its_grace_is_forgotten() {
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
fn a_base_under_another_name_is_known_by_its_version() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    cluster.settle(&[one(), two()]);
    let mut service = carrier("m", "v1").created(9).ready(2).desired(2);
    service.key.kind = "service".to_owned();
    assert_eq!(cluster.percents(&[service.clone(), two()])[0].1, 100.0);
    let base: Vec<_> = cluster.served.memory.base.keys().cloned().collect();
    assert_eq!(base, ["service/m"]);
}

#[test]
fn a_lost_base_answers_503_where_its_model_says_hold() {
    let mut cluster = Cluster::new(ServedModelSpec {
        on_base_lost: OnBaseLost::Hold,
        ..ServedModelSpec::default()
    });
    let whole = cluster.settle(&[one(), two()]);
    // The filters hold the base's sessions, too, while they cannot reach it.
    assert_eq!(llama(&whole).plan.on_base_lost, OnBaseLost::Hold);
    let lost = cluster.settle(&[one().unready(2), two()]);
    let model = llama(&lost);
    assert_eq!(model.plan.on_base_lost, OnBaseLost::Hold);
    assert!(model.plan.base.is_empty() && model.plan.canaries.is_empty());
    assert!(model.plan.dark.iter().all(|dark| !dark.stands_in));
    let told = lost
        .findings
        .iter()
        .find(|f| f.reason == reason::NOTHING_READY)
        .unwrap();
    for words in [
        "onBaseLost",
        "kubectl describe deployment/m-v1 -n default",
        "set `spec.onBaseLost` to release",
    ] {
        assert!(told.message.contains(words), "{}", told.message);
    }
}

#[test]
fn where_only_canaries_are_left_beside_a_lost_base_it_is_said_of_them() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let canary = || two().weight("10");
    let lost = |plan: &Plan| {
        let mut all = plan.findings.iter();
        let found = all.find(|finding| finding.reason == reason::BASE_LOST);
        found.map(|finding| finding.message.clone())
    };
    assert_eq!(lost(&cluster.settle(&[one(), canary()])), None);
    cluster.served.object = Some("llama".to_owned());
    for (carriers, see) in [
        (
            vec![one().unready(2), canary()],
            "kubectl describe deployment/m-v1 -n default",
        ),
        // Nobody can describe what is deleted.
        (
            vec![canary()],
            "kubectl describe servedmodel llama -n default",
        ),
    ] {
        let plan = cluster.settle(&carriers);
        assert_eq!(percents(llama(&plan))["v2"], 100.0);
        let said = lost(&plan).unwrap();
        let promote = "kubectl label deployment/m-v2 -n default canary-weight=100";
        for words in [see, promote] {
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(said.matches("kubectl describe").count(), 1, "{said}");
    }
    // A held version stands in, which its own finding says.
    let held = carrier("m-v3", "v3").created(3);
    let plan = cluster.settle(&[one().unready(2), canary(), held]);
    assert_eq!(lost(&plan), None);
}

#[test]
fn a_version_that_stands_in_is_a_warning_until_the_base_is_ready() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let said = |plan: &Plan| -> Vec<(String, Severity, String)> {
        let all = plan.findings.iter();
        let all = all.filter(|finding| finding.reason == reason::STANDS_IN);
        all.map(|f| (f.object.to_string(), f.severity, f.message.clone()))
            .collect()
    };
    assert_eq!(said(&cluster.settle(&[one(), two()])), []);
    for (carriers, words) in [
        (
            vec![one().unready(2), two()],
            [
                "no endpoint of deployment default/m-v1, the base of model llama, is ready: version v2 stands in and takes new sessions until one is",
                "kubectl describe deployment/m-v1 -n default",
            ],
        ),
        (
            vec![two()],
            ["has lost its labels", "headgate status llama"],
        ),
    ] {
        let plan = cluster.settle(&carriers);
        let found = said(&plan);
        let [(object, severity, message)] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(object, "deployment default/m-v2");
        assert_eq!(*severity, Severity::Warning);
        let promote =
            "To make it the base: kubectl label deployment/m-v2 -n default canary-weight=100";
        for words in words.into_iter().chain([promote]) {
            assert!(message.contains(words), "{message}");
        }
    }
    assert_eq!(said(&cluster.settle(&[one(), two()])), []);
    // What stands by beside a promoted version that is lost.
    cluster.settle(&[one(), two().weight("100")]);
    let lost = said(&cluster.settle(&[one(), two().weight("100").unready(2)]));
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert_eq!(lost[0].0, "deployment default/m-v1");
}

#[test]
fn a_version_that_comes_with_weight_100_is_told_as_promoted_once() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let (mut transitions, keys) = (Transitions::default(), LabelKeys::default());
    let hundred = || two().weight("100");
    let mut told = |transitions: &mut Transitions, carriers: &[Carrier]| -> Vec<&'static str> {
        let mut said = Vec::new();
        // The plan before and after the memory is written.
        for plan in [
            planned(&cluster.objects(carriers)),
            cluster.settle(carriers),
        ] {
            said.extend(transitions.follow(&Arc::new(plan), &keys));
        }
        let of_two = |t: &&Finding| t.object.to_string() == "deployment default/m-v2";
        said.iter().filter(of_two).map(|t| t.reason).collect()
    };
    assert!(told(&mut transitions, &[one()]).is_empty());
    assert!(told(&mut transitions, &[one(), hundred().unready(2)]).is_empty());
    assert_eq!(
        told(&mut transitions, &[one(), hundred()]),
        [reason::PROMOTED]
    );
    // A process that starts while its pods are restarted.
    let mut restarted = Transitions::default();
    assert!(told(&mut restarted, &[one(), hundred().unready(2)]).is_empty());
    assert!(told(&mut restarted, &[one(), hundred()]).is_empty());
    assert_eq!(
        told(&mut transitions, &[one(), hundred().unready(2)]),
        [reason::UNREADY]
    );
    assert_eq!(
        told(&mut transitions, &[one(), hundred()]),
        [reason::RECOVERED]
    );
    // Deleted and created again, it is the stored base.
    told(&mut transitions, &[one()]);
    assert!(told(&mut transitions, &[one(), hundred()]).is_empty());
}

/// Events follow the plans at intervals: it was created, promoted and stored in between.
#[test]
fn a_promotion_is_told_also_if_no_plan_before_its_storing_was_seen() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let (mut transitions, keys) = (Transitions::default(), LabelKeys::default());
    let mut follow = |plan: Plan| -> Vec<&'static str> {
        let told = transitions.follow(&Arc::new(plan), &keys);
        told.into_iter().map(|t| t.reason).collect()
    };
    follow(cluster.settle(&[one()]));
    cluster.settle(&[one(), two()]);
    let promoted = cluster.settle(&[one(), two().weight("100")]);
    assert_eq!(follow(promoted), [reason::DRAINED, reason::PROMOTED]);
    // The promoted version under another name is no promotion.
    let mut green = two().created(9).weight("100");
    green.key.name = "m-v2-green".to_owned();
    let renamed = cluster.settle(&[one(), green]);
    assert!(!follow(renamed).contains(&reason::PROMOTED));
}

#[test]
fn a_written_base_that_names_nothing_known_is_refused_and_the_stored_one_stays() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    cluster.settle(&[one(), two()]);
    cluster.served.object = Some("llama-object".to_owned());
    let stored = cluster.served.memory.clone();
    let write = |carrier: &str, version: &str| WrittenBase {
        text: format!("{carrier}={version}"),
        base: [(
            carrier.to_owned(),
            StoredCarrier {
                versions: [world::version(version)].into(),
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
    // Known by its name, by its version, or as it cannot be read.
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
fn who_would_stand_in_is_told_to_the_filters() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let third = carrier("m-v3", "v3").created(3);
    let plan = cluster.settle(&[one(), two(), third]);
    let dark = &llama(&plan).plan.dark;
    let named: Vec<_> = dark
        .iter()
        .map(|d| (d.carrier.as_str(), d.stands_in))
        .collect();
    assert_eq!(
        named,
        [("deployment/m-v2", true), ("deployment/m-v3", false)]
    );
}

#[test]
fn of_dark_carriers_the_remembered_base_stands_in_alone() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let third = || carrier("m-v3", "v3").created(3).weight("0");
    // The base is not the oldest of them.
    cluster.settle(&[one().weight("0"), two().weight("100"), third()]);
    let dark = [one().weight("0"), two().weight("0"), third()];
    let expected = shares(&[("v1", 0.0), ("v2", 100.0), ("v3", 0.0)]);
    assert_eq!(cluster.percents(&dark), expected);
    // Without memory it is the oldest.
    let mut fresh = Cluster::new(ServedModelSpec::default());
    assert_eq!(fresh.percents(&dark)[0].1, 100.0);
}

#[test]
fn a_promoted_version_takes_what_it_can_carry() {
    let old = || carrier("m-v1", "v1").created(1).desired(10).ready(10);
    let new = |ready: u32| {
        let mut new = carrier("m-v2", "v2")
            .created(2)
            .desired(10)
            .ready(10)
            .weight("100");
        new.pods
            .iter_mut()
            .skip(ready as usize)
            .for_each(|pod| pod.ready = false);
        new
    };
    let mut cluster = Cluster::new(ServedModelSpec::default());
    cluster.settle(&[old(), new(0)]);
    let share = |cluster: &mut Cluster, ready| {
        let plan = cluster.settle(&[old(), new(ready)]);
        (f64::from(llama(&plan).variants["v2"].share) / 10_000.0 * 10.0).round() / 10.0
    };
    assert_eq!(share(&mut cluster, 0), 0.0);
    assert_eq!(share(&mut cluster, 1), 9.1);
    let sharing = cluster.settle(&[old(), new(1)]);
    assert!(reasons(&sharing).contains(&reason::PROMOTION_SHARED));
    let registry = Registry::build(&cluster.objects(&[old(), new(1)]), &LabelKeys::default());
    let readiness = registry.namespaces["default"]["llama"].readiness();
    assert_eq!(
        readiness,
        Readiness {
            ready: 11,
            desired: 11
        },
        "budgets stay whole"
    );
    assert_eq!(share(&mut cluster, 4), 28.6);
    assert_eq!(share(&mut cluster, 5), 100.0);
    assert!(cluster.served.memory.base.contains_key("deployment/m-v2"));
    // A pod flaps around `minReadyPercent`, and no session moves.
    assert_eq!(share(&mut cluster, 4), 100.0);
    assert_eq!(share(&mut cluster, 3), 100.0);
    assert_eq!(share(&mut cluster, 2), 16.7);
    // A held carrier takes no part of a promotion.
    let held = carrier("m-v3", "v3").created(3).desired(1).ready(1);
    let plan = cluster.settle(&[old(), new(2), held]);
    assert_eq!(llama(&plan).variants["v3"].share, 0);
}

#[test]
fn taking_the_label_off_a_promoted_version_is_no_roll_back() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let (mut transitions, keys) = (Transitions::default(), LabelKeys::default());
    cluster.settle(&[one(), two()]);
    let promoted = Arc::new(cluster.settle(&[one(), two().weight("100")]));
    transitions.follow(&promoted, &keys);
    let tidy = Arc::new(cluster.settle(&[one(), two()]));
    let expected = shares(&[("v1", 0.0), ("v2", 100.0)]);
    assert_eq!(
        percents(llama(&tidy)).into_iter().collect::<Vec<_>>(),
        expected
    );
    let told = transitions.follow(&tidy, &keys);
    let told = told
        .iter()
        .find(|t| t.reason == reason::STAYS_BASE)
        .unwrap();
    let command = "kubectl label deployment/m-v2 -n default canary-weight=0 --overwrite";
    assert!(told.message.contains(command), "{}", told.message);
    // The command does what it says.
    let back = [one(), two().weight("0")];
    assert_eq!(
        cluster.percents(&back),
        shares(&[("v1", 100.0), ("v2", 0.0)])
    );
}

#[test]
fn a_promotion_says_how_it_is_finished() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let (mut transitions, keys) = (Transitions::default(), LabelKeys::default());
    transitions.follow(
        &Arc::new(cluster.settle(&[one(), two().weight("10")])),
        &keys,
    );
    let told = transitions.follow(
        &Arc::new(cluster.settle(&[one(), two().weight("100")])),
        &keys,
    );
    let told = told.iter().find(|t| t.reason == reason::PROMOTED).unwrap();
    assert!(
        told.message.contains("delete deployment/m-v1"),
        "{}",
        told.message
    );
    // The command that gives it back does what it says.
    let command = "kubectl label deployment/m-v2 -n default canary-weight=0 --overwrite";
    assert!(told.message.contains(command), "{}", told.message);
    let back = cluster.percents(&[one(), two().weight("0")]);
    assert_eq!(back, shares(&[("v1", 100.0), ("v2", 0.0)]));
}

#[test]
fn a_name_stays_with_its_model_when_its_carrier_goes() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let names = |plan: &Plan| llama(plan).plan.names.clone();
    let named = one().names("meta/Llama");
    cluster.settle(&[named.clone(), two().weight("100")]);
    let gone = cluster.settle(&[two().weight("100")]);
    assert_eq!(names(&gone), ["meta/Llama"]);
    let orphaned = gone
        .findings
        .iter()
        .find(|f| f.reason == reason::NAME_ORPHANED);
    let command =
        "annotate deployment/m-v2 -n default headgate.dev/model-names=meta/Llama --overwrite";
    assert!(orphaned.unwrap().message.contains(command), "{orphaned:?}");
    // The command keeps the names that the carrier has.
    let other = cluster.settle(&[two().weight("100").names("a b")]);
    let orphaned = other
        .findings
        .iter()
        .find(|f| f.reason == reason::NAME_ORPHANED);
    let command = "headgate.dev/model-names='a b,meta/Llama' --overwrite";
    assert!(orphaned.unwrap().message.contains(command), "{orphaned:?}");
    assert_eq!(cluster.due(&[two().weight("100")]), Some(cluster.now + 300));
    // The name ends at once if a carrier of another model declares it.
    let phi = carrier("phi", "v1").model("phi").names("meta/Llama");
    let taken = cluster.settle(&[two().weight("100"), phi]);
    assert!(names(&taken).is_empty());
    // The carrier comes back, and its annotation is taken off.
    cluster.settle(&[named, two().weight("100")]);
    assert!(names(&cluster.settle(&[one(), two().weight("100")])).is_empty());
}

#[test]
fn a_name_of_a_carrier_that_is_gone_ends_after_its_grace() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    cluster.settle(&[one().names("meta/Llama"), two()]);
    cluster.settle(&[two()]);
    cluster.now += 24 * 60 * 60 - 1;
    assert_eq!(llama(&cluster.settle(&[two()])).plan.names, ["meta/Llama"]);
    cluster.now += 1;
    assert!(llama(&cluster.settle(&[two()])).plan.names.is_empty());
}

#[test]
fn a_younger_version_that_serves_first_is_remembered_after_the_grace_only() {
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

#[test]
fn a_version_that_is_held_is_no_level_beneath_a_promotion_however_old_it_is() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let held = || carrier("m-v3", "v3").created(2).desired(1).ready(1);
    let new = |ready: u32| {
        let new = carrier("m-v2", "v2").created(3).desired(10).weight("100");
        new.ready(ready)
    };
    cluster.settle(&[one(), held()]);
    let plan = cluster.settle(&[one(), held(), new(1)]);
    assert_eq!(llama(&plan).variants["v3"].share, 0);
    assert!(llama(&plan).variants["v1"].share > 0);
}

#[test]
fn weight_0_on_a_promoted_version_gives_back_to_the_base_before_it() {
    for on_base_lost in [OnBaseLost::Release, OnBaseLost::Hold] {
        let mut cluster = Cluster::new(ServedModelSpec {
            on_base_lost,
            ..ServedModelSpec::default()
        });
        cluster.settle(&[one(), two()]);
        cluster.settle(&[one(), two().weight("100")]);
        let back = [one(), two().weight("0")];
        assert_eq!(
            cluster.percents(&back),
            shares(&[("v1", 100.0), ("v2", 0.0)])
        );
        let base: Vec<_> = cluster.served.memory.base.keys().cloned().collect();
        assert_eq!(base, ["deployment/m-v1"]);
    }
}

#[test]
fn of_two_promoted_versions_one_that_is_away_for_a_moment_is_not_forgotten() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let third = || {
        carrier("m-v3", "v3")
            .created(3)
            .desired(2)
            .ready(2)
            .weight("100")
    };
    cluster.settle(&[one()]);
    let both = [one(), two().weight("100"), third()];
    cluster.settle(&both);
    let memory = cluster.served.memory.clone();
    cluster.settle(&[one(), two().weight("100"), third().unready(2)]);
    cluster.settle(&both);
    assert_eq!(cluster.served.memory, memory);
    assert!(memory.previous.contains_key("deployment/m-v1"));
}

#[test]
fn what_stands_in_is_not_said_to_be_held_at_0() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    cluster.settle(&[one(), two()]);
    assert!(!reasons(&cluster.settle(&[two()])).contains(&reason::VERSION_HELD));
}

/// A version created at this second, whose pods became ready at these.
fn applied(name: &str, version: &str, created: i64, ready: &[i64]) -> Carrier {
    let mut carrier = carrier(name, version).ready(u32::try_from(ready.len()).unwrap());
    carrier.created = Some(created);
    for (pod, since) in carrier.pods.iter_mut().zip(ready) {
        pod.ready_since = Some(*since);
    }
    carrier
}

#[test]
fn before_anything_is_remembered_a_version_that_served_holds_the_one_that_is_applied_seconds_later()
{
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
        // The names order nothing.
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
            // And what is then remembered says the same.
            assert_eq!(
                cluster.percents(&[serves(), second]),
                shares(&expected),
                "{case}"
            );
        }
    }
    // What was not ready when the second was applied did not serve.
    let loading = applied("m-v1", "v1", 1_000, &[1_009]);
    let plan = planned(&objects([loading, applied("m-v2", "v2", 1_003, &[1_008])]));
    assert_eq!(
        percents(llama(&plan)).into_iter().collect::<Vec<_>>(),
        shares(&both)
    );
    assert!(reasons(&plan).contains(&reason::EQUAL_AGE));
    // Nor does a third, which was there first and got ready last, hide the one that served.
    let late = applied("m-v0", "v0", 999, &[1_010]);
    let plan = planned(&objects([
        late,
        serves(),
        applied("m-v2", "v2", 1_003, &[1_003]),
    ]));
    assert_eq!(percents(llama(&plan))["v2"], 0.0);
}

/// What is unread where this kind is not read in any namespace.
fn without_kind(namespace: Option<&str>, kind: &str) -> Unread {
    Unread {
        kinds: [(namespace.map(str::to_owned), kind.to_owned())].into(),
        ..Unread::default()
    }
}

#[test]
fn a_base_and_a_name_whose_kind_cannot_be_read_are_not_forgotten() {
    let named = || one().names("gpt-x");
    let held = || two().weight("10");
    let grace = 24 * 60 * 60;
    for (unread, kept) in [
        (without_kind(None, "deployment"), true),
        (without_kind(Some("default"), "deployment"), true),
        (
            Unread {
                anything: true,
                ..Unread::default()
            },
            true,
        ),
        (without_kind(Some("other"), "deployment"), false),
        (without_kind(None, "statefulset"), false),
        (Unread::default(), false),
    ] {
        let mut cluster = Cluster::new(ServedModelSpec::default());
        cluster.settle(&[named(), held()]);
        cluster.unread = unread.clone();
        cluster.settle(&[held()]);
        assert_eq!(cluster.due(&[held()]).is_none(), kept, "{unread:?}");
        cluster.now += grace;
        let plan = cluster.settle(&[held()]);
        assert_eq!(
            cluster.served.memory.base.contains_key("deployment/m-v1"),
            kept,
            "{unread:?}"
        );
        assert_eq!(llama(&plan).plan.names == ["gpt-x"], kept, "{unread:?}");
        if !kept {
            continue;
        }
        // Once all is read and it is not there, its time begins.
        cluster.unread = Unread::default();
        let plan = cluster.settle(&[held()]);
        assert_eq!(llama(&plan).plan.names, ["gpt-x"]);
        assert_eq!(cluster.due(&[held()]), Some(cluster.now + 300));
        cluster.now += 300;
        cluster.settle(&[held()]);
        assert!(!cluster.served.memory.base.contains_key("deployment/m-v1"));
    }
}

#[test]
fn nothing_is_due_in_the_past_nor_for_a_model_that_is_not_planned() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    cluster.settle(&[one().names("gpt-x"), two()]);
    cluster.settle(&[two()]);
    assert_eq!(cluster.due(&[two()]), Some(cluster.now + 300));
    assert_eq!(cluster.due(&[]), None, "no object declares it");
    // It could never be written in time.
    cluster.now += 300;
    assert_eq!(
        cluster.due(&[two()]),
        Some(cluster.now - 300 + 24 * 60 * 60)
    );
    cluster.now += 24 * 60 * 60;
    assert_eq!(cluster.due(&[two()]), None);
}

#[test]
fn a_handed_over_base_without_a_successor_goes_on_beside_a_held_version() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let next = || two().weight("0");
    let held = || carrier("m-v3", "v3").created(3);
    cluster.settle(&[one(), next(), held()]);
    let dark = [one().weight("0"), next(), held()];
    let expected = shares(&[("v1", 100.0), ("v2", 0.0), ("v3", 0.0)]);
    assert_eq!(cluster.percents(&dark), expected);
    assert!(reasons(&cluster.settle(&dark)).contains(&reason::DARK_SERVES));
    // Once it is not ready, the held one stands in.
    let gone = [one().weight("0").unready(2), next(), held()];
    assert_eq!(
        cluster.percents(&gone),
        shares(&[("v1", 0.0), ("v2", 0.0), ("v3", 100.0)])
    );
}

#[test]
fn a_weight_that_is_no_number_moves_nothing_off_the_base() {
    // Recreated, so that the held version is the older one.
    let mut cluster = Cluster::new(ServedModelSpec::default());
    cluster.settle(&[one(), two()]);
    let young = one().created(9);
    cluster.settle(&[young.clone(), two()]);
    let wrong = [young.weight("abc"), two()];
    let expected = shares(&[("v1", 100.0), ("v2", 0.0)]);
    assert_eq!(cluster.percents(&wrong), expected);
    // Promoted, then a letter in the number.
    let mut cluster = Cluster::new(ServedModelSpec::default());
    cluster.settle(&[one(), two()]);
    cluster.settle(&[one(), two().weight("100")]);
    let wrong = [one(), two().weight("10O")];
    let expected = shares(&[("v1", 0.0), ("v2", 100.0)]);
    assert_eq!(cluster.percents(&wrong), expected);
    let plan = cluster.settle(&wrong);
    let mut all = plan.findings.iter();
    let said = all.find(|f| f.reason == reason::INVALID_WEIGHT).unwrap();
    assert!(
        said.message.contains("absent, because this is the base"),
        "{}",
        said.message
    );
}

#[test]
fn after_two_promotions_weight_0_gives_back_to_the_last_but_one() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let three = || carrier("m-v3", "v3").created(3);
    cluster.settle(&[one(), two(), three()]);
    cluster.settle(&[one(), two().weight("100"), three()]);
    // The label of the one before is left on, and taken off later.
    cluster.settle(&[one(), two().weight("100"), three().weight("100")]);
    cluster.settle(&[one(), two(), three().weight("100")]);
    let back = [one(), two(), three().weight("0")];
    assert_eq!(
        cluster.percents(&back),
        shares(&[("v1", 0.0), ("v2", 100.0), ("v3", 0.0)])
    );
}

/// Another object that declares v1.
fn twin(created: i64) -> Carrier {
    carrier("a-twin", "v1").created(created)
}

#[test]
fn a_recreated_base_that_shares_its_version_owns_it_again_whatever_the_ages_say() {
    let base = |created: i64| carrier("m-v1", "v1").created(created).desired(2).ready(2);
    let owner = |plan: &Plan| llama(plan).carriers[0].key.name.clone();
    let v1_serves = shares(&[("v1", 100.0), ("v2", 0.0)]);
    for weight in [None, Some("10"), Some("0")] {
        let twin = weight.map_or_else(|| twin(3), |weight| twin(3).weight(weight));
        let mut cluster = Cluster::new(ServedModelSpec::default());
        let before = [base(1), two(), twin.clone()];
        assert_eq!(cluster.percents(&before), v1_serves);
        assert_eq!(owner(&cluster.settle(&before)), "m-v1");
        // As `kubectl replace --force` does it, where nobody sees the object gone.
        let mut unseen = Cluster::new(ServedModelSpec::default());
        unseen.served = cluster.served.clone();
        let after = [base(9), two(), twin.clone()];
        assert_eq!(unseen.percents(&after), v1_serves, "{weight:?}");
        let plan = unseen.settle(&after);
        let of_v1 = llama(&plan).carriers.iter().find(|c| c.share == 1_000_000);
        assert_eq!(of_v1.unwrap().key.name, "m-v1", "{weight:?}");
        assert_eq!(unseen.served, cluster.served, "{weight:?}");
        assert_eq!(planned(&unseen.objects(&after)), plan);
        // Where it is gone for a while, a weighted twin does not become the base by that.
        cluster.settle(&[two(), twin.clone()]);
        assert_eq!(cluster.percents(&after), v1_serves, "{weight:?}");
        // Under another name.
        let mut renamed = base(9);
        renamed.key.name = "m-v1-b".to_owned();
        cluster.settle(&[two(), twin.clone()]);
        let after = [renamed, two(), twin];
        assert_eq!(cluster.percents(&after), v1_serves, "{weight:?}");
    }
}

#[test]
fn a_recreated_version_that_stands_by_keeps_its_place_beside_an_older_twin() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    cluster.settle(&[one(), two()]);
    let promoted = two().weight("100");
    let dark = twin(3).weight("0");
    cluster.settle(&[one(), promoted.clone(), dark.clone()]);
    assert!(
        cluster
            .served
            .memory
            .previous
            .contains_key("deployment/m-v1")
    );
    let again = carrier("m-v1", "v1").created(9).desired(2).ready(2);
    // Rolled back.
    let back = [again, promoted.weight("0"), dark];
    assert_eq!(
        cluster.percents(&back),
        shares(&[("v1", 100.0), ("v2", 0.0)])
    );
}
