//! A version that comes and goes under load: its cluster is there before the first route to it and after the last.

use std::time::{Duration, Instant};

use headgate_xds::Options;

use super::{BOTH, Means, Theatre};
use crate::common::{SOON, only};

const V2: &str = "model/default/m/v2";
/// How long a cluster stays after the last route to it.
const LINGER: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_removed_leaves_after_its_linger_and_no_request_fails() {
    for means in BOTH {
        a_removed_version(means).await;
    }
}

async fn a_removed_version(means: Means) {
    let options = Options {
        linger: LINGER,
        ..Options::default()
    };
    let mut theatre = Theatre::open_by(means, options).await;
    let load = theatre.load();
    load.wait_for(20, SOON).await.unwrap();
    theatre.publish(theatre.both());
    theatre.await_v2().await;
    theatre.await_settled().await;

    let removed = Instant::now();
    theatre.publish(theatre.one());
    gone(&mut theatre).await;
    let stayed = removed.elapsed();
    let name = theatre.means.name;
    assert!(stayed >= LINGER, "{name}: gone after {stayed:?}");
    theatre.await_settled().await;
    let late = load.len();
    load.wait_for(100, SOON).await.unwrap();
    let versions = load.since(late).pass();
    assert!(versions.values().all(|v| v == "v1"), "{versions:?}");
    only(&load.stop().await, &[200]);
}

/// Waits until Envoy has the cluster no more.
async fn gone(theatre: &mut Theatre) {
    let what = format!("{}: the cluster to go", theatre.means.name);
    let gone = theatre.envoy.await_that(SOON, &what, async |admin| {
        let clusters = admin.clusters().await.map_err(|e| e.to_string())?;
        match clusters.to_string().contains(V2) {
            true => Err("it is there".to_owned()),
            false => Ok(()),
        }
    });
    gone.await.unwrap();
}
