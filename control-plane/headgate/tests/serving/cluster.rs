//! A cluster that a control plane writes to, and what `kubectl` reads of it.

use std::path::Path;
use std::time::Duration;

use headgate_kubernetes::policies::crds;
use headgate_kubernetes::policies::yaml;
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{
    EmptyRuntime, FaultProxy, Kube, KubeOptions, Kubectl, Kubelet, deployment,
};
use headgate_testkit::process::ProcessOptions;
use serde_json::Value;

use crate::common::{Files, Server, serve};
use crate::kubernetes::in_another_second;

/// Writes at most every ten seconds and counts at most every five, on a busy machine.
const WRITTEN: &str = "--timeout=60s";

/// An API server with the definitions, two versions of a model, and modules for the control planes.
pub(crate) struct Cluster {
    pub(crate) kube: Kube,
    pub(crate) kubelet: Kubelet,
    files: Files,
}

impl Cluster {
    /// A proxy in front of the API server, with the administrator's credentials.
    pub(crate) async fn fault_proxy(&self) -> FaultProxy {
        let kubeconfig = self.kube.kubeconfig();
        self.kube.fault_proxy(kubeconfig).await.unwrap()
    }

    pub(crate) async fn start() -> Self {
        Self::with(KubeOptions::default()).await
    }

    pub(crate) async fn with(options: KubeOptions) -> Self {
        let kube = Kube::start(options).await.unwrap();
        let kubelet = kube.kubelet(EmptyRuntime::default());
        let kubectl = kube.kubectl();
        let definitions = yaml(&crds().unwrap()).unwrap();
        kubectl.apply_crds(&definitions).await.unwrap();
        for (name, version) in [("v1", "one"), ("v2", "two")] {
            let made = deployment("llama", name, version, 1);
            kubectl.apply_and_wait(&made).await.unwrap();
            in_another_second().await;
        }
        Self {
            kube,
            kubelet,
            files: Files::new(),
        }
    }

    pub(crate) async fn serve(&self, replica: &str, more: &[&str]) -> Server {
        self.serve_as(self.kube.kubeconfig(), replica, more).await
    }

    pub(crate) async fn serve_as(&self, kubeconfig: &Path, replica: &str, more: &[&str]) -> Server {
        let options = self
            .command(replica)
            .args(["--kube", "-n", "default", "--kubeconfig"])
            .arg(kubeconfig)
            .args(more);
        Server::spawn(options).ready().await
    }

    /// `serve` of a replica, without the address of the API.
    pub(crate) fn command(&self, replica: &str) -> ProcessOptions {
        serve()
            .args(["--linger", "2", "--replica-name", replica, "--wasm"])
            .arg(self.files.path("wasm"))
    }
}

pub(crate) fn policy(name: &str, capacity: u32, more: &str) -> String {
    format!(
        "{{apiVersion: headgate.dev/v1alpha1, kind: TokenBucketPolicy, metadata: {{name: {name}}}, spec: {{{more} \
         buckets: [{{name: fair, key: [tenant], profile: tokens, tokens: {{capacity: {capacity}, refillPerSecond: 10}}}}]}}}}\n"
    )
}

pub(crate) async fn wait(kubectl: &Kubectl, policy: &str, condition: &str) {
    let condition = format!("--for=condition={condition}");
    if let Err(why) = kubectl.run(["wait", policy, &condition, WRITTEN]).await {
        let now = kubectl.run(["get", policy, "-o", "yaml"]).await;
        panic!("{why}\n{now:?}");
    }
}

pub(crate) async fn condition(kubectl: &Kubectl, policy: &str, kind: &str, field: &str) -> String {
    let path = format!("jsonpath={{.status.conditions[?(@.type==\"{kind}\")].{field}}}");
    kubectl.run(["get", policy, "-o", &path]).await.unwrap()
}

/// Waits until a field of a condition has this value.
pub(crate) async fn wait_for_field(
    kubectl: &Kubectl,
    policy: &str,
    [kind, field]: [&str; 2],
    expected: &str,
) {
    let within = Duration::from_secs(60);
    let what = format!("{kind}.{field} of {policy} to be {expected}");
    eventually(within, &what, async || {
        let now = condition(kubectl, policy, kind, field).await;
        if now.contains(expected) {
            Ok(())
        } else {
            Err(now)
        }
    })
    .await
    .unwrap();
}

/// Waits for an Event with this reason and these words in `kubectl describe`, and returns its line.
pub(crate) async fn described(
    kubectl: &Kubectl,
    object: &str,
    reason: &str,
    words: &[&str],
) -> String {
    let what = format!("an Event {reason} of {object}");
    eventually(Duration::from_secs(30), &what, async || {
        let text = kubectl.run(["describe", object]).await.unwrap();
        let (_, events) = text.rsplit_once("Events:").unwrap_or_default();
        let line = events
            .lines()
            .find(|line| line.contains(reason) && words.iter().all(|word| line.contains(word)));
        line.map(str::to_owned).ok_or(events.to_owned())
    })
    .await
    .unwrap()
}

/// The Events of one reason on an object.
pub(crate) async fn events(kubectl: &Kubectl, name: &str, reason: &str) -> Vec<Value> {
    let fields = format!("--field-selector=involvedObject.name={name},reason={reason}");
    let list = kubectl.run(["get", "events", &fields, "-o", "json"]);
    let list: Value = serde_json::from_str(&list.await.unwrap()).unwrap();
    list["items"].as_array().unwrap().clone()
}

pub(crate) async fn label(kubectl: &Kubectl, weight: &str) {
    let label = format!("canary-weight={weight}");
    kubectl
        .run(["label", "deploy/v2", &label, "--overwrite"])
        .await
        .unwrap();
}
