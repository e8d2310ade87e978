//! The requests of a kubelet about its pods: bind, report status, set readiness, remove.
//!
//! Invariant: a pod is changed only through the subresources that a kubelet and a scheduler use, and only the pod with the given
//! UID, never a later one of the same name.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ::kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use ::kube::{Client, ResourceExt};
use futures::stream::{self, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::KubeError;

/// Concurrent requests: enough to keep the API server busy, few enough that it never responds 429.
const PARALLEL: usize = 32;
/// Interval between two tries of a failed report.
const RETRY: Duration = Duration::from_millis(200);

/// A node by name; no Node object is needed. Cheap to clone; clones share the limit of concurrent requests.
#[derive(Clone)]
pub struct Node {
    client: Client,
    name: String,
    permits: Arc<Semaphore>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("name", &self.name).finish()
    }
}

impl Node {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            name: "headgate-node".into(),
            permits: Arc::new(Semaphore::new(PARALLEL)),
        }
    }

    /// Its name, as in `spec.nodeName` of pods.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Assigns a pod to this node, as a scheduler does. A pod without a node disappears as soon as it is deleted.
    ///
    /// # Errors
    /// [`KubeError::Api`]; 409 when the pod is being deleted or has a node already.
    pub async fn bind(&self, pod: &Pod) -> Result<(), KubeError> {
        let binding = Binding {
            metadata: ObjectMeta {
                name: Some(pod.name_any()),
                uid: pod.uid(),
                ..ObjectMeta::default()
            },
            target: ObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Node".into()),
                name: Some(self.name.clone()),
                ..ObjectReference::default()
            },
        };
        let _permit = self.permits.acquire().await;
        // The response is a Status, not a Pod.
        let answer: Result<Value, _> = self
            .pods(pod)
            .create_subresource("binding", &pod.name_any(), &PostParams::default(), &binding)
            .await;
        answer
            .map(|_| ())
            .map_err(KubeError::api(format!("bind {}", shown(pod))))
    }

    /// Reports that a pod's containers run on `ip`, and whether they are ready.
    ///
    /// # Errors
    /// [`KubeError::Api`]; 404 when the pod is gone, 409 when another pod has its name.
    pub async fn report(&self, pod: &Pod, ip: IpAddr, ready: bool) -> Result<(), KubeError> {
        let status = status(pod, ip, ready, &Timestamp::now().to_string());
        self.report_status(pod, &status).await
    }

    /// Reports a pod's whole status.
    ///
    /// # Errors
    /// As [`Self::report`].
    pub async fn report_status(&self, pod: &Pod, status: &Value) -> Result<(), KubeError> {
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": status});
        let _permit = self.permits.acquire().await;
        let params = PatchParams::default();
        self.pods(pod)
            .patch_status(&pod.name_any(), &params, &Patch::Merge(&patch))
            .await
            .map(|_| ())
            .map_err(KubeError::api(format!("report {}", shown(pod))))
    }

    /// Changes the readiness of a running pod.
    ///
    /// # Errors
    /// [`KubeError::Api`] when there is no such pod; [`KubeError::NotRunning`] when it has no address.
    pub async fn set_ready(
        &self,
        namespace: &str,
        name: &str,
        ready: bool,
    ) -> Result<(), KubeError> {
        let shown = format!("pod {namespace}/{name}");
        let pod = Api::<Pod>::namespaced(self.client.clone(), namespace)
            .get(name)
            .await
            .map_err(KubeError::api(&shown))?;
        let ip = pod.status.as_ref().and_then(|s| s.pod_ip.as_deref());
        match ip.and_then(|ip| ip.parse().ok()) {
            Some(ip) => self.report(&pod, ip, ready).await,
            None => Err(KubeError::NotRunning(shown)),
        }
    }

    /// Binds pods and reports them running and ready, concurrently.
    ///
    /// # Errors
    /// The first error; later pods may be unchanged.
    pub async fn run_all(
        &self,
        pods: impl IntoIterator<Item = (Pod, IpAddr)>,
    ) -> Result<(), KubeError> {
        stream::iter(pods.into_iter().map(Ok))
            .try_for_each_concurrent(PARALLEL, |(pod, ip)| async move {
                if !has_node(&pod) {
                    self.bind(&pod).await?;
                }
                self.report(&pod, ip, true).await
            })
            .await
    }

    /// Completes the deletion of a pod, as a kubelet does when its containers have ended.
    ///
    /// # Errors
    /// [`KubeError::Api`]; 404 when the pod is gone, 409 when another pod has its name.
    pub async fn remove(&self, pod: &Pod) -> Result<(), KubeError> {
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: pod.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let _permit = self.permits.acquire().await;
        self.pods(pod)
            .delete(&pod.name_any(), &params)
            .await
            .map(|_| ())
            .map_err(KubeError::api(format!("remove {}", shown(pod))))
    }

    /// The pods of a namespace, or of all namespaces.
    ///
    /// # Errors
    /// [`KubeError::Api`].
    pub async fn pods_in(&self, namespace: Option<&str>) -> Result<Vec<Pod>, KubeError> {
        let api: Api<Pod> = match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let list = api.list(&Default::default()).await;
        Ok(list.map_err(KubeError::api("list pods"))?.items)
    }

    /// Delivers a report, and retries while the API is unavailable or busy. A pod that is gone (404) or replaced (409) needs no report,
    /// nor does the node of a pod that has one. Any other error would repeat, so it is printed and the report is dropped.
    pub async fn deliver(&self, pod: &Pod, report: PodReport) {
        loop {
            let sent = match &report {
                PodReport::Bind if has_node(pod) => return,
                PodReport::Bind => self.bind(pod).await,
                PodReport::Status(status) => self.report_status(pod, status).await,
                PodReport::Gone => self.remove(pod).await,
            };
            let Err(error) = sent else { return };
            match error.status() {
                Some(404 | 409) => return,
                None | Some(429 | 500..) => tokio::time::sleep(RETRY).await,
                Some(_) => {
                    eprintln!("kubelet: {report:?}: {error}");
                    return;
                }
            }
        }
    }

    /// The client of the API.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn pods(&self, pod: &Pod) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default())
    }
}

/// A report about a pod to the API.
#[derive(Debug, Clone)]
pub enum PodReport {
    /// The pod is assigned to the node.
    Bind,
    /// Its status.
    Status(Value),
    /// Its containers have ended; it may be removed.
    Gone,
}

pub(super) fn status_of_running(pod: &Pod, ip: IpAddr) -> Value {
    status(pod, ip, true, &Timestamp::now().to_string())
}

pub(super) fn has_node(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|s| s.node_name.is_some())
}

fn shown(pod: &Pod) -> String {
    let namespace = pod.namespace().unwrap_or_default();
    format!("pod {namespace}/{}", pod.name_any())
}

/// The status of a pod whose containers run.
fn status(pod: &Pod, ip: IpAddr, ready: bool, now: &str) -> Value {
    let reported = pod.status.as_ref().and_then(|s| s.start_time.as_ref());
    let started = reported.map_or_else(|| now.to_owned(), |time| time.0.to_string());
    let condition = |kind: &str, holds: bool| {
        let status = if holds { "True" } else { "False" };
        json!({"type": kind, "status": status, "lastTransitionTime": now})
    };
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let containers: Vec<Value> = containers
        .map(|container| {
            json!({
                "name": container.name,
                "image": container.image.as_deref().unwrap_or_default(),
                "imageID": "",
                "ready": ready,
                "started": true,
                "restartCount": 0,
                "state": {"running": {"startedAt": started}},
            })
        })
        .collect();
    json!({
        "phase": "Running",
        "startTime": started,
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "conditions": [
            condition("PodScheduled", true),
            condition("Initialized", true),
            condition("ContainersReady", ready),
            condition("Ready", ready),
        ],
        "containerStatuses": containers,
    })
}
