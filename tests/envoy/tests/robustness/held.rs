//! A request that is held for its body, or an answer that still flows, while the cluster it would go to is removed.
//!
//! Why such a request never goes to a cluster that is not there: the route that it got with its headers was the newest then. A
//! cluster outlives the last route to it by `--linger`, and the body has to come within 5/6 of that (`request_timeout`), or
//! the answer is 408. So at the end of every held request its cluster has a sixth of the linger left, at least.

use headgate_testkit::deadline::eventually;
use headgate_testkit::stage::Stage;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{INPUT, SOON, ask, budget, charged, declare, empty_world};

/// Requests that Envoy has and has not answered.
const ACTIVE: &str = "http.headgate.downstream_rq_active";

/// An upload that stopped half-way.
struct Upload {
    connection: TcpStream,
    missing: Vec<u8>,
}

impl Upload {
    /// Sends a chat with further headers up to the middle of its body, and waits until Envoy has it.
    async fn begin(stage: &mut Stage, headers: &str) -> Self {
        let held = stage.envoys()[0].envoy.stat(ACTIVE).await.unwrap();
        let held = held.unwrap_or_default();
        let body = ask("slow", 50).body().to_string();
        let address = stage.url().strip_prefix("http://").unwrap().to_owned();
        let mut connection = TcpStream::connect(&address).await.unwrap();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        );
        let (first, rest) = body.as_bytes().split_at(body.len() / 2);
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(first).await.unwrap();
        let envoy = &mut stage.envoys_mut()[0].envoy;
        envoy
            .wait_stat(ACTIVE, |n| n == held + 1, SOON)
            .await
            .unwrap();
        Self {
            connection,
            missing: rest.to_vec(),
        }
    }

    /// Sends what is missing and reads the answer.
    async fn finish(mut self) -> String {
        self.connection.write_all(&self.missing).await.unwrap();
        self.rest().await
    }

    /// Reads the answer, though nothing more is sent.
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

async fn has_v2(stage: &Stage) -> bool {
    let clusters = stage.envoys()[0].envoy.clusters().await.unwrap();
    clusters.to_string().contains("\"model/default/m/v2\"")
}

/// Waits until Envoy has no cluster of `v2` any more.
async fn v2_gone(stage: &Stage) {
    let gone = eventually(SOON, "v2 to be gone", async || {
        if has_v2(stage).await {
            Err("it is there")
        } else {
            Ok(())
        }
    });
    gone.await.unwrap();
}

/// `v1`, and `v2` in the dark.
async fn stable_and_dark(serve_args: &[&str]) -> Stage {
    let mut stage = empty_world(1, 1, &budget("tenants", ""), serve_args).await;
    declare(&mut stage, "m", "v1", |manifest| manifest).await;
    declare(&mut stage, "m", "v2", |manifest| manifest.weight("0")).await;
    stage.settled().await.unwrap();
    stage
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pin_held_while_its_version_is_removed_is_told_that_there_is_none() {
    let mut stage = stable_and_dark(&[]).await;
    let pin = "x-tenant-id: pinned\r\nx-model-version: v2\r\n";
    let upload = Upload::begin(&mut stage, pin).await;
    stage.files().remove_model("m-v2.yaml").unwrap();
    stage.settled().await.unwrap();
    stage.stop_mock("m", "v2").await;
    let answer = upload.finish().await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let error: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(error["error"]["code"], "version_not_found", "{answer}");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("v1"), "{message}");
    // Refused before any reserve.
    charged(&stage, "pinned", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pin_that_was_sent_before_its_version_is_removed_is_answered_and_charged() {
    let stage = stable_and_dark(&["--linger", "2"]).await;
    let request = ask("sent", 200)
        .header("x-model-version", "v2")
        .header("x-mock-headers-delay-ms", "8000")
        .to(stage.url());
    let client = stage.client();
    let answer = tokio::spawn(async move { client.send(request).await });
    let v2 = stage.mock("m", "v2").unwrap().handle().clone();
    let sent = eventually(SOON, "the request to reach v2", async || {
        match v2.stats().in_flight {
            1 => Ok(()),
            n => Err(format!("{n} are there")),
        }
    });
    sent.await.unwrap();
    stage.files().remove_model("m-v2.yaml").unwrap();
    stage.settled().await.unwrap();
    v2_gone(&stage).await;
    assert_eq!(v2.stats().in_flight, 1, "it was answered before");
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-mock-served-by"), Some("m/v2"));
    assert_eq!(answer.header("x-model-version"), Some("v2"));
    charged(&stage, "sent", INPUT + 16).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_held_while_its_cluster_is_removed_succeeds_or_is_told_so_before_that_is_gone() {
    let mut stage = empty_world(1, 1, &budget("tenants", ""), &["--linger", "12"]).await;
    declare(&mut stage, "m", "v1", |manifest| manifest).await;
    declare(&mut stage, "m", "v2", |manifest| manifest.weight("100")).await;
    stage.settled().await.unwrap();
    let finishing = Upload::begin(&mut stage, "").await;
    let stalling = Upload::begin(&mut stage, "").await;
    stage.files().remove_model("m-v2.yaml").unwrap();
    stage.settled().await.unwrap();
    let answer = finishing.finish().await;
    assert!(served(&answer, "v1"), "{answer}");

    // Ten of the twelve seconds later.
    let answer = stalling.rest().await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(
        has_v2(&stage).await,
        "it went before who might have been sent there"
    );
    v2_gone(&stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_held_while_its_only_version_is_replaced_goes_to_the_new_one() {
    let mut stage = empty_world(1, 1, &budget("tenants", ""), &[]).await;
    declare(&mut stage, "m", "v1", |manifest| manifest).await;
    stage.settled().await.unwrap();
    let upload = Upload::begin(&mut stage, "").await;
    // The route the request got when its headers came knows of no v2.
    declare(&mut stage, "m", "v2", |manifest| manifest).await;
    stage.files().remove_model("m-v1.yaml").unwrap();
    stage.settled().await.unwrap();
    stage.stop_mock("m", "v1").await;
    let answer = upload.finish().await;
    assert!(served(&answer, "v2"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_flows_while_its_cluster_is_removed_comes_whole() {
    let mut stage = empty_world(1, 1, &budget("tenants", ""), &["--linger", "2"]).await;
    declare(&mut stage, "m", "v1", |manifest| manifest).await;
    declare(&mut stage, "m", "v2", |manifest| manifest.weight("100")).await;
    stage.settled().await.unwrap();
    let slow = ask("slow", 100)
        .stream()
        .header("x-mock-tokens", "100")
        .header("x-mock-delay-ms", "60");
    let mut answer = stage.client().open(slow.to(stage.url())).await.unwrap();
    assert_eq!(answer.header("x-model-version"), Some("v2"));
    answer.event().await.unwrap().unwrap();
    stage.files().remove_model("m-v2.yaml").unwrap();
    stage.settled().await.unwrap();
    // The linger is over before the answer is.
    v2_gone(&stage).await;
    let mut last = String::new();
    let mut events = 1;
    while let Some(event) = answer.event().await.unwrap() {
        last = event;
        events += 1;
    }
    assert_eq!(last, "[DONE]");
    assert!(events > 100, "{events}");
}
