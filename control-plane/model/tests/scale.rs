//! The damped scale, with time as an argument.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixtures;

use std::collections::BTreeMap;
use std::time::Duration;

use fixtures::{Build, carrier, llama, model_id, objects};
use headgate_contract::Scale;
use headgate_model::{
    Address, Carrier, LabelKeys, Objects, OwnerShare, Readiness, Registry, ScaleDamper, Scales,
    Tick, plan,
};

fn at(seconds: f64) -> Tick {
    Tick {
        elapsed: Duration::from_secs_f64(seconds),
        unix_seconds: 900 + seconds as u64,
    }
}

fn observe(damper: &mut ScaleDamper, ready: u32, desired: u32, at: Tick) -> Option<Scale> {
    let model = ("default".to_owned(), model_id("llama"));
    let readings = BTreeMap::from([(model.clone(), Readiness { ready, desired })]);
    damper.observe(&readings, at).0.get(&model).copied()
}

#[test]
fn ready_over_desired_in_steps_of_five_rounded_down() {
    for (ready, desired, percent) in [
        (1, 2, Some(50)),
        (2, 3, Some(65)),
        (39, 40, Some(95)),
        (49, 50, Some(95)),
        (3, 3, None),
        (1, 100, Some(5)),
        (5, 4, Some(125)),
        (50, 1, Some(1000)),
        (0, 4, None),
        (1, 0, None),
    ] {
        let scale = observe(&mut ScaleDamper::default(), ready, desired, at(0.0));
        assert_eq!(scale.map(|s| s.percent), percent, "{ready} of {desired}");
    }
}

#[test]
fn a_change_is_held_back_ten_seconds_and_flapping_does_not_postpone_it() {
    let mut damper = ScaleDamper::default();
    let mut percent =
        |ready, seconds| observe(&mut damper, ready, 10, at(seconds)).map_or(100, |s| s.percent);
    assert_eq!(percent(10, 0.0), 100, "the first reading counts at once");
    assert_eq!(percent(5, 1.0), 100);
    assert_eq!(percent(6, 10.9), 100);
    assert_eq!(
        percent(7, 11.0),
        70,
        "ten seconds after it first differed, with the current reading"
    );
    assert_eq!(percent(10, 12.0), 70);
    assert_eq!(percent(7, 21.0), 70);
    assert_eq!(
        percent(10, 22.0),
        70,
        "it had returned: the wait starts again"
    );
    assert_eq!(percent(10, 32.0), 100);
}

#[test]
fn a_scale_other_than_100_has_the_epoch_and_is_due_when_the_epoch_ends() {
    let mut damper = ScaleDamper::default();
    assert_eq!(damper.wake_after(at(0.0)), None);
    let scale = observe(&mut damper, 1, 2, at(100.0)).unwrap();
    assert_eq!((scale.percent, scale.epoch), (50, 1000 / 450));
    assert_eq!(damper.wake_after(at(100.0)), Some(Duration::from_secs(350)));
    assert_eq!(observe(&mut damper, 1, 2, at(450.0)).unwrap().epoch, 3);
    observe(&mut damper, 2, 2, at(451.0));
    assert_eq!(damper.wake_after(at(453.0)), Some(Duration::from_secs(8)));
    assert_eq!(observe(&mut damper, 2, 2, at(461.0)), None);
    assert_eq!(
        damper.wake_after(at(461.0)),
        None,
        "at 100 there is nothing to renew"
    );
}

#[test]
fn a_model_without_ready_replicas_restarts_with_its_first_reading() {
    let mut damper = ScaleDamper::default();
    observe(&mut damper, 4, 4, at(0.0));
    assert_eq!(observe(&mut damper, 0, 4, at(1.0)), None);
    assert_eq!(observe(&mut damper, 1, 4, at(2.0)).unwrap().percent, 25);
}

#[test]
fn only_serving_carriers_count_as_ready_or_desired() {
    let cluster = objects([
        carrier("a", "v1").created(1).desired(4).ready(3),
        carrier("canary", "v2").weight("5").desired(1).unready(1),
        carrier("held", "v3").created(2).desired(8).unready(8),
        carrier("dark", "v4").weight("0").desired(8),
    ]);
    let registry = Registry::build(&cluster, &LabelKeys::default());
    let readings = registry.readiness();
    let reading = readings[&("default".to_owned(), model_id("llama"))];
    assert_eq!(
        reading,
        Readiness {
            ready: 3,
            desired: 4
        }
    );
    let scales = ScaleDamper::default().observe(&readings, at(0.0));
    let planned = plan(&registry, &cluster, &scales);
    assert_eq!(llama(&planned).plan.scale.unwrap().percent, 75);
    let still = plan(&registry, &cluster, &Scales::default());
    assert_eq!(llama(&still).plan.scale, None);
}

#[test]
fn a_canary_lowers_the_scale_by_at_most_its_percent() {
    for (weight, ready, expected) in [
        // Its pods still load: a canary with 5 % of the sessions must not halve a budget.
        ("5", 0, (2, 2)),
        ("50", 0, (2, 4)),
        ("75", 0, (2, 4)),
        ("50", 1, (3, 4)),
        ("5", 1, (3, 3)),
        ("5", 2, (4, 4)),
        // Ready replicas above the desired ones are capacity, as for the base.
        ("5", 3, (5, 4)),
    ] {
        let canary = carrier("canary", "v2").weight(weight);
        let canary = match ready {
            0 => canary.unready(2),
            _ => canary.ready(ready),
        };
        let cluster = objects([
            carrier("a", "v1").created(1).desired(2).ready(2),
            canary.desired(2),
        ]);
        let registry = Registry::build(&cluster, &LabelKeys::default());
        let reading = registry.readiness()[&("default".to_owned(), model_id("llama"))];
        let got = (reading.ready, reading.desired);
        assert_eq!(got, expected, "{weight} %, {ready} ready");
    }
}

/// A Service with these pods and a share of `desired` in the `total` replicas of Rollout `ro`.
fn of_rollout(name: &str, version: &str, total: u32, desired: u32, pods: &[(u8, bool)]) -> Carrier {
    let mut carrier = carrier(name, version).desired(desired).ready(1);
    carrier.key.kind = "service".into();
    carrier.owner_replicas = [("rollout/ro".to_owned(), OwnerShare { desired, total })].into();
    let template = carrier.pods.remove(0);
    let pod = |(ip, ready): &(u8, bool)| {
        let mut pod = template.clone();
        pod.name = format!("ro-{ip}");
        pod.address = Address::Ip(([10, 0, 0, *ip], 8000).into());
        pod.ready = *ready;
        pod
    };
    carrier.pods = pods.iter().map(pod).collect();
    carrier
}

fn counted(cluster: &Objects) -> (u32, u32) {
    let registry = Registry::build(cluster, &LabelKeys::default());
    let reading = registry.readiness()[&("default".to_owned(), model_id("llama"))];
    (reading.ready, reading.desired)
}

/// Pods of these addresses, all ready.
fn up<const N: usize>(ips: [u8; N]) -> Vec<(u8, bool)> {
    ips.map(|ip| (ip, true)).to_vec()
}

/// Pods of these addresses, none ready.
fn down<const N: usize>(ips: [u8; N]) -> Vec<(u8, bool)> {
    ips.map(|ip| (ip, false)).to_vec()
}

#[test]
fn services_of_two_versions_of_one_rollout_count_its_replicas_once() {
    type Pods = Vec<(u8, bool)>;
    let two = |stable: (u32, &Pods), canary: (u32, &Pods), weight: &str| {
        counted(&objects([
            of_rollout("stable", "v1", 4, stable.0, stable.1).created(1),
            of_rollout("canary", "v2", 4, canary.0, canary.1)
                .created(2)
                .weight(weight),
        ]))
    };
    let (three, four) = (up([1, 2, 3]), up([1, 2, 3, 4]));
    assert_eq!(two((3, &three), (1, &up([5])), "25"), (4, 4));
    // The stable pods stay until the canary is promoted: nobody desires the fifth one as capacity.
    assert_eq!(two((4, &four), (1, &up([5])), "25"), (4, 4));
    // A preview with all replicas that takes sessions does not double a budget.
    assert_eq!(two((4, &four), (4, &up([5, 6, 7, 8])), "10"), (4, 4));
    // Lost pods are missing as soon as fewer than four are ready.
    let half = [up([1, 2]), down([3, 4])].concat();
    assert_eq!(two((4, &half), (1, &up([5])), "25"), (3, 4));
    assert_eq!(two((4, &half), (1, &down([5])), "25"), (2, 4));
    // A canary whose pods still load takes no capacity from the stable version.
    assert_eq!(two((4, &four), (1, &down([5])), "5"), (4, 4));
    assert_eq!(two((4, &four), (4, &down([5, 6, 7, 8])), "50"), (4, 4));
    // A promoted version shares with the previous base.
    assert_eq!(
        two((4, &half), (4, &[up([5]), down([6, 7, 8])].concat()), "100"),
        (3, 4)
    );
    // A version of weight 0 counts neither as ready nor as desired.
    assert_eq!(two((4, &half), (4, &up([5, 6, 7, 8])), "0"), (2, 4));
    // Pods above the desired replicas of both Services stay capacity, as for one workload.
    assert_eq!(two((3, &four), (1, &up([5])), "25"), (5, 4));
}

#[test]
fn services_of_two_versions_that_select_the_same_pods_count_each_pod_once() {
    let pods = [up([1, 2]), down([3, 4])].concat();
    let stable = of_rollout("stable", "v1", 4, 4, &pods).created(1);
    let mut canary = of_rollout("canary", "v2", 4, 4, &pods)
        .created(2)
        .weight("50");
    assert_eq!(counted(&objects([stable.clone(), canary.clone()])), (2, 4));
    // The same if each version has its own port in each pod.
    for pod in &mut canary.pods {
        let Address::Ip(address) = &mut pod.address else {
            panic!("{pod:?}");
        };
        address.set_port(9000);
    }
    assert_eq!(counted(&objects([stable.clone(), canary.clone()])), (2, 4));
    // Pods of another owner are different pods, whatever their names.
    canary.owner_replicas = [(
        "rollout/other".to_owned(),
        OwnerShare {
            desired: 4,
            total: 4,
        },
    )]
    .into();
    assert_eq!(counted(&objects([stable, canary])), (4, 8));
}

#[test]
fn services_of_one_version_count_the_replicas_of_the_owner_once() {
    // A ClusterIP Service and a headless one.
    let all = up([1, 2, 3, 4]);
    let cluster_ip = of_rollout("front", "v1", 4, 4, &all).created(1);
    let headless = of_rollout("headless", "v1", 4, 4, &all).created(2);
    assert_eq!(counted(&objects([cluster_ip, headless])), (4, 4));
    // The stable and the canary Service while the stable pods stay: all five pods serve the one version.
    let stable = of_rollout("stable", "v1", 4, 4, &all).created(1);
    let canary = of_rollout("canary", "v1", 4, 1, &up([5])).created(2);
    let cluster = objects([stable, canary]);
    assert_eq!(counted(&cluster), (5, 4));
    let registry = Registry::build(&cluster, &LabelKeys::default());
    let still = plan(&registry, &cluster, &Scales::default());
    assert_eq!(llama(&still).carriers[0].desired, 4);
}

#[test]
fn models_that_share_pods_each_count_all_of_them() {
    let pods = [up([1, 2, 3]), down([4])].concat();
    let cluster = objects([
        of_rollout("front", "v1", 4, 4, &pods),
        of_rollout("tuned", "v1", 4, 4, &pods).model("tuned"),
    ]);
    let registry = Registry::build(&cluster, &LabelKeys::default());
    for model in ["llama", "tuned"] {
        let reading = registry.readiness()[&("default".to_owned(), model_id(model))];
        assert_eq!((reading.ready, reading.desired), (3, 4), "{model}");
    }
}
