//! How a supervisor ends it.

use std::time::Duration;

use headgate_test_support::client::{HttpClient, HttpRequest};
use headgate_test_support::xds_client::Taker;

use crate::common::{Files, Server, manifest};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_it_with_code_0_within_seconds_though_a_proxy_is_connected() {
    let files = Files::new();
    files.model("m-v1.yaml", &manifest("m", "v1", &[9001]).render());
    let mut server = Server::start(&files).await;
    let _proxy = Taker::connect("proxy", server.xds).unwrap();
    server.settled().await;
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
