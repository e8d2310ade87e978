//! A version that is added and removed under load: its cluster exists before the first route to it and after the last.

use std::time::{Duration, Instant};

use headgate_xds::Options;

use super::{BOTH, Fixture, Transport};
use crate::common::{SOON, only};

const V2: &str = "model/default/m/v2";
/// Time that a cluster stays after the last route to it.
const LINGER: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_version_disappears_after_its_linger_and_no_request_fails() {
    for transport in BOTH {
        a_removed_version(transport).await;
    }
}

async fn a_removed_version(transport: Transport) {
    let options = Options {
        linger: LINGER,
        ..Options::default()
    };
    let mut fixture = Fixture::open_with(transport, options).await;
    let load = fixture.load();
    load.wait_for(20, SOON).await.unwrap();
    fixture.publish(fixture.both());
    fixture.await_v2().await;
    fixture.await_settled().await;

    let removed = Instant::now();
    fixture.publish(fixture.one());
    gone(&mut fixture).await;
    let stayed = removed.elapsed();
    let name = fixture.transport.name;
    assert!(stayed >= LINGER, "{name}: gone after {stayed:?}");
    fixture.await_settled().await;
    let late = load.len();
    load.wait_for(100, SOON).await.unwrap();
    let versions = load.since(late).assignments();
    assert!(versions.values().all(|v| v == "v1"), "{versions:?}");
    only(&load.stop().await, &[200]);
}

/// Waits until Envoy no longer has the cluster.
async fn gone(fixture: &mut Fixture) {
    let what = format!("{}: the cluster to go", fixture.transport.name);
    let gone = fixture.envoy.wait_until(SOON, &what, async |admin| {
        let clusters = admin.clusters().await.map_err(|e| e.to_string())?;
        match clusters.to_string().contains(V2) {
            true => Err("the cluster still exists".to_owned()),
            false => Ok(()),
        }
    });
    gone.await.unwrap();
}
