//! The kubelet that runs pods as processes: what a Deployment says is what happens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::Deref;
use std::path::Path;
use std::time::{Duration, Instant};

use headgate_meshkit::pods::{Image, Images, ProcessCluster};
use headgate_testkit::client::{HttpClient, HttpRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{Kube, KubeOptions};
use headgate_testkit::measured;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);
const SERVER: &str = "/usr/local/bin/test-server";

struct Cluster(ProcessCluster);

impl Deref for Cluster {
    type Target = ProcessCluster;

    fn deref(&self) -> &ProcessCluster {
        &self.0
    }
}

/// An API whose pods run: `test/server` and `test/etcd` as processes.
async fn start() -> Cluster {
    let kube = Kube::start(KubeOptions::default()).await.unwrap();
    let server = Image::new(SERVER, env!("CARGO_BIN_EXE_test-server")).with_user(65532);
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").unwrap();
    let etcd = Image::new("/etcd", Path::new(&assets).join("etcd"));
    let images = Images::default()
        .with("test/server", server)
        .with("test/etcd", etcd);
    Cluster(ProcessCluster::start(kube, images).unwrap())
}

impl Cluster {
    async fn pods(&self) -> Vec<Pod> {
        let mut pods = self.kube.node().pods_in(Some("default")).await.unwrap();
        pods.sort_by_key(|pod| pod.metadata.creation_timestamp.clone());
        pods
    }

    /// The pods, once `hold` is true of them.
    async fn when(&self, what: &str, hold: impl Fn(&[Pod]) -> bool) -> Vec<Pod> {
        let found = eventually(SOON, what, async || {
            let pods = self.pods().await;
            let shown: Vec<Value> = pods.iter().map(|pod| json!(pod.status)).collect();
            if hold(&pods) {
                Ok(pods)
            } else {
                Err(json!(shown))
            }
        });
        let found = found.await;
        found.unwrap_or_else(|error| panic!("{error}\n{}", self.processes.log_tails(20)))
    }

    async fn rollout(&self, deployment: &Value) {
        let applied = self.kube.kubectl().apply_and_wait(deployment).await;
        if let Err(error) = applied {
            panic!("{error}\n{}", self.processes.log_tails(20));
        }
    }
}

fn ip(pod: &Pod) -> String {
    pod.status.clone().unwrap().pod_ip.unwrap()
}

fn key(pod: &Pod) -> String {
    format!("default/{}", pod.name_any())
}

fn restarts(pod: &Pod) -> i32 {
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    containers
        .iter()
        .map(|container| container.restart_count)
        .sum()
}

fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.clone().unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    conditions
        .iter()
        .any(|c| c.type_ == "Ready" && c.status == "True")
}

fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

async fn get(pod: &Pod, path: &str) -> (u16, String) {
    let url = format!("http://{}:8000{path}", ip(pod));
    let reply = HttpClient::new().send(HttpRequest::get(url)).await.unwrap();
    (reply.status, reply.text())
}

/// A hardened Deployment, as the product's own.
fn deployment(version: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "server"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "server"}},
            "template": {
                "metadata": {"labels": {"app": "server"}},
                "spec": {
                    "serviceAccountName": "server",
                    "terminationGracePeriodSeconds": 20,
                    "securityContext": {"runAsNonRoot": true},
                    "containers": [{
                        "name": "server",
                        "image": "test/server:1",
                        "args": ["--listen=:8000", "--pod=$(POD_NAME)", "--literal=$$(POD_NAME)"],
                        "ports": [{"name": "http", "containerPort": 8000}],
                        "env": [
                            {"name": "VERSION", "value": version},
                            {"name": "READY_AFTER_MS", "value": "500"},
                            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                            {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
                        ],
                        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1},
                        "livenessProbe": {"tcpSocket": {"port": 8000}},
                        "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
                        "securityContext": {"readOnlyRootFilesystem": true},
                        "volumeMounts": [
                            {"name": "settings", "mountPath": "/etc/settings"},
                            {"name": "cache", "mountPath": "/cache"},
                        ],
                    }],
                    "volumes": [
                        {"name": "settings", "configMap": {"name": "settings"}},
                        {"name": "cache", "emptyDir": {}},
                    ],
                },
            },
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_runs_as_its_manifest_says_until_it_has_drained() {
    let cluster = start().await;
    let kubectl = cluster.kube.kubectl();
    let account = cluster.kube.service_account("default", "server").await;
    account.unwrap();
    let settings = [
        "create",
        "configmap",
        "settings",
        "--from-literal=color=blue",
    ];
    kubectl.run(settings).await.unwrap();
    let began = Instant::now();
    cluster.rollout(&deployment("one")).await;
    measured!("two replicas ready: {:?}", began.elapsed());
    let pods = cluster.pods().await;
    assert_eq!(pods.len(), 2);
    assert_ne!(ip(&pods[0]), ip(&pods[1]));
    runs_as_declared(&cluster, &pods[0]).await;

    // A changed ConfigMap reaches the files.
    let red = r#"{"data": {"color": "red"}}"#;
    let patch = ["patch", "configmap", "settings", "--type=merge", "-p", red];
    kubectl.run(patch).await.unwrap();
    let changed = eventually(SOON, "the changed file", async || {
        match get(&pods[0], "/file/etc/settings/color").await {
            (200, color) if color == "red" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    changed.await.unwrap();

    // A process that exits is started again, and is not ready meanwhile.
    let exit = format!("http://{}:8000/exit/3", ip(&pods[1]));
    assert!(
        HttpClient::new()
            .send(HttpRequest::get(exit))
            .await
            .is_err()
    );
    let restarted = |pods: &[Pod]| restarts(&pods[1]) == 1 && is_ready(&pods[1]);
    let again = cluster.when("a restart", restarted).await;
    let shown = json!(again[1].status);
    let last = &shown["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!(
        (&last["exitCode"], &last["reason"]),
        (&json!(3), &json!("Error"))
    );

    // A rolling update replaces both; a request that an old pod has is answered.
    let slow = tokio::spawn({
        let pod = pods[0].clone();
        async move { get(&pod, "/slow").await }
    });
    let began = Instant::now();
    cluster.rollout(&deployment("two")).await;
    measured!("rolling update: {:?}", began.elapsed());
    assert_eq!(slow.await.unwrap(), (200, "slow".to_owned()));
    let two_new = |pods: &[Pod]| pods.len() == 2 && pods.iter().all(is_ready);
    let new = cluster.when("only two new pods", two_new).await;
    for pod in &new {
        assert!(get(pod, "/env").await.1.contains("VERSION=two\n"));
    }
    let log = cluster.processes.log(&key(&pods[0]), "server").unwrap();
    assert!(log.text().ends_with("SIGTERM\ndrained\n"), "{}", log.text());

    // A deleted pod serves through its preStop hook and until its last answer, then it is gone with its process.
    let pids: Vec<u32> = new
        .iter()
        .map(|pod| cluster.processes.pid(&key(pod), "server").unwrap())
        .collect();
    let scale = ["scale", "deploy/server", "--replicas=0"];
    kubectl.run(scale).await.unwrap();
    let began = Instant::now();
    let terminating = |pods: &[Pod]| pods.len() == 2 && pods.iter().all(is_terminating);
    cluster.when("terminating", terminating).await;
    assert_eq!(get(&new[0], "/slow").await, (200, "slow".to_owned()));
    cluster.when("no pods", <[Pod]>::is_empty).await;
    measured!("drained: {:?}", began.elapsed());
    assert!(began.elapsed() >= Duration::from_secs(1));
    for pid in pids {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid}");
    }
}

/// Command line, variables, files, user and credentials of a pod.
async fn runs_as_declared(cluster: &Cluster, pod: &Pod) {
    let (ip, name) = (ip(pod), pod.name_any());
    let expected = format!("{SERVER}\n--listen={ip}:8000\n--pod={name}\n--literal=$(POD_NAME)");
    assert_eq!(get(pod, "/args").await.1, expected);
    let env = get(pod, "/env").await.1;
    for line in [
        "VERSION=one".to_owned(),
        "COLOR=blue".to_owned(),
        format!("POD_IP={ip}"),
        format!("HOSTNAME={name}"),
    ] {
        assert!(env.contains(&format!("{line}\n")), "{line} in {env}");
    }
    assert_eq!(get(pod, "/hostname").await.1.trim(), name);
    // Nothing of this machine's environment or files.
    assert!(!env.contains("CARGO"), "{env}");
    assert_eq!(get(pod, "/file/usr/bin/env").await.0, 503);
    assert_eq!(get(pod, "/file/etc/settings/color").await.1, "blue");
    assert_eq!(get(pod, "/write/cache/new").await.0, 200);
    let (status, why) = get(pod, "/write/new").await;
    assert!(status == 503 && why.contains("Read-only"), "{why}");
    if rustix::process::geteuid().is_root() {
        assert_eq!(get(pod, "/user").await.1, "65532");
    }

    let directory = "/file/var/run/secrets/kubernetes.io/serviceaccount";
    let file = async |name: &str| get(pod, &format!("{directory}/{name}")).await.1;
    assert_eq!(file("namespace").await, "default");
    assert!(file("ca.crt").await.starts_with("-----BEGIN CERTIFICATE"));
    let (token, server) = (file("token").await, cluster.kube.url());
    let anonymous = cluster.kube.dir().join("none");
    let authority = cluster.kube.authority();
    std::fs::write(&anonymous, "").unwrap();
    let whoami = cluster.kube.kubectl_as(&anonymous);
    let authority = authority.to_string_lossy();
    let connection = ["--server", &server, "--certificate-authority", &authority];
    let args = ["auth", "whoami", "--token", &token, "-o", "json"];
    let answer = whoami.run(args.into_iter().chain(connection)).await;
    let answer: Value = serde_json::from_str(&answer.unwrap()).unwrap();
    let user = &answer["status"]["userInfo"];
    assert_eq!(user["username"], "system:serviceaccount:default:server");
    let bound = &user["extra"]["authentication.kubernetes.io/pod-name"][0];
    assert_eq!(bound, &json!(name));
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_asked_as_declared_and_reasons_are_reported() {
    let cluster = start().await;
    let kubectl = cluster.kube.kubectl();
    let etcd = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "etcd"},
        "spec": {
            "containers": [{
                "name": "etcd",
                "image": "test/etcd",
                "args": [
                    "--data-dir=/data/etcd",
                    "--listen-client-urls=http://$(POD_IP):2379",
                    "--advertise-client-urls=http://$(POD_IP):2379",
                    "--listen-peer-urls=http://$(POD_IP):2380",
                ],
                "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "readinessProbe": {"grpc": {"port": 2379}, "periodSeconds": 1},
                "startupProbe": {"exec": {"command": ["/etcd", "--version"]}, "periodSeconds": 1},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    });
    kubectl.apply(&etcd.to_string()).await.unwrap();
    cluster
        .when("etcd ready by gRPC", |pods| pods.iter().any(is_ready))
        .await;
    let pod = cluster.pods().await.remove(0);
    let health = format!("http://{}:2379/health", ip(&pod));
    let reply = HttpClient::new().send(HttpRequest::get(health)).await;
    assert!(reply.unwrap().is_success());
    let delete = ["delete", "pod", "etcd", "--timeout=60s"];
    kubectl.run(delete).await.unwrap();

    // An unhealthy container is restarted; one that cannot run says why.
    let mut sick = deployment("one")["spec"]["template"].clone();
    sick["apiVersion"] = "v1".into();
    sick["kind"] = "Pod".into();
    sick["metadata"]["name"] = "sick".into();
    sick["spec"]["serviceAccountName"] = "default".into();
    sick["spec"]["containers"][0]["livenessProbe"] = json!({
        "httpGet": {"path": "/file/no", "port": 8000}, "periodSeconds": 1, "failureThreshold": 2,
    });
    kubectl.apply(&sick.to_string()).await.unwrap();
    let says_why = |pods: &[Pod]| {
        let shown = json!(pods[0].status).to_string();
        shown.contains(r#"configmap \"settings\" not found"#)
    };
    cluster.when("the reason", says_why).await;
    let settings = [
        "create",
        "configmap",
        "settings",
        "--from-literal=color=blue",
    ];
    kubectl.run(settings).await.unwrap();
    cluster
        .when("a restart", |pods| restarts(&pods[0]) >= 1)
        .await;
    let log = cluster.processes.log("default/sick", "server").unwrap();
    assert!(
        log.text().contains("[kubelet] a probe failed: GET"),
        "{}",
        log.text()
    );

    // At the end of its grace period, a process that still has a request is killed; its hook has run before.
    let mut slow = deployment("one")["spec"]["template"].clone();
    slow["apiVersion"] = "v1".into();
    slow["kind"] = "Pod".into();
    slow["metadata"]["name"] = "slow".into();
    slow["spec"]["serviceAccountName"] = "default".into();
    slow["spec"]["terminationGracePeriodSeconds"] = 3.into();
    slow["spec"]["containers"][0]["lifecycle"]["preStop"] =
        json!({"exec": {"command": [SERVER, "--write=/cache/hook"]}});
    kubectl.apply(&slow.to_string()).await.unwrap();
    let is_slow = |pod: &&Pod| pod.name_any() == "slow";
    let slow_ready = |pods: &[Pod]| pods.iter().find(is_slow).is_some_and(is_ready);
    let pods = cluster.when("the slow pod", slow_ready).await;
    let pod = pods.into_iter().find(|pod| is_slow(&pod)).unwrap();
    let request = tokio::spawn({
        let url = format!("http://{}:8000/slow/60", ip(&pod));
        async move { HttpClient::new().send(HttpRequest::get(url)).await }
    });
    let began = Instant::now();
    let delete = ["delete", "pod", "slow", "--wait=false"];
    kubectl.run(delete).await.unwrap();
    let hook = eventually(SOON, "the hook", async || {
        let found = get(&pod, "/file/cache/hook").await;
        if found.0 == 200 { Ok(()) } else { Err(found.1) }
    });
    hook.await.unwrap();
    let gone = |pods: &[Pod]| !pods.iter().any(|pod| is_slow(&pod));
    cluster.when("the end of the slow pod", gone).await;
    let took = began.elapsed();
    let expected = Duration::from_millis(2500)..Duration::from_secs(10);
    assert!(expected.contains(&took), "{took:?}");
    assert!(request.await.unwrap().is_err());
    let log = cluster.processes.log("default/slow", "server").unwrap();
    let killed = "[kubelet] killed at the end of the grace period";
    assert!(log.text().contains(killed), "{}", log.text());

    // An image that is not in the table does not run, and its pod is ready.
    let other = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "other"},
        "spec": {"containers": [{"name": "other", "image": "other/other"}]},
    });
    kubectl.apply(&other.to_string()).await.unwrap();
    let is_other = |pod: &&Pod| pod.name_any() == "other";
    let other_ready = |pods: &[Pod]| pods.iter().find(is_other).is_some_and(is_ready);
    cluster.when("the other pod", other_ready).await;
}
