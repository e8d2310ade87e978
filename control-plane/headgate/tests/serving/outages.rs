//! Outages of the API server: a control plane that lived through one serves the same bytes as one that starts afterwards.

use headgate_kubernetes::policies::crds;
use headgate_kubernetes::policies::yaml;
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{FaultProxy, KubeOptions, Kubectl, crd, deployment};
use headgate_testkit::xds_client::AutoAckProxy;
use serde_json::{Value, json};

use crate::cluster::{Cluster, policy};
use crate::common::{SOON, Server};
use crate::kubernetes_replicas::{run, same};
use crate::writes::open_definition;

/// A cluster, and a control plane that watches it through a fault proxy.
struct Scenario {
    cluster: Cluster,
    fault_proxy: FaultProxy,
    server: Server,
    proxy: AutoAckProxy,
    kubectl: Kubectl,
    /// The number of rounds of changes so far.
    round: u32,
}

impl Scenario {
    async fn started(cluster: Cluster) -> Self {
        let kubectl = cluster.kube.kubectl();
        let phi = deployment("phi", "phi", "one", 2);
        kubectl.apply_and_wait(&phi).await.unwrap();
        let fault_proxy = cluster.fault_proxy().await;
        let server = cluster.serve_as(fault_proxy.kubeconfig(), "old", &[]).await;
        let proxy = AutoAckProxy::connect("proxy", server.xds).unwrap();
        let mut scenario = Self {
            cluster,
            fault_proxy,
            server,
            proxy,
            kubectl,
            round: 0,
        };
        // Objects that exist before an outage and are removed during it.
        scenario.change_one_of_each().await;
        scenario.wait_until_equal_to_a_new_replica("nothing").await;
        scenario
    }

    /// Changes one of each: a weight, a policy, an added and a removed policy, an added and a removed model, and the readiness
    /// of one of two pods.
    async fn change_one_of_each(&mut self) {
        self.round += 1;
        let (now, last) = (self.round, self.round - 1);
        let kubectl = &self.kubectl;
        let weight = format!("label deploy/v2 canary-weight={} --overwrite", 10 + now);
        run(kubectl, &weight).await;
        let fair = policy("fair", 7000 + now, "");
        kubectl.apply(&fair).await.unwrap();
        let name = |round: u32| format!("model{round}");
        // For one model, the older of two policies would win.
        kubectl
            .apply(&policy(&name(now), 8000 + now, "models: [phi],"))
            .await
            .unwrap();
        kubectl
            .apply_and_wait(&deployment(&name(now), &name(now), "one", 1))
            .await
            .unwrap();
        run(
            kubectl,
            &format!("delete tbp/{0} deploy/{0} --ignore-not-found", name(last)),
        )
        .await;
        self.ready(now % 2 == 0).await;
    }

    /// Reports the readiness of a pod of `phi`, as a kubelet does.
    async fn ready(&self, ready: bool) {
        let node = self.cluster.kubelet.node();
        let pods = node.pods_in(Some("default")).await.unwrap();
        let of_phi = |name: &&str| name.starts_with("phi-");
        let mut names = pods.iter().filter_map(|pod| pod.metadata.name.as_deref());
        let pod = names.find(of_phi).unwrap();
        node.set_ready("default", pod, ready).await.unwrap();
    }

    /// Waits until it serves every change, and the same bytes as a process that starts now.
    async fn wait_until_equal_to_a_new_replica(&self, outage: &str) {
        let now = self.round;
        let mut parts = vec![
            format!("\"weight\":{}", 10 + now),
            format!("default/model{now}"),
            (7000 + now).to_string(),
            (8000 + now).to_string(),
        ];
        // One of two is unready.
        if now % 2 == 1 {
            parts.push("\"percent\":50".to_owned());
        }
        self.wait_until_serving(&format!("the same after {outage}"), &parts)
            .await;
    }

    /// Waits until it serves these parts, and the same bytes as a process that starts now.
    async fn wait_until_serving(&self, what: &str, parts: &[String]) {
        let fresh = self.cluster.serve("fresh", &[]).await;
        let proxy = AutoAckProxy::connect("proxy", fresh.xds).unwrap();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        same(what, &[&self.proxy, &proxy], &parts).await;
    }

    /// Waits until the API is reported away, with these words as the reason.
    async fn wait_until_away(&self, words: &str) {
        let lost = |status: &Value| {
            let problems = status["problems"].as_array().into_iter().flatten();
            let mut ours = problems.filter(|problem| problem["reason"] == "KubernetesApi");
            ours.any(|problem| problem["message"].to_string().contains(words))
        };
        self.server.until("the API to be reported away", lost).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_serves_the_same_as_a_new_one_after_a_killed_api_server_and_a_lost_history() {
    let mut scenario = Scenario::started(Cluster::start().await).await;
    scenario.cluster.kube.kill_api().unwrap();
    scenario.wait_until_away("does not answer").await;
    scenario.cluster.kube.start_api().await.unwrap();
    scenario.change_one_of_each().await;
    scenario
        .wait_until_equal_to_a_new_replica("a kill and a restart")
        .await;

    // All changes are missed, and their history is compacted.
    scenario.cluster.kube.kill_api().unwrap();
    scenario.wait_until_away("does not answer").await;
    scenario.fault_proxy.throttle_next(1_000_000);
    scenario.cluster.kube.compact().await.unwrap();
    scenario.cluster.kube.start_api().await.unwrap();
    scenario.change_one_of_each().await;
    scenario.cluster.kube.compact().await.unwrap();
    scenario.fault_proxy.throttle_next(0);
    scenario
        .wait_until_equal_to_a_new_replica("a compaction")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_serves_the_same_as_a_new_one_after_refusals_and_broken_watches() {
    let mut scenario = Scenario::started(Cluster::start().await).await;
    scenario.fault_proxy.throttle_next(1_000_000);
    scenario.fault_proxy.break_watches();
    scenario.change_one_of_each().await;
    scenario.wait_until_away("429").await;
    scenario.fault_proxy.throttle_next(0);
    scenario.wait_until_equal_to_a_new_replica("429s").await;
    for _ in 0..3 {
        scenario.fault_proxy.break_watches();
        scenario.change_one_of_each().await;
    }
    scenario
        .wait_until_equal_to_a_new_replica("cut watches")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_serves_the_same_as_a_new_one_after_lists_during_changes() {
    let options = KubeOptions {
        api_args: vec![
            "--feature-gates=WatchList=false".into(),
            "--watch-cache=false".into(),
        ],
        ..KubeOptions::default()
    };
    let mut scenario = Scenario::started(Cluster::with(options).await).await;
    for _ in 0..3 {
        // Without a watch cache a compaction makes every version too old: the source lists again while more changes.
        scenario.fault_proxy.throttle_next(1_000_000);
        scenario.fault_proxy.break_watches();
        scenario.change_one_of_each().await;
        scenario.cluster.kube.compact().await.unwrap();
        scenario.fault_proxy.throttle_next(0);
        scenario.change_one_of_each().await;
    }
    scenario
        .wait_until_equal_to_a_new_replica("lists under churn")
        .await;
}

/// A LeaderWorkerSet with this value of `replicas`.
fn set(replicas: &Value) -> Value {
    json!({
        "apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet",
        "metadata": {"name": "set", "labels": {"model-name": "gemma", "model-version": "one"}},
        "spec": {"replicas": replicas},
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_serves_the_same_as_a_new_one_with_unreadable_objects() {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    // Definitions without validation, as an older release may have left them.
    let sets = crd(
        "leaderworkerset.x-k8s.io",
        "leaderworkersets",
        "LeaderWorkerSet",
    );
    kubectl.apply_crds(&sets.to_string()).await.unwrap();
    kubectl.apply(&set(&json!(4)).to_string()).await.unwrap();
    let mut pod = deployment("", "leader", "", 1)["spec"]["template"].clone();
    (pod["apiVersion"], pod["kind"]) = ("v1".into(), "Pod".into());
    pod["metadata"]["name"] = "leader".into();
    kubectl
        .apply_owned("leaderworkerset/set", pod)
        .await
        .unwrap();
    let scenario = Scenario::started(cluster).await;
    scenario
        .wait_until_serving("the set", &["\"gemma\"".into(), "\"percent\":25".into()])
        .await;

    kubectl.apply(&open_definition()).await.unwrap();
    let bad = policy("fair", 9000, "").replace("capacity: 9000", "capacity: -1");
    eventually(SOON, "a definition that takes anything", async || {
        kubectl.apply(&bad).await
    })
    .await
    .unwrap();
    kubectl
        .apply(&set(&json!("two")).to_string())
        .await
        .unwrap();
    let unreadable = |status: &Value| {
        let problems = status["problems"].as_array().into_iter().flatten();
        problems.filter(|p| p["reason"] == "Unreadable").count() == 2
    };
    scenario
        .server
        .until("both to be reported", unreadable)
        .await;
    scenario
        .wait_until_serving(
            "the same while two objects cannot be read",
            &["\"gemma\"".into()],
        )
        .await;

    // Other objects are still read, and the unreadable ones are read once they are valid.
    run(&kubectl, "label deploy/v2 canary-weight=77 --overwrite").await;
    scenario
        .wait_until_serving(
            "the same with another one changed",
            &["\"weight\":77".into()],
        )
        .await;
    kubectl.apply(&policy("fair", 9001, "")).await.unwrap();
    kubectl.apply(&set(&json!(5)).to_string()).await.unwrap();
    kubectl
        .apply(&yaml(&crds().unwrap()).unwrap())
        .await
        .unwrap();
    let fixed = ["9001", "\"percent\":20"].map(str::to_owned);
    scenario
        .wait_until_serving("the same once they are readable", &fixed)
        .await;
}
