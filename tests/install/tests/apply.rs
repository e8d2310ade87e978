//! The overlays on a real API server, applied as a user does it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::time::Duration;

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::Kubectl;
use headgate_tests_install::cluster::start;
use headgate_tests_install::{
    COMPONENTS, OVERLAYS, documents, kustomize, object_key, overlay, with_components,
};
use serde_json::Value;
use tokio::sync::Mutex;

/// One API server at a time: four need more than two cores.
static ALONE: Mutex<()> = Mutex::const_new(());

/// How an overlay is applied.
#[derive(Debug, Clone, Copy)]
enum Way {
    ClientSide,
    ServerSide,
}

async fn apply(kubectl: &Kubectl, directory: &Path, way: Way) -> String {
    let mut args = vec![
        "apply",
        "--validate=strict",
        "-k",
        directory.to_str().unwrap(),
    ];
    if matches!(way, Way::ServerSide) {
        args.push("--server-side");
    }
    let output = kubectl.run(args).await;
    output.unwrap_or_else(|error| panic!("{way:?} {}: {error}", directory.display()))
}

/// Whether a line of `kubectl apply` says that nothing changed. Client-side, kubectl sends the selector of a PodDisruptionBudget each
/// time, and calls that `configured`.
fn is_unchanged(line: &str) -> bool {
    line.ends_with(" unchanged")
        || line.ends_with(" serverside-applied")
        || (line.starts_with("poddisruptionbudget") && line.ends_with(" configured"))
}

/// Applies twice. Afterwards the cluster has what the directory says.
async fn applies_twice(kubectl: &Kubectl, directory: &Path, way: Way) {
    apply(kubectl, directory, way).await;
    let versions = resource_versions(kubectl, directory).await;
    let again = apply(kubectl, directory, way).await;
    let changed: Vec<&str> = again.lines().filter(|line| !is_unchanged(line)).collect();
    assert!(
        changed.is_empty(),
        "{way:?} {}: {changed:?}",
        directory.display()
    );
    assert_eq!(
        versions,
        resource_versions(kubectl, directory).await,
        "{way:?}"
    );
    let mut diff = vec!["diff", "-k", directory.to_str().unwrap()];
    if matches!(way, Way::ServerSide) {
        diff.push("--server-side");
    }
    // Its exit code is 1 if there is a difference.
    assert_eq!(kubectl.run(diff).await.unwrap(), "");
}

/// The generation of each object, or its resource version if it has no generation: what a write changes. Controllers change the
/// resource versions of the others.
async fn resource_versions(kubectl: &Kubectl, directory: &Path) -> Vec<String> {
    let yaml = kustomize(directory);
    let json = kubectl
        .run_with_input(["get", "-f", "-", "-o", "json"], &yaml)
        .await
        .unwrap();
    let list: Value = serde_json::from_str(&json).unwrap();
    let items = list["items"].as_array().unwrap();
    let version = |object: &Value| {
        let metadata = &object["metadata"];
        match &metadata["generation"] {
            Value::Null => metadata["resourceVersion"].to_string(),
            generation => generation.to_string(),
        }
    };
    // The API server writes namespaces and ConfigMaps of its own accord, which has no generation.
    let stable = items.iter().filter(|o| o["kind"] != "Namespace");
    stable
        .map(|object| format!("{} {}", object_key(object), version(object)))
        .collect()
}

/// The Deployments of a directory: namespace, name, replicas.
fn deployments(directory: &Path) -> Vec<(String, String, u64)> {
    let objects = documents(&kustomize(directory));
    let deployments = objects.iter().filter(|o| o["kind"] == "Deployment");
    deployments
        .map(|d| {
            let text = |key: &str| d["metadata"][key].as_str().unwrap().to_owned();
            let replicas = d["spec"]["replicas"].as_u64().unwrap_or(1);
            (text("namespace"), text("name"), replicas)
        })
        .collect()
}

/// Waits until the real controllers have created every pod: admission has accepted it.
async fn pods_are_admitted(kubectl: &Kubectl, directory: &Path) {
    for (namespace, name, replicas) in deployments(directory) {
        eventually(
            Duration::from_secs(60),
            &format!("pods of {name}"),
            async || {
                let json = kubectl
                    .run(["get", "deployment", "-n", &namespace, &name, "-o", "json"])
                    .await
                    .map_err(|e| e.to_string())?;
                let status =
                    &serde_json::from_str::<Value>(&json).map_err(|e| e.to_string())?["status"];
                if status["replicas"] == replicas && status["updatedReplicas"] == replicas {
                    Ok(())
                } else {
                    Err(status.to_string())
                }
            },
        )
        .await
        .unwrap();
    }
}

/// Lists the objects of each kind that a directory defines, until the API server answers. Headgate's watches do this on a real cluster.
/// Without a list, the deletion of a definition finds storage that initializes, and the API server tries again after minutes only.
async fn kinds_are_listed(kubectl: &Kubectl, directory: &Path) {
    let objects = documents(&kustomize(directory));
    let definitions = objects
        .iter()
        .filter(|o| o["kind"] == "CustomResourceDefinition");
    for definition in definitions {
        let kind = definition["metadata"]["name"].as_str().unwrap();
        eventually(
            Duration::from_secs(60),
            &format!("a list of {kind}"),
            async || {
                kubectl
                    .run(["get", kind, "-A"])
                    .await
                    .map_err(|e| e.to_string())
            },
        )
        .await
        .unwrap();
    }
}

async fn every_overlay_applies(way: Way) {
    let _alone = ALONE.lock().await;
    let kube = start().await;
    let kubectl = kube.kubectl();
    for name in OVERLAYS {
        let directory = overlay(name);
        applies_twice(&kubectl, &directory, way).await;
        pods_are_admitted(&kubectl, &directory).await;
        kinds_are_listed(&kubectl, &directory).await;
        let directory = directory.to_str().unwrap();
        kubectl
            .run(["delete", "-k", directory, "--timeout=100s"])
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_overlay_applies_client_side_twice_without_a_difference_and_its_pods_are_admitted() {
    every_overlay_applies(Way::ClientSide).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_overlay_applies_server_side_twice_without_a_difference_and_its_pods_are_admitted() {
    every_overlay_applies(Way::ServerSide).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_overlay_takes_every_component_that_is_for_all() {
    let _alone = ALONE.lock().await;
    let kube = start().await;
    let kubectl = kube.kubectl();
    for name in OVERLAYS {
        let mut components = COMPONENTS.to_vec();
        if name.starts_with("istio") {
            components.push("istio-access-log");
        }
        let directory = with_components(name, &components);
        // On top of the one before: nothing of an overlay is in the way of another.
        applies_twice(&kubectl, directory.path(), Way::ServerSide).await;
    }
}

/// Without this, a missing field of the security context would pass: no admission controller would look at it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_namespace_refuses_a_pod_that_is_not_restricted() {
    let _alone = ALONE.lock().await;
    let kube = start().await;
    let kubectl = kube.kubectl();
    apply(&kubectl, &overlay("standalone"), Way::ServerSide).await;
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: root, namespace: headgate-system}\n\
               spec: {containers: [{name: a, image: a}]}\n";
    let refusal = kubectl.apply(pod).await.unwrap_err().to_string();
    assert!(
        refusal.contains("violates PodSecurity \"restricted"),
        "{refusal}"
    );
}
