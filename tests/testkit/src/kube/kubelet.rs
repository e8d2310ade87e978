//! A fake kubelet: it watches all pods, binds each to its node, runs it on a [`ContainerRuntime`], reports its status and completes
//! its deletion.
//!
//! Invariant: one task per pod does these steps in order, so a pod that is deleted while it starts is still stopped and removed.
//! The API server may be unavailable: failed reports are retried.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ::kube::ResourceExt;
use ::kube::api::Api;
use ::kube::runtime::watcher::{self, Event};
use ::kube::runtime::{WatchStreamExt as _, watcher as watch};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};

use super::ContainerRuntime;
use super::node::{Node, has_node};

/// Interval between two tries of a failed report.
const RETRY: Duration = Duration::from_millis(200);

/// A running kubelet. Dropping it freezes the node: no pod is started, reported or removed after that. Servers that its runtime
/// started end with the runtime.
#[derive(Debug)]
pub struct Kubelet {
    node: Node,
    task: AbortHandle,
}

impl Kubelet {
    /// Starts it on the current runtime.
    pub(super) fn start(node: Node, runtime: impl ContainerRuntime) -> Self {
        let task = tokio::spawn(run(node.clone(), Arc::new(runtime))).abort_handle();
        Self { node, task }
    }

    /// Its node, for reports that the kubelet itself does not make.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The pods of the node, by UID, each with the channel that stops its task.
struct Pods<M> {
    node: Node,
    runtime: Arc<M>,
    stops: BTreeMap<String, Option<oneshot::Sender<()>>>,
    /// The tasks end when this set is dropped.
    tasks: JoinSet<()>,
}

async fn run<M: ContainerRuntime>(node: Node, runtime: Arc<M>) {
    let api: Api<Pod> = Api::all(node.client().clone());
    let mut events = watch(api, watcher::Config::default())
        .default_backoff()
        .boxed();
    let mut pods = Pods {
        node,
        runtime,
        stops: BTreeMap::new(),
        tasks: JoinSet::new(),
    };
    let mut listed = BTreeSet::new();
    while let Some(event) = events.next().await {
        // Finished tasks are removed here; otherwise one entry would remain for every pod that ever existed.
        while pods.tasks.try_join_next().is_some() {}
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(pod)) => {
                listed.insert(pod.uid().unwrap_or_default());
                pods.observe(pod);
            }
            Ok(Event::InitDone) => pods.retain(&listed),
            Ok(Event::Apply(pod)) => pods.observe(pod),
            Ok(Event::Delete(pod)) => pods.forget(&pod.uid().unwrap_or_default()),
            // The watcher backs off and lists again.
            Err(_) => {}
        }
    }
}

impl<M: ContainerRuntime> Pods<M> {
    fn observe(&mut self, pod: Pod) {
        let ours = self.node.name();
        if has_node(&pod) && pod.spec.as_ref().and_then(|s| s.node_name.as_deref()) != Some(ours) {
            return;
        }
        let uid = pod.uid().unwrap_or_default();
        let is_deleted = pod.metadata.deletion_timestamp.is_some();
        if !self.stops.contains_key(&uid) {
            let (stop, end) = oneshot::channel();
            self.stops.insert(uid.clone(), Some(stop));
            let pod_task = run_pod(self.node.clone(), Arc::clone(&self.runtime), pod, end);
            self.tasks.spawn(pod_task);
        }
        if is_deleted && let Some(stop) = self.stops.get_mut(&uid) {
            end(stop.take());
        }
    }

    fn forget(&mut self, uid: &str) {
        end(self.stops.remove(uid).flatten());
    }

    /// Forgets the pods that are missing in a complete list: they were deleted while the API was unavailable.
    fn retain(&mut self, listed: &BTreeSet<String>) {
        self.stops.retain(|uid, stop| {
            let stays = listed.contains(uid);
            if !stays {
                end(stop.take());
            }
            stays
        });
    }
}

/// A finished task has dropped the receiver; there is nothing to stop.
fn end(stop: Option<oneshot::Sender<()>>) {
    if let Some(stop) = stop {
        let _ = stop.send(());
    }
}

/// Runs a pod from its first event until it is removed.
async fn run_pod<M: ContainerRuntime>(
    node: Node,
    runtime: Arc<M>,
    pod: Pod,
    end: oneshot::Receiver<()>,
) {
    if pod.metadata.deletion_timestamp.is_none() {
        if !has_node(&pod) {
            send_report(&node, &pod, PodReport::Bind).await;
        }
        if let Some(ip) = runtime.start(&pod).await {
            send_report(&node, &pod, PodReport::Ready(ip)).await;
        }
        // A closed channel also means stop: the kubelet has forgotten the pod.
        let _ = end.await;
    }
    runtime.stop(&pod).await;
    send_report(&node, &pod, PodReport::Gone).await;
}

/// A report about a pod to the API.
#[derive(Debug, Clone, Copy)]
enum PodReport {
    Bind,
    Ready(IpAddr),
    Gone,
}

/// Retries while the API is unavailable or busy. A pod that is gone (404) or replaced (409) needs no report. Any other error
/// would repeat, so it is printed and the report is dropped.
async fn send_report(node: &Node, pod: &Pod, report: PodReport) {
    loop {
        let sent = match report {
            PodReport::Bind => node.bind(pod).await,
            PodReport::Ready(ip) => node.report(pod, ip, true).await,
            PodReport::Gone => node.remove(pod).await,
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
