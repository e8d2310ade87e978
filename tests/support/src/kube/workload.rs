//! The manifest of a model workload, as a user writes it, how it is rolled out, and how kinds are defined.

use serde_json::{Value, json};

use super::{KubeError, Kubectl};

/// A Deployment that declares a model's version; its pods have a port named `http` (8000) and a label `app`, its name.
#[must_use]
pub fn deployment(model: &str, name: &str, version: &str, replicas: u32) -> Value {
    let port = json!([{"name": "http", "containerPort": 8000}]);
    let container = json!({"name": "server", "image": "headgate/mock-model", "ports": port});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"model-name": model, "model-version": version}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container]},
            },
        },
    })
}

impl Kubectl {
    /// `kubectl apply` of CustomResourceDefinitions, then `kubectl wait` until every one that there is can be used, at most 60 s.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn defined(&self, definitions: &str) -> Result<(), KubeError> {
        self.apply(definitions).await?;
        let established = "wait --for=condition=Established --timeout=60s crd --all";
        self.run(established.split(' ')).await?;
        Ok(())
    }

    /// `kubectl apply` of a Deployment, then `kubectl rollout status` until all its pods are ready, at most 100 s.
    ///
    /// # Errors
    /// As [`Self::run`], among them a Deployment without a name and pods that do not get ready.
    pub async fn rolled_out(&self, deployment: &Value) -> Result<(), KubeError> {
        self.apply(&deployment.to_string()).await?;
        let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
        self.rollout(name).await
    }

    /// `kubectl rollout status` of a Deployment until all its pods are the newest and ready, at most 100 s.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn rollout(&self, deployment: &str) -> Result<(), KubeError> {
        let deployment = format!("deploy/{deployment}");
        self.run(["rollout", "status", &deployment, "--timeout=100s"])
            .await?;
        Ok(())
    }
}
