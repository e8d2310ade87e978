//! The damped scale, with time as an argument.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use headgate_contract::Scale;
use headgate_model::{LabelKeys, Readiness, Registry, ScaleDamper, Scales, Tick, plan};
use world::{Build, carrier, llama, model_id, objects};

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
        "ten seconds after it first differed, as it is now"
    );
    assert_eq!(percent(10, 12.0), 70);
    assert_eq!(percent(7, 21.0), 70);
    assert_eq!(
        percent(10, 22.0),
        70,
        "it had come back: the wait starts anew"
    );
    assert_eq!(percent(10, 32.0), 100);
}

#[test]
fn a_scale_other_than_100_carries_the_epoch_and_asks_to_be_woken_when_it_turns() {
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
fn a_model_that_comes_back_from_nothing_starts_with_what_is_there() {
    let mut damper = ScaleDamper::default();
    observe(&mut damper, 4, 4, at(0.0));
    assert_eq!(observe(&mut damper, 0, 4, at(1.0)), None);
    assert_eq!(observe(&mut damper, 1, 4, at(2.0)).unwrap().percent, 25);
}

#[test]
fn only_carriers_meant_to_serve_lend_or_miss_capacity() {
    let world = objects([
        carrier("a", "v1").created(1).desired(4).ready(3),
        carrier("canary", "v2").weight("5").desired(1).unready(1),
        carrier("held", "v3").created(2).desired(8).unready(8),
        carrier("dark", "v4").weight("0").desired(8),
    ]);
    let registry = Registry::build(&world, &LabelKeys::default());
    let readings = registry.readiness();
    let reading = readings[&("default".to_owned(), model_id("llama"))];
    assert_eq!(
        reading,
        Readiness {
            ready: 3,
            desired: 5
        }
    );
    let scales = ScaleDamper::default().observe(&readings, at(0.0));
    let planned = plan(&registry, &world, &scales);
    assert_eq!(llama(&planned).plan.scale.unwrap().percent, 60);
    let still = plan(&registry, &world, &Scales::default());
    assert_eq!(llama(&still).plan.scale, None);
}
