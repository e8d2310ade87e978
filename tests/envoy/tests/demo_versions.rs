//! The demo's claims about new versions and pins.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_demo::sessions::Sessions;
use headgate_demo::versions::{self, NEW};
use headgate_testkit::testbed::{Testbed, TestbedOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_without_a_weight_is_held_and_only_reachable_by_a_pin() {
    let mut testbed = Testbed::start(TestbedOptions::default()).await.unwrap();
    let held = versions::new_version_is_held(&mut testbed, &Sessions::new("held", 500))
        .await
        .unwrap();
    assert_eq!(held.reached, 0);
    assert!(held.advice.contains("canary-weight"), "{}", held.advice);
    versions::pin_reaches(&testbed, NEW, 20).await.unwrap();
    assert_eq!(
        testbed.mock("llama3-70b", NEW).unwrap().stats().requests,
        20
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pin_to_an_unknown_version_gets_a_404_with_the_existing_versions() {
    let testbed = Testbed::start(TestbedOptions::default()).await.unwrap();
    versions::pin_reaches(&testbed, "v1", 20).await.unwrap();
    versions::unknown_pin_is_refused(&testbed).await.unwrap();
}
