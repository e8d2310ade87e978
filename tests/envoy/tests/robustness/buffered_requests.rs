//! Requests whose body is still buffered, and responses that still stream, while their cluster is removed.
//!
//! Such a request never goes to a missing cluster: its route was the newest when its headers came. A cluster outlives the last route
//! to it by `--linger`, and the body must come within 5/6 of that (`request_timeout`), or the response is 408. So at the end of every
//! buffered request its cluster has at least a sixth of the linger period left.

use headgate_testkit::deadline::eventually;
use headgate_testkit::testbed::Testbed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{INPUT, SOON, ask, budget, charged, declare, empty_testbed};

/// Requests in progress in Envoy.
const ACTIVE: &str = "http.headgate.downstream_rq_active";

/// An upload that stopped half-way.
struct Upload {
    connection: TcpStream,
    missing: Vec<u8>,
}

impl Upload {
    /// Sends a chat with additional headers up to the middle of its body, and waits until Envoy has it.
    async fn begin(testbed: &mut Testbed, headers: &str) -> Self {
        let active = testbed.envoys()[0].envoy.stat(ACTIVE).await.unwrap();
        let active = active.unwrap_or_default();
        let body = ask("slow", 50).body().to_string();
        let address = testbed.url().strip_prefix("http://").unwrap().to_owned();
        let mut connection = TcpStream::connect(&address).await.unwrap();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        );
        let (first, rest) = body.as_bytes().split_at(body.len() / 2);
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(first).await.unwrap();
        let envoy = &mut testbed.envoys_mut()[0].envoy;
        envoy
            .wait_stat(ACTIVE, |n| n == active + 1, SOON)
            .await
            .unwrap();
        Self {
            connection,
            missing: rest.to_vec(),
        }
    }

    /// Sends the missing bytes and reads the response.
    async fn finish(mut self) -> String {
        self.connection.write_all(&self.missing).await.unwrap();
        self.rest().await
    }

    /// Reads the response without sending the missing bytes.
    async fn rest(mut self) -> String {
        let mut answer = Vec::new();
        let read = self.connection.read_to_end(&mut answer);
        tokio::time::timeout(SOON, read).await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }
}

fn served(answer: &str, version: &str) -> bool {
    answer.starts_with("HTTP/1.1 200")
        && answer.contains(&format!("x-model-version: {version}\r\n"))
}

async fn has_v2(testbed: &Testbed) -> bool {
    let clusters = testbed.envoys()[0].envoy.clusters().await.unwrap();
    clusters.to_string().contains("\"model/default/m/v2\"")
}

/// Waits until Envoy no longer has the cluster of `v2`.
async fn v2_gone(testbed: &Testbed) {
    let gone = eventually(SOON, "v2 to be gone", async || {
        if has_v2(testbed).await {
            Err("the cluster still exists")
        } else {
            Ok(())
        }
    });
    gone.await.unwrap();
}

/// `v1`, and `v2` with weight 0.
async fn stable_and_dark(serve_args: &[&str]) -> Testbed {
    let mut testbed = empty_testbed(1, 1, &budget("tenants", ""), serve_args).await;
    declare(&mut testbed, "m", "v1", |manifest| manifest).await;
    declare(&mut testbed, "m", "v2", |manifest| manifest.weight("0")).await;
    testbed.wait_until_settled().await.unwrap();
    testbed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buffered_request_with_a_pin_gets_a_404_when_its_version_is_removed() {
    let mut testbed = stable_and_dark(&[]).await;
    let pin = "x-tenant-id: pinned\r\nx-model-version: v2\r\n";
    let upload = Upload::begin(&mut testbed, pin).await;
    testbed.files().remove_model("m-v2.yaml").unwrap();
    testbed.wait_until_settled().await.unwrap();
    testbed.stop_mock("m", "v2").await;
    let answer = upload.finish().await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let error: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(error["error"]["code"], "version_not_found", "{answer}");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("v1"), "{message}");
    // Refused before any reservation.
    charged(&testbed, "pinned", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_request_sent_before_its_version_is_removed_is_answered_and_charged() {
    let testbed = stable_and_dark(&["--linger", "2"]).await;
    let request = ask("sent", 200)
        .header("x-model-version", "v2")
        .header("x-mock-headers-delay-ms", "8000")
        .to(testbed.url());
    let client = testbed.client();
    let answer = tokio::spawn(async move { client.send(request).await });
    let v2 = testbed.mock("m", "v2").unwrap().handle().clone();
    let sent = eventually(SOON, "the request to reach v2", async || {
        match v2.stats().in_flight {
            1 => Ok(()),
            n => Err(format!("{n} requests have come")),
        }
    });
    sent.await.unwrap();
    testbed.files().remove_model("m-v2.yaml").unwrap();
    testbed.wait_until_settled().await.unwrap();
    v2_gone(&testbed).await;
    assert_eq!(v2.stats().in_flight, 1, "it was answered before");
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-mock-served-by"), Some("m/v2"));
    assert_eq!(answer.header("x-model-version"), Some("v2"));
    charged(&testbed, "sent", INPUT + 16).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buffered_request_ends_before_its_removed_cluster_disappears() {
    let mut testbed = empty_testbed(1, 1, &budget("tenants", ""), &["--linger", "12"]).await;
    declare(&mut testbed, "m", "v1", |manifest| manifest).await;
    declare(&mut testbed, "m", "v2", |manifest| manifest.weight("100")).await;
    testbed.wait_until_settled().await.unwrap();
    let finishing = Upload::begin(&mut testbed, "").await;
    let stalling = Upload::begin(&mut testbed, "").await;
    testbed.files().remove_model("m-v2.yaml").unwrap();
    testbed.wait_until_settled().await.unwrap();
    let answer = finishing.finish().await;
    assert!(served(&answer, "v1"), "{answer}");

    // Ten of the twelve seconds later.
    let answer = stalling.rest().await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(
        has_v2(&testbed).await,
        "the cluster was removed before the request ended"
    );
    v2_gone(&testbed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buffered_request_goes_to_the_new_version_when_its_only_version_is_replaced() {
    let mut testbed = empty_testbed(1, 1, &budget("tenants", ""), &[]).await;
    declare(&mut testbed, "m", "v1", |manifest| manifest).await;
    testbed.wait_until_settled().await.unwrap();
    let upload = Upload::begin(&mut testbed, "").await;
    // The route of the request, chosen with its headers, has no v2.
    declare(&mut testbed, "m", "v2", |manifest| manifest).await;
    testbed.files().remove_model("m-v1.yaml").unwrap();
    testbed.wait_until_settled().await.unwrap();
    testbed.stop_mock("m", "v1").await;
    let answer = upload.finish().await;
    assert!(served(&answer, "v2"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_in_progress_completes_while_its_cluster_is_removed() {
    let mut testbed = empty_testbed(1, 1, &budget("tenants", ""), &["--linger", "2"]).await;
    declare(&mut testbed, "m", "v1", |manifest| manifest).await;
    declare(&mut testbed, "m", "v2", |manifest| manifest.weight("100")).await;
    testbed.wait_until_settled().await.unwrap();
    let slow = ask("slow", 100)
        .stream()
        .header("x-mock-tokens", "100")
        .header("x-mock-delay-ms", "60");
    let mut answer = testbed.client().open(slow.to(testbed.url())).await.unwrap();
    assert_eq!(answer.header("x-model-version"), Some("v2"));
    answer.event().await.unwrap().unwrap();
    testbed.files().remove_model("m-v2.yaml").unwrap();
    testbed.wait_until_settled().await.unwrap();
    // The linger period ends before the response does.
    v2_gone(&testbed).await;
    let mut last = String::new();
    let mut events = 1;
    while let Some(event) = answer.event().await.unwrap() {
        last = event;
        events += 1;
    }
    assert_eq!(last, "[DONE]");
    assert!(events > 100, "{events}");
}
