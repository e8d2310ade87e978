//! The story, told as tests: budgets and settlement, on the shipped policy of the free tier.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_demo::{budget, settlement};
use headgate_testkit::stage::{Stage, StageOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_out_of_budget_is_refused_and_told_when_to_come_back() {
    let stage = Stage::start(StageOptions::default()).await.unwrap();
    let ran_out = budget::tenant_runs_out(&stage, "acme").await.unwrap();
    assert_eq!(ran_out.remaining.len(), 5);
    let policy = ran_out
        .headers
        .iter()
        .find(|(name, _)| name == "ratelimit-policy");
    assert_eq!(policy.unwrap().1, "\"free-tokens\";q=2000;w=2000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streamed_answer_is_settled_on_its_usage() {
    let stage = Stage::start(StageOptions::default()).await.unwrap();
    settlement::stream_settles_on_usage(&stage, "streams", 800, 120)
        .await
        .unwrap();
    // A full bucket and one that is half spent settle alike.
    settlement::stream_settles_on_usage(&stage, "streams", 800, 800)
        .await
        .unwrap();
    settlement::stream_settles_on_usage(&stage, "streams", 600, 1)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_cut_by_the_client_is_charged_for_what_flowed() {
    let stage = Stage::start(StageOptions::default()).await.unwrap();
    settlement::cut_stream_is_charged(&stage, "hangs-up", 800, 60)
        .await
        .unwrap();
}
