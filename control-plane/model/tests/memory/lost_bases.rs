//! Loss of a base, and its successor.

use super::*;

fn three() -> Carrier {
    carrier("m-v3", "v3").created(3)
}

fn base(cluster: &Cluster) -> Vec<&str> {
    let base = cluster.served.memory.base.keys();
    base.map(String::as_str).collect()
}

#[test]
fn a_weight_on_the_base_does_not_lose_it() {
    for on_base_lost in [OnBaseLost::Release, OnBaseLost::Hold] {
        let mut cluster = Cluster::new(ServedModelSpec {
            on_base_lost,
            ..ServedModelSpec::default()
        });
        cluster.settle(&[one(), two(), three()]);
        // The labels change one after the other.
        let first = [one().weight("90"), two(), three()];
        assert_eq!(
            cluster.percents(&first),
            shares(&[("v1", 100.0), ("v2", 0.0), ("v3", 0.0)])
        );
        let both = [one().weight("90"), two().weight("10"), three()];
        assert_eq!(
            cluster.percents(&both),
            shares(&[("v1", 90.0), ("v2", 10.0), ("v3", 0.0)])
        );
        let below_100 = [one().weight("60"), two().weight("20"), three()];
        assert_eq!(
            cluster.percents(&below_100),
            shares(&[("v1", 75.0), ("v2", 25.0), ("v3", 0.0)])
        );
        let plan = cluster.settle(&both);
        let reasons = reasons(&plan);
        for reason in [reason::BASE_LOST, reason::STANDS_IN, reason::NOTHING_READY] {
            assert!(!reasons.contains(&reason), "{on_base_lost:?}: {reasons:?}");
        }
        assert_eq!(base(&cluster), ["deployment/m-v1"]);
        // An unready base is lost.
        let lost = [one().weight("90").unready(2), two().weight("10"), three()];
        let served: f64 = cluster.percents(&lost).iter().map(|(_, share)| share).sum();
        let expected = match on_base_lost {
            OnBaseLost::Release => 100.0,
            OnBaseLost::Hold => 0.0,
        };
        assert_eq!(served, expected, "{on_base_lost:?}");
    }
}

#[test]
fn a_canary_of_the_base_version_is_not_the_base() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let canary = || twin(3).weight("10");
    cluster.settle(&[one(), two(), canary()]);
    assert_eq!(
        cluster.percents(&[two(), canary()]),
        shares(&[("v1", 10.0), ("v2", 90.0)])
    );
}

#[test]
fn the_first_ready_of_equally_old_versions_is_not_the_base_alone() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let loading = two().created(1).unready(2);
    cluster.settle(&[one(), loading]);
    assert_eq!(base(&cluster), ["deployment/m-v1", "deployment/m-v2"]);
    let both = [one(), two().created(1)];
    assert_eq!(
        cluster.percents(&both),
        shares(&[("v1", 50.0), ("v2", 50.0)])
    );
    let plan = cluster.settle(&both);
    assert!(reasons(&plan).contains(&reason::EQUAL_AGE));
    // After a user has decided, there is no finding.
    let decided = [one(), two().created(1).weight("0")];
    assert!(!reasons(&cluster.settle(&decided)).contains(&reason::EQUAL_AGE));
}

#[test]
fn deleting_a_promoted_base_returns_to_the_previous_base() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    // The base is recreated, so the held version is older.
    let stable = || one().created(9);
    cluster.settle(&[one(), three()]);
    cluster.settle(&[stable(), three()]);
    cluster.settle(&[stable(), three(), two().weight("100")]);
    assert_eq!(base(&cluster), ["deployment/m-v2"]);
    let left = [stable(), three()];
    for seconds in [0, 300, 300] {
        cluster.now += seconds;
        assert_eq!(
            cluster.percents(&left),
            shares(&[("v1", 100.0), ("v3", 0.0)]),
            "{seconds}"
        );
    }
    assert_eq!(base(&cluster), ["deployment/m-v1"]);
}

#[test]
fn a_renamed_carrier_of_a_shared_base_stays_in_the_base() {
    let mut cluster = Cluster::new(ServedModelSpec::default());
    let equal = || two().created(1);
    cluster.settle(&[one(), equal()]);
    let mut green = one().created(9);
    green.key.name = "m-v1-green".to_owned();
    assert_eq!(
        cluster.percents(&[green, equal()]),
        shares(&[("v1", 50.0), ("v2", 50.0)])
    );
}
