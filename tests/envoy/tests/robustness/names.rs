//! Names that do not exist: an Envoy that asks for them starts all the same, after its own wait.

use std::net::SocketAddr;
use std::time::Duration;

use headgate_testkit::client::{ClientError, HttpRequest, OpenAiRequest};
use headgate_testkit::envoy::{Envoy, EnvoyOptions};
use headgate_testkit::ports::free_addr;
use headgate_testkit::stage::{Stage, bootstrap};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::common::{SOON, budget, declare, empty_world};

/// How long Envoy's start waits for a name: `initial_fetch_timeout`, which nothing that we ship sets.
const FETCH: Duration = Duration::from_secs(15);

/// A subscription over ADS, as the control plane's own listener has it.
pub(crate) fn over_ads() -> Value {
    json!({ "ads": {}, "resource_api_version": "V3" })
}

/// A static listener: its routes as a field of the connection manager, and its filters before the router.
pub(crate) fn listener(
    name: &str,
    address: SocketAddr,
    routes: (&str, Value),
    filters: Vec<Value>,
) -> Value {
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

/// A proxy of the stage's control plane, by the shipped bootstrap, with listeners of its own beside the one it is served.
pub(crate) fn proxy_with(stage: &Stage, id: &str, listeners: &[Value]) -> EnvoyOptions {
    let shipped = bootstrap(stage.addresses().xds, None).unwrap();
    // JSON is YAML.
    let own = format!("static_resources:\n  listeners: {}\n", json!(listeners));
    let bootstrap = shipped.replacen("static_resources:\n", &own, 1);
    assert_ne!(bootstrap, shipped);
    let mut options = EnvoyOptions {
        node_id: Some(id.to_owned()),
        node_cluster: Some("test".to_owned()),
        ..EnvoyOptions::new(bootstrap)
    };
    let listen = stage.addresses().envoy.to_string();
    let metadata = &mut options.node_metadata;
    metadata.insert("headgate.listen".to_owned(), listen.into());
    options
}

/// A filter whose configuration is asked for over ADS.
pub(crate) fn discovered(name: &str) -> Value {
    json!({
        "name": name,
        "config_discovery": {
            "config_source": over_ads(),
            "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
        },
    })
}

/// TLS with a certificate that is asked for over ADS.
fn tls(secret: &str) -> Value {
    json!({
        "name": "tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "tls_certificate_sds_secret_configs": [{ "name": secret, "sds_config": over_ads() }],
            },
        },
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

    let [plain, no_routes, no_filter, no_secret] = [(); 4].map(|()| free_addr().unwrap());
    let missing_routes =
        json!({ "config_source": over_ads(), "route_config_name": "no-such-routes" });
    let inline = |text| ("route_config", says(text));
    let mut secretive = listener("no-secret", no_secret, inline("secret"), vec![]);
    secretive["filter_chains"][0]["transport_socket"] = tls("no-such-secret");
    let listeners = [
        listener("plain", plain, inline("plain"), vec![]),
        listener("no-routes", no_routes, ("rds", missing_routes), vec![]),
        listener(
            "no-filter",
            no_filter,
            inline("filtered"),
            vec![discovered("no-such-filter")],
        ),
        secretive,
    ];
    let options = EnvoyOptions {
        within: FETCH + SOON,
        ..proxy_with(&stage, "asker", &listeners)
    };
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
    // Bound, and without a certificate there is nothing to say to a client, in the clear least of all.
    let hello = client.send(HttpRequest::get(format!("http://{no_secret}/")));
    let refused = hello.await.unwrap_err();
    assert!(matches!(refused, ClientError::Exchange(_)), "{refused}");
    let mut connection = TcpStream::connect(no_secret).await.unwrap();
    let mut said = Vec::new();
    let read = connection.read_to_end(&mut said);
    let _closed = tokio::time::timeout(SOON, read).await.unwrap();
    assert_eq!(said, b"");
    let chat = OpenAiRequest::chat("m").to(&format!("http://{}", stage.addresses().envoy));
    assert_eq!(client.send(chat).await.unwrap().status, 200);
}
