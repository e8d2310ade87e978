//! A proxy with one filter per stage runs a plan once both filters have it; the tag filter chooses the version.

use headgate_testkit::xds_client::AutoAckProxy;
use serde_json::json;

use crate::common::{Files, Server, manifest};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_with_two_filters_runs_a_plan_when_both_acked_it() {
    for (refused, picked) in [
        ("headgate.traffic-tag", 10.0),
        ("headgate.token-bucket", 30.0),
    ] {
        let files = Files::new();
        let canary = |weight: &str| {
            let canary = manifest("m", "v2", &[9002]).created("2026-01-01T00:00:00Z");
            files.model("m-v2.yaml", &canary.weight(weight).render());
        };
        files.model("m-v1.yaml", &manifest("m", "v1", &[9001]).render());
        canary("10");
        let server = Server::start(&files).await;
        let proxy = AutoAckProxy::connect_split_filters("p", server.xds).unwrap();
        server
            .until("both", |s| {
                s["models"][0]["acked"] == json!({"current": 1, "total": 1})
            })
            .await;
        proxy.nack_resource(refused);
        canary("30");
        let status = server
            .until("a refusal beside what was taken", |s| {
                let proxy = &s["models"][0]["proxies"][0];
                let nacked = &s["proxies"][0]["types"]["ecds"]["nacked"];
                proxy["state"] == "nacked" && nacked[refused].is_object()
            })
            .await;
        let model = &status["models"][0];
        assert_eq!(model["acked"], json!({"current": 0, "total": 1}), "{model}");
        let message = model["proxies"][0]["message"].as_str().unwrap();
        assert!(message.starts_with(refused), "{message}");
        server
            .until("the other filter's answer", |s| {
                s["models"][0]["versions"][1]["weightAcked"]["p"] == json!(picked)
            })
            .await;
    }
}
