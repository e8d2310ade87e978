//! Versions that stand in for a lost base, and the findings on it.

use super::*;

#[test]
fn a_lost_base_answers_503_with_on_base_lost_hold() {
    let mut cluster = Cluster::new(ServedModelSpec {
        on_base_lost: OnBaseLost::Hold,
        ..ServedModelSpec::default()
    });
    let whole = cluster.settle(&[one(), two()]);
    // Filters also hold the sessions of the base while they cannot reach it.
    assert_eq!(llama(&whole).plan.on_base_lost, OnBaseLost::Hold);
    let lost = cluster.settle(&[one().unready(2), two()]);
    let model = llama(&lost);
    assert_eq!(model.plan.on_base_lost, OnBaseLost::Hold);
    assert!(model.plan.base.is_empty() && model.plan.canaries.is_empty());
    assert!(model.plan.dark.iter().all(|dark| !dark.stands_in));
    let finding = lost
        .findings
        .iter()
        .find(|f| f.reason == reason::NOTHING_READY)
        .unwrap();
    for words in [
        "onBaseLost",
        "kubectl describe deployment/m-v1 -n default",
        "set `spec.onBaseLost` to release",
    ] {
        assert!(finding.message.contains(words), "{}", finding.message);
    }
}

#[test]
fn a_lost_base_with_only_canaries_left_is_reported_on_the_canary() {
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
        // A deleted object cannot be described.
        (
            vec![canary()],
            "kubectl describe servedmodel llama -n default",
        ),
    ] {
        let plan = cluster.settle(&carriers);
        assert_eq!(percents(llama(&plan))["v2"], 100.0);
        let message = lost(&plan).unwrap();
        let promote = "kubectl label deployment/m-v2 -n default canary-weight=100";
        for words in [see, promote] {
            assert!(message.contains(words), "{message}");
        }
        assert_eq!(message.matches("kubectl describe").count(), 1, "{message}");
    }
    // A held version stands in, and has its own finding.
    let held = carrier("m-v3", "v3").created(3);
    let plan = cluster.settle(&[one().unready(2), canary(), held]);
    assert_eq!(lost(&plan), None);
}

#[test]
fn a_version_that_stands_in_is_a_warning_until_the_base_is_ready() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let findings = |plan: &Plan| -> Vec<(String, Severity, String)> {
        let all = plan.findings.iter();
        let all = all.filter(|finding| finding.reason == reason::STANDS_IN);
        all.map(|f| (f.object.to_string(), f.severity, f.message.clone()))
            .collect()
    };
    assert_eq!(findings(&cluster.settle(&[one(), two()])), []);
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
        let found = findings(&plan);
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
    assert_eq!(findings(&cluster.settle(&[one(), two()])), []);
    // A standby version beside a lost promoted one.
    cluster.settle(&[one(), two().weight("100")]);
    let lost = findings(&cluster.settle(&[one(), two().weight("100").unready(2)]));
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert_eq!(lost[0].0, "deployment default/m-v1");
}

#[test]
fn the_plan_of_the_filters_names_the_stand_ins() {
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
fn a_stored_base_among_dark_carriers_stands_in_alone() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let third = || carrier("m-v3", "v3").created(3).weight("0");
    // The base is not the oldest version.
    cluster.settle(&[one().weight("0"), two().weight("100"), third()]);
    let dark = [one().weight("0"), two().weight("0"), third()];
    let expected = shares(&[("v1", 0.0), ("v2", 100.0), ("v3", 0.0)]);
    assert_eq!(cluster.percents(&dark), expected);
    // Without a stored base, the oldest version serves.
    let mut fresh = Cluster::new(ServedModelSpec::default());
    assert_eq!(fresh.percents(&dark)[0].1, 100.0);
}

#[test]
fn a_stand_in_is_not_reported_as_held() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    cluster.settle(&[one(), two()]);
    assert!(!reasons(&cluster.settle(&[two()])).contains(&reason::VERSION_HELD));
}

#[test]
fn a_handed_over_base_without_a_successor_serves_while_another_version_is_held() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let next = || two().weight("0");
    let held = || carrier("m-v3", "v3").created(3);
    cluster.settle(&[one(), next(), held()]);
    let dark = [one().weight("0"), next(), held()];
    let expected = shares(&[("v1", 100.0), ("v2", 0.0), ("v3", 0.0)]);
    assert_eq!(cluster.percents(&dark), expected);
    assert!(reasons(&cluster.settle(&dark)).contains(&reason::DARK_SERVES));
    // If it is not ready, the held version stands in.
    let gone = [one().weight("0").unready(2), next(), held()];
    assert_eq!(
        cluster.percents(&gone),
        shares(&[("v1", 0.0), ("v2", 0.0), ("v3", 100.0)])
    );
}
