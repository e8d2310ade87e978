//! Labels on one API server: the object whose labels have an effect, and findings on the others.

use headgate_model::Observed;
use headgate_model::reason;
use headgate_source::cluster::Options;
use serde_json::{Value, json};

use super::cluster::*;
use super::endpoints::*;

#[tokio::test]
async fn the_labels_of_an_object_have_an_effect_or_a_finding_names_the_object_whose_labels_do() {
    let cluster = Cluster::start().await;
    let mut source = cluster.source().await;
    // Labels on everything.
    let mut made = deployment("hm-v2", "v2", 2);
    made["spec"]["template"]["metadata"]["labels"] =
        json!({"app": "hm-v2", "model-name": "llama", "model-version": "v2"});
    cluster.apply(made).await;
    let front = service(
        "hm-v2",
        &json!({"app": "hm-v2"}),
        &json!([{"name": "http", "port": 80, "targetPort": "http"}]),
    );
    cluster.apply(labelled(front, "llama", "v2")).await;
    serves(&mut source, "service/hm-v2", &[8000, 8000], &[]).await;
    cluster.kubectl("label deploy/hm-v2 canary-weight=30").await;
    let reported = |observed: &Observed| {
        let found = found(observed, "deployment/hm-v2");
        let found = found
            .into_iter()
            .find(|(of, _)| *of == reason::LABEL_IGNORED);
        found.map(|(_, message)| message)
    };
    let message = source.until("the finding on the weight", reported).await;
    for command in [
        "kubectl label service/hm-v2 -n default canary-weight=30 --overwrite",
        "kubectl annotate service/hm-v2 -n default headgate.dev/carrier=owner --overwrite",
    ] {
        assert!(message.contains(command), "{message}");
    }
    cluster
        .kubectl("annotate service/hm-v2 headgate.dev/carrier=owner")
        .await;
    let weighed = |c: &headgate_model::Carrier| {
        c.labels.get("canary-weight").is_some_and(|w| w == "30") && ready(c) == 2
    };
    source.carrier("deployment/hm-v2", weighed).await;
    source
        .until("the Service steps aside", |observed| {
            (!observed
                .objects
                .carriers
                .contains_key(&key("service/hm-v2"))
                && observed.findings.is_empty())
            .then_some(())
        })
        .await;

    // A Service that lacks a label to be a carrier.
    let mut front = service("lacks", &json!({"app": "lacks"}), &json!([{"port": 80}]));
    front["metadata"]["labels"] = json!({"model-name": "lacks", "canary-weight": "10"});
    cluster.apply(front).await;
    let lacks = |observed: &Observed| {
        let found = found(observed, "service/lacks");
        let found = found.into_iter().find(|(of, _)| *of == reason::NO_VERSION);
        found.map(|(_, message)| message)
    };
    let message = source.until("the version that is missing", lacks).await;
    let command = "kubectl label service/lacks -n default model-version=VERSION --overwrite";
    assert!(message.ends_with(command), "{message}");
    cluster
        .kubectl("label service/lacks model-name- canary-weight-")
        .await;

    // Labels on the pod template only.
    let mut made = workload(
        "tmpl",
        3,
        ("app", "tmpl"),
        listens(&json!([{"name": "http", "containerPort": 8000}])),
    );
    made["spec"]["template"]["metadata"]["labels"] =
        json!({"app": "tmpl", "model-name": "tmpl", "model-version": "v1"});
    cluster.apply(made).await;
    serves(
        &mut source,
        "deployment/tmpl",
        &[8000, 8000, 8000],
        &[reason::LABELS_ON_TEMPLATE],
    )
    .await;
    let alone = source.now();
    let pods = alone
        .objects
        .carriers
        .keys()
        .filter(|key| key.kind == "pod" || key.kind == "replicaset");
    assert_eq!(pods.count(), 0, "{:?}", alone.objects.carriers.keys());
    cluster.kubectl("label deploy/tmpl canary-weight=20").await;
    let weighed = |c: &headgate_model::Carrier| {
        c.labels.get("canary-weight").is_some_and(|w| w == "20") && ready(c) == 3
    };
    source.carrier("deployment/tmpl", weighed).await;
    // A restart creates another ReplicaSet and no other carrier.
    cluster.kubectl("rollout restart deploy/tmpl").await;
    cluster.rollout("tmpl").await;
    source
        .until("one carrier", |observed| {
            let kinds = observed
                .objects
                .carriers
                .keys()
                .filter(|key| key.name.starts_with("tmpl"));
            (kinds.count() == 1 && ports(observed, "deployment/tmpl").len() == 3).then_some(())
        })
        .await;
    cluster.wait_until_equal_to_a_new_source(&source).await;
}

#[tokio::test]
async fn services_of_one_workload_count_it_once_and_those_without_pods_list_endpoints() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    let options = Options {
        allowed_endpoints: vec!["provider.example".parse().unwrap()],
        ..Options::default()
    };
    let mut source = Source::start(&client, options.clone()).await;
    let ports = json!([{"name": "http", "containerPort": 8000}]);
    let mut set = workload("hm", 2, ("app", "hm"), listens(&ports));
    set["kind"] = "StatefulSet".into();
    set["spec"]["serviceName"] = "hm-headless".into();
    set["spec"]["minReadySeconds"] = 1.into();
    cluster.apply(set).await;
    let selector = json!({"app": "hm"});
    let front = service(
        "hm",
        &selector,
        &json!([{"name": "http", "port": 80, "targetPort": "http"}]),
    );
    let mut headless = service(
        "hm-headless",
        &selector,
        &json!([{"name": "http", "port": 8000}]),
    );
    headless["spec"]["clusterIP"] = "None".into();
    headless["spec"]["publishNotReadyAddresses"] = true.into();
    for service in [front, headless] {
        cluster.apply(labelled(service, "hm", "v1")).await;
    }
    for identity in ["service/hm", "service/hm-headless"] {
        let it = source.carrier(identity, |c| ready(c) == 2).await;
        assert_eq!((it.desired, it.min_ready_seconds), (2, 1), "{identity}");
        assert!(
            it.pods.iter().all(|pod| pod.ready_since.is_some()),
            "{it:?}"
        );
    }
    let registry = headgate_model::Registry::build(
        &source.now().objects,
        &headgate_model::LabelKeys::default(),
    );
    let model = &registry.namespaces["default"].values().next().unwrap();
    assert_eq!(
        (
            model.members.len(),
            model.members[0].desired,
            model.members[0].ready_endpoints()
        ),
        (1, 2, 2)
    );
    assert_eq!(registry.findings, [], "the same pods twice are no news");

    let gpu = service(
        "gpu-box",
        &Value::Null,
        &json!([{"name": "http", "port": 80, "targetPort": 8000}]),
    );
    cluster.apply(labelled(gpu, "gpubox", "v1")).await;
    let external = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "ext"},
        "spec": {"type": "ExternalName", "externalName": "api.provider.example"},
    });
    cluster.apply(labelled(external, "extname", "v1")).await;
    for identity in ["service/gpu-box", "service/ext"] {
        serves(&mut source, identity, &[], &[reason::NO_SELECTOR]).await;
    }
    cluster
        .kubectl("annotate service/gpu-box headgate.dev/endpoints=10.9.8.7:8000,169.254.169.254:80")
        .await;
    serves(
        &mut source,
        "service/gpu-box",
        &[8000],
        &[reason::ENDPOINT_REFUSED],
    )
    .await;
    cluster
        .kubectl("annotate service/ext headgate.dev/endpoints=api.provider.example:443")
        .await;
    serves(&mut source, "service/ext", &[443], &[]).await;
    source
        .wait_until_equal_to_a_new_source(&client, &options)
        .await;
}
