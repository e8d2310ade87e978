//! A version whose endpoints are ready but refuse connections: reports of the control plane, and a base with `onBaseLost: hold`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use headgate_testkit::client::{HttpClient, HttpRequest, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::measured;
use headgate_testkit::mock_model::{MockModel, MockOptions};
use headgate_testkit::ports::free_addr;
use headgate_testkit::testbed::{Manifest, Testbed};

use crate::common::{SOON, budget, declare, empty_testbed};

const REASON: &str = "Unreachable";

async fn start_testbed() -> Testbed {
    let flags = ["--load-report-interval", "2"];
    let mut testbed = empty_testbed(2, 1, &budget("tenants", ""), &flags).await;
    declare(&mut testbed, "m", "v1", |manifest| manifest).await;
    testbed
}

fn canary(testbed: &Testbed, endpoint: SocketAddr) {
    let manifest = Manifest::new("m", "v2").endpoints(&[endpoint]).weight("50");
    let text = manifest.render();
    testbed.files().write_model("m-v2.yaml", &text).unwrap();
}

/// The number of 40 sessions by status.
async fn sessions(testbed: &Testbed, client: &HttpClient) -> BTreeMap<u16, usize> {
    let mut statuses = BTreeMap::new();
    for n in 0..40 {
        let chat = OpenAiRequest::chat("m")
            .max_tokens(1)
            .header("x-tenant-id", n.to_string())
            .header("x-conversation-id", n.to_string());
        let reply = client.send(chat.to(testbed.url())).await.unwrap();
        *statuses.entry(reply.status).or_default() += 1;
    }
    statuses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ready_canary_that_refuses_connections_fails_few_requests_and_is_reported_unreachable() {
    let testbed = start_testbed().await;
    let closed = free_addr().unwrap();
    canary(&testbed, closed);
    testbed.wait_until_settled().await.unwrap();
    let client = testbed.client();
    let begun = Instant::now();
    let statuses = sessions(&testbed, &client).await;
    assert!((5..=10).contains(&statuses[&503]), "{statuses:?}");
    assert_eq!(statuses.values().sum::<usize>(), 40, "{statuses:?}");

    let unreachable = eventually(SOON, "that v2 cannot be reached", async || {
        // Only a request to the version reveals it.
        sessions(&testbed, &client).await;
        let status = testbed.status().await.map_err(|e| e.to_string())?;
        let version = status.version("m", "v2").unwrap();
        let unreachable = version.unreachable.clone();
        unreachable
            .map(|unreachable| (unreachable, status))
            .ok_or("not yet".to_owned())
    });
    let (unreachable, status) = unreachable.await.unwrap();
    measured!("{:?} until status reports it", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert_eq!(
        (unreachable.proxies.current, unreachable.proxies.total),
        (1, 1)
    );
    assert!(status.version("m", "v1").unwrap().unreachable.is_none());
    let problems: Vec<_> = status.problems_of(REASON).collect();
    assert_eq!(problems.len(), 1, "{problems:?}");
    for part in ["version v2 of model m", "kubectl describe deployment/m-v2"] {
        assert!(problems[0].message.contains(part), "{problems:?}");
    }
    let page = HttpRequest::get(testbed.control_plane().url("/metrics"));
    let metrics = client.send(page).await.unwrap().text();
    let line = "headgate_version_unreachable_proxies{model_namespace=\"default\",model=\"m\",version=\"v2\"} 1";
    assert!(metrics.contains(line), "{metrics}");

    let back = MockModel::start(MockOptions::new("m", "v2").at(closed));
    let _back = back.await.unwrap();
    let over = eventually(SOON, "that it is over", async || {
        sessions(&testbed, &client).await;
        let status = testbed.status().await.map_err(|e| e.to_string())?;
        let unreachable = status.version("m", "v2").unwrap().unreachable.is_some();
        match unreachable || status.problems_of(REASON).count() > 0 {
            true => Err("still reported".to_owned()),
            false => Ok(()),
        }
    });
    over.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_responds_500_is_not_reported_unreachable() {
    let testbed = start_testbed().await;
    testbed.wait_until_settled().await.unwrap();
    // A cluster appears in the first report after its creation.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for _ in 0..5 {
        let chat = OpenAiRequest::chat("m").header("x-mock-status", "500");
        assert_eq!(testbed.send(&chat).await.unwrap().status, 500);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let status = testbed.status().await.unwrap();
    assert!(status.version("m", "v1").unwrap().unreachable.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_base_with_hold_gives_no_session_to_a_canary() {
    let flags: [&str; 0] = [];
    let mut testbed = empty_testbed(1, 1, &budget("tenants", ""), &flags).await;
    let model = "{apiVersion: headgate.dev/v1alpha1, kind: ServedModel, metadata: {name: m}, spec: {onBaseLost: hold}}\n";
    testbed.files().write_model("served.yaml", model).unwrap();
    declare(&mut testbed, "m", "v2", |manifest| manifest.weight("50")).await;
    let closed = free_addr().unwrap();
    let base = Manifest::new("m", "v1").endpoints(&[closed]);
    testbed
        .files()
        .write_model("m-v1.yaml", &base.render())
        .unwrap();
    testbed.wait_until_settled().await.unwrap();
    let client = testbed.client();
    let first = sessions(&testbed, &client).await;
    assert!(first[&503] > 10 && first[&200] > 10, "{first:?}");
    // However often they fail.
    assert_eq!(sessions(&testbed, &client).await, first);
}
