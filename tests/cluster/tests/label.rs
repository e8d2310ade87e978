//! An edited label is at the proxies within a second. Alone in its program: it measures time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_testkit::measured;
use headgate_tests_cluster::fleet::Size;
use headgate_tests_cluster::labels;

/// A tenth of what the design promises for; the bench measures it in full.
const TENTH: Size = Size {
    models: 20,
    versions: 3,
    pods: 20,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_is_at_three_envoys_within_a_second_of_kubectls_end_while_pods_churn() {
    let labelled = labels::measure(TENTH, 100).await.unwrap();
    measured!("{}", labelled.told());
    assert!(labelled.within(0.99) < labels::PROMISED, "{labelled:?}");
}
