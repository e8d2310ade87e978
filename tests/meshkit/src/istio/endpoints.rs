//! The endpoints of Services: a `WorkloadEntry` for each ready pod.
//!
//! EndpointSlices refuse loopback addresses, so istiod would see no endpoints. A Service also selects WorkloadEntries, as for virtual
//! machines, and these may have any address.
//!
//! Invariant: an entry exists as long as its pod is ready and not being deleted; it has the pod's labels and ServiceAccount.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use super::objects::{Kind, apply};
use super::sidecar::{account, container_ports};

/// Publishes the endpoints of all pods until it is dropped.
pub(super) async fn publish(client: Client) {
    let pods: Api<Pod> = Api::all(client.clone());
    let mut events = watcher(pods, watcher::Config::default())
        .default_backoff()
        .boxed();
    // What was published, so that an unchanged pod costs no request.
    let mut published: BTreeMap<(String, String), Value> = BTreeMap::new();
    let mut listed = BTreeSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(pod)) => {
                listed.insert(key(&pod));
                update(&client, &pod, &mut published).await;
            }
            Ok(Event::InitDone) => {
                let gone: Vec<_> = published
                    .keys()
                    .filter(|key| !listed.contains(*key))
                    .cloned()
                    .collect();
                for key in gone {
                    remove(&client, &key, &mut published).await;
                }
            }
            Ok(Event::Apply(pod)) => update(&client, &pod, &mut published).await,
            Ok(Event::Delete(pod)) => remove(&client, &key(&pod), &mut published).await,
            // The watcher backs off and lists again.
            Err(_) => {}
        }
    }
}

async fn update(client: &Client, pod: &Pod, published: &mut BTreeMap<(String, String), Value>) {
    let key = key(pod);
    let Some(entry) = entry(pod) else {
        return remove(client, &key, published).await;
    };
    if published.get(&key) == Some(&entry) {
        return;
    }
    match apply(client, Kind::WorkloadEntry, &entry).await {
        Ok(()) => {
            published.insert(key, entry);
        }
        Err(error) => eprintln!("endpoints: {}/{}: {error}", key.0, key.1),
    }
}

async fn remove(
    client: &Client,
    key: &(String, String),
    published: &mut BTreeMap<(String, String), Value>,
) {
    if published.remove(key).is_some() {
        let (namespace, name) = key;
        let entries = Kind::WorkloadEntry.api(client, namespace);
        // It goes with its namespace, too.
        let _ = entries.delete(name, &DeleteParams::default()).await;
    }
}

/// The entry of a pod; `None` if it is not ready.
fn entry(pod: &Pod) -> Option<Value> {
    let status = pod.status.as_ref()?;
    let ip = status.pod_ip.as_ref()?;
    let mut conditions = status.conditions.iter().flatten();
    let ready = conditions.any(|c| c.type_ == "Ready" && c.status == "True");
    if !ready || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let ports: BTreeMap<String, u16> = container_ports(pod).into_iter().collect();
    Some(json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadEntry",
        "metadata": {
            "name": pod.name_any(),
            "namespace": pod.namespace(),
        },
        "spec": {
            "address": ip,
            "labels": pod.labels(),
            "serviceAccount": account(pod),
            "ports": ports,
        },
    }))
}

fn key(pod: &Pod) -> (String, String) {
    (pod.namespace().unwrap_or_default(), pod.name_any())
}
