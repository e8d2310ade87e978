//! A fake kubelet: it watches all pods and runs each with a [`PodRunner`]. The usual one binds the pod to its node, runs it on a
//! [`ContainerRuntime`], reports its status and completes its deletion.
//!
//! Invariant: one task per pod does these steps in order, so a pod that is deleted while it starts is still stopped and removed.
//! The API server may be unavailable: failed reports are retried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ::kube::ResourceExt;
use ::kube::api::Api;
use ::kube::runtime::watcher::{self, Event};
use ::kube::runtime::{WatchStreamExt as _, watcher as watch};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};

use super::ContainerRuntime;
use super::node::{Node, PodReport, has_node, status_of_running};

/// A running kubelet. Dropping it freezes the node: no pod is started, reported or removed after that. Servers that its runtime
/// started end with the runtime.
#[derive(Debug)]
pub struct Kubelet {
    node: Node,
    task: AbortHandle,
}

/// Runs pods, each from its first event until it is removed.
pub trait PodRunner: Send + Sync + 'static {
    /// Runs a pod; called once per pod. `end` resolves, also to an error, when the pod is being deleted or is gone. The runner reports
    /// the pod's status to the node and removes it in the end. It is cancelled when the [`Kubelet`] is dropped.
    fn run(
        &self,
        node: &Node,
        pod: Pod,
        end: oneshot::Receiver<()>,
    ) -> impl Future<Output = ()> + Send;
}

impl Kubelet {
    /// Starts it on the current runtime.
    pub(super) fn start(node: Node, runner: impl PodRunner) -> Self {
        let task = tokio::spawn(run(node.clone(), Arc::new(runner))).abort_handle();
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
struct Pods<R> {
    node: Node,
    runner: Arc<R>,
    stops: BTreeMap<String, Option<oneshot::Sender<()>>>,
    /// The tasks end when this set is dropped.
    tasks: JoinSet<()>,
}

async fn run<R: PodRunner>(node: Node, runner: Arc<R>) {
    let api: Api<Pod> = Api::all(node.client().clone());
    let mut events = watch(api, watcher::Config::default())
        .default_backoff()
        .boxed();
    let mut pods = Pods {
        node,
        runner,
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

impl<R: PodRunner> Pods<R> {
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
            let (node, runner) = (self.node.clone(), Arc::clone(&self.runner));
            self.tasks
                .spawn(async move { runner.run(&node, pod, end).await });
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

/// Runs pods on a [`ContainerRuntime`]: they are ready as soon as they run.
#[derive(Debug)]
pub struct OnRuntime<M>(pub M);

impl<M: ContainerRuntime> PodRunner for OnRuntime<M> {
    async fn run(&self, node: &Node, pod: Pod, end: oneshot::Receiver<()>) {
        let runtime = &self.0;
        if pod.metadata.deletion_timestamp.is_none() {
            node.deliver(&pod, PodReport::Bind).await;
            if let Some(ip) = runtime.start(&pod).await {
                let status = status_of_running(&pod, ip);
                node.deliver(&pod, PodReport::Status(status)).await;
            }
            // A closed channel also means stop: the kubelet has forgotten the pod.
            let _ = end.await;
        }
        runtime.stop(&pod).await;
        node.deliver(&pod, PodReport::Gone).await;
    }
}
