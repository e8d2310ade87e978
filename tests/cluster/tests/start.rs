//! A control plane that starts before its API.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_testkit::measured;
use headgate_tests_cluster::fleet::Size;
use headgate_tests_cluster::start;

/// A tenth of what the design promises for; the bench measures it in full.
const TENTH: Size = Size {
    models: 25,
    versions: 4,
    pods: 20,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_started_without_an_api_gives_no_proxy_fewer_variants_than_exist() {
    let started = start::measure(TENTH).await.unwrap();
    measured!("{}", started.told());
    assert!(started.whole(), "{started:?}");
}
