//! The demo's claims about an outage of the control plane.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_demo::outage;
use headgate_demo::sessions::Sessions;
use headgate_testkit::testbed::{Testbed, TestbedOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_continues_without_the_control_plane_and_the_next_one_applies_the_edit() {
    let mut testbed = Testbed::start(TestbedOptions::default()).await.unwrap();
    let sessions = Sessions::new("outage", 400);
    outage::control_plane_dies(&mut testbed, &sessions, 500, 40)
        .await
        .unwrap();
}
