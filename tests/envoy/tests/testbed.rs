//! The testbed itself: after its start all Envoys are settled, and dropping it ends everything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_testkit::client::OpenAiRequest;
use headgate_testkit::testbed::{Testbed, TestbedOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_testbed_serves_its_files_and_follows_their_edits() {
    let testbed = Testbed::start(TestbedOptions::default().envoys(2))
        .await
        .unwrap();
    let reply = testbed.send(&OpenAiRequest::chat("phi-3")).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("x-model-version"), Some("mini-4k"));

    testbed
        .files()
        .label("phi-3.yaml", "model-version", Some("mini-8k"))
        .unwrap();
    let status = testbed.wait_until_settled().await.unwrap();
    assert_eq!(status.proxies.len(), 2);
    assert!(status.version("phi-3", "mini-8k").is_some());
}
