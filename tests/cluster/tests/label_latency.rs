//! A label edit reaches the proxies within a second. The only test of its program, because it measures time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_testkit::measured;
use headgate_tests_cluster::fleet::Size;
use headgate_tests_cluster::label_latency;

/// A tenth of the size in the design; the bench measures the full size.
const TENTH: Size = Size {
    models: 20,
    versions: 3,
    pods: 20,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_edit_reaches_three_envoys_within_a_second_while_pods_are_replaced() {
    let labelled = label_latency::measure(TENTH, 100).await.unwrap();
    measured!("{}", labelled.summary());
    assert!(
        labelled.within(0.99) < label_latency::TARGET,
        "{labelled:?}"
    );
}
