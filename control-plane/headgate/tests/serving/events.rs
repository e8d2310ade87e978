//! Every reason of an Event on an object: the `kubectl` command before it, and the output of `kubectl describe`.

use headgate_testkit::kube::{Kubectl, deployment};
use headgate_testkit::xds_client::{AutoAckProxy, LoadReports, type_url};
use serde_json::{Value, json};

use crate::cluster::{Cluster, described, events, policy};

/// A Deployment of a model's version with further labels and annotations; an empty label value is an invalid one.
fn workload(model: &str, name: &str, version: &str, labels: Value, annotations: Value) -> Value {
    let mut made = deployment(model, name, version, 1);
    let metadata = made["metadata"].as_object_mut().unwrap();
    let own = metadata["labels"].as_object_mut().unwrap();
    own.extend(labels.as_object().unwrap().clone());
    own.retain(|_, value| !value.is_null());
    metadata.insert("annotations".into(), annotations);
    made
}

/// One object for each problem and remark.
fn manifests() -> Vec<String> {
    let none = || json!({});
    let weight = |percent: &str| json!({"canary-weight": percent});
    let mut unnamed = workload("unnamed", "unnamed", "v1", none(), none());
    unnamed["spec"]["template"]["spec"]["containers"][0]["ports"][0]["name"] = "metrics".into();
    let mut idle = workload("idle", "idle", "v1", none(), none());
    idle["spec"]["replicas"] = 0.into();
    let names = |text: &str| json!({"headgate.dev/model-names": text});
    let workloads = [
        workload("bad", "bad-model", "v1", json!({"model-name": ""}), none()),
        workload(
            "bad",
            "bad-version",
            "v1",
            json!({"model-version": ""}),
            none(),
        ),
        workload(
            "bad",
            "no-version",
            "v1",
            json!({"model-version": null}),
            none(),
        ),
        workload("bad", "bad-name", "v2", none(), names(&"x".repeat(300))),
        workload("bad", "claims", "v3", none(), names("llama")),
        workload("twice", "twice-a", "v1", none(), none()),
        workload("twice", "twice-b", "v1", none(), none()),
        workload("many", "many-a", "v1", weight("60"), none()),
        workload("many", "many-b", "v2", weight("70"), none()),
        workload("dark", "dark", "v1", weight("0"), none()),
        workload(
            "ends",
            "ends",
            "v1",
            none(),
            json!({"headgate.dev/endpoints": "127.0.0.1:1"}),
        ),
        workload(
            "port",
            "port",
            "v1",
            none(),
            json!({"headgate.dev/port": "nope"}),
        ),
        unnamed,
        idle,
    ];
    let tags = |name: &str| {
        format!(
            "{{apiVersion: headgate.dev/v1alpha1, kind: TrafficTagPolicy, metadata: {{name: {name}}}, spec: {{tenantFrom: ['header:x-team']}}}}\n"
        )
    };
    workloads
        .iter()
        .map(Value::to_string)
        .chain([
            policy("bucket-a", 1000, "models: [llama],"),
            policy("bucket-b", 1000, "models: [llama],"),
            policy("vain", 1000, "override: true, models: [dark],"),
            policy("typo", 1000, "models: [lama],"),
            tags("tags-a"),
            tags("tags-b"),
        ])
        .collect()
}

/// Waits for an Event of this reason, with these words, on this object; it is a sentence and names a command.
async fn wait_for_event(kubectl: &Kubectl, object: &str, reason: &str, words: &[&str]) {
    let line = described(kubectl, object, reason, words).await;
    assert!(
        line.contains("kubectl ") || line.contains("headgate "),
        "no command: {line}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_or_ineffective_settings_are_events_that_name_the_command() {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    let _server = cluster.serve("a", &[]).await;
    for manifest in manifests() {
        kubectl.apply(&manifest).await.unwrap();
    }
    let rows: [(&str, &str, &[&str]); 18] = [
        (
            "deploy/bad-model",
            "InvalidModel",
            &[
                "Headgate ignores the object",
                "model-name=MODEL --overwrite",
            ],
        ),
        (
            "deploy/bad-version",
            "InvalidVersion",
            &["Warning", "label `model-version`", "model-version=VERSION"],
        ),
        (
            "deploy/no-version",
            "NoVersion",
            &["kubectl label deployment/no-version -n default model-version=VERSION"],
        ),
        (
            "deploy/bad-name",
            "InvalidName",
            &[
                "at most 256 bytes",
                "kubectl edit deployment/bad-name -n default",
            ],
        ),
        (
            "deploy/claims",
            "NameClaimed",
            &[
                "\"llama\" is the id of model llama",
                "kubectl edit deployment/claims",
            ],
        ),
        (
            "deploy/twice-b",
            "VersionMerged",
            &[
                "deployment default/twice-a",
                "kubectl label deployment/twice-b -n default model-version=VERSION",
            ],
        ),
        (
            "deploy/many-a",
            "CanariesScaled",
            &[
                "sum to 130 percent",
                "kubectl label deployment/many-b -n default canary-weight=10",
            ],
        ),
        (
            "deploy/dark",
            "DarkServes",
            &[
                "acts as the base",
                "kubectl label deployment/dark -n default canary-weight=100",
            ],
        ),
        (
            "deploy/ends",
            "EndpointsIgnored",
            &["kubectl annotate deployment/ends -n default headgate.dev/endpoints-"],
        ),
        (
            "deploy/port",
            "InvalidPort",
            &[
                "\"nope\"",
                "kubectl annotate deployment/port -n default headgate.dev/port=PORT",
            ],
        ),
        (
            "deploy/unnamed",
            "NoPort",
            &["kubectl annotate deployment/unnamed -n default headgate.dev/port=PORT"],
        ),
        (
            "deploy/idle",
            "NothingReady",
            &["answers 503", "kubectl describe deployment/idle -n default"],
        ),
        (
            "tbp/bucket-b",
            "DuplicateBucket",
            &[
                "default/bucket-a",
                "kubectl edit tokenbucketpolicy/bucket-b -n default",
            ],
        ),
        (
            "tbp/vain",
            "OverrideIgnored",
            &["spec.override", "kubectl edit tokenbucketpolicy/vain"],
        ),
        (
            "tbp/typo",
            "MatchesNothing",
            &["spec.models[0]", "kubectl edit tokenbucketpolicy/typo"],
        ),
        (
            "ttp/tags-b",
            "TaggingShadowed",
            &["default/tags-a", "kubectl edit traffictagpolicy/tags-b"],
        ),
        (
            "deploy/v2",
            "VersionHeld",
            &["kubectl label deployment/v2 -n default canary-weight=10 --overwrite"],
        ),
        ("deploy/v2", "VersionHeld", &["headgate.dev/join=share"]),
    ];
    for (object, reason, words) in rows {
        wait_for_event(&kubectl, object, reason, words).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_cluster_is_an_event_on_the_carrier_that_it_was_made_from() {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    let server = cluster.serve("a", &[]).await;
    let proxy = AutoAckProxy::connect("p", server.xds).unwrap();
    server.all_current().await;
    proxy.nack_type(type_url::CLUSTER);
    let third = workload("llama", "v3", "three", json!({}), json!({}));
    kubectl.apply_and_wait(&third).await.unwrap();
    let words = [
        "Warning",
        "a proxy refuses the cluster model/default/llama/three made of it",
        "the proxy does not want it",
        "To see which: headgate status",
    ];
    wait_for_event(&kubectl, "deploy/v3", "RefusedByProxy", &words).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_routes_and_endpoints_are_events_on_the_carrier_that_changed_them() {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    let server = cluster.serve("a", &[]).await;
    let proxy = AutoAckProxy::connect("p", server.xds).unwrap();
    server.all_current().await;
    proxy.nack_type(type_url::ROUTES);
    let third = workload("llama", "v3", "three", json!({}), json!({}));
    kubectl.apply_and_wait(&third).await.unwrap();
    let words = [
        "Warning",
        "a proxy refuses the routes ai-model-route made of it, and keeps what it has",
        "the proxy does not want it",
        "To see which: headgate status",
    ];
    wait_for_event(&kubectl, "deploy/v3", "RefusedByProxy", &words).await;
    for other in ["v1", "v2"] {
        let found = events(&kubectl, other, "RefusedByProxy").await;
        assert!(found.is_empty(), "{found:?}");
    }
    proxy.nack_type(type_url::ENDPOINTS);
    kubectl
        .run(["scale", "deploy/v1", "--replicas=2"])
        .await
        .unwrap();
    let words = ["a proxy refuses the endpoints model/default/llama/one made of it"];
    wait_for_event(&kubectl, "deploy/v1", "RefusedByProxy", &words).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejection_that_no_object_caused_is_an_event_on_the_lease() {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    let server = cluster.serve("a", &[]).await;
    let refused = [type_url::LISTENER, type_url::EXTENSION];
    let _proxy = AutoAckProxy::connect_nacking("p", server.xds, refused).unwrap();
    for what in ["listener", "filter configuration"] {
        let words = [
            "Warning",
            &format!("a proxy refuses the {what} headgate, and has none"),
            "To see which: headgate status",
        ];
        wait_for_event(&kubectl, "lease/headgate", "RefusedByProxy", &words).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_that_change_their_share_fail_or_take_over_have_events() {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    let server = cluster.serve("a", &[]).await;
    let run = async |words: &str| {
        kubectl.run(words.split(' ')).await.unwrap();
    };
    let back = "kubectl label deployment/v2 -n default canary-weight=0 --overwrite";
    // The state at the start of a control plane is not an event.
    wait_for_event(&kubectl, "deploy/v2", "VersionHeld", &["Normal"]).await;
    run("label deploy/v2 canary-weight=10").await;
    wait_for_event(&kubectl, "deploy/v2", "CanaryStarted", &["10 %"]).await;
    run("label deploy/v2 canary-weight=30 --overwrite").await;
    wait_for_event(
        &kubectl,
        "deploy/v2",
        "CanaryMoved",
        &["now takes 30 %", back],
    )
    .await;
    run("scale deploy/v2 --replicas=0").await;
    wait_for_event(
        &kubectl,
        "deploy/v2",
        "Unready",
        &[
            "go to other versions",
            "kubectl describe deployment/v2 -n default",
        ],
    )
    .await;
    run("scale deploy/v2 --replicas=1").await;
    kubectl.wait_for_rollout("v2").await.unwrap();
    let again = ["Normal", "is ready again and takes 30 %", back];
    wait_for_event(&kubectl, "deploy/v2", "Recovered", &again).await;
    let proxy = LoadReports::start(server.xds, "reports").await.unwrap();
    proxy.send("model/default/llama/two", 0, 5).await.unwrap();
    let why = [
        "Warning",
        "version two of model llama",
        "kubectl logs deployment/v2 -n default",
    ];
    wait_for_event(&kubectl, "deploy/v2", "Unreachable", &why).await;
    proxy.send("model/default/llama/two", 1, 0).await.unwrap();
    wait_for_event(&kubectl, "deploy/v2", "Reachable", &["Normal", "no longer"]).await;
    let started = events(&kubectl, "v2", "CanaryStarted").await;
    assert_eq!(started.len(), 1, "it started once: {started:?}");
    assert!(started[0]["series"].is_null(), "{started:?}");
    run("label deploy/v2 canary-weight=100 --overwrite").await;
    wait_for_event(&kubectl, "deploy/v2", "Promoted", &["100 %", back]).await;
    run("scale deploy/v2 --replicas=0").await;
    described(
        &kubectl,
        "deploy/v1",
        "StandsIn",
        &["Warning", "version one stands in", "canary-weight=100"],
    )
    .await;
}
