//! Outages of the API server: a control plane that lived through one serves the same bytes as one that starts afterwards.

use headgate_kubernetes::policies::crds;
use headgate_kubernetes::policies::yaml;
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{FaultProxy, KubeOptions, Kubectl, crd, deployment};
use headgate_testkit::xds_client::AutoAckProxy;
use serde_json::{Value, json};

use crate::common::{SOON, Server};
use crate::kubernetes_replicas::{run, same};
use crate::writing::open_definition;
use crate::written::{World, policy};

/// A world, and a control plane that watches it through a relay since it began.
struct Life {
    world: World,
    relay: FaultProxy,
    server: Server,
    seen: AutoAckProxy,
    kubectl: Kubectl,
    /// What was changed so far.
    round: u32,
}

impl Life {
    async fn begin(world: World) -> Self {
        let kubectl = world.kube.kubectl();
        let phi = deployment("phi", "phi", "one", 2);
        kubectl.apply_and_wait(&phi).await.unwrap();
        let relay = world
            .kube
            .fault_proxy(world.kube.kubeconfig())
            .await
            .unwrap();
        let server = world.serve_as(relay.kubeconfig(), "old", &[]).await;
        let seen = AutoAckProxy::connect("proxy", server.xds).unwrap();
        let mut life = Self {
            world,
            relay,
            server,
            seen,
            kubectl,
            round: 0,
        };
        // What is there before an outage, and gone after it.
        life.changes().await;
        life.equals_a_fresh_one("nothing").await;
        life
    }

    /// One of everything: a weight, a policy that changes, one that comes and one that goes, a model that comes and one that
    /// goes, and one of two pods that turns unready, and ready again the next time.
    async fn changes(&mut self) {
        self.round += 1;
        let (now, last) = (self.round, self.round - 1);
        let kubectl = &self.kubectl;
        let weight = format!("label deploy/v2 canary-weight={} --overwrite", 10 + now);
        run(kubectl, &weight).await;
        let fair = policy("fair", 7000 + now, "");
        kubectl.apply(&fair).await.unwrap();
        let name = |round: u32| format!("model{round}");
        // The older of two would win.
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

    /// The kubelet's word on a pod of `phi`.
    async fn ready(&self, ready: bool) {
        let node = self.world.kubelet.node();
        let pods = node.pods_in(Some("default")).await.unwrap();
        let of_phi = |name: &&str| name.starts_with("phi-");
        let mut names = pods.iter().filter_map(|pod| pod.metadata.name.as_deref());
        let pod = names.find(of_phi).unwrap();
        node.set_ready("default", pod, ready).await.unwrap();
    }

    /// Waits until it serves all that was changed, and what a process serves that starts now.
    async fn equals_a_fresh_one(&self, outage: &str) {
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
        self.serves(&format!("the same after {outage}"), &parts)
            .await;
    }

    /// Waits until it serves these parts, and what a process serves that starts now.
    async fn serves(&self, what: &str, parts: &[String]) {
        let fresh = self.world.serve("fresh", &[]).await;
        let seen = AutoAckProxy::connect("proxy", fresh.xds).unwrap();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        same(what, &[&self.seen, &seen], &parts).await;
    }

    /// Why the API is said to be away, once it is.
    async fn lost(&self, words: &str) {
        let lost = |status: &Value| {
            let problems = status["problems"].as_array().into_iter().flatten();
            let mut ours = problems.filter(|problem| problem["reason"] == "KubernetesApi");
            ours.any(|problem| problem["message"].to_string().contains(words))
        };
        self.server.until("the API to be lost", lost).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_api_server_was_killed_and_after_its_history_was_lost_a_fresh_process_serves_the_same()
 {
    let mut life = Life::begin(World::start().await).await;
    life.world.kube.kill_api().unwrap();
    life.lost("does not answer").await;
    life.world.kube.start_api().await.unwrap();
    life.changes().await;
    life.equals_a_fresh_one("a kill and a restart").await;

    // Everything that changes is missed, and cannot be read up on.
    life.world.kube.kill_api().unwrap();
    life.lost("does not answer").await;
    life.relay.throttle_next(1_000_000);
    life.world.kube.compact().await.unwrap();
    life.world.kube.start_api().await.unwrap();
    life.changes().await;
    life.world.kube.compact().await.unwrap();
    life.relay.throttle_next(0);
    life.equals_a_fresh_one("a compaction").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_refusals_and_watches_cut_in_the_middle_of_an_event_a_fresh_process_serves_the_same()
{
    let mut life = Life::begin(World::start().await).await;
    life.relay.throttle_next(1_000_000);
    life.relay.break_watches();
    life.changes().await;
    life.lost("429").await;
    life.relay.throttle_next(0);
    life.equals_a_fresh_one("429s").await;
    for _ in 0..3 {
        life.relay.break_watches();
        life.changes().await;
    }
    life.equals_a_fresh_one("cut watches").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_lists_under_churn_a_fresh_process_serves_the_same() {
    let options = KubeOptions {
        api_args: vec![
            "--feature-gates=WatchList=false".into(),
            "--watch-cache=false".into(),
        ],
        ..KubeOptions::default()
    };
    let mut life = Life::begin(World::with(options).await).await;
    for _ in 0..3 {
        // Without a watch cache a compaction makes every version too old: who is kept out until then lists anew, while
        // more is changed.
        life.relay.throttle_next(1_000_000);
        life.relay.break_watches();
        life.changes().await;
        life.world.kube.compact().await.unwrap();
        life.relay.throttle_next(0);
        life.changes().await;
    }
    life.equals_a_fresh_one("lists under churn").await;
}

/// A set whose replicas are these, with a pod of its own.
fn set(replicas: &Value) -> Value {
    json!({
        "apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet",
        "metadata": {"name": "set", "labels": {"model-name": "gemma", "model-version": "one"}},
        "spec": {"replicas": replicas},
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_objects_that_cannot_be_read_a_fresh_process_serves_the_same() {
    let world = World::start().await;
    let kubectl = world.kube.kubectl();
    // Definitions that let anything be stored, as an older release's may.
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
    let life = Life::begin(world).await;
    life.serves("the set", &["\"gemma\"".into(), "\"percent\":25".into()])
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
    life.server.until("both to be said", unreadable).await;
    life.serves(
        "the same while two objects cannot be read",
        &["\"gemma\"".into()],
    )
    .await;

    // Others are not stalled, and those are read again once they can be.
    run(&kubectl, "label deploy/v2 canary-weight=77 --overwrite").await;
    life.serves(
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
    let mended = ["9001", "\"percent\":20"].map(str::to_owned);
    life.serves("the same once they can be read", &mended).await;
}
