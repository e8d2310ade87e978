//! A control plane that starts before its API.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_testkit::measured;
use headgate_tests_cluster::fleet::Size;
use headgate_tests_cluster::late_start;

/// A tenth of the size in the design; the bench measures the full size.
const TENTH: Size = Size {
    models: 25,
    versions: 4,
    pods: 20,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_that_starts_without_an_api_never_serves_an_incomplete_snapshot() {
    let started = late_start::measure(TENTH).await.unwrap();
    measured!("{}", started.summary());
    assert!(started.is_complete(), "{started:?}");
}
