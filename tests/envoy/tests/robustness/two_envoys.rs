//! Two Envoys of one control plane: the time for which they differ after an edit.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headgate_testkit::client::{Job, Load, LoadOptions, LoadReport};
use headgate_testkit::share::{SessionMoves, share_of};
use headgate_testkit::testbed::Manifest;

use crate::common::{SOON, ask, budget, declare, empty_testbed, only};

const SESSIONS: u64 = 100;

fn load(url: &str) -> Load {
    let url = url.to_owned();
    Load::start(LoadOptions::new(2, move |n| {
        let session = format!("session-{}", n % SESSIONS);
        Job {
            request: ask(&session, 4).header("x-session-id", &session).to(&url),
            session,
        }
    }))
}

/// The first response of a session on its new version, and the last one on its old version.
fn change(
    report: &LoadReport,
    moved: &BTreeMap<String, String>,
    offset: Duration,
) -> (Duration, Duration) {
    let of_moved = |new: bool| {
        report.samples.iter().filter(move |s| {
            let to = moved.get(&s.session);
            to.is_some_and(|to| (s.version.as_ref() == Some(to)) == new)
        })
    };
    let first_new = of_moved(true).map(|s| s.sent).min().unwrap();
    let last_old = of_moved(false).map(|s| s.sent).max().unwrap();
    (offset + first_new, offset + last_old)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_window_in_which_two_envoys_differ_is_measured() {
    let mut testbed = empty_testbed(1, 2, &budget("tenants", ""), &[]).await;
    let sticky = "apiVersion: headgate.dev/v1alpha1\nkind: TrafficTagPolicy\nmetadata: {name: sticky}\n\
                  spec: {sessionKeys: ['header:x-session-id']}\n";
    testbed.files().write_policy("sticky.yaml", sticky).unwrap();
    declare(&mut testbed, "m", "v1", |manifest| manifest).await;
    declare(&mut testbed, "m", "v2", |manifest| manifest.weight("10")).await;
    testbed.wait_until_settled().await.unwrap();

    let loads = [
        load(testbed.envoys()[0].url()),
        load(testbed.envoys()[1].url()),
    ];
    // The clocks of the loads started one after the other.
    let offset = loads[0].now().saturating_sub(loads[1].now());
    let round = 2 * SESSIONS as usize;
    for load in &loads {
        load.wait_for(round, SOON).await.unwrap();
    }
    let before = loads.each_ref().map(|load| load.since(0).assignments());
    assert_eq!(
        before[0], before[1],
        "two Envoys with one plan agree about every session"
    );

    let v2 = testbed.mock("m", "v2").unwrap().addr();
    let manifest = Manifest::new("m", "v2").endpoints(&[v2]).weight("60");
    let edited = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    testbed
        .files()
        .write_model("m-v2.yaml", &manifest.render())
        .unwrap();
    let status = testbed.wait_until_settled().await.unwrap();
    let marks = loads.each_ref().map(Load::len);
    for (load, mark) in loads.iter().zip(marks) {
        load.wait_for(round, SOON).await.unwrap();
        assert!(load.len() >= mark + round);
    }
    let after = [0, 1].map(|i| loads[i].since(marks[i] + 2).assignments());
    assert_eq!(after[0], after[1], "once both have acked they agree again");
    let moves = SessionMoves::between(&before[0], &after[0]);
    assert!(moves.count() > 0 && moves.only_into("v2"), "{moves:?}");
    assert!(
        share_of(&after[0], "v2", 0.6).holds(),
        "{:?}",
        share_of(&after[0], "v2", 0.6)
    );

    let mut acks = ["envoy-0", "envoy-1"]
        .map(|id| status.proxy(id).unwrap().types["ecds"].acked_at.unwrap() - edited);
    acks.sort_by(f64::total_cmp);
    let mut moved = after[0].clone();
    moved.retain(|session, to| before[0].get(session) != Some(to));
    let [first, second] = loads;
    let reports = [first.stop().await, second.stop().await];
    reports.iter().for_each(|report| only(report, &[200]));
    let changes = [
        change(&reports[0], &moved, Duration::ZERO),
        change(&reports[1], &moved, offset),
    ];
    let from = changes[0].0.min(changes[1].0);
    let to = changes[0].1.max(changes[1].1);
    let window = to.saturating_sub(from);
    headgate_testkit::measured!(
        "two Envoys differed for {:.1} ms between their ACKs ({:.0} and {:.0} ms after the edit), {:.1} ms in traffic",
        (acks[1] - acks[0]) * 1e3,
        acks[0] * 1e3,
        acks[1] * 1e3,
        window.as_secs_f64() * 1e3
    );
    assert!(acks[0] >= 0.0, "the ACKs are of this edit");
    assert!(window < Duration::from_secs(5), "{window:?}");
}
