//! The demo's claims about budgets and settlement, on the shipped policy of the free tier.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_demo::{budget, settlement};
use headgate_testkit::testbed::{Testbed, TestbedOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_without_budget_gets_a_429_with_the_time_to_wait() {
    let testbed = Testbed::start(TestbedOptions::default()).await.unwrap();
    let ran_out = budget::tenant_runs_out(&testbed, "acme").await.unwrap();
    assert_eq!(ran_out.remaining.len(), 5);
    let policy = ran_out
        .headers
        .iter()
        .find(|(name, _)| name == "ratelimit-policy");
    assert_eq!(policy.unwrap().1, "\"free-tokens\";q=2000;w=2000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streamed_response_is_settled_on_its_usage() {
    let testbed = Testbed::start(TestbedOptions::default()).await.unwrap();
    settlement::stream_settles_on_usage(&testbed, "streams", 800, 120)
        .await
        .unwrap();
    // A full bucket and a half-spent one settle alike.
    settlement::stream_settles_on_usage(&testbed, "streams", 800, 800)
        .await
        .unwrap();
    settlement::stream_settles_on_usage(&testbed, "streams", 600, 1)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_cut_by_the_client_is_charged_for_the_streamed_tokens() {
    let testbed = Testbed::start(TestbedOptions::default()).await.unwrap();
    settlement::cut_stream_is_charged(&testbed, "hangs-up", 800, 60)
        .await
        .unwrap();
}
