//! Writes of two installations on one cluster: status of policies, also of recreated ones, and `ServedModel`s.

use std::time::Duration;

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::Kubectl;
use headgate_testkit::xds_client::{AutoAckProxy, type_url};
use serde_json::{Value, json};

use crate::cluster::{Cluster, label, policy, wait, wait_for_field};
use crate::common::SOON;
use crate::kubernetes_replicas::same;
use crate::served_models;

/// The name of the other installation.
const BLUE: &str = "blue.example.com/headgate";

/// A field of the object.
async fn field(kubectl: &Kubectl, path: &str) -> String {
    let path = format!("jsonpath={{{path}}}");
    kubectl.run(["get", "tbp/fair", "-o", &path]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_installations_do_not_overwrite_each_others_status_and_a_recreated_policy_inherits_none()
 {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    kubectl.run(["create", "namespace", "team"]).await.unwrap();
    let server = cluster.serve("a", &["--namespace", "team"]).await;
    let name = BLUE;
    let flags = ["--controller-name", name, "--lease-name", "blue"];
    let _blue = cluster.serve("b", &flags).await;
    let proxy = AutoAckProxy::connect("p", server.xds).unwrap();
    let fair = policy("fair", 1000, "models: [llama],");
    kubectl.apply(&fair).await.unwrap();
    // The installation with a proxy has the default name, so it writes `status.conditions`.
    wait(&kubectl, "tbp/fair", "Programmed").await;
    let blue = format!(
        ".status.controllers[?(@.controllerName==\"{name}\")].conditions[?(@.type==\"Programmed\")]"
    );
    let status = format!("--for=jsonpath={{{blue}.status}}=Unknown");
    kubectl
        .run(["wait", "tbp/fair", &status, "--timeout=60s"])
        .await
        .unwrap();
    assert_eq!(
        field(&kubectl, &format!("{blue}.reason")).await,
        "NoProxies"
    );
    // Long enough for each installation to write again if it had something to write.
    let settled = field(&kubectl, ".metadata.resourceVersion").await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(field(&kubectl, ".metadata.resourceVersion").await, settled);
    let all = field(&kubectl, ".status.controllers[*].controllerName").await;
    assert_eq!(all, name, "the default one has no entry of its own");

    // Deleted and recreated with the same name, while the proxy refuses it.
    proxy.nack_type(type_url::EXTENSION);
    let again = policy("fair", 2000, "models: [llama],");
    kubectl
        .run_with_input(["replace", "--force", "-f", "-"], &again)
        .await
        .unwrap();
    let lie = [
        "wait",
        "tbp/fair",
        "--for=condition=Programmed",
        "--timeout=6s",
    ];
    let waited = kubectl.run(lie).await;
    assert!(waited.is_err(), "{waited:?}");
    wait_for_field(
        &kubectl,
        "tbp/fair",
        ["Programmed", "message"],
        "0 of 1 proxies have it",
    )
    .await;

    // A policy that no proxy ever gets.
    let nowhere =
        policy("nowhere", 1000, "").replace("name: nowhere", "name: nowhere, namespace: team");
    kubectl.apply(&nowhere).await.unwrap();
    let refused = [
        "wait",
        "-n",
        "team",
        "tbp/nowhere",
        "--for=condition=Programmed=False",
        "--timeout=60s",
    ];
    kubectl.run(refused).await.unwrap();
    let message = "jsonpath={.status.conditions[?(@.type==\"Programmed\")].message}";
    let why = kubectl
        .run(["get", "-n", "team", "tbp/nowhere", "-o", message])
        .await
        .unwrap();
    assert!(
        why.contains("no domain is configured for namespace team"),
        "{why}"
    );
    assert!(why.contains("--domain team=<domain>"), "{why}");
}

/// The model's objects: that of the default installation, and that of the other one.
async fn objects(kubectl: &Kubectl) -> Result<[Value; 2], String> {
    let list = kubectl.run(["get", "smdl", "-o", "json"]).await.unwrap();
    let list: Value = serde_json::from_str(&list).unwrap();
    let of = |name: Option<&str>| {
        let mut all = list["items"].as_array().into_iter().flatten();
        let one = all.find(|object| object["spec"]["controllerName"].as_str() == name);
        one.cloned().ok_or_else(|| list["items"].to_string())
    };
    Ok([of(None)?, of(Some(BLUE))?])
}

/// Waits until the object of each installation says that its one proxy has this weight.
async fn both_acked(kubectl: &Kubectl, percent: u64) -> [Value; 2] {
    let what = format!("both objects to have {percent} acked by one proxy");
    let has = |object: &Value| {
        let (status, one) = (&object["status"], json!({"current": 1, "total": 1}));
        status["acked"]["two"] == percent && status["proxies"] == one
    };
    eventually(SOON * 2, &what, async || {
        let both = objects(kubectl).await?;
        let all = both.iter().all(has);
        all.then(|| both.clone()).ok_or_else(|| format!("{both:?}"))
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_uses_its_own_served_model_and_leaves_the_other_ones_alone() {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    let server = cluster.serve("a", &[]).await;
    served_models::has(&kubectl, ".status.base[*].carrier", "deployment/v1").await;
    let name_of_default = served_models::field(&kubectl, ".metadata.name").await;
    let flags = ["--controller-name", BLUE, "--lease-name", "blue"];
    let blue = cluster.serve("b", &flags).await;
    let proxies = [
        AutoAckProxy::connect("p", server.xds).unwrap(),
        AutoAckProxy::connect("q", blue.xds).unwrap(),
    ];
    label(&kubectl, "10").await;
    let [first, second] = both_acked(&kubectl, 10).await;
    assert_eq!(first["metadata"]["name"], name_of_default);
    assert_ne!(second["metadata"]["name"], name_of_default);
    assert_eq!(second["spec"]["modelName"], "llama", "{second}");

    // Two intervals of writes without a change: neither writes to its own object or to the other one.
    both_settle(&kubectl).await;
    let versions = |both: &[Value; 2]| {
        both.clone()
            .map(|o| o["metadata"]["resourceVersion"].clone())
    };
    let before = versions(&objects(&kubectl).await.unwrap());
    tokio::time::sleep(Duration::from_secs(21)).await;
    assert_eq!(versions(&objects(&kubectl).await.unwrap()), before);

    // Each follows an edit, and what a person writes into one object counts for its installation alone.
    let name = second["metadata"]["name"].as_str().unwrap();
    let patch = r#"{"spec": {"names": ["blue-name"]}}"#;
    let merge = ["patch", "smdl", name, "--type=merge", "-p", patch];
    kubectl.run(merge).await.unwrap();
    label(&kubectl, "20").await;
    let [first_now, second_now] = both_acked(&kubectl, 20).await;
    for (before, now) in [(&first, &first_now), (&second, &second_now)] {
        assert_eq!(before["metadata"]["uid"], now["metadata"]["uid"]);
        assert_eq!(
            now["status"]["base"][0]["carrier"], "deployment/v1",
            "{now}"
        );
    }
    assert_eq!(first_now["spec"], first["spec"]);
    let named = |status: &Value| status["models"][0]["names"][0] == "blue-name";
    let status = blue.until("the name", named).await;
    assert_eq!(
        served_models::weight(&status, "two"),
        Some(20.0),
        "{status}"
    );
    let status = server.syncz().await;
    assert!(!named(&status), "{status}");
    assert_eq!(
        served_models::weight(&status, "two"),
        Some(20.0),
        "{status}"
    );
    same(
        "a proxy of the default installation to have the weight",
        &proxies.each_ref()[..1],
        &["\"weight\":20"],
    )
    .await;
    same(
        "a proxy of the other one to have the weight and the name",
        &proxies.each_ref()[1..],
        &["\"weight\":20", "blue-name"],
    )
    .await;
}

/// Waits until both objects are converged.
async fn both_settle(kubectl: &Kubectl) {
    for object in objects(kubectl).await.unwrap() {
        let name = object["metadata"]["name"].as_str().unwrap();
        wait(kubectl, &format!("smdl/{name}"), "Converged").await;
        wait(kubectl, &format!("smdl/{name}"), "Programmed").await;
    }
}
