//! From `kubectl label` to the last Envoy's ACK, while pods come and go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use headgate_test_support::deadline::eventually;
use headgate_test_support::envoy::{Envoy, EnvoyOptions};
use headgate_test_support::kube::{Kube, KubeOptions, Node, Nothing, deployment};
use headgate_test_support::stage::bootstrap;
use kube::api::{Api, DeleteParams};
use serde_json::{Value, json};

use crate::common::{Files, Server};
use crate::kubernetes::serve;

/// A tenth of what the design promises for: 20 models of 3 versions of 20 pods.
const MODELS: usize = 20;
const PODS: u32 = 20;
const VERSIONS: [&str; 3] = ["v1", "v2", "v3"];
const EDITS: usize = 100;
const ENVOYS: usize = 3;
/// Pods that end each second, and come again.
const CHURN: u32 = 10;
const PROMISED: Duration = Duration::from_secs(1);
/// For a thousand pods to run on a machine that does other things.
const LONG: Duration = Duration::from_secs(240);

fn model(number: usize) -> String {
    format!("model-{number:02}")
}

/// All Deployments, as one list. The first version is the base; the others are canaries.
fn fleet() -> Value {
    let of = |number: usize| {
        VERSIONS.iter().map(move |version| {
            let name = format!("{}-{version}", model(number));
            let mut made = deployment(&model(number), &name, version, PODS);
            if *version != VERSIONS[0] {
                made["metadata"]["labels"]["canary-weight"] = "5".into();
            }
            made
        })
    };
    json!({"apiVersion": "v1", "kind": "List", "items": (0..MODELS).flat_map(of).collect::<Vec<_>>()})
}

/// Real modules beside the test's own files, because their names by content are written there.
fn real_modules(files: &Files) {
    let from =
        std::env::var_os("HEADGATE_WASM").expect("HEADGATE_WASM: run it through tests/tools/with");
    for name in ["headgate.wasm", "traffic-tag.wasm", "token-bucket.wasm"] {
        std::fs::copy(
            std::path::Path::new(&from).join(name),
            files.path("wasm").join(name),
        )
        .unwrap();
    }
}

async fn envoy(server: &Server, number: usize) -> Envoy {
    let mut options = EnvoyOptions::new(bootstrap(server.xds, None).unwrap());
    options.name = format!("envoy-{number}");
    options.node_id = Some(options.name.clone());
    options.node_cluster = Some("latency".into());
    options.concurrency = 1;
    options.log_level = "warning".into();
    let listen = headgate_test_support::ports::free_addr()
        .unwrap()
        .to_string();
    options
        .node_metadata
        .insert("headgate.listen".into(), listen.into());
    Envoy::start(options).await.unwrap()
}

/// Ends pods one after the other; their ReplicaSets make new ones.
async fn churn(node: Node, client: ::kube::Client, ended: Arc<AtomicUsize>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / CHURN);
    let api: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client, "default");
    loop {
        let pods = node.pods_in(Some("default")).await.unwrap();
        for pod in pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .step_by(7)
        {
            ticks.tick().await;
            let name = pod.metadata.name.as_deref().unwrap();
            if api.delete(name, &DeleteParams::default()).await.is_ok() {
                ended.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// The percent that each proxy's filters acked for a version.
fn acked(status: &Value, model: &str, version: &str) -> BTreeMap<String, f64> {
    let find = |list: &Value, field: &str, name: &str| {
        list.as_array()
            .into_iter()
            .flatten()
            .find(|one| one[field] == name)
            .cloned()
            .unwrap_or_default()
    };
    let version = find(
        &find(&status["models"], "model", model)["versions"],
        "version",
        version,
    );
    serde_json::from_value(version["weightAcked"].clone()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_is_at_three_envoys_within_a_second_of_kubectls_end_while_pods_churn() {
    let kube = Kube::start(KubeOptions::default()).await.unwrap();
    let kubelet = kube.kubelet(Nothing::default());
    let kubectl = kube.kubectl();
    kubectl.apply(&fleet().to_string()).await.unwrap();
    let files = Files::new();
    real_modules(&files);
    let mut server = serve(&files, kube.kubeconfig(), &[]);
    let ready = format!("http://{}/readyz", server.admin);
    server.process.wait_for_http(&ready, LONG).await.unwrap();
    let wanted = MODELS * VERSIONS.len() * PODS as usize;
    eventually(LONG, "all pods", async || {
        let status = server.syncz().await;
        let carriers = status["models"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|m| m["carriers"].as_array().unwrap().clone());
        let there: usize = carriers
            .map(|c| usize::try_from(c["ready"]["are"].as_u64().unwrap()).unwrap())
            .sum();
        if there == wanted { Ok(()) } else { Err(there) }
    })
    .await
    .unwrap();
    let mut envoys = Vec::new();
    for number in 0..ENVOYS {
        envoys.push(envoy(&server, number).await);
    }
    let ended = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let churning = tokio::spawn(churn(kubelet.node().clone(), kube.client(), ended.clone()));

    let mut took = Vec::new();
    for edit in 0..EDITS {
        let (model, percent) = (model(edit % MODELS), 10 + edit / MODELS);
        let label = format!("canary-weight={percent}");
        let deploy = format!("deploy/{model}-v2");
        kubectl
            .run(["label", &deploy, &label, "--overwrite"])
            .await
            .unwrap();
        let edited = Instant::now();
        let what = format!("{label} of {model} at all proxies");
        let seen = eventually(Duration::from_secs(20), &what, async || {
            let acked = acked(&server.syncz().await, &model, "v2");
            #[allow(clippy::cast_precision_loss)]
            let there = acked
                .values()
                .filter(|acked| **acked == percent as f64)
                .count();
            if there == ENVOYS {
                Ok(edited.elapsed())
            } else {
                Err(format!("{acked:?}"))
            }
        });
        took.push(seen.await.unwrap());
    }
    let churned = f64::from(u32::try_from(ended.load(Ordering::Relaxed)).unwrap())
        / began.elapsed().as_secs_f64();
    churning.abort();
    took.sort();
    let (median, p99) = (took[EDITS / 2], took[EDITS * 99 / 100 - 1]);
    println!(
        "kubectl label to the last of {ENVOYS} ACKs, {wanted} pods, {churned:.1} of them ended each second: median {median:?}, p99 {p99:?}, longest {:?}",
        took[EDITS - 1]
    );
    assert!(churned > f64::from(CHURN) / 2.0, "{churned} pods a second");
    assert!(p99 < PROMISED, "{took:?}");
}
