//! Shutdown of `serve` by a supervisor.

use std::time::{Duration, Instant};

use headgate_testkit::client::{HttpClient, HttpRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::xds_client::AutoAckProxy;

use crate::common::{Files, SOON, Server, manifest};

fn files() -> Files {
    let files = Files::new();
    files.model("m-v1.yaml", &manifest("m", "v1", &[9001]).render());
    files
}

/// Proxies that connect one after the other.
async fn proxies(server: &Server, n: usize) -> Vec<AutoAckProxy> {
    let mut proxies = Vec::new();
    for i in 0..n {
        proxies.push(AutoAckProxy::connect(&format!("proxy-{i}"), server.xds).unwrap());
        server
            .until("the proxy to settle", |status| {
                let all = status["proxies"].as_array();
                all.is_some_and(|all| {
                    all.len() == i + 1 && all.iter().all(|p| p["current"] == true)
                })
            })
            .await;
    }
    proxies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_serve_with_code_0_within_seconds_although_a_proxy_is_connected() {
    let files = files();
    let mut server = Server::start(&files).await;
    let _proxy = AutoAckProxy::connect("proxy", server.xds).unwrap();
    server.all_current().await;
    // A scraper that keeps its connection open, as Prometheus does.
    let scraper = HttpClient::new();
    let url = format!("http://{}/metrics", server.admin);
    scraper.send(HttpRequest::get(url)).await.unwrap();
    let status = server
        .process
        .terminate(Duration::from_secs(4))
        .await
        .unwrap();
    assert_eq!(status.code(), Some(0), "{status}");
}

/// Sends SIGTERM and returns the answer of `/readyz` from then on.
async fn drain(server: &Server) {
    let pid = server.process.pid().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status();
    assert!(sent.unwrap().success());
    let ready = format!("http://{}/readyz", server.admin);
    let unready = eventually(SOON, "/readyz to say that it ends", async || {
        let reply = server.client.send(HttpRequest::get(&ready)).await.unwrap();
        match reply.status {
            503 => Ok(reply.text()),
            status => Err(status.to_string()),
        }
    });
    assert_eq!(unready.await.unwrap(), "shutting down\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_disconnects_proxies_over_the_drain_time_and_readyz_fails_at_once() {
    let files = files();
    let mut server = Server::start_with(&files, &["--drain-time", "6"]).await;
    let _proxies = proxies(&server, 3).await;
    let started = Instant::now();
    drain(&server).await;
    // The first proxy leaves at once, each other one two seconds later.
    for (left, turn) in [(2, 0), (1, 2)] {
        server
            .until("a proxy to be sent elsewhere", |status| {
                status["proxies"].as_array().unwrap().len() <= left
            })
            .await;
        let after = started.elapsed();
        assert!(
            after >= Duration::from_secs(turn),
            "{left} left after {after:?}"
        );
    }
    let ended = eventually(SOON, "the process to end", async || {
        server.process.ended().unwrap().ok_or("it runs")
    });
    let status = ended.await.unwrap();
    let after = started.elapsed();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(after >= Duration::from_secs(4), "all left within {after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_sigterm_ends_a_drain_at_once() {
    let files = files();
    let mut server = Server::start_with(&files, &["--drain-time", "3600"]).await;
    let _proxies = proxies(&server, 2).await;
    drain(&server).await;
    let second = server.process.terminate(Duration::from_secs(4)).await;
    assert_eq!(second.unwrap().code(), Some(0));
}
