//! Subscriptions to resources that do not exist: Envoy starts nevertheless, after its own timeout.

use std::net::SocketAddr;
use std::time::Duration;

use headgate_testkit::client::{ClientError, HttpRequest, OpenAiRequest};
use headgate_testkit::envoy::{Envoy, EnvoyOptions};
use headgate_testkit::ports::free_addr;
use headgate_testkit::testbed::{Testbed, bootstrap};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::common::{SOON, budget, declare, empty_testbed};

/// Envoy's wait for a missing resource at its start: the default of `initial_fetch_timeout`, which the shipped files do not set.
const FETCH: Duration = Duration::from_secs(15);

/// A subscription over ADS, as in the control plane's own listener.
pub(crate) fn over_ads() -> Value {
    json!({ "ads": {}, "resource_api_version": "V3" })
}

/// A static listener: the route field of its connection manager, and the filters in front of the router.
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

/// A proxy of the testbed's control plane, with the shipped bootstrap and additional static listeners.
pub(crate) fn proxy_with(testbed: &Testbed, id: &str, listeners: &[Value]) -> EnvoyOptions {
    let shipped = bootstrap(testbed.addresses().xds, None).unwrap();
    // JSON is YAML.
    let own = format!("static_resources:\n  listeners: {}\n", json!(listeners));
    let bootstrap = shipped.replacen("static_resources:\n", &own, 1);
    assert_ne!(bootstrap, shipped);
    let mut options = EnvoyOptions {
        node_id: Some(id.to_owned()),
        node_cluster: Some("test".to_owned()),
        ..EnvoyOptions::new(bootstrap)
    };
    let listen = testbed.addresses().envoy.to_string();
    let metadata = &mut options.node_metadata;
    metadata.insert("headgate.listen".to_owned(), listen.into());
    options
}

/// A filter whose configuration comes over ADS.
pub(crate) fn discovered(name: &str) -> Value {
    json!({
        "name": name,
        "config_discovery": {
            "config_source": over_ads(),
            "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
        },
    })
}

/// TLS with a certificate that comes over ADS.
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

fn fixed_response(text: &str) -> Value {
    let route = json!({
        "match": { "prefix": "/" },
        "direct_response": { "status": 200, "body": { "inline_string": text } },
    });
    json!({ "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resources_that_do_not_exist_never_block_readiness() {
    let mut testbed = empty_testbed(1, 0, &budget("tenants", ""), &[]).await;
    declare(&mut testbed, "m", "v1", |manifest| manifest).await;

    let [plain, no_routes, no_filter, no_secret] = [(); 4].map(|()| free_addr().unwrap());
    let missing_routes =
        json!({ "config_source": over_ads(), "route_config_name": "no-such-routes" });
    let inline = |text| ("route_config", fixed_response(text));
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
        ..proxy_with(&testbed, "asker", &listeners)
    };
    // Live: every listener is bound, also the one of the control plane.
    let _envoy = Envoy::start(options).await.unwrap();
    testbed
        .wait_for_status(SOON, "the proxy to be current", |s| {
            s.proxy("asker").is_some_and(|p| p.current)
        })
        .await
        .unwrap();

    let client = testbed.client();
    let get = async |address: SocketAddr| {
        client
            .send(HttpRequest::get(format!("http://{address}/")))
            .await
            .unwrap()
    };
    assert_eq!(get(plain).await.text(), "plain");
    // Without routes nothing is found; without its filter a listener must not serve.
    assert_eq!(get(no_routes).await.status, 404);
    assert_eq!(get(no_filter).await.status, 500);
    // The listener is bound; without a certificate it sends no byte, least of all in clear text.
    let hello = client.send(HttpRequest::get(format!("http://{no_secret}/")));
    let refused = hello.await.unwrap_err();
    assert!(matches!(refused, ClientError::Exchange(_)), "{refused}");
    let mut connection = TcpStream::connect(no_secret).await.unwrap();
    let mut received = Vec::new();
    let read = connection.read_to_end(&mut received);
    let _closed = tokio::time::timeout(SOON, read).await.unwrap();
    assert_eq!(received, b"");
    let chat = OpenAiRequest::chat("m").to(&format!("http://{}", testbed.addresses().envoy));
    assert_eq!(client.send(chat).await.unwrap().status, 200);
}
