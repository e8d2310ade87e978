//! A filter with `role: follow` behind routes of others, as in a mesh sidecar: it knows less than the hop before it and must not get
//! in the way.

use std::net::SocketAddr;

use headgate_testkit::client::HttpRequest;
use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::{Envoy, EnvoyOptions};
use headgate_testkit::mock_model::{MockModel, MockOptions};
use headgate_testkit::ports::free_addr;
use headgate_testkit::testbed::{Manifest, Testbed, TestbedOptions, artifacts};
use serde_json::{Value, json};

use crate::common::{CAPACITY, INPUT, SOON, ask, charged, counters};

/// All requests go to one cluster, through a filter with `role: follow` that knows model `m` in `v1` and has a bucket for any model
/// that keeps its reservations.
fn bootstrap(listen: SocketAddr, server: SocketAddr) -> Value {
    let module = artifacts::wasm_module().unwrap();
    let config = json!({
        "role": "follow",
        "namespaces": { "default": {
            "models": { "m": { "base": [{
                "carrier": "deployment/m-v1", "weight": 1, "versions": [{ "version": "v1", "endpoints": 1 }],
            }] } },
            "buckets": [{ "policy": "all", "at": "inbound", "bucket": {
                "name": "all", "key": ["tenant"], "profile": "tokens", "settleOn": "reservation",
                "tokens": { "capacity": CAPACITY, "refillPerSecond": 0.001 },
            } }],
        } },
    });
    let wasm = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {
            "name": "headgate",
            "vm_config": {
                "vm_id": "headgate",
                "runtime": "envoy.wasm.runtime.v8",
                "code": { "local": { "filename": module } },
            },
            "allow_on_headers_stop_iteration": true,
            "failure_policy": "FAIL_RELOAD",
            "configuration": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": config.to_string(),
            },
        },
    });
    let router =
        json!({ "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" });
    let route =
        json!({ "match": { "prefix": "/" }, "route": { "cluster": "server", "timeout": "0s" } });
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "sidecar",
        "http_filters": [
            { "name": "headgate", "typed_config": wasm },
            { "name": "router", "typed_config": router },
        ],
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
    });
    let at = |address: SocketAddr| json!({ "socket_address": { "address": "127.0.0.1", "port_value": address.port() } });
    json!({ "static_resources": {
        "listeners": [{
            "name": "sidecar",
            "address": at(listen),
            "filter_chains": [{ "filters": [{ "name": "http", "typed_config": manager }] }],
        }],
        "clusters": [{
            "name": "server",
            "load_assignment": {
                "cluster_name": "server",
                "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": at(server) } }] }],
            },
        }],
    } })
}

/// A gateway with model `m` in a version that the sidecar does not know, and model `other`, which it does not know at all.
async fn gateway(sidecar: SocketAddr) -> Testbed {
    let gateway = Testbed::start(TestbedOptions {
        workers: 1,
        ..TestbedOptions::empty()
    })
    .await
    .unwrap();
    for (model, version) in [("m", "v9"), ("other", "v1")] {
        let manifest = Manifest::new(model, version).endpoints(&[sidecar]);
        let file = format!("{model}.yaml");
        gateway
            .files()
            .write_model(&file, &manifest.render())
            .unwrap();
    }
    gateway.wait_until_settled().await.unwrap();
    gateway
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_following_hop_serves_and_charges_models_that_it_does_not_know() {
    let server = MockModel::start(MockOptions::new("any", "any"))
        .await
        .unwrap();
    let listen = free_addr().unwrap();
    let options = EnvoyOptions::new(bootstrap(listen, server.addr()).to_string());
    let sidecar = Envoy::start(options).await.unwrap();
    let gateway = gateway(listen).await;

    for (model, version) in [("m", "v9"), ("other", "v1")] {
        let request = ask(model, 200).field("model", model);
        let reply = gateway.send(&request).await.unwrap();
        assert_eq!(reply.status, 200, "{model}: {}", reply.text());
        let echo = reply.json().unwrap();
        for (header, value) in [
            ("x-model", model),
            ("x-model-version", version),
            ("x-headgate-tenant", model),
            ("x-headgate-lane", "base"),
        ] {
            assert_eq!(echo["mock"]["headers"][header], value, "{model}: {header}");
        }
        // The sidecar's bucket for any model is charged; the gateway has no bucket.
        charged(&gateway, model, INPUT + 200).await;
    }
    let counted = eventually(SOON, "both requests to be counted", async || {
        let counted = counters(sidecar.admin(), "requests_total").await;
        let admitted = counted
            .iter()
            .filter(|(name, _)| name.contains(";.;outcome=.=admitted;.;"));
        match admitted.map(|(_, count)| count).sum() {
            0_u64..2 => Err(format!("{counted:?}")),
            _ => Ok(counted),
        }
    });
    let counted = counted.await.unwrap();
    assert!(
        !counted.keys().any(|name| name.contains("not_found")),
        "{counted:?}"
    );

    // Model lists are not answered here: the server answers them.
    let url = format!("http://{listen}/v1/models");
    let list = gateway.client().send(HttpRequest::get(url)).await.unwrap();
    assert_eq!(list.json().unwrap()["data"][0]["id"], "any");
}
