//! Metrics and probes.

use headgate_testkit::xds_client::{AutoAckProxy, type_url};
use serde_json::json;

use crate::common::{Files, Server, manifest};
use crate::exposition::Exposition;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_probes_answer_ok_and_version_is_served() {
    let server = Server::start(&Files::new()).await;
    assert_eq!(server.get("/livez").await.text(), "ok\n");
    assert_eq!(server.get("/healthz").await.text(), "ok\n");
    let version = server.get("/version").await.json().unwrap();
    assert_eq!(version, json!({ "version": env!("CARGO_PKG_VERSION") }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_is_valid_openmetrics_with_proxies_rejections_and_weights() {
    let files = Files::new();
    files.model("m-v1.yaml", &manifest("m", "v1", &[9001]).render());
    let server = Server::start(&files).await;
    let proxy = AutoAckProxy::connect("proxy", server.xds).unwrap();
    server.all_current().await;
    proxy.nack_type(type_url::CLUSTER);
    files.model(
        "m-v2.yaml",
        &manifest("m", "v2", &[9002]).weight("10").render(),
    );
    files.model("broken.yaml", "kind: [");
    server
        .until("a refusal and a problem", |s| {
            let nacked = s["proxies"][0]["types"]["cds"]["nacked"].as_object();
            nacked.is_some_and(|n| !n.is_empty())
                && s["problems"].to_string().contains("broken.yaml")
        })
        .await;
    let reply = server.get("/metrics").await;
    let kind = reply.header("content-type").unwrap_or_default();
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
    let text = reply.text();
    let all = Exposition::parse(&text).unwrap_or_else(|why| panic!("{why}\n{text}"));
    assert_eq!(all.value("headgate_proxies", &[]), Some(1.0));
    assert_eq!(all.value("headgate_proxies_current", &[]), Some(0.0));
    assert!(all.value("headgate_xds_nacks_total", &[("type", "cds")]) >= Some(1.0));
    let canary = [
        ("model_namespace", "default"),
        ("model", "m"),
        ("version", "v2"),
    ];
    assert_eq!(
        all.value("headgate_version_weight_percent", &canary),
        Some(10.0)
    );
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(all.value("headgate_build_info", &version), Some(1.0));
    assert!(all.value("headgate_source_errors_total", &[("source", "files")]) >= Some(1.0));
    assert!(all.value("headgate_publications_total", &[]) >= Some(2.0));
    let acks = all.value(
        "headgate_xds_push_duration_seconds_count",
        &[("type", "ecds")],
    );
    assert!(acks >= Some(1.0), "{text}");
    assert!(all.value("process_resident_memory_bytes", &[]) > Some(1e6));
    assert!(all.value("process_open_fds", &[]) > Some(3.0));
    assert_eq!(
        all.value("headgate_kubernetes_api_unreachable", &[]),
        Some(0.0)
    );
    assert_eq!(
        all.value("headgate_xds_nacks_total", &[("type", "lds")]),
        Some(0.0)
    );
    let problem = [("severity", "error"), ("reason", "File")];
    assert!(all.value("headgate_problems", &problem) >= Some(1.0));
}
