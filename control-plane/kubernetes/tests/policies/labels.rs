//! The ValidatingAdmissionPolicy that ships: an invalid label is refused on entry, and nothing else is.

use std::time::Duration;

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::Kubectl;

use crate::api_server::{file, runtime, start};

const DEPLOYMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: llama, labels: {model-name: llama, model-version: v2}}
spec:
  replicas: 0
  selector: {matchLabels: {app: llama}}
  template:
    metadata: {labels: {app: llama}}
    spec: {containers: [{name: server, image: none}]}
"#;

async fn label(kubectl: &Kubectl, what: &str, label: &str) -> Result<String, String> {
    let output = kubectl.run(["label", what, label, "--overwrite"]).await;
    output.map_err(|e| e.to_string())
}

#[test]
fn an_invalid_label_is_refused_on_entry_and_nothing_else_is() {
    runtime().block_on(async {
        let kube = start().await;
        let kubectl = kube.kubectl();
        kubectl.apply(DEPLOYMENT).await.unwrap();
        // Labels that were invalid before the policy do not block other edits, such as those of controllers.
        let old = DEPLOYMENT.replace("name: llama, labels: {", "name: old, labels: {canary-weight: lots, ");
        kubectl.apply(&old).await.unwrap();
        let manifests = file("istio-manifests/base");
        kubectl.run(["apply", "-k", manifests.as_str()]).await.unwrap();

        // The API server needs a moment to apply a new policy.
        let refusal = eventually(Duration::from_secs(30), "the policy to be in force", async || {
            match label(&kubectl, "deploy/llama", "canary-weight=abc").await {
                Err(refusal) => Ok(refusal),
                // An invalid label that is stored already would pass from then on.
                    Ok(_) => Err(label(&kubectl, "deploy/llama", "canary-weight-").await.unwrap()),
            }
        })
        .await
        .unwrap();
        let message = "label canary-weight=abc is not a weight: write a whole number from 0 to 100 (percent of new \
                       sessions), or remove the label with canary-weight-";
        assert!(refusal.contains(message), "{refusal}");
        for invalid in ["canary-weight=150", "canary-weight=101", "canary-weight=015", "canary-weight=1.5", "canary-weight="] {
            let refusal = label(&kubectl, "deploy/llama", invalid).await.unwrap_err();
            assert!(refusal.contains("is not a weight"), "{invalid}: {refusal}");
        }
        for (invalid, says) in [("model-name=", "name the model"), ("model-version=", "name the version")] {
            let refusal = label(&kubectl, "deploy/llama", invalid).await.unwrap_err();
            assert!(refusal.contains(says), "{invalid}: {refusal}");
        }
        for valid in ["canary-weight=0", "canary-weight=15", "canary-weight=100", "canary-weight-", "model-version=v2.3.1-cuda118"] {
            label(&kubectl, "deploy/llama", valid).await.unwrap();
        }

        label(&kubectl, "deploy/old", "team=red").await.unwrap();
        kubectl.run(["scale", "deploy/old", "--replicas=1"]).await.unwrap();
        let worse = label(&kubectl, "deploy/old", "canary-weight=more").await.unwrap_err();
        assert!(worse.contains("canary-weight=more is not a weight"), "{worse}");
        label(&kubectl, "deploy/old", "canary-weight-").await.unwrap();

        // Pods of a ReplicaSet are not carriers: a label in their template does not stop a rollout.
        let template = DEPLOYMENT
            .replace("name: llama, labels", "name: template, labels")
            .replace("app: llama}}\n    spec", "app: llama, canary-weight: lots}}\n    spec")
            .replace("replicas: 0", "replicas: 2");
        kubectl.apply(&template).await.unwrap();
        eventually(Duration::from_secs(30), "the pods of the template", async || {
            let query = ["get", "pods", "-l", "canary-weight=lots", "-o", "name"];
            let pods = kubectl.run(query).await.unwrap();
            if pods.lines().count() == 2 { Ok(()) } else { Err(pods) }
        })
        .await
        .unwrap();
        // A pod without a controller is a carrier.
        let pod = "{apiVersion: v1, kind: Pod, metadata: {name: bare, labels: {canary-weight: lots}}, \
                   spec: {containers: [{name: a, image: none}]}}";
        let refusal = kubectl.apply(pod).await.unwrap_err().to_string();
        assert!(refusal.contains("is not a weight"), "{refusal}");
    });
}
