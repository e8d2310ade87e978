//! The story, told as tests: the canary. Shares are judged at four standard deviations, over 2000 sessions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_demo::canary;
use headgate_demo::traffic::Sessions;
use headgate_testkit::stage::{Stage, StageOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_gets_its_percent_of_sessions_and_no_session_flips() {
    let stage = Stage::start(StageOptions::default()).await.unwrap();
    let sessions = Sessions::new("split", 2000);
    let split = canary::sessions_split(&stage, &sessions, 3, 10.0)
        .await
        .unwrap();
    assert_eq!(split.sessions, 2000);
    assert!(split.requests >= 6000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_label_moves_sessions_only_into_the_canary_and_fails_no_request() {
    let stage = Stage::start(StageOptions::default()).await.unwrap();
    let sessions = Sessions::new("raise", 2000);
    let raised = canary::label_raised(&stage, &sessions, 10.0, 30)
        .await
        .unwrap();
    assert_eq!(raised.moved + raised.kept, 2000);
}
