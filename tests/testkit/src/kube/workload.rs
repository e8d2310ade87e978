//! Manifests of model workloads and of kinds, and the `kubectl` commands that roll them out.

use serde_json::{Value, json};

use super::{KubeError, Kubectl};

/// A Deployment that declares a model's version. Its pods have a port `http` (8000) and the label `app` with its name.
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

/// The same as a StatefulSet.
#[must_use]
pub fn stateful_set(model: &str, name: &str, version: &str, replicas: u32) -> Value {
    let mut set = deployment(model, name, version, replicas);
    set["kind"] = "StatefulSet".into();
    set["spec"]["serviceName"] = name.into();
    set
}

/// A kind with the version `v1` that keeps all fields, as custom resources may.
#[must_use]
pub fn crd(group: &str, plural: &str, kind: &str) -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
        },
    })
}

/// A kind that is stored as `v1alpha1`. Its preferred version `v1` needs a conversion webhook, which does not respond, so a list
/// of `v1` fails once an object exists.
#[must_use]
pub fn crd_without_conversion(group: &str, plural: &str, kind: &str) -> Value {
    let mut made = crd(group, plural, kind);
    let mut stored = made["spec"]["versions"][0].clone();
    stored["name"] = "v1alpha1".into();
    made["spec"]["versions"][0]["storage"] = false.into();
    if let Some(versions) = made["spec"]["versions"].as_array_mut() {
        versions.push(stored);
    }
    made["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://127.0.0.1:1/convert"},
    }});
    made
}

impl Kubectl {
    /// Makes `owned` an object whose controller is `owner`, as the controller of that kind would, and applies it.
    ///
    /// # Errors
    /// As [`Self::run`], also when the owner does not exist.
    pub async fn apply_owned(&self, owner: &str, mut owned: Value) -> Result<(), KubeError> {
        let read = self.run(["get", owner, "-o", "json"]).await?;
        let owner: Value = serde_json::from_str(&read).unwrap_or_default();
        owned["metadata"]["ownerReferences"] = json!([{
            "apiVersion": owner["apiVersion"], "kind": owner["kind"], "controller": true,
            "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
        }]);
        self.apply(&owned.to_string()).await?;
        Ok(())
    }

    /// `kubectl apply` of CustomResourceDefinitions, then `kubectl wait` until all definitions are established, at most 60 s.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn apply_crds(&self, definitions: &str) -> Result<(), KubeError> {
        self.apply(definitions).await?;
        let established = "wait --for=condition=Established --timeout=60s crd --all";
        self.run(established.split(' ')).await?;
        Ok(())
    }

    /// `kubectl apply` of a Deployment, then `kubectl rollout status` until all its pods are ready, at most 100 s.
    ///
    /// # Errors
    /// As [`Self::run`], also for a Deployment without a name and for pods that do not become ready.
    pub async fn apply_and_wait(&self, deployment: &Value) -> Result<(), KubeError> {
        self.apply(&deployment.to_string()).await?;
        let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
        self.wait_for_rollout(name).await
    }

    /// `kubectl rollout status` of a Deployment until all its pods are updated and ready, at most 100 s.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn wait_for_rollout(&self, deployment: &str) -> Result<(), KubeError> {
        let deployment = format!("deploy/{deployment}");
        self.run(["rollout", "status", &deployment, "--timeout=100s"])
            .await?;
        Ok(())
    }
}
