//! The Istio launcher: pods talk through their own sidecars with mutual TLS, and a gateway lets requests in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::time::{Duration, Instant};

use headgate_meshkit::istio::{Mesh, MeshOptions, gateway_objects};
use headgate_meshkit::pods::{Image, Images, ProcessRunner, Processes};
use headgate_testkit::client::{HttpClient, HttpRequest, OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{EmptyRuntime, Kube, KubeOptions, Kubelet};
use headgate_testkit::measured;
use headgate_testkit::ports::free_port;
use headgate_testkit::testbed::artifacts::mock_model_binary;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(120);
const HOST: &str = "llama3-70b.models.svc.cluster.local:8000";

struct Testbed {
    kube: Kube,
    mesh: Mesh,
    processes: Processes,
    _kubelet: Kubelet,
}

impl Testbed {
    async fn start() -> Self {
        let kube = Kube::start(KubeOptions::default()).await.unwrap();
        let mesh = Mesh::start(&kube, MeshOptions::default()).await.unwrap();
        let model = Image::new("/mock-model", mock_model_binary().unwrap());
        let images = Images::default().with("headgate/mock-model", model);
        let runner = ProcessRunner::new(&kube, images, EmptyRuntime::default()).unwrap();
        let runner = runner.with_injector(mesh.injector());
        let processes = runner.processes();
        let kubelet = runner.start(&kube);
        Self {
            kube,
            mesh,
            processes,
            _kubelet: kubelet,
        }
    }

    async fn apply(&self, objects: &[Value]) {
        for object in objects {
            let applied = self.kube.kubectl().apply(&object.to_string()).await;
            applied.unwrap();
        }
    }

    /// `kubectl wait` until a pod is ready.
    async fn wait(&self, namespace: &str, selector: &str) {
        let wait = ["wait", "-n", namespace, "pod", "-l", selector];
        let wait = wait
            .iter()
            .chain(&["--for=condition=Ready", "--timeout=100s"]);
        if let Err(error) = self.kube.kubectl().run(wait).await {
            panic!("{error}\n{}", self.processes.log_tails(30));
        }
    }

    /// A response with 200, once there is one.
    async fn response(&self, request: impl Fn() -> HttpRequest) -> Reply {
        let found = eventually(SOON, "a response", async || {
            match HttpClient::new().send(request()).await {
                Ok(reply) if reply.is_success() => Ok(reply),
                Ok(reply) => Err(format!("{} {}", reply.status, reply.text())),
                Err(error) => Err(error.to_string()),
            }
        });
        let found = found.await;
        found.unwrap_or_else(|error| panic!("{error}\n{}", self.processes.log_tails(30)))
    }
}

fn namespace(name: &str) -> Value {
    let labels = json!({"istio-injection": "enabled"});
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// A model server whose pods have its version as a label.
fn model(version: &str) -> Value {
    let labels = json!({"app": "llama3-70b", "model-version": version});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": format!("llama3-70b-{version}"), "namespace": "models"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{
                    "name": "server",
                    "image": "headgate/mock-model",
                    "args": ["--listen=0.0.0.0:8000", "--model=llama3-70b", format!("--version={version}")],
                    "ports": [{"name": "http", "containerPort": 8000}],
                    "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1},
                }]},
            },
        },
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "llama3-70b", "namespace": "models"},
        "spec": {
            "selector": {"app": "llama3-70b"},
            "ports": [{"name": "http", "port": 8000, "targetPort": "http"}],
        },
    })
}

/// A pod of which only the sidecar runs.
fn client() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "client", "namespace": "clients", "labels": {"app": "client"}},
        "spec": {"containers": [{"name": "client", "image": "test/client"}]},
    })
}

/// The pod of the gateway. Its only container is the proxy.
fn gateway() -> Value {
    let labels = json!({"istio": "ingressgateway", "sidecar.istio.io/inject": "true"});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "gateway", "namespace": "gateways", "labels": labels,
            "annotations": {"inject.istio.io/templates": "gateway"},
        },
        "spec": {"containers": [{"name": "istio-proxy", "image": "auto"}]},
    })
}

/// The identity of the peer, as the model server got it from its sidecar.
fn peer(reply: &Reply) -> String {
    let body: Value = serde_json::from_str(&reply.text()).unwrap();
    let header = &body["mock"]["headers"]["x-forwarded-client-cert"];
    header.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_reach_labelled_servers_with_mutual_tls_through_sidecars_and_a_gateway() {
    let began = Instant::now();
    let testbed = Testbed::start().await;
    measured!("API server and istiod ready: {:?}", began.elapsed());
    testbed
        .apply(&[namespace("models"), namespace("clients")])
        .await;
    let gateways =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gateways"}});
    let port = free_port().unwrap();
    testbed
        .apply(&[gateways, service(), model("v1"), model("v2"), client()])
        .await;
    testbed.apply(&[gateway()]).await;
    testbed.apply(&gateway_objects(port)).await;
    testbed.wait("models", "app=llama3-70b").await;
    testbed.wait("clients", "app=client").await;
    testbed.wait("gateways", "istio=ingressgateway").await;
    measured!("five pods with proxies ready: {:?}", began.elapsed());

    // Through the client's sidecar: both versions answer, and see the client's certificate.
    let outbound = testbed.mesh.proxy("clients/client").unwrap().outbound;
    let url = format!("http://{outbound}:8000");
    let chat = || {
        OpenAiRequest::chat("llama3-70b")
            .to(&url)
            .header("host", HOST)
    };
    let reply = testbed.response(chat).await;
    let client = "URI=spiffe://cluster.local/ns/clients/sa/default";
    assert!(peer(&reply).contains(client), "{}", reply.text());
    let mut versions = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let reply = testbed.response(chat).await;
        versions.insert(reply.header("x-mock-served-by").unwrap().to_owned());
    }
    assert_eq!(Vec::from_iter(versions), ["llama3-70b/v1", "llama3-70b/v2"]);

    // Without a certificate, nobody gets in.
    let pods = testbed.kube.node().pods_in(Some("models")).await.unwrap();
    let ip = pods[0].status.clone().unwrap().pod_ip.unwrap();
    let health = HttpRequest::get(format!("http://{ip}:8000/healthz"));
    assert!(HttpClient::new().send(health).await.is_err());

    // Through the gateway.
    let url = format!("http://127.0.0.1:{port}");
    let chat = || {
        OpenAiRequest::chat("llama3-70b")
            .to(&url)
            .header("host", "ai.example.com")
    };
    let reply = testbed.response(chat).await;
    let gateway = "URI=spiffe://cluster.local/ns/gateways/sa/default";
    assert!(peer(&reply).contains(gateway), "{}", reply.text());
    measured!("requests answered: {:?}", began.elapsed());

    // A subset by the label of the pods.
    let rule = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": {"name": "llama3-70b", "namespace": "models"},
        "spec": {
            "host": "llama3-70b.models.svc.cluster.local",
            "subsets": [{"name": "v2", "labels": {"model-version": "v2"}}],
        },
    });
    testbed.apply(&[rule]).await;
    let subset = "outbound|8000|v2|llama3-70b.models.svc.cluster.local";
    let admin = testbed.mesh.admin("clients/client").unwrap();
    let one_endpoint = eventually(SOON, "an endpoint of the subset", async || {
        let clusters = admin.clusters().await.map_err(|error| error.to_string())?;
        let all = clusters["cluster_statuses"].as_array().cloned();
        let found = all
            .unwrap_or_default()
            .into_iter()
            .find(|c| c["name"] == subset);
        let hosts = found.and_then(|cluster| Some(cluster["host_statuses"].as_array()?.len()));
        if hosts == Some(1) {
            Ok(())
        } else {
            Err(format!("{hosts:?}"))
        }
    });
    one_endpoint.await.unwrap();

    // A killed agent takes its Envoy along, and the kubelet starts both again.
    let agent = testbed
        .processes
        .pid("clients/client", "istio-proxy")
        .unwrap();
    let envoys = children(agent);
    assert_eq!(envoys.len(), 1, "{envoys:?}");
    let killed = std::process::Command::new("kill")
        .args(["-9", &agent.to_string()])
        .status();
    assert!(killed.unwrap().success());
    let gone = eventually(SOON, "the end of Envoy", async || {
        let envoy = format!("/proc/{}/exe", envoys[0]);
        if Path::new(&envoy).exists() {
            Err(envoy)
        } else {
            Ok(())
        }
    });
    gone.await.unwrap();
    let url = format!("http://{outbound}:8000");
    let chat = || {
        OpenAiRequest::chat("llama3-70b")
            .to(&url)
            .header("host", HOST)
    };
    testbed.response(chat).await;
    measured!(
        "answered through a restarted sidecar: {:?}",
        began.elapsed()
    );

    // No findings, until there is a mistake.
    let analysis = testbed.mesh.analyze(&["-n", "models"]).await;
    assert_eq!(analysis.unwrap(), "");
    let nowhere = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "nowhere", "namespace": "models"},
        "spec": {
            "hosts": ["llama3-70b"],
            "http": [{"route": [{"destination": {"host": "nowhere"}}]}],
        },
    });
    testbed.apply(&[nowhere]).await;
    let analysis = testbed.mesh.analyze(&["-n", "models"]).await;
    let analysis = analysis.unwrap_err().to_string();
    assert!(analysis.contains("IST0101"), "{analysis}");
}

/// The children of a process, which belong to its threads.
fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let lists = tasks.filter_map(|task| {
        let path = task.ok()?.path().join("children");
        std::fs::read_to_string(path).ok()
    });
    let all: String = lists.collect();
    all.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}
