//! Two federated trust domains of a real SPIRE: the control plane and the proxies get certificates and bundles from their agents.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use headgate_meshkit::spire::{Spire, SpireOptions, Svid, Workload};
use headgate_testkit::client::{Job, Load, LoadOptions, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::find_envoy;
use headgate_testkit::measured;
use headgate_testkit::svid::{SecretVolume, SvidParams, TrustDomainAuthority};
use headgate_testkit::testbed::{Testbed, artifacts};
use serde_json::Value;

use crate::common::{
    Proxy, SERVER, bootstrap, chat, logged, refusals, served, start_program, start_with_files,
    testbed_of,
};

/// Lifetime of a certificate. Agents renew it when half of it is over.
const LIFETIME: Duration = Duration::from_secs(60);
/// Longest absence of a proxy from the control plane.
const RECONNECT: Duration = Duration::from_secs(2);
const GATEWAY: &str = "/ns/default/sa/gateway";
const UPDATES: &str = "cluster.headgate-xds.client_ssl_socket_factory.ssl_context_update_by_sds";

struct Setup {
    cluster: Spire,
    cloud: Spire,
    testbed: Testbed,
    server_id: String,
}

/// A control plane in `cluster.example`, which `cloud.example` trusts and which trusts it.
async fn setup() -> Setup {
    let start = |domain| Spire::start(SpireOptions::new(domain).with_svid_lifetime(LIFETIME));
    let cluster = start("cluster.example").await.unwrap();
    let cloud = start("cloud.example").await.unwrap();
    cluster.federate(&cloud).await.unwrap();
    let server = Workload::new(SERVER).federates_with("cloud.example");
    let program = artifacts::headgate_binary().unwrap();
    let program = cluster.register(&server, &program).await.unwrap();
    let socket = cluster.endpoint();
    let args = [
        "--spiffe-socket",
        &socket,
        "--trust-domains",
        "cluster.example,cloud.example",
        "--allow-identity",
        "spiffe://*.example/ns/*/sa/gateway",
    ];
    let testbed = testbed_of(Some(program), &["default"], &args.map(str::to_owned)).await;
    Setup {
        server_id: cluster.id(SERVER),
        cluster,
        cloud,
        testbed,
    }
}

impl Setup {
    /// An Envoy that gets everything from an agent.
    async fn proxy(&self, id: &str, agent: &Spire, workload: &Workload) -> Proxy {
        let program = agent.register(workload, &find_envoy().unwrap()).await;
        let (socket, xds) = (agent.endpoint(), self.testbed.addresses().xds.to_string());
        let output = self.testbed.path(&format!("bootstrap-{id}"));
        let args = [
            "--identity",
            "spiffe",
            "--spiffe-socket",
            &socket,
            "--server-id",
            &self.server_id,
            "--xds",
            &xds,
        ];
        start_program(id, bootstrap(&output, &args), Some(program.unwrap())).await
    }

    /// An Envoy with a certificate from files.
    async fn proxy_with_files(&self, id: &str, files: &SecretVolume) -> Proxy {
        let xds = self.testbed.addresses().xds;
        start_with_files(&self.testbed, id, files.path(), &self.server_id, xds).await
    }

    /// Waits for the refusal of a proxy, in the log and in the metric.
    async fn refused(&self, id: &str, reason: &str, detail: &str) {
        let line = logged(&self.testbed, &[reason, detail]).await;
        measured!("{id}: {line}");
        assert!(refusals(&self.testbed, reason).await >= 1);
    }
}

/// Files with an X.509-SVID of an agent, and the bundle that verifies the control plane.
fn files(at: PathBuf, svid: &Svid, trusted: &str) -> SecretVolume {
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
    let mut volume = SecretVolume::new(at).unwrap();
    let (chain, key) = (read(svid.chain()), read(svid.key()));
    let files = [("tls.crt", &*chain), ("tls.key", &key), ("ca.crt", trusted)];
    volume.write(&files).unwrap();
    volume
}

fn is_expired(certificate: &Path) -> bool {
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["x509", "-noout", "-checkend", "0", "-in"]);
    let output = openssl.arg(certificate).output().unwrap();
    output.status.code() == Some(1)
}

fn load(proxy: &Proxy) -> Load {
    let url = proxy.url.clone();
    Load::start(LoadOptions {
        pause: Duration::from_millis(20),
        ..LoadOptions::new(2, move |n| Job {
            session: n.to_string(),
            request: OpenAiRequest::chat("m").to(&url),
        })
    })
}

/// The longest time for which the control plane did not list all these proxies, until `done` holds.
async fn longest_absence(
    testbed: &Testbed,
    ids: &[&str],
    mut done: impl AsyncFnMut() -> bool,
) -> Duration {
    let (mut longest, mut seen) = (Duration::ZERO, Instant::now());
    let deadline = Instant::now() + 4 * LIFETIME;
    loop {
        let asked = Instant::now();
        let status = testbed.control_plane().get("/syncz").await.unwrap();
        let is_listed = |id: &&str| {
            let rows = status["proxies"].as_array().into_iter().flatten();
            rows.map(|row: &Value| &row["id"]).any(|row| row == id)
        };
        if ids.iter().all(is_listed) {
            longest = longest.max(asked - seen);
            seen = Instant::now();
            if done().await {
                return longest;
            }
        }
        assert!(Instant::now() < deadline, "{status}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxies_of_two_federated_trust_domains_stay_connected_while_certificates_of_a_minute_rotate()
 {
    let began = Instant::now();
    let mut setup = setup().await;
    let dir = tempfile::tempdir().unwrap();
    let near = setup
        .proxy("near", &setup.cluster, &Workload::new(GATEWAY))
        .await;
    let workload = Workload::new(GATEWAY).federates_with("cluster.example");
    let far = setup.proxy("far", &setup.cloud, &workload).await;
    for (id, agent, proxy) in [("near", &setup.cluster, &near), ("far", &setup.cloud, &far)] {
        let row = served(&setup.testbed, id).await;
        assert_eq!(row["identity"], agent.id(GATEWAY));
        assert_eq!(chat(&setup.testbed, &proxy.url, "default").await, 200);
    }
    measured!("two proxies served after {:?}", began.elapsed());
    let loads = [load(&near), load(&far)];

    // The certificates that are in use now, to be shown again when they are over.
    let old = setup
        .cluster
        .fetch(&Workload::new("/ns/late/sa/gateway"))
        .await;
    let old = old.unwrap();
    let bundle = setup.cluster.bundle().await.unwrap();
    let mut refused = Vec::new();
    let other = Workload::new("/ns/default/sa/other");
    refused.push(setup.proxy("other-account", &setup.cluster, &other).await);
    let rule = "/ns/default/sa/other";
    setup.refused("other-account", "no_rule", rule).await;
    let foreign = Spire::start(SpireOptions::new("foreign.example"))
        .await
        .unwrap();
    let svid = foreign.fetch(&Workload::new(GATEWAY)).await.unwrap();
    let volume = files(dir.path().join("foreign"), &svid, &bundle);
    refused.push(setup.proxy_with_files("foreign", &volume).await);
    setup
        .refused("foreign", "trust_domain", "foreign.example")
        .await;
    // SPIRE issues no certificate with two URIs, so it is another authority that does.
    let authority = TrustDomainAuthority::new("cluster.example").unwrap();
    let two = SvidParams {
        uris: vec![setup.cluster.id(GATEWAY), setup.cluster.id("/x")],
        ..SvidParams::default()
    };
    let mut volume = SecretVolume::new(dir.path().join("two-uris")).unwrap();
    let two = authority.issue_with(&two).unwrap();
    volume.write_tls(&two, &bundle).unwrap();
    refused.push(setup.proxy_with_files("two-uris", &volume).await);
    setup.refused("two-uris", "uri_san", "2 URI").await;

    // Three rotations of each side.
    let log = setup.testbed.control_plane().log();
    let rotations = async |n: u64| {
        let server = log.count("the TLS certificate of a port is in effect") as u64;
        let near = near.envoy.stat(UPDATES).await.unwrap();
        let far = far.envoy.stat(UPDATES).await.unwrap();
        // The first certificate is no rotation.
        [Some(server), near, far].iter().all(|seen| *seen > Some(n))
    };
    let absence = longest_absence(&setup.testbed, &["near", "far"], async || {
        rotations(3).await
    });
    let absence = absence.await;
    measured!(
        "three rotations of each side after {:?}; longest time without a proxy: {absence:?}",
        began.elapsed()
    );
    assert!(absence < RECONNECT, "{absence:?}");

    // The first certificates are over: the proxies come back with the rotated ones, and to a rotated one.
    eventually(LIFETIME, "the end of the first certificate", async || {
        is_expired(&old.chain()).then_some(()).ok_or("it is valid")
    })
    .await
    .unwrap();
    setup.testbed.control_plane_mut().restart().await.unwrap();
    let back = Instant::now();
    let absence = longest_absence(&setup.testbed, &["near", "far"], async || true).await;
    measured!(
        "both proxies back {:?} after the return of the control plane",
        back.elapsed()
    );
    assert!(absence < RECONNECT, "{absence:?}");
    let volume = files(dir.path().join("expired"), &old, &bundle);
    refused.push(setup.proxy_with_files("expired", &volume).await);
    setup
        .refused("expired", "certificate_expired", "/ns/late/sa/gateway")
        .await;

    for load in loads {
        let report = load.stop().await;
        let failed = report.other_than(&[200]);
        measured!("{} requests, {} failed", report.samples.len(), failed.len());
        assert!(failed.is_empty(), "{:?}", report.outcomes());
    }
    let status = setup.testbed.control_plane().get("/syncz").await.unwrap();
    assert_eq!(status["proxies"].as_array().unwrap().len(), 2, "{status}");
    measured!("all of it: {:?}", began.elapsed());
}
