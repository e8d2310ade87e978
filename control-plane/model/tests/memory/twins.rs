//! Carriers that share the version of a stored base.

use super::*;

#[test]
fn a_recreated_base_owns_its_shared_version_again_regardless_of_age() {
    let base = |created: i64| carrier("m-v1", "v1").created(created).desired(2).ready(2);
    let owner = |plan: &Plan| llama(plan).carriers[0].key.name.clone();
    let v1_serves = shares(&[("v1", 100.0), ("v2", 0.0)]);
    for weight in [None, Some("10"), Some("0")] {
        let twin = weight.map_or_else(|| twin(3), |weight| twin(3).weight(weight));
        let mut cluster = Cluster::new(ServedModelSpec::default());
        let before = [base(1), two(), twin.clone()];
        assert_eq!(cluster.percents(&before), v1_serves);
        assert_eq!(owner(&cluster.settle(&before)), "m-v1");
        // As with `kubectl replace --force`: no observer sees the object deleted.
        let mut unseen = Cluster::new(ServedModelSpec::default());
        unseen.served = cluster.served.clone();
        let after = [base(9), two(), twin.clone()];
        assert_eq!(unseen.percents(&after), v1_serves, "{weight:?}");
        let plan = unseen.settle(&after);
        let of_v1 = llama(&plan).carriers.iter().find(|c| c.share == 1_000_000);
        assert_eq!(of_v1.unwrap().key.name, "m-v1", "{weight:?}");
        assert_eq!(unseen.served, cluster.served, "{weight:?}");
        assert_eq!(planned(&unseen.objects(&after)), plan);
        // If it is deleted for a while, a weighted twin does not become the base.
        cluster.settle(&[two(), twin.clone()]);
        assert_eq!(cluster.percents(&after), v1_serves, "{weight:?}");
        // It is created under another name.
        let mut renamed = base(9);
        renamed.key.name = "m-v1-b".to_owned();
        cluster.settle(&[two(), twin.clone()]);
        let after = [renamed, two(), twin];
        assert_eq!(cluster.percents(&after), v1_serves, "{weight:?}");
    }
}

#[test]
fn a_recreated_standby_keeps_its_version_although_another_carrier_of_it_is_older() {
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
