//! Names that do not exist: an Envoy that asks for them starts all the same, after its own wait.

use std::net::SocketAddr;
use std::time::Duration;

use headgate_test_support::client::{HttpRequest, OpenAiRequest};
use headgate_test_support::envoy::{Envoy, EnvoyOptions};
use headgate_test_support::ports::free_addr;
use headgate_test_support::stage::bootstrap;
use serde_json::{Value, json};

use crate::common::{SOON, budget, declare, empty_world};

/// How long Envoy's start waits for a name: `initial_fetch_timeout`, which nothing that we ship sets.
const FETCH: Duration = Duration::from_secs(15);

/// A subscription over ADS, as the control plane's own listener has it.
fn over_ads() -> Value {
    json!({ "ads": {}, "resource_api_version": "V3" })
}

fn listener(name: &str, address: SocketAddr, routes: (&str, Value), filters: Vec<Value>) -> Value {
    let router = json!({
        "name": "router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
    });
    let filters: Vec<Value> = filters.into_iter().chain([router]).collect();
    let mut manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "http_filters": filters,
    });
    manager[routes.0] = routes.1;
    json!({
        "name": name,
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": address.port() } },
        "filter_chains": [{ "filters": [{ "name": "http", "typed_config": manager }] }],
    })
}

fn says(text: &str) -> Value {
    let route = json!({
        "match": { "prefix": "/" },
        "direct_response": { "status": 200, "body": { "inline_string": text } },
    });
    json!({ "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_do_not_exist_never_block_readiness() {
    let mut stage = empty_world(1, 0, &budget("tenants", ""), &[]).await;
    declare(&mut stage, "m", "v1", |manifest| manifest).await;

    let [plain, no_routes, no_filter] = [(); 3].map(|()| free_addr().unwrap());
    let missing_routes =
        json!({ "config_source": over_ads(), "route_config_name": "no-such-routes" });
    let missing_filter = json!({
        "name": "no-such-filter",
        "config_discovery": {
            "config_source": over_ads(),
            "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
        },
    });
    let listeners = json!([
        listener("plain", plain, ("route_config", says("plain")), vec![]),
        listener("no-routes", no_routes, ("rds", missing_routes), vec![]),
        listener(
            "no-filter",
            no_filter,
            ("route_config", says("filtered")),
            vec![missing_filter]
        ),
    ]);
    // JSON is YAML: the shipped bootstrap with three listeners of its own.
    let shipped = bootstrap(stage.addresses().xds, None).unwrap();
    let own = format!("static_resources:\n  listeners: {listeners}\n");
    let bootstrap = shipped.replacen("static_resources:\n", &own, 1);
    assert_ne!(bootstrap, shipped);
    let mut options = EnvoyOptions {
        node_id: Some("asker".to_owned()),
        node_cluster: Some("test".to_owned()),
        within: FETCH + SOON,
        ..EnvoyOptions::new(bootstrap)
    };
    let listen = stage.addresses().envoy.to_string();
    options
        .node_metadata
        .insert("headgate.listen".to_owned(), listen.into());
    // Live: every listener is bound, the one that the control plane serves among them.
    let _envoy = Envoy::start(options).await.unwrap();
    stage
        .await_status(SOON, "the proxy to be in step", |s| {
            s.proxy("asker").is_some_and(|p| p.settled)
        })
        .await
        .unwrap();

    let client = stage.client();
    let get = async |address: SocketAddr| {
        client
            .send(HttpRequest::get(format!("http://{address}/")))
            .await
            .unwrap()
    };
    assert_eq!(get(plain).await.text(), "plain");
    // Without routes there is nothing to find; without its filter a listener must not serve.
    assert_eq!(get(no_routes).await.status, 404);
    assert_eq!(get(no_filter).await.status, 500);
    let chat = OpenAiRequest::chat("m").to(&format!("http://{}", stage.addresses().envoy));
    assert_eq!(client.send(chat).await.unwrap().status, 200);
}
