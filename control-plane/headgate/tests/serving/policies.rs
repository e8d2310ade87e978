//! Policies as objects of a Kubernetes API: `kubectl apply` of a policy reaches the filters' configuration.

use headgate_kubernetes::policies::crds;
use headgate_kubernetes::policies::yaml;
use headgate_testkit::kube::{EmptyRuntime, Kube, KubeOptions, deployment};
use serde_json::Value;

use crate::common::{Files, Server, headgate, serve};

fn policy(namespace: &str, name: &str, more: &str) -> String {
    format!(
        "{{apiVersion: headgate.dev/v1alpha1, kind: TokenBucketPolicy, metadata: {{name: {name}, namespace: {namespace}}}, \
         spec: {{{more} buckets: [{{name: fair, key: [tenant], profile: semantic}}]}}}}\n"
    )
}

/// Which policy gives the bucket to the namespace's filters.
fn giver(shown: &Value) -> Option<String> {
    let rules = shown["filterConfig"]["namespaces"]["default"]["buckets"].as_array()?;
    assert_eq!(rules.len(), 1, "one bucket of a name: {rules:?}");
    Some(rules[0]["policy"].as_str()?.to_owned())
}

#[tokio::test]
async fn a_policy_applied_with_kubectl_reaches_the_filters_and_an_override_stays_in_effect() {
    let kube = Kube::start(KubeOptions::default()).await.unwrap();
    let _kubelet = kube.kubelet(EmptyRuntime::default());
    let kubectl = kube.kubectl();
    let definitions = yaml(&crds().unwrap()).unwrap();
    kubectl.apply_crds(&definitions).await.unwrap();
    kubectl.run(["create", "namespace", "house"]).await.unwrap();
    let model = deployment("llama", "v1", "one", 1);
    kubectl.apply_and_wait(&model).await.unwrap();

    let files = Files::new();
    let (wasm, kubeconfig) = (files.path("wasm"), kube.kubeconfig().to_owned());
    let flags = [
        "--kube",
        "-n",
        "default",
        "--root-namespace",
        "house",
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
        "--wasm",
        wasm.to_str().unwrap(),
    ];
    let look = || {
        let args: Vec<&str> = ["translate", "-o", "json"]
            .into_iter()
            .chain(flags)
            .collect();
        let out = headgate(&args);
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        let shown: Value = serde_json::from_slice(&out.stdout).unwrap();
        giver(&shown)
    };
    assert_eq!(look(), None);
    kubectl.apply(&policy("house", "usual", "")).await.unwrap();
    assert_eq!(look().as_deref(), Some("house/usual"));
    kubectl
        .apply(&policy("default", "own", "models: [llama],"))
        .await
        .unwrap();
    assert_eq!(look().as_deref(), Some("default/own"));
    kubectl
        .apply(&policy("house", "ceiling", "override: true,"))
        .await
        .unwrap();
    assert_eq!(look().as_deref(), Some("house/ceiling"));

    // A running control plane reports it too.
    let server = Server::spawn(serve().args(flags)).ready().await;
    kubectl
        .apply(&policy("default", "typo", "models: [lama],"))
        .await
        .unwrap();
    let status = server
        .until("the policy that matches nothing", |s| {
            s["problems"].as_array().is_some_and(|all| {
                all.iter().any(|p| {
                    p["reason"] == "MatchesNothing"
                        && p.to_string().contains("no carrier declares model lama")
                })
            })
        })
        .await;
    assert!(status.to_string().contains("default/typo"), "{status}");
}
