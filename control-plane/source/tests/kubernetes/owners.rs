//! Owners of other kinds than Deployment, with pods: StatefulSets of the real controller, and a custom kind.

use headgate_kubernetes::kinds::Kind;
use headgate_model::reason;
use headgate_source::cluster::Options;
use headgate_testkit::kube::stateful_set;
use serde_json::json;

use super::cluster::*;

#[tokio::test]
async fn a_stateful_set_with_its_pods_is_a_carrier() {
    let cluster = Cluster::start().await;
    let mut source = cluster.source().await;
    let mut set = stateful_set("llama", "set", "one", 2);
    set["metadata"]["labels"]["canary-weight"] = "5".into();
    cluster.apply(set).await;
    let observed = source.carrier("statefulset/set", |c| ready(c) == 2).await;
    let pods: Vec<&str> = observed.pods.iter().map(|pod| pod.name.as_str()).collect();
    assert_eq!(pods, ["set-0", "set-1"], "as its controller names them");
    assert_eq!(
        (observed.desired, observed.origin.as_str()),
        (2, "StatefulSet default/set")
    );
    assert_eq!(observed.labels["canary-weight"], "5");

    let label = "label statefulset/set canary-weight=15 --overwrite";
    cluster.kubectl(label).await;
    source
        .carrier("statefulset/set", |c| c.labels["canary-weight"] == "15")
        .await;
    cluster.kubectl("scale statefulset/set --replicas=3").await;
    source
        .carrier("statefulset/set", |c| c.desired == 3 && ready(c) == 3)
        .await;
    cluster.wait_until_equal_to_a_new_source(&source).await;
    cluster.kubectl("delete statefulset/set").await;
    source
        .until("nothing", |observed| {
            observed.objects.carriers.is_empty().then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_custom_kind_is_the_carrier_of_its_pods_and_desires_the_replicas_of_its_pointer() {
    let cluster = Cluster::start().await;
    cluster.apply(crd("acme.example", "trains", "Train")).await;
    let established = "wait --for=condition=Established crd/trains.acme.example";
    cluster.kubectl(established).await;
    let own: Kind = "acme.example/v1/trains/Train=/spec/replicas"
        .parse()
        .unwrap();
    let options = Options {
        kinds: Kind::defaults_without_and(&[], &[own]),
        ..Options::default()
    };
    let client = cluster.client().await;
    let mut source = Source::start(&client, options.clone()).await;
    cluster
        .apply(json!({
            "apiVersion": "acme.example/v1", "kind": "Train",
            "metadata": {"name": "night", "labels": {"model-name": "llama", "model-version": "one"}},
            "spec": {"replicas": 3},
        }))
        .await;
    // Its controller creates a StatefulSet, whose controller creates the pods. Labels of the StatefulSet have no effect.
    let mut cars = stateful_set("other", "cars", "two", 2);
    cars["metadata"]["labels"]["canary-weight"] = "50".into();
    let kubectl = cluster.kube.kubectl();
    kubectl.apply_owned("train/night", cars).await.unwrap();
    let observed = source.carrier("train/night", |c| ready(c) == 2).await;
    assert_eq!(
        (observed.desired, observed.origin.as_str()),
        (3, "Train default/night")
    );
    let others = source.now();
    let others: Vec<_> = others
        .objects
        .carriers
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(others.len(), 1, "{others:?}");

    cluster.kubectl("label train/night canary-weight=15").await;
    source
        .carrier("train/night", |c| {
            c.labels.get("canary-weight").is_some_and(|w| w == "15")
        })
        .await;
    let replicas = |replicas: &str| {
        let patch = format!("{{\"spec\":{{\"replicas\":{replicas}}}}}");
        format!("patch train/night --type=merge -p {patch}")
    };
    cluster.kubectl(&replicas("2")).await;
    source.carrier("train/night", |c| c.desired == 2).await;
    cluster.kubectl(&replicas("\"two\"")).await;
    let unreadable = |observed: &headgate_model::Observed| {
        let finding = observed
            .findings
            .iter()
            .find(|f| f.reason == reason::UNREADABLE);
        finding.map(|finding| finding.message.clone())
    };
    let message = source.until("a finding", unreadable).await;
    assert!(message.contains("spec.replicas is \"two\""), "{message}");
    source
        .wait_until_equal_to_a_new_source(&client, &options)
        .await;
}
