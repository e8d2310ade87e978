//! A request that is held for its body, or an answer that still flows, while the cluster it would go to is removed.

use headgate_test_support::deadline::eventually;
use headgate_test_support::stage::Stage;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{INPUT, SOON, ask, budget, charged, declare, empty_world};

/// An upload that stopped half-way.
struct Upload {
    connection: TcpStream,
    rest: Vec<u8>,
}

impl Upload {
    /// Sends a chat with further headers up to the middle of its body, and waits until Envoy has it.
    async fn begin(stage: &mut Stage, headers: &str) -> Self {
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
            .wait_stat("http.headgate.downstream_rq_active", |n| n == 1, SOON)
            .await
            .unwrap();
        Self {
            connection,
            rest: rest.to_vec(),
        }
    }

    /// Sends what is missing and reads the answer.
    async fn finish(mut self) -> String {
        self.connection.write_all(&self.rest).await.unwrap();
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

/// Waits until Envoy has no cluster of `v2` any more.
async fn v2_gone(stage: &mut Stage) {
    let envoy = &mut stage.envoys_mut()[0].envoy;
    let gone = envoy.await_that(SOON, "v2 to be gone", async |admin| {
        let clusters = admin.clusters().await.map_err(|e| e.to_string())?;
        if clusters.to_string().contains("\"model/default/m/v2\"") {
            return Err("it is there".to_owned());
        }
        Ok(())
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
    let mut stage = stable_and_dark(&["--linger", "2"]).await;
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
    v2_gone(&mut stage).await;
    assert_eq!(v2.stats().in_flight, 1, "it was answered before");
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-mock-served-by"), Some("m/v2"));
    assert_eq!(answer.header("x-model-version"), Some("v2"));
    charged(&stage, "sent", INPUT + 16).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_held_while_the_preferred_version_is_removed_goes_to_the_other() {
    let mut stage = empty_world(1, 1, &budget("tenants", ""), &[]).await;
    declare(&mut stage, "m", "v1", |manifest| manifest).await;
    declare(&mut stage, "m", "v2", |manifest| manifest.weight("100")).await;
    stage.settled().await.unwrap();
    let upload = Upload::begin(&mut stage, "").await;
    stage.files().remove_model("m-v2.yaml").unwrap();
    stage.settled().await.unwrap();
    // Nothing routes to it any more, and it is still there: the request may hold its route.
    let clusters = stage.envoys()[0]
        .envoy
        .clusters()
        .await
        .unwrap()
        .to_string();
    assert!(clusters.contains("\"model/default/m/v2\""), "{clusters}");
    let answer = upload.finish().await;
    assert!(served(&answer, "v1"), "{answer}");
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
    v2_gone(&mut stage).await;
    let mut last = String::new();
    let mut events = 1;
    while let Some(event) = answer.event().await.unwrap() {
        last = event;
        events += 1;
    }
    assert_eq!(last, "[DONE]");
    assert!(events > 100, "{events}");
}
