//! Promotions: reports, shares while few replicas are ready, and rollback.

use super::*;

#[test]
fn a_version_created_with_weight_100_is_reported_promoted_once() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let (mut transitions, keys) = (Transitions::default(), LabelKeys::default());
    let hundred = || two().weight("100");
    let mut reasons = |transitions: &mut Transitions, carriers: &[Carrier]| -> Vec<&'static str> {
        let mut findings = Vec::new();
        // The plans before and after the memory is written.
        for plan in [
            planned(&cluster.objects(carriers)),
            cluster.settle(carriers),
        ] {
            findings.extend(transitions.follow(&Arc::new(plan), &keys));
        }
        let of_two = |t: &&Finding| t.object.to_string() == "deployment default/m-v2";
        findings.iter().filter(of_two).map(|t| t.reason).collect()
    };
    assert!(reasons(&mut transitions, &[one()]).is_empty());
    assert!(reasons(&mut transitions, &[one(), hundred().unready(2)]).is_empty());
    assert_eq!(
        reasons(&mut transitions, &[one(), hundred()]),
        [reason::PROMOTED]
    );
    // A process that starts while its pods are restarted.
    let mut restarted = Transitions::default();
    assert!(reasons(&mut restarted, &[one(), hundred().unready(2)]).is_empty());
    assert!(reasons(&mut restarted, &[one(), hundred()]).is_empty());
    assert_eq!(
        reasons(&mut transitions, &[one(), hundred().unready(2)]),
        [reason::UNREADY]
    );
    assert_eq!(
        reasons(&mut transitions, &[one(), hundred()]),
        [reason::RECOVERED]
    );
    // Deleted and created again, it is the stored base.
    reasons(&mut transitions, &[one()]);
    assert!(reasons(&mut transitions, &[one(), hundred()]).is_empty());
}

/// Transitions follow the plans at intervals: the version was created, promoted and stored in between.
#[test]
fn a_promotion_is_reported_even_if_the_base_is_stored_already() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let (mut transitions, keys) = (Transitions::default(), LabelKeys::default());
    let mut follow = |plan: Plan| -> Vec<&'static str> {
        let findings = transitions.follow(&Arc::new(plan), &keys);
        findings.into_iter().map(|t| t.reason).collect()
    };
    follow(cluster.settle(&[one()]));
    cluster.settle(&[one(), two()]);
    let promoted = cluster.settle(&[one(), two().weight("100")]);
    assert_eq!(follow(promoted), [reason::DRAINED, reason::PROMOTED]);
    // A new name of the promoted version is no promotion.
    let mut green = two().created(9).weight("100");
    green.key.name = "m-v2-green".to_owned();
    let renamed = cluster.settle(&[one(), green]);
    assert!(!follow(renamed).contains(&reason::PROMOTED));
}

#[test]
fn a_promoted_version_takes_sessions_in_proportion_to_its_ready_replicas() {
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
    // A pod flaps at `minReadyPercent`, and no session moves.
    assert_eq!(share(&mut cluster, 4), 100.0);
    assert_eq!(share(&mut cluster, 3), 100.0);
    assert_eq!(share(&mut cluster, 2), 16.7);
    // A held carrier takes no share during a promotion.
    let held = carrier("m-v3", "v3").created(3).desired(1).ready(1);
    let plan = cluster.settle(&[old(), new(2), held]);
    assert_eq!(llama(&plan).variants["v3"].share, 0);
}

#[test]
fn removing_the_label_of_a_promoted_version_is_not_a_rollback() {
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
    let findings = transitions.follow(&tidy, &keys);
    let finding = findings
        .iter()
        .find(|t| t.reason == reason::STAYS_BASE)
        .unwrap();
    let command = "kubectl label deployment/m-v2 -n default canary-weight=0 --overwrite";
    assert!(finding.message.contains(command), "{}", finding.message);
    // The command has the described effect.
    let back = [one(), two().weight("0")];
    assert_eq!(
        cluster.percents(&back),
        shares(&[("v1", 100.0), ("v2", 0.0)])
    );
}

#[test]
fn a_promotion_reports_how_to_finish_it() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let (mut transitions, keys) = (Transitions::default(), LabelKeys::default());
    transitions.follow(
        &Arc::new(cluster.settle(&[one(), two().weight("10")])),
        &keys,
    );
    let findings = transitions.follow(
        &Arc::new(cluster.settle(&[one(), two().weight("100")])),
        &keys,
    );
    let finding = findings
        .iter()
        .find(|t| t.reason == reason::PROMOTED)
        .unwrap();
    assert!(
        finding.message.contains("delete deployment/m-v1"),
        "{}",
        finding.message
    );
    // The rollback command has the described effect.
    let command = "kubectl label deployment/m-v2 -n default canary-weight=0 --overwrite";
    assert!(finding.message.contains(command), "{}", finding.message);
    let back = cluster.percents(&[one(), two().weight("0")]);
    assert_eq!(back, shares(&[("v1", 100.0), ("v2", 0.0)]));
}

#[test]
fn a_held_version_never_shares_with_a_promoted_one() {
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
fn weight_0_on_a_promoted_version_returns_to_the_previous_base() {
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
fn a_short_loss_of_one_of_two_promoted_versions_keeps_it_in_the_base() {
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
fn after_two_promotions_weight_0_returns_to_the_second_last() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let three = || carrier("m-v3", "v3").created(3);
    cluster.settle(&[one(), two(), three()]);
    cluster.settle(&[one(), two().weight("100"), three()]);
    // The label of the previous version is removed later.
    cluster.settle(&[one(), two().weight("100"), three().weight("100")]);
    cluster.settle(&[one(), two(), three().weight("100")]);
    let back = [one(), two(), three().weight("0")];
    assert_eq!(
        cluster.percents(&back),
        shares(&[("v1", 0.0), ("v2", 100.0), ("v3", 0.0)])
    );
}
