//! The Deployment of the control plane, applied by kubectl and run from its own pod spec: command line, variables, ServiceAccount,
//! user, read-only root, probes, preStop, grace period.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::ops::Deref;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use headgate_meshkit::pods::{Image, Images, ProcessCluster};
use headgate_testkit::client::{HttpClient, HttpRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::Kube;
use headgate_testkit::measured;
use headgate_testkit::testbed::artifacts;
use headgate_tests_install::cluster;
use headgate_tests_install::{output, overlay, with_components};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);
const NAMESPACE: &str = "headgate-system";
const PROGRAM: &str = "/usr/local/bin/headgate";

struct Cluster(ProcessCluster);

impl Deref for Cluster {
    type Target = ProcessCluster;

    fn deref(&self) -> &ProcessCluster {
        &self.0
    }
}

/// A cluster that runs the image of the control plane. The pods of gateways count as ready at once.
async fn start() -> Cluster {
    let kube = cluster::start().await;
    let wasm = artifacts::wasm_module().unwrap();
    let headgate = Image::new(PROGRAM, artifacts::headgate_binary().unwrap())
        .with_file("/wasm", wasm.parent().unwrap())
        .with_user(65532);
    let images = Images::default().with("headgate/headgate", headgate);
    Cluster(ProcessCluster::start(kube, images).unwrap())
}

impl Cluster {
    async fn apply(&self, name: &str) {
        self.apply_directory(&overlay(name)).await;
    }

    async fn apply_directory(&self, directory: &Path) {
        let directory = directory.to_str().unwrap();
        let kubectl = self.kube.kubectl();
        kubectl
            .run(["apply", "--server-side", "-k", directory])
            .await
            .unwrap();
    }

    async fn rolled_out(&self) {
        let rollout = [
            "rollout",
            "status",
            "deployment/headgate",
            "-n",
            NAMESPACE,
            "--timeout=60s",
        ];
        if let Err(error) = self.kube.kubectl().run(rollout).await {
            panic!("{error}\n{}", self.processes.log_tails(30));
        }
    }

    /// The pods of the control plane that are not being deleted.
    async fn pods(&self) -> Vec<Pod> {
        let pods = self.kube.node().pods_in(Some(NAMESPACE)).await.unwrap();
        let component = "app.kubernetes.io/component";
        let ours = pods.into_iter().filter(|pod| {
            let labels = pod.labels();
            labels.get(component).is_some_and(|c| c == "control-plane")
                && pod.metadata.deletion_timestamp.is_none()
        });
        ours.collect()
    }

    /// The pod that holds the Lease. Its identity is its name and a random suffix.
    async fn leader(&self) -> Result<String, String> {
        let holder = "-o=jsonpath={.spec.holderIdentity}";
        let lease = ["get", "lease", "headgate", "-n", NAMESPACE, holder];
        let holder = self.kube.kubectl().run(lease).await;
        let holder = holder.map_err(|e| e.to_string())?;
        Ok(holder.split('_').next().unwrap_or_default().to_owned())
    }
}

fn names(pods: &[Pod]) -> BTreeSet<String> {
    pods.iter().map(ResourceExt::name_any).collect()
}

fn admin(pod: &Pod, path: &str) -> String {
    let ip = pod.status.clone().unwrap().pod_ip.unwrap();
    format!("http://{ip}:18001{path}")
}

async fn get(url: &str) -> (u16, String) {
    let reply = HttpClient::new().send(HttpRequest::get(url)).await.unwrap();
    (reply.status, reply.text())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_become_ready_elect_a_leader_and_drain_when_their_pod_is_deleted() {
    let cluster = start().await;
    let began = Instant::now();
    cluster.apply("standalone").await;
    cluster.rolled_out().await;
    measured!(
        "standalone: ready {:.1} s after kubectl apply",
        began.elapsed().as_secs_f64()
    );
    let pods = cluster.pods().await;
    assert_eq!(pods.len(), 2);
    for pod in &pods {
        assert_eq!(get(&admin(pod, "/readyz")).await.0, 200);
        let log = cluster
            .processes
            .log(&format!("{NAMESPACE}/{}", pod.name_any()), "headgate");
        // No right is missing, and every line is JSON.
        let text = log.unwrap().text();
        assert!(!text.contains("orbidden"), "{text}");
        let line = text.lines().find(|line| line.starts_with('{')).unwrap();
        serde_json::from_str::<Value>(line).unwrap();
    }
    // One of them shows both.
    let server = admin(&pods[0], "");
    let server = server.trim_start_matches("http://");
    let mut status = Command::new(artifacts::headgate_binary().unwrap());
    status.args(["status", "--admin-address", server, "-o", "json"]);
    let status: Value = serde_json::from_str(&output(&mut status)).unwrap();
    assert_eq!(
        status["replicas"].as_array().map(Vec::len),
        Some(2),
        "{status}"
    );

    let leader = eventually(SOON, "a leader", async || {
        let leader = cluster.leader().await?;
        let known = names(&cluster.pods().await).contains(&leader);
        known.then_some(leader.clone()).ok_or(leader)
    });
    let leader = leader.await.unwrap();
    let began = Instant::now();
    let delete = ["delete", "pod", "-n", NAMESPACE, &leader, "--timeout=60s"];
    cluster.kube.kubectl().run(delete).await.unwrap();
    let took = began.elapsed();
    measured!(
        "drain: the pod ended {:.1} s after its deletion",
        took.as_secs_f64()
    );
    // preStop takes 5 s; the grace period of 30 s is for pods that do not end by themselves.
    assert!((5..28).contains(&took.as_secs()), "{took:?}");
    cluster.rolled_out().await;
    let other = eventually(SOON, "another leader", async || {
        let now = cluster.leader().await?;
        let pods = names(&cluster.pods().await);
        (now != leader && pods.contains(&now))
            .then_some(now.clone())
            .ok_or(now)
    });
    other.await.unwrap();
}

/// A Secret as cert-manager writes it.
async fn certificate(kube: &Kube, name: &str, id: &str, authority: &Issuer<'_, KeyPair>, ca: &str) {
    let mut params = CertificateParams::default();
    let dns = "headgate.headgate-system.svc".try_into().unwrap();
    params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap()), SanType::DnsName(dns)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().unwrap();
    let signed = params.signed_by(&key, authority).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("--from-file={name}={}", path.display())
    };
    let files = [
        file("tls.crt", &signed.pem()),
        file("tls.key", &key.serialize_pem()),
        file("ca.crt", ca),
    ];
    let args = ["create", "secret", "generic", name, "-n", NAMESPACE];
    let args = args.into_iter().chain(files.iter().map(String::as_str));
    kube.kubectl().run(args).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tls_the_pods_wait_for_their_certificates_and_then_use_them_on_both_ports() {
    let cluster = start().await;
    let directory = with_components("standalone-mtls", &["admin-tls"]);
    cluster.apply_directory(directory.path()).await;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let authority = Issuer::new(params, key);
    let id = format!("spiffe://cluster.local/ns/{NAMESPACE}/sa/headgate");
    for secret in ["headgate-xds-tls", "headgate-admin-tls"] {
        certificate(&cluster.kube, secret, &id, &authority, &ca).await;
    }
    cluster.rolled_out().await;
    for pod in cluster.pods().await {
        let ip = pod.status.clone().unwrap().pod_ip.unwrap();
        let handshake = Command::new("openssl")
            // Until the server closes the connection: its alert comes after the handshake of the client.
            .args(["s_client", "-brief", "-ign_eof", "-connect"])
            .arg(format!("{ip}:18000"))
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&handshake.stderr);
        assert!(shown.contains("TLSv1.3"), "{shown}");
        assert!(shown.contains("certificate required"), "{shown}");
    }
    // The probes have spoken HTTPS. So does the command that shows the status.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.crt");
    std::fs::write(&file, &ca).unwrap();
    let pod = &cluster.pods().await[0];
    let ip = pod.status.clone().unwrap().pod_ip.unwrap();
    let name = "headgate.headgate-system.svc";
    let mut status = Command::new(artifacts::headgate_binary().unwrap());
    status.args(["status", "--admin-address", &format!("{ip}:18001")]);
    status.args(["--admin-server-name", name, "--admin-ca"]);
    let status = output(status.arg(&file).args(["-o", "json"]));
    let status: Value = serde_json::from_str(&status).unwrap();
    let replicas = status["replicas"].as_array().map(Vec::len);
    assert_eq!(replicas, Some(2), "{status}");
}

/// The kubelet of the tests runs what the manifest says, not what this machine has.
#[test]
fn the_image_of_the_test_has_the_paths_of_the_dockerfile() {
    let dockerfile = headgate_tests_install::text("Dockerfile");
    let (_, stage) = dockerfile.split_once("AS headgate").unwrap();
    let (program, wasm) = (Path::new(PROGRAM), "/src/dist /wasm");
    assert!(stage.contains(&format!(
        "/out/headgate {}/",
        program.parent().unwrap().display()
    )));
    assert!(
        stage.contains(wasm) && stage.contains("USER 65532"),
        "{stage}"
    );
}
