//! The listener with certificates of a real SPIRE: the gateway's from the agent beside it, those of clients from two trust domains.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use headgate_meshkit::spire::{Spire, SpireOptions, Svid, Workload};
use headgate_testkit::client::{OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::{Envoy, EnvoyOptions, find_envoy};
use headgate_testkit::ports::free_addr;
use headgate_testkit::testbed::{Manifest, Seed, Testbed, TestbedOptions, artifacts};
use serde_json::{Value, json};

/// Deadline for most waits; generous, because other tests may load the machine.
const SOON: Duration = Duration::from_secs(30);

const TENANTS: &str = "{apiVersion: headgate.dev/v1alpha1, kind: TrafficTagPolicy, metadata: {name: tenants}, \
    spec: {tenantFrom: [peerSpiffeId]}}\n";

/// Path of the identity of the gateway.
const GATEWAY: &str = "/ns/edge/sa/gateway";

/// The bootstrap for a SPIRE agent. The xDS port is plaintext here: another test is about its TLS.
fn bootstrap(spire: &Spire, xds: &str) -> Value {
    let made = Command::new(artifacts::headgate_binary().unwrap())
        .args(["bootstrap", "--format", "json", "--identity", "spiffe"])
        .arg("--spiffe-socket")
        .arg(spire.socket())
        .args(["--server-id", &spire.id("/headgate"), "--xds", xds])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let mut bootstrap: Value = serde_json::from_slice(&made.stdout).unwrap();
    let xds = &mut bootstrap["static_resources"]["clusters"][0];
    assert!(
        xds.as_object_mut()
            .unwrap()
            .remove("transport_socket")
            .is_some()
    );
    bootstrap
}

/// A proxy of a client: an Envoy that presents a certificate to the gateway and verifies the gateway's SPIFFE id.
async fn client(to: u16, svid: Option<&Svid>, bundle: &Path, gateway: &str) -> (Envoy, String) {
    let listen = free_addr().unwrap();
    let file = |path: PathBuf| json!({ "filename": path });
    let ext = |name: &str| format!("type.googleapis.com/envoy.extensions.{name}");
    let certificates: Vec<Value> = svid
        .iter()
        .map(|svid| json!({ "certificate_chain": file(svid.chain()), "private_key": file(svid.key()) }))
        .collect();
    let tls = json!({
        "@type": ext("transport_sockets.tls.v3.UpstreamTlsContext"),
        "common_tls_context": {
            "tls_certificates": certificates,
            "validation_context": {
                "trusted_ca": file(bundle.to_owned()),
                "match_typed_subject_alt_names": [{ "san_type": "URI", "matcher": { "exact": gateway } }],
            },
        },
    });
    let manager = json!({
        "@type": ext("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "client",
        "http_filters": [{ "name": "router", "typed_config": { "@type": ext("filters.http.router.v3.Router") } }],
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [
            { "match": { "prefix": "/" }, "route": { "cluster": "gateway" } },
        ]}]},
    });
    let bootstrap = json!({ "static_resources": {
        "listeners": [{
            "name": "client",
            "address": { "socket_address": { "address": "127.0.0.1", "port_value": listen.port() } },
            "filter_chains": [{ "filters": [{ "name": "http", "typed_config": manager }] }],
        }],
        "clusters": [{
            "name": "gateway",
            "type": "STATIC",
            "load_assignment": { "cluster_name": "gateway", "endpoints": [{ "lb_endpoints": [{ "endpoint": {
                "address": { "socket_address": { "address": "127.0.0.1", "port_value": to } },
            }}]}]},
            "transport_socket": { "name": "envoy.transport_sockets.tls", "typed_config": tls },
        }],
    }});
    let envoy = Envoy::start(EnvoyOptions::new(bootstrap.to_string())).await;
    (envoy.unwrap(), format!("http://{listen}"))
}

async fn chat(testbed: &Testbed, url: &str) -> Reply {
    let request = OpenAiRequest::chat("m").header("x-tenant-id", "spoofed");
    testbed.client().send(request.to(url)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_two_trust_domains_are_tenants_and_others_are_refused() {
    let own = Spire::start(SpireOptions::new("cluster.example"))
        .await
        .unwrap();
    let cloud = Spire::start(SpireOptions::new("cloud.example"))
        .await
        .unwrap();
    own.federate(&cloud).await.unwrap();
    let args = [
        "--listener-spiffe",
        "--listener-client-certificates",
        "require",
        "--listener-trust-domains",
        "cluster.example,cloud.example",
    ];
    let options = TestbedOptions {
        models: Seed::Empty,
        envoys: 0,
        serve_args: args.map(Into::into).into(),
        ..TestbedOptions::default().policy(TENANTS)
    };
    let mut testbed = Testbed::start(options).await.unwrap();
    let mock = testbed.add_mock("m", "v1").await.unwrap();
    let manifest = Manifest::new("m", "v1").endpoints(&[mock]).render();
    testbed.files().write_model("m.yaml", &manifest).unwrap();

    let workload = Workload::new(GATEWAY).federates_with("cloud.example");
    let program = own
        .register(&workload, &find_envoy().unwrap())
        .await
        .unwrap();
    let mut gateway = EnvoyOptions {
        node_id: Some("gateway".to_owned()),
        node_cluster: Some("test".to_owned()),
        binary: Some(program),
        within: SOON,
        ..EnvoyOptions::new(bootstrap(&own, &testbed.addresses().xds.to_string()).to_string())
    };
    let to = free_addr().unwrap();
    let listen = to.to_string().into();
    gateway
        .node_metadata
        .insert("headgate.listen".to_owned(), listen);
    let _gateway = Envoy::start(gateway).await.unwrap();

    let caller = Workload::new("/ns/apps/sa/chat");
    let (near, far) = (
        own.fetch(&caller).await.unwrap(),
        cloud.fetch(&caller).await.unwrap(),
    );
    let (bundle, id) = (near.bundle(), own.id(GATEWAY));
    for (spire, svid) in [(&own, &near), (&cloud, &far)] {
        let (_envoy, url) = client(to.port(), Some(svid), &bundle, &id).await;
        let tenant = eventually(SOON, spire.trust_domain(), async || {
            let reply = chat(&testbed, &url).await;
            match reply.status {
                200 => Ok(reply.json().unwrap()["mock"]["headers"]["x-headgate-tenant"].clone()),
                _ => Err(format!("{} {}", reply.status, reply.text())),
            }
        });
        assert_eq!(tenant.await.unwrap(), spire.id("/ns/apps/sa/chat"));
    }
    let stranger = Spire::start(SpireOptions::new("stranger.example"))
        .await
        .unwrap();
    let stranger = stranger.fetch(&caller).await.unwrap();
    for svid in [None, Some(&stranger)] {
        let (_envoy, url) = client(to.port(), svid, &bundle, &id).await;
        let refused = chat(&testbed, &url).await;
        assert_eq!(refused.status, 503, "{}", refused.text());
    }
}
