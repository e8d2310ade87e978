//! User actions with `kubectl`, as the source observes them.

use headgate_model::Change;
use headgate_model::reason;
use headgate_source::cluster::Options;
use headgate_testkit::deadline::eventually;
use serde_json::json;

use super::cluster::*;

#[tokio::test]
async fn changes_of_a_deployment_with_kubectl_are_observed() {
    let cluster = Cluster::start().await;
    let mut source = cluster.source().await;
    assert_eq!(source.now().objects.carriers.len(), 0);
    cluster.apply(deployment("v1", "one", 2)).await;
    let v1 = source.carrier("deployment/v1", |c| ready(c) == 2).await;
    assert_eq!(
        (v1.desired, v1.origin.as_str()),
        (2, "Deployment default/v1")
    );
    assert!(v1.created.is_some());
    assert!(
        v1.pods
            .iter()
            .all(|pod| pod.address.port() == 8000 && pod.address.to_string().starts_with("127."))
    );

    let before = source.now();
    cluster.kubectl("label deploy/v1 canary-weight=10").await;
    source
        .carrier("deployment/v1", |c| {
            c.labels.get("canary-weight").is_some_and(|w| w == "10")
        })
        .await;
    assert_eq!(source.now().change_since(&before), Some(Change::Intent));
    cluster.kubectl("label deploy/v1 canary-weight-").await;
    source
        .carrier("deployment/v1", |c| !c.labels.contains_key("canary-weight"))
        .await;

    cluster.kubectl("scale deploy/v1 --replicas=3").await;
    source
        .carrier("deployment/v1", |c| c.desired == 3 && ready(c) == 3)
        .await;
    cluster.kubectl("scale deploy/v1 --replicas=1").await;
    let v1 = source
        .carrier("deployment/v1", |c| {
            c.desired == 1 && ready(c) == 1 && c.pods.len() == 1
        })
        .await;

    let before = source.now();
    let pod = v1.pods[0].name.clone();
    cluster
        .kubelet
        .node()
        .set_ready("default", &pod, false)
        .await
        .unwrap();
    let v1 = source.carrier("deployment/v1", |c| ready(c) == 0).await;
    assert_eq!(v1.pods.len(), 1, "it is there, and not ready");
    assert_eq!(source.now().change_since(&before), Some(Change::Loss));
    cluster
        .kubelet
        .node()
        .set_ready("default", &pod, true)
        .await
        .unwrap();
    source.carrier("deployment/v1", |c| ready(c) == 1).await;

    cluster.kubectl("rollout restart deploy/v1").await;
    let other =
        |c: &headgate_model::Carrier| ready(c) == 1 && c.pods.len() == 1 && c.pods[0].name != pod;
    source.carrier("deployment/v1", other).await;
    cluster.wait_until_equal_to_a_new_source(&source).await;

    cluster.kubectl("delete deploy/v1").await;
    source
        .until("nothing", |observed| {
            observed.objects.carriers.is_empty().then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_terminating_pod_stops_being_an_endpoint_before_it_is_deleted() {
    let cluster = Cluster::start().await;
    let mut source = cluster.source().await;
    cluster.apply(deployment("v1", "one", 2)).await;
    source.carrier("deployment/v1", |c| ready(c) == 2).await;
    // Without a kubelet no pod ends.
    let node = cluster.kubelet.node().clone();
    drop(cluster.kubelet);
    cluster
        .kube
        .kubectl()
        .run(["scale", "deploy/v1", "--replicas=1"])
        .await
        .unwrap();
    let v1 = source.carrier("deployment/v1", |c| c.pods.len() == 1).await;
    let there = node.pods_in(Some("default")).await.unwrap();
    assert_eq!(there.len(), 2, "both still run");
    let ends = there
        .iter()
        .find(|pod| pod.metadata.deletion_timestamp.is_some())
        .unwrap();
    assert_ne!(
        ends.metadata.name.as_deref(),
        Some(v1.pods[0].name.as_str())
    );
}

#[tokio::test]
async fn the_carrier_is_the_labelled_service_or_else_the_outermost_owner_or_else_the_pod() {
    let cluster = Cluster::start().await;
    let mut source = cluster.source().await;
    let carriers = |observed: &headgate_model::Observed| -> Vec<String> {
        observed
            .objects
            .carriers
            .values()
            .map(|c| format!("{} {}", c.key.identity(), ready(c)))
            .collect()
    };
    let is = |expected: &'static [&'static str]| {
        move |observed: &headgate_model::Observed| (carriers(observed) == expected).then_some(())
    };
    cluster.apply(deployment("v1", "one", 2)).await;
    let mut bare = deployment("bare", "two", 1)["spec"]["template"].clone();
    (bare["apiVersion"], bare["kind"]) = ("v1".into(), "Pod".into());
    bare["metadata"] =
        json!({"name": "bare", "labels": {"model-name": "llama", "model-version": "two"}});
    cluster.apply(bare).await;
    source
        .until("owner and pod", is(&["deployment/v1 2", "pod/bare 1"]))
        .await;

    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "front", "labels": {"model-name": "llama"}},
        "spec": {"selector": {"app": "v1"}, "ports": [{"port": 80}]},
    });
    cluster.apply(service).await;
    cluster
        .kubectl("label service/front model-version=one canary-weight=20")
        .await;
    source
        .until("the Service", is(&["pod/bare 1", "service/front 2"]))
        .await;
    let front = source.carrier("service/front", |c| ready(c) == 2).await;
    assert_eq!(
        (front.desired, front.labels["canary-weight"].as_str()),
        (2, "20")
    );
    cluster.kubectl("scale deploy/v1 --replicas=0").await;
    source
        .carrier("service/front", |c| c.pods.is_empty() && c.desired == 0)
        .await;
    cluster.kubectl("scale deploy/v1 --replicas=3").await;
    source
        .carrier("service/front", |c| ready(c) == 3 && c.desired == 3)
        .await;
    cluster.kubectl("label service/front model-version-").await;
    source
        .until("the owner again", is(&["deployment/v1 3", "pod/bare 1"]))
        .await;

    cluster
        .kubectl("annotate deploy/v1 headgate.dev/endpoints=127.0.0.1:9")
        .await;
    let found = |observed: &headgate_model::Observed| -> Vec<(&'static str, String)> {
        let findings = observed.findings.iter();
        findings.map(|f| (f.reason, f.object.to_string())).collect()
    };
    let expected = [
        (reason::ENDPOINTS_IGNORED, "deployment default/v1".into()),
        (reason::NO_VERSION, "service default/front".into()),
    ];
    source
        .until("both findings", |observed| {
            (found(observed) == expected).then_some(())
        })
        .await;
    cluster.wait_until_equal_to_a_new_source(&source).await;
}

#[tokio::test]
async fn a_kind_that_is_installed_later_is_watched_and_its_unreadable_values_are_reported() {
    let cluster = Cluster::start().await;
    let options = Options {
        absent_retry: std::time::Duration::from_millis(200),
        ..Options::default()
    };
    let mut source = Source::start(&cluster.client().await, options).await;
    let absent = |source: &Source| {
        source.state().watches["leaderworkersets.leaderworkerset.x-k8s.io"].absent
    };
    assert!(absent(&source), "{:?}", source.state());
    assert!(!source.state().watches["deployments.apps"].absent);
    assert_eq!(source.state().lost(), None);
    assert!(source.state().synced());

    let of = "leaderworkerset.x-k8s.io";
    cluster
        .apply(crd(of, "leaderworkersets", "LeaderWorkerSet"))
        .await;
    cluster
        .kubectl("wait --for=condition=Established crd/leaderworkersets.leaderworkerset.x-k8s.io")
        .await;
    let set = |name: &str, spec: serde_json::Value| {
        json!({
            "apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet",
            "metadata": {"name": name, "labels": {"model-name": name, "model-version": "one"}}, "spec": spec,
        })
    };
    let mut deep = json!("bottom");
    for _ in 0..500 {
        deep = json!({"deeper": [deep]});
    }
    cluster
        .apply(set(
            "bad",
            json!({"replicas": "three", "deep": deep, "template": ["no", 7]}),
        ))
        .await;
    cluster.apply(set("good", json!({"replicas": 4}))).await;
    assert_eq!(
        source
            .carrier("leaderworkerset/good", |_| true)
            .await
            .desired,
        4
    );
    assert_eq!(
        source
            .carrier("leaderworkerset/bad", |_| true)
            .await
            .desired,
        1
    );
    assert!(!absent(&source));
    let findings = source.now().findings.clone();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(
        (findings[0].reason, findings[0].object.to_string()),
        (reason::UNREADABLE, "leaderworkerset default/bad".to_owned())
    );
    assert!(
        findings[0].message.contains("spec.replicas is \"three\""),
        "{findings:?}"
    );
    // A list and a watch read it alike.
    cluster.wait_until_equal_to_a_new_source(&source).await;

    cluster.apply(set("bad", json!({"replicas": 2}))).await;
    source
        .carrier("leaderworkerset/bad", |c| c.desired == 2)
        .await;
    source
        .until("no finding", |observed| {
            observed.findings.is_empty().then_some(())
        })
        .await;

    cluster
        .kubectl("delete crd leaderworkersets.leaderworkerset.x-k8s.io")
        .await;
    source
        .until("none of the kind", |observed| {
            observed.objects.carriers.is_empty().then_some(())
        })
        .await;
    eventually(SOON, "the kind to be absent again", async || {
        let well = absent(&source) && source.state().lost().is_none();
        well.then_some(()).ok_or(format!("{:?}", source.state()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn only_the_requested_namespaces_are_observed() {
    let cluster = Cluster::start().await;
    for namespace in ["red", "blue", "green"] {
        cluster
            .kubectl(&format!("create namespace {namespace}"))
            .await;
        let kubectl = cluster.kube.kubectl();
        let manifest = deployment("v1", "one", 1).to_string();
        kubectl
            .run_with_input(["apply", "-n", namespace, "-f", "-"], &manifest)
            .await
            .unwrap();
    }
    let options = Options {
        namespaces: vec!["red".into(), "blue".into(), "red".into()],
        ..Options::default()
    };
    let mut some = Source::start(&cluster.client().await, options.clone()).await;
    let both = |observed: &headgate_model::Observed| -> Option<Vec<String>> {
        let ready = observed.objects.carriers.values().filter(|c| ready(c) == 1);
        let names: Vec<String> = ready.map(|c| c.key.namespace.clone()).collect();
        (names.len() == 2).then_some(names)
    };
    assert_eq!(some.until("both", both).await, ["blue", "red"]);
    let mut all = cluster.source().await;
    all.until("all three", |observed| {
        (observed.objects.carriers.len() == 3).then_some(())
    })
    .await;
    assert_eq!(some.now().objects.carriers.len(), 2);
    assert!(
        some.state().watches.contains_key("pods in red"),
        "{:?}",
        some.state()
    );
    some.wait_until_equal_to_a_new_source(&cluster.client().await, &options)
        .await;
}
