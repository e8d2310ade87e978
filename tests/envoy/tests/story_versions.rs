//! The story, told as tests: a version joins, and pins.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_demo::traffic::Sessions;
use headgate_demo::versions::{self, NEW};
use headgate_testkit::stage::{Stage, StageOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_without_a_weight_is_held_and_reached_by_a_pin_alone() {
    let mut stage = Stage::start(StageOptions::default()).await.unwrap();
    let held = versions::new_version_is_held(&mut stage, &Sessions::new("held", 500))
        .await
        .unwrap();
    assert_eq!(held.reached, 0);
    assert!(held.advice.contains("canary-weight"), "{}", held.advice);
    versions::pin_reaches(&stage, NEW, 20).await.unwrap();
    assert_eq!(stage.mock("llama3-70b", NEW).unwrap().stats().requests, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pin_to_an_unknown_version_is_refused_with_the_versions_that_exist() {
    let stage = Stage::start(StageOptions::default()).await.unwrap();
    versions::pin_reaches(&stage, "v1", 20).await.unwrap();
    versions::unknown_pin_is_refused(&stage).await.unwrap();
}
