//! Headgate in a genuine Istio mesh: the claims of the demo, in order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use headgate_tests_mesh::sequence;

/// Longest duration, on a machine that other tests use too.
const WITHIN: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn every_claim_about_headgate_in_a_mesh_holds() {
    let began = Instant::now();
    let broken = sequence::run().await;
    let broken = broken.unwrap_or_else(|error| panic!("{error}"));
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(began.elapsed() < WITHIN, "{:?}", began.elapsed());
}
