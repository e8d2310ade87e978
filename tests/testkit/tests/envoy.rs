//! The Envoy launcher with a real Envoy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use headgate_testkit::client::{
    ClientError, HttpClient, HttpRequest, Job, Load, LoadOptions, OpenAiRequest,
};
use headgate_testkit::envoy::{Envoy, EnvoyError, EnvoyOptions, ReadyWhen};
use headgate_testkit::mock_model::{MockModel, MockOptions};
use headgate_testkit::process::ProcessError;
use serde_json::json;

const SOON: Duration = Duration::from_secs(20);

/// Envoy answers `/direct` itself; everything else goes to `upstream`.
fn bootstrap(upstream: &MockModel) -> String {
    let endpoint = json!({"endpoint": {"address": {"socket_address": {
        "address": upstream.addr().ip().to_string(), "port_value": upstream.addr().port()}}}});
    let routes = json!([
        {"match": {"prefix": "/direct"}, "direct_response": {"status": 200}},
        {"match": {"prefix": "/"}, "route": {"cluster": "model-x", "timeout": "0s"}},
    ]);
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.\
                  http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    });
    json!({
        "node": {"id": "to be replaced", "cluster": "kept"},
        "static_resources": {
            "listeners": [{
                "name": "in",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
            }],
            "clusters": [{
                "name": "model-x",
                "type": "STATIC",
                "load_assignment": {"cluster_name": "model-x",
                                    "endpoints": [{"lb_endpoints": [endpoint]}]},
            }],
        },
    })
    .to_string()
}

async fn start(upstream: &MockModel, concurrency: u32) -> (Envoy, String) {
    let mut options = EnvoyOptions::new(bootstrap(upstream));
    options.concurrency = concurrency;
    options.node_id = Some("test-node".into());
    options
        .node_metadata
        .insert("headgate.listen".into(), "127.0.0.1:0".into());
    let mut envoy = Envoy::start(options).await.unwrap();
    let addr = envoy.wait_listener("in", SOON).await.unwrap();
    (envoy, format!("http://{addr}"))
}

async fn model() -> MockModel {
    MockModel::start(MockOptions::new("m", "v1")).await.unwrap()
}

#[tokio::test]
async fn a_started_envoy_serves_and_reports_statistics() {
    let upstream = model().await;
    let (mut envoy, url) = start(&upstream, 2).await;
    let client = HttpClient::new();
    let direct = client.send(HttpRequest::get(format!("{url}/direct")));
    assert_eq!(direct.await.unwrap().status, 200);
    let reply = client
        .send(OpenAiRequest::chat("m").to(&url))
        .await
        .unwrap();
    assert_eq!(reply.header("x-mock-served-by"), Some("m/v1"));

    envoy
        .wait_stat("cluster.model-x.upstream_rq_200", |n| n == 1, SOON)
        .await
        .unwrap();
    assert_eq!(
        envoy.stat("http.in.downstream_rq_2xx").await.unwrap(),
        Some(2)
    );
    assert_eq!(envoy.stat("no.such.stat").await.unwrap(), None);
    let cluster = envoy.stats("cluster.model-x.").await.unwrap();
    assert!(
        cluster
            .keys()
            .all(|name| name.starts_with("cluster.model-x."))
    );

    let samples = envoy.prometheus().await.unwrap();
    let served = samples.iter().find(|sample| {
        sample.name == "envoy_cluster_upstream_rq"
            && sample.has(&[
                ("envoy_cluster_name", "model-x"),
                ("envoy_response_code", "200"),
            ])
    });
    assert_eq!(served.unwrap().value, 1.0);

    let dump = envoy.config_dump().await.unwrap().to_string();
    assert!(dump.contains("\"id\":\"test-node\"") && dump.contains("\"cluster\":\"kept\""));
    assert!(dump.contains("\"headgate.listen\":\"127.0.0.1:0\""));
    let clusters = envoy.clusters().await.unwrap();
    assert_eq!(clusters["cluster_statuses"][0]["name"], "model-x");
}

#[tokio::test]
async fn cpu_time_covers_the_workers_and_grows_with_work() {
    let upstream = model().await;
    let (envoy, url) = start(&upstream, 2).await;
    let before = envoy.cpu_time().unwrap();
    let names: Vec<_> = before.keys().map(String::as_str).collect();
    assert_eq!(names, ["wrk:worker_0", "wrk:worker_1"]);

    let load = Load::start(LoadOptions::new(4, move |n| Job {
        session: format!("s{n}"),
        request: HttpRequest::get(format!("{url}/direct")),
    }));
    load.wait_for(2000, SOON).await.unwrap();
    let report = load.stop().await;
    assert!(
        report.other_than(&[200]).is_empty(),
        "{:?}",
        report.outcomes()
    );

    let after = envoy.cpu_time().unwrap();
    let spent: Duration = after.iter().map(|(name, time)| *time - before[name]).sum();
    assert!(spent > Duration::ZERO, "{before:?} {after:?}");
    let busiest = spent / u32::try_from(report.samples.len()).unwrap();
    assert!(
        busiest < Duration::from_millis(5),
        "{busiest:?} per request"
    );
}

#[tokio::test]
async fn a_cut_stream_reaches_the_upstream_through_envoy() {
    let upstream = model().await;
    let (mut envoy, url) = start(&upstream, 1).await;
    let request = OpenAiRequest::chat("m")
        .stream()
        .header("x-mock-stall-after", "1");
    let mut stream = HttpClient::new().open(request.to(&url)).await.unwrap();
    stream.event().await.unwrap();
    stream.disconnect();
    envoy
        .wait_until(SOON, "the upstream to see it", async |_| {
            let stats = upstream.stats();
            if stats.client_aborts == 1 {
                Ok(())
            } else {
                Err(format!("{stats:?}"))
            }
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn the_error_for_a_bad_bootstrap_contains_envoys_message() {
    let options = EnvoyOptions::new("static_resources: {nonsense: 1}");
    match Envoy::start(options).await {
        Err(EnvoyError::Process(error @ ProcessError::Ended { .. })) => {
            assert!(error.to_string().contains("nonsense"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_error_for_an_envoy_that_is_not_ready_in_time_contains_its_log() {
    // EDS from a server that never responds: not ready before `initial_fetch_timeout`.
    let cluster = json!({"name": "waits", "type": "EDS", "connect_timeout": "1s",
        "eds_cluster_config": {"eds_config": {"initial_fetch_timeout": "600s",
            "resource_api_version": "V3",
            "api_config_source": {"api_type": "GRPC", "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "nobody"}}]}}}});
    let nobody = json!({"name": "nobody", "type": "STATIC", "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}}}},
        "load_assignment": {"cluster_name": "nobody"}});
    let bootstrap = json!({"node": {"id": "n", "cluster": "c"},
        "static_resources": {"clusters": [nobody, cluster]}})
    .to_string();
    let mut options = EnvoyOptions::new(bootstrap);
    options.ready = ReadyWhen::AdminAnswers;
    let mut envoy = Envoy::start(options).await.unwrap();
    let error = envoy
        .await_live(Duration::from_millis(500))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("to be live") && error.contains("its log ends"),
        "{error}"
    );
}

#[tokio::test]
async fn an_envoy_ends_gracefully_or_by_force() {
    let upstream = model().await;
    let (envoy, url) = start(&upstream, 1).await;
    assert!(envoy.quit(SOON).await.unwrap().success());
    let error = HttpClient::new()
        .send(HttpRequest::get(&url))
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Exchange(_)));

    let (envoy, _) = start(&upstream, 1).await;
    assert_eq!(envoy.kill().unwrap().code(), None);
}
