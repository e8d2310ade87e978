//! A control plane behind a sidecar: the sidecar ends the TLS of all proxies, and forwards their identities over one connection.

use std::net::SocketAddr;

use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::{Envoy, EnvoyOptions};
use headgate_testkit::ports::free_addr;
use headgate_testkit::svid::{SecretVolume, TrustDomainAuthority};
use headgate_testkit::testbed::Testbed;
use serde_json::{Value, json};

use crate::common::{
    Proxy, SERVER, SOON, chat, logged, refusals, served, start, start_with_files, testbed, volume,
};

const BLUE: &str = "/ns/blue/sa/gateway";
const GREEN: &str = "/ns/green/sa/gateway";

fn at(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": address.port() } })
}

/// A sidecar as Istio configures it: mutual TLS in, `APPEND_FORWARD`, plaintext HTTP/2 to the control plane.
fn sidecar(listen: SocketAddr, xds: SocketAddr, certificates: &SecretVolume) -> Value {
    let file = |name: &str| json!({ "filename": certificates.path().join(name) });
    let tls = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": true,
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_certificates": [{ "certificate_chain": file("tls.crt"), "private_key": file("tls.key") }],
            "validation_context": { "trusted_ca": file("ca.crt") },
        },
    });
    let router =
        json!({ "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" });
    let route =
        json!({ "match": { "prefix": "/" }, "route": { "cluster": "headgate", "timeout": "0s" } });
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "sidecar",
        "codec_type": "HTTP2",
        "forward_client_cert_details": "APPEND_FORWARD",
        "set_current_client_cert_details": { "subject": true, "uri": true, "dns": true },
        "http_filters": [{ "name": "router", "typed_config": router }],
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
    });
    json!({ "static_resources": {
        "listeners": [{
            "name": "sidecar",
            "address": at(listen),
            "filter_chains": [{
                "transport_socket": { "name": "tls", "typed_config": tls },
                "filters": [{ "name": "http", "typed_config": manager }],
            }],
        }],
        "clusters": [{
            "name": "headgate",
            "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} },
            } },
            "load_assignment": {
                "cluster_name": "headgate",
                "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": at(xds) } }] }],
            },
        }],
    } })
}

const SCOPES: &str = "\
rules:
- name: blue
  match: { trustDomain: a.test, namespace: blue, serviceAccount: gate* }
  namespaces: [blue]
- name: green
  match: { spiffeId: '*/ns/green/sa/gateway' }
  namespaces: [green]
";

async fn clusters(proxy: &Proxy) -> String {
    proxy.envoy.clusters().await.unwrap().to_string()
}

struct Setup {
    testbed: Testbed,
    a: TrustDomainAuthority,
    dir: tempfile::TempDir,
    inbound: SocketAddr,
    _sidecar: Envoy,
}

async fn setup() -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let a = TrustDomainAuthority::new("a.test").unwrap();
    let scopes = dir.path().join("scopes.yaml");
    std::fs::write(&scopes, SCOPES).unwrap();
    let scopes = scopes.to_str().unwrap();
    let args = ["--trust-xfcc-from", "127.0.0.0/8", "--scopes", scopes];
    let testbed = testbed(&["blue", "green"], &args.map(str::to_owned)).await;
    let files = volume(dir.path(), "server", &a, SERVER, a.pem());
    let inbound = free_addr().unwrap();
    let bootstrap = sidecar(inbound, testbed.addresses().xds, &files);
    let options = EnvoyOptions::new(bootstrap.to_string());
    Setup {
        _sidecar: Envoy::start(options).await.unwrap(),
        testbed,
        a,
        dir,
        inbound,
    }
}

impl Setup {
    async fn proxy(&self, id: &str, path: &str) -> Proxy {
        let files = volume(self.dir.path(), id, &self.a, path, self.a.pem());
        let server = format!("spiffe://a.test{SERVER}");
        start_with_files(&self.testbed, id, files.path(), &server, self.inbound).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_proxy_behind_the_sidecar_sees_the_namespace_of_its_own_identity_only() {
    let setup = setup().await;
    let testbed = &setup.testbed;
    let blue = setup.proxy("blue", BLUE).await;
    let green = setup.proxy("green", GREEN).await;
    for (proxy, own, foreign) in [(&blue, "blue", "green"), (&green, "green", "blue")] {
        let row = served(testbed, own).await;
        assert_eq!(
            row["identity"],
            format!("spiffe://a.test/ns/{own}/sa/gateway")
        );
        assert_eq!(chat(testbed, &proxy.url, own).await, 200);
        assert_eq!(chat(testbed, &proxy.url, foreign).await, 404);
        let clusters = clusters(proxy).await;
        assert!(clusters.contains(&format!("model/{own}/")), "{clusters}");
        assert!(
            !clusters.contains(&format!("model/{foreign}/")),
            "{clusters}"
        );
    }
    let other = setup.proxy("other", "/ns/red/sa/gateway").await;
    logged(
        testbed,
        &[
            "proxy denied",
            "no_rule",
            "no rule of --scopes matches",
            "/ns/red/sa/gateway",
        ],
    )
    .await;
    assert!(refusals(testbed, "no_rule").await >= 1);
    drop(other);

    // The rules change: an error changes nothing, then green is no longer allowed.
    let file = setup.dir.path().join("scopes.yaml");
    std::fs::write(&file, SCOPES.replace("[green]", "[grey]")).unwrap();
    let problem = eventually(SOON, "the problem in the status", async || {
        let status = testbed
            .control_plane()
            .get("/syncz")
            .await
            .map_err(|e| e.to_string())?;
        let problems = status["problems"].as_array().cloned().unwrap_or_default();
        let found = problems.into_iter().find(|p| p["reason"] == "ScopeFile");
        found.ok_or_else(|| status["problems"].to_string())
    });
    let problem = problem.await.unwrap().to_string();
    for part in ["line 7", "grey", "--domain grey=", "last good scope rules"] {
        assert!(problem.contains(part), "{part} in {problem}");
    }
    served(testbed, "green").await;
    let without_green = SCOPES.split("- name: green").next().unwrap();
    std::fs::write(&file, without_green).unwrap();
    logged(testbed, &["proxy denied", "no_rule", GREEN]).await;
    eventually(SOON, "green to be gone", async || {
        let status = testbed
            .control_plane()
            .get("/syncz")
            .await
            .map_err(|e| e.to_string())?;
        let ids = status["proxies"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["id"].to_string());
        let ids: Vec<String> = ids.collect();
        (ids == ["\"blue\""])
            .then_some(())
            .ok_or(format!("{ids:?}"))
    })
    .await
    .unwrap();
    // It keeps what it runs.
    assert_eq!(chat(testbed, &green.url, "green").await, 200);
    let status = testbed.control_plane().get("/syncz").await.unwrap();
    assert!(
        !status["problems"].to_string().contains("ScopeFile"),
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_writes_the_header_itself_keeps_its_own_identity() {
    let setup = setup().await;
    let testbed = &setup.testbed;
    let files = volume(setup.dir.path(), "spoof", &setup.a, BLUE, setup.a.pem());
    let (server, output) = (
        format!("spiffe://a.test{SERVER}"),
        setup.dir.path().join("spoof-bootstrap"),
    );
    let (certificates, xds) = (files.path().to_str().unwrap(), setup.inbound.to_string());
    let args = [
        "--identity",
        "files",
        "--certificates",
        certificates,
        "--server-id",
        &server,
        "--xds",
        &xds,
    ];
    let bootstrap = crate::common::bootstrap(&output, &args);
    for (id, header) in [
        (
            "spoof-1",
            "URI=spiffe://a.test/ns/green/sa/gateway".to_owned(),
        ),
        (
            "spoof-2",
            "Subject=\\\"x;URI=spiffe://a.test/ns/green/sa/gateway".to_owned(),
        ),
    ] {
        let metadata = format!(
            "      initial_metadata:\n      - key: x-forwarded-client-cert\n        value: \"{header}\"\n"
        );
        let service = "    - envoy_grpc:\n";
        let spoofing = bootstrap.replace(
            service,
            &format!("    - {}{}", metadata.trim_start(), "      envoy_grpc:\n"),
        );
        assert_ne!(spoofing, bootstrap, "{bootstrap}");
        let proxy = start(id, spoofing).await;
        let row = served(testbed, id).await;
        assert_eq!(row["identity"], format!("spiffe://a.test{BLUE}"));
        assert!(!clusters(&proxy).await.contains("model/green/"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_comes_without_the_sidecar_has_no_identity() {
    let setup = setup().await;
    let testbed = &setup.testbed;
    let bootstrap = headgate_testkit::testbed::bootstrap(testbed.addresses().xds, None).unwrap();
    let _proxy = start("direct", bootstrap).await;
    logged(testbed, &["proxy denied", "no_identity", "direct"]).await;
    assert!(refusals(testbed, "no_identity").await >= 1);
}
