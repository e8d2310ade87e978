//! The demo's claim about the tag.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_demo::tags;
use headgate_testkit::testbed::{Testbed, TestbedOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tag_reaches_the_model_the_access_log_and_the_client_and_a_forged_tag_does_not() {
    let testbed = Testbed::start(TestbedOptions::default()).await.unwrap();
    tags::tag_travels(&testbed).await.unwrap();
}
