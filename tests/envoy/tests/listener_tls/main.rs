//! The listener with TLS: certificates of both sides, tenants by certificate, and HTTP/3 on the same port number.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use headgate_testkit::client::{OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::{Envoy, EnvoyOptions};
use headgate_testkit::jwt::{TokenIssuer, key_set};
use headgate_testkit::ports::free_addr;
use headgate_testkit::svid::{SecretVolume, Svid, SvidParams, TrustDomainAuthority};
use headgate_testkit::testbed::{Manifest, Seed, Testbed, TestbedOptions};
use headgate_testkit::tls_client::TlsOriginator;
use serde_json::json;

/// Deadline for most waits; generous, because other tests may load the machine.
const SOON: Duration = Duration::from_secs(30);

/// The tenant is the certificate's, else the header's; its budget of 1000 tokens needs months to refill.
const POLICIES: &str = "
apiVersion: headgate.dev/v1alpha1
kind: TrafficTagPolicy
metadata: { name: tenants }
spec: { tenantFrom: [peerSpiffeId, 'header:x-tenant-id'] }
---
apiVersion: headgate.dev/v1alpha1
kind: TokenBucketPolicy
metadata: { name: budget }
spec:
  models: [m]
  buckets:
  - { name: tokens, key: [tenant], profile: tokens, settleOn: reservation, tokens: { capacity: 1000, refillPerSecond: 0.001 } }
";

/// A control plane whose listener has a certificate, one Envoy, and the authority of everybody.
struct ListenerTestbed {
    testbed: Testbed,
    authority: TrustDomainAuthority,
    files: SecretVolume,
    _dir: tempfile::TempDir,
}

impl ListenerTestbed {
    async fn start(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = TrustDomainAuthority::new("a.test").unwrap();
        let mut files = SecretVolume::new(dir.path().join("tls")).unwrap();
        let server = authority.issue("/ns/edge/sa/gateway").unwrap();
        files.write_tls(&server, authority.pem()).unwrap();
        let path = files.path().display().to_string();
        let serve_args = ["--listener-tls", &path]
            .into_iter()
            .chain(args.iter().copied());
        let options = TestbedOptions {
            models: Seed::Empty,
            workers: 1,
            serve_args: serve_args.map(Into::into).collect(),
            ..TestbedOptions::default().policy(POLICIES)
        };
        let mut testbed = Testbed::start(options).await.unwrap();
        let mock = testbed.add_mock("m", "v1").await.unwrap();
        let manifest = Manifest::new("m", "v1").endpoints(&[mock]).render();
        testbed.files().write_model("m.yaml", &manifest).unwrap();
        testbed.wait_until_settled().await.unwrap();
        Self {
            testbed,
            authority,
            files,
            _dir: dir,
        }
    }

    fn client(&self, account: &str) -> Svid {
        self.authority
            .issue(&format!("/ns/apps/sa/{account}"))
            .unwrap()
    }

    /// A chat of 600 tokens over a new connection with this certificate.
    async fn chat(&self, client: Option<&Svid>) -> Result<Reply, String> {
        self.chat_with(self.authority.pem(), client, &[]).await
    }

    async fn chat_with(
        &self,
        authorities: &str,
        client: Option<&Svid>,
        headers: &[(&str, &str)],
    ) -> Result<Reply, String> {
        let to = self.testbed.addresses().envoy;
        let port = TlsOriginator::start(to, authorities, client).await.unwrap();
        let mut request = OpenAiRequest::chat("m").max_tokens(600);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let sent = self.testbed.client().send(request.to(&port.url())).await;
        sent.map_err(|error| error.to_string())
    }
}

fn tenant(reply: &Reply) -> Option<String> {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let echo = reply.json().unwrap();
    let tenant = &echo["mock"]["headers"]["x-headgate-tenant"];
    tenant.as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_determines_the_tenant_and_headers_do_not() {
    let listener = ListenerTestbed::start(&["--listener-client-certificates", "require"]).await;
    let [alice, bob] = ["alice", "bob"].map(|account| listener.client(account));
    let first = listener.chat(Some(&alice)).await.unwrap();
    assert_eq!(
        tenant(&first).as_deref(),
        Some("spiffe://a.test/ns/apps/sa/alice")
    );
    let spoofed = [
        ("x-tenant-id", "bob"),
        ("x-headgate-tenant", "spiffe://a.test/ns/apps/sa/bob"),
        (
            "x-forwarded-client-cert",
            "URI=spiffe://a.test/ns/apps/sa/bob",
        ),
        ("baggage", "headgate.tenant=bob"),
    ];
    let pem = listener.authority.pem();
    let second = listener
        .chat_with(pem, Some(&alice), &spoofed)
        .await
        .unwrap();
    assert_eq!(second.status, 429, "{}", second.text());
    let other = listener.chat(Some(&bob)).await.unwrap();
    assert_eq!(
        tenant(&other).as_deref(),
        Some("spiffe://a.test/ns/apps/sa/bob")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_a_good_certificate_is_refused() {
    let listener = ListenerTestbed::start(&["--listener-client-certificates", "require"]).await;
    assert!(listener.chat(None).await.is_err());
    let id = "spiffe://a.test/ns/apps/sa/alice".to_owned();
    let with = |uris: Vec<String>| SvidParams {
        uris,
        ..SvidParams::default()
    };
    let foreign = TrustDomainAuthority::new("b.test").unwrap();
    let impostor = foreign.issue_with(&with(vec![id.clone()])).unwrap();
    for svid in [foreign.issue("/ns/apps/sa/alice").unwrap(), impostor] {
        assert!(listener.chat(Some(&svid)).await.is_err());
    }
    let two = with(vec![id, "spiffe://a.test/ns/apps/sa/bob".to_owned()]);
    let two = listener.authority.issue_with(&two).unwrap();
    assert_eq!(listener.chat(Some(&two)).await.unwrap().status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_optional_names_the_tenant_if_the_client_has_it() {
    let listener = ListenerTestbed::start(&["--listener-client-certificates", "request"]).await;
    let alice = listener.client("alice");
    let with = listener.chat(Some(&alice)).await.unwrap();
    assert_eq!(
        tenant(&with).as_deref(),
        Some("spiffe://a.test/ns/apps/sa/alice")
    );
    let pem = listener.authority.pem();
    let headers = [("x-tenant-id", "acme")];
    let without = listener.chat_with(pem, None, &headers).await.unwrap();
    assert_eq!(tenant(&without).as_deref(), Some("acme"));
    // Of the bundle, but of another trust domain.
    let other = SvidParams {
        uris: vec!["spiffe://b.test/x".to_owned()],
        ..SvidParams::default()
    };
    let other = listener.authority.issue_with(&other).unwrap();
    assert_eq!(listener.chat(Some(&other)).await.unwrap().status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_rotates_and_bad_files_leave_the_last_good_one() {
    let mut listener = ListenerTestbed::start(&[]).await;
    let old = listener.authority.pem().to_owned();
    let old_key = listener.authority.issue("/x").unwrap().key_pem;
    assert_eq!(listener.chat(None).await.unwrap().status, 200);
    let next = TrustDomainAuthority::new("a.test").unwrap();
    let svid = next.issue("/ns/edge/sa/gateway").unwrap();
    listener.files.write_tls(&svid, next.pem()).unwrap();
    eventually(SOON, "the new certificate", async || {
        let headers = [("x-tenant-id", "rotated")];
        listener
            .chat_with(next.pem(), None, &headers)
            .await
            .map(drop)
    })
    .await
    .unwrap();
    assert!(listener.chat_with(&old, None, &[]).await.is_err());

    // A key that does not fit.
    let bad = [("tls.crt", svid.pem.as_str()), ("tls.key", &old_key)];
    listener.files.write(&bad).unwrap();
    eventually(SOON, "the problem", async || {
        let status = listener.testbed.control_plane().get("/syncz").await;
        let status = status.map_err(|error| error.to_string())?.to_string();
        let shown = status.contains("ListenerCertificate") && status.contains("tls.key");
        shown.then_some(()).ok_or(status)
    })
    .await
    .unwrap();
    let headers = [("x-tenant-id", "after")];
    let reply = listener
        .chat_with(next.pem(), None, &headers)
        .await
        .unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());

    // No dump has a key.
    let ours = listener
        .testbed
        .control_plane()
        .get("/config_dump")
        .await
        .unwrap();
    let theirs = listener.testbed.envoys()[0]
        .envoy
        .admin()
        .config_dump()
        .await
        .unwrap();
    let key = svid.key_pem.lines().nth(1).unwrap();
    for dump in [ours.to_string(), theirs.to_string()] {
        assert!(
            !dump.contains("PRIVATE KEY") && !dump.contains(key),
            "{dump}"
        );
    }
}

/// An Envoy that speaks HTTP/3 to the listener, and its plain URL.
async fn http3_client(listener: &ListenerTestbed, client: Option<&Svid>) -> (Envoy, String) {
    let listen = free_addr().unwrap();
    let to = listener.testbed.addresses().envoy;
    let inline = |text: &str| json!({ "inline_string": text });
    let mut tls = json!({
        "sni": "headgate.test",
        "common_tls_context": { "validation_context": { "trusted_ca": inline(listener.authority.pem()) } },
    });
    if let Some(svid) = client {
        tls["common_tls_context"]["tls_certificates"] = json!([
            { "certificate_chain": inline(&svid.pem), "private_key": inline(&svid.key_pem) },
        ]);
    }
    let ext = |name: &str| format!("type.googleapis.com/envoy.extensions.{name}");
    let cluster = json!({
        "name": "listener",
        "type": "STATIC",
        "load_assignment": { "cluster_name": "listener", "endpoints": [{ "lb_endpoints": [{ "endpoint": {
            "address": { "socket_address": { "address": "127.0.0.1", "port_value": to.port() } },
        }}]}]},
        "transport_socket": { "name": "envoy.transport_sockets.quic", "typed_config": {
            "@type": ext("transport_sockets.quic.v3.QuicUpstreamTransport"),
            "upstream_tls_context": tls,
        }},
        "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": ext("upstreams.http.v3.HttpProtocolOptions"),
            "explicit_http_config": { "http3_protocol_options": {} },
        }},
    });
    let manager = json!({
        "@type": ext("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "client",
        "http_filters": [{ "name": "router", "typed_config": { "@type": ext("filters.http.router.v3.Router") } }],
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [
            { "match": { "prefix": "/" }, "route": { "cluster": "listener" } },
        ]}]},
    });
    let bootstrap = json!({ "static_resources": {
        "listeners": [{
            "name": "client",
            "address": { "socket_address": { "address": "127.0.0.1", "port_value": listen.port() } },
            "filter_chains": [{ "filters": [{ "name": "http", "typed_config": manager }] }],
        }],
        "clusters": [cluster],
    }});
    let envoy = Envoy::start(EnvoyOptions::new(bootstrap.to_string())).await;
    (envoy.unwrap(), format!("http://{listen}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http3_is_offered_beside_it_with_the_same_demands() {
    let args = ["--listener-client-certificates", "require", "--http3=8443"];
    let listener = ListenerTestbed::start(&args).await;
    let alice = listener.client("alice");
    let first = listener.chat(Some(&alice)).await.unwrap();
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(first.header("alt-svc"), Some("h3=\":8443\"; ma=86400"));
    let chat = async |url: String| {
        let request = OpenAiRequest::chat("m").max_tokens(600).to(&url);
        listener.testbed.client().send(request).await.unwrap()
    };

    // The same tenant and the same budget over HTTP/3: 600 of 1000 tokens are spent.
    let (_with, url) = http3_client(&listener, Some(&alice)).await;
    let second = chat(url).await;
    assert_eq!(second.status, 429, "{}", second.text());
    // A refusal that came over TCP has the offer too.
    let third = listener.chat(Some(&alice)).await.unwrap();
    assert_eq!(
        (third.status, third.header("alt-svc").is_some()),
        (429, true)
    );
    let bob = listener.client("bob");
    let (_bob, url) = http3_client(&listener, Some(&bob)).await;
    let reply = chat(url).await;
    assert_eq!(
        tenant(&reply).as_deref(),
        Some("spiffe://a.test/ns/apps/sa/bob")
    );

    let two = SvidParams {
        uris: ["alice", "bob"]
            .map(|a| format!("spiffe://a.test/ns/apps/sa/{a}"))
            .into(),
        ..SvidParams::default()
    };
    let two = listener.authority.issue_with(&two).unwrap();
    let (_two, url) = http3_client(&listener, Some(&two)).await;
    let reply = chat(url).await;
    assert_eq!(reply.status, 403, "{}", reply.text());
    let (_without, url) = http3_client(&listener, None).await;
    let reply = chat(url).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_demanded_over_http3_too() {
    let listener = ListenerTestbed::start(&["--http3=8443"]).await;
    let issuer = TokenIssuer::new("https://issuer.test", "k1").unwrap();
    let policy = json!({
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "AuthenticationPolicy",
        "metadata": { "name": "login" },
        "spec": { "jwt": [{ "issuer": "https://issuer.test", "jwks": { "inline": key_set(&[&issuer]) } }] },
    });
    let (_client, url) = http3_client(&listener, None).await;
    let chat = async |token: Option<&str>| {
        let mut request = OpenAiRequest::chat("m").max_tokens(8);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        listener
            .testbed
            .client()
            .send(request.to(&url))
            .await
            .unwrap()
    };
    assert_eq!(chat(None).await.status, 200);
    let files = listener.testbed.files();
    files
        .write_policy("login.yaml", &policy.to_string())
        .unwrap();
    let refused = eventually(SOON, "a refusal", async || {
        let reply = chat(None).await;
        (reply.status == 401).then_some(()).ok_or(reply.status)
    });
    refused.await.unwrap();
    let token = issuer.token(&json!({})).unwrap();
    let reply = chat(Some(&token)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(chat(Some("x.y.z")).await.status, 401);
}
