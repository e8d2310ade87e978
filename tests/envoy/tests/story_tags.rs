//! The story, told as tests: the tag.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_demo::tags;
use headgate_testkit::stage::{Stage, StageOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tag_reaches_the_model_the_access_log_and_the_client_and_a_forged_one_does_not() {
    let stage = Stage::start(StageOptions::default()).await.unwrap();
    tags::tag_travels(&stage).await.unwrap();
}
