//! The stage itself: what it starts is settled, what it drops is gone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_testkit::client::OpenAiRequest;
use headgate_testkit::stage::{Stage, StageOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_serves_what_its_files_say_and_follows_their_edits() {
    let stage = Stage::start(StageOptions::default().envoys(2))
        .await
        .unwrap();
    let reply = stage.send(&OpenAiRequest::chat("phi-3")).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("x-model-version"), Some("mini-4k"));

    stage
        .files()
        .label("phi-3.yaml", "model-version", Some("mini-8k"))
        .unwrap();
    let status = stage.settled().await.unwrap();
    assert_eq!(status.proxies.len(), 2);
    assert!(status.version("phi-3", "mini-8k").is_some());
}
