//! What the source may not do, it says, by the verb and the resource that are missing.

use headgate_source::kubernetes::{Kubernetes, Options};
use headgate_test_support::deadline::eventually;
use serde_json::json;

use super::cluster::*;

#[tokio::test]
async fn a_missing_right_is_named_and_may_be_given_later() {
    let cluster = Cluster::start().await;
    cluster.apply(deployment("v1", "one", 1)).await;
    let kubeconfig = cluster
        .kube
        .service_account("default", "headgate")
        .await
        .unwrap();
    let client = client_of(&kubeconfig).await;
    let kinds = [
        "apps/v1/deployments/Deployment=/spec/replicas",
        "apps/v1/replicasets/ReplicaSet=/spec/replicas",
    ];
    let options = Options {
        kinds: kinds.map(|kind| kind.parse().unwrap()).into(),
        ..Options::default()
    };
    let rule = |group: &str, resources: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": ["list", "watch"]});
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "headgate"},
        "rules": [
            rule("", &["pods", "services"]),
            rule("apps", &["replicasets"]),
            rule("inference.networking.k8s.io", &["inferencepools"]),
        ],
    });
    cluster.apply(role).await;
    cluster.kubectl("create clusterrolebinding headgate --clusterrole=headgate --serviceaccount=default:headgate").await;
    let source = Kubernetes::start(&client, options).unwrap();
    let said = eventually(SOON, "the refusal of deployments alone", async || {
        let state = source.state().borrow().clone();
        let synced = state.watches.values().filter(|watch| watch.synced).count();
        let lost = state.watches["deployments.apps"].lost.clone();
        lost.filter(|_| synced == 4)
            .map(|lost| lost.message)
            .ok_or(format!("{state:?}"))
    })
    .await
    .unwrap();
    assert!(
        said.contains("cannot") && said.contains("deployments") && said.contains("(403)"),
        "{said}"
    );
    let words = "patch clusterrole headgate --type=json -p";
    let rule = r#"[{"op":"add","path":"/rules/-","value":{"apiGroups":["apps"],"resources":["deployments"],"verbs":["list","watch"]}}]"#;
    let words: Vec<&str> = words.split(' ').chain([rule]).collect();
    cluster.kube.kubectl().run(words).await.unwrap();
    let mut source = Source::of(source).await;
    source.carrier("deployment/v1", |c| ready(c) == 1).await;
    assert_eq!(source.state().lost(), None);
}
