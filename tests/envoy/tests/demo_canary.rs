//! The demo's claims about the canary. Shares are judged at four standard deviations, over 2000 sessions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_demo::canary;
use headgate_demo::sessions::Sessions;
use headgate_testkit::testbed::{Testbed, TestbedOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_gets_its_percent_of_sessions_and_no_session_flips() {
    let testbed = Testbed::start(TestbedOptions::default()).await.unwrap();
    let sessions = Sessions::new("split", 2000);
    let split = canary::sessions_split(&testbed, &sessions, 3, 10.0)
        .await
        .unwrap();
    assert_eq!(split.sessions, 2000);
    assert!(split.requests >= 6000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_label_moves_sessions_only_to_the_canary_and_fails_no_request() {
    let testbed = Testbed::start(TestbedOptions::default()).await.unwrap();
    let sessions = Sessions::new("raise", 2000);
    let raised = canary::label_raised(&testbed, &sessions, 10.0, 30)
        .await
        .unwrap();
    assert_eq!(raised.moved + raised.kept, 2000);
}
