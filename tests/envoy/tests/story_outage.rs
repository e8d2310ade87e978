//! The story, told as tests: the control plane dies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_demo::outage;
use headgate_demo::traffic::Sessions;
use headgate_testkit::stage::{Stage, StageOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_outlives_the_control_plane_and_the_next_one_picks_up_the_edit() {
    let mut stage = Stage::start(StageOptions::default()).await.unwrap();
    let sessions = Sessions::new("outage", 400);
    outage::control_plane_dies(&mut stage, &sessions, 500, 40)
        .await
        .unwrap();
}
