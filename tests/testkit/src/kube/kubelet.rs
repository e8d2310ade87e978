//! The kubelet that tests play: it watches all pods, binds each to its node, has a [`Machine`] run it, reports it, and
//! finishes its deletion.
//!
//! Invariant: one task per pod does these things in order, so a pod that is deleted while it starts is still stopped and
//! removed. The API server may be away: what could not be reported is tried again.

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

use super::Machine;
use super::node::{Node, has_node};

/// Time between two tries of a report that failed.
const RETRY: Duration = Duration::from_millis(200);

/// The running kubelet. Dropping it freezes the node: no pod is started, reported or removed any more, and what
/// its machine started ends with the machine.
#[derive(Debug)]
pub struct Kubelet {
    node: Node,
    task: AbortHandle,
}

impl Kubelet {
    /// Starts it on the current runtime.
    pub(super) fn start(node: Node, machine: impl Machine) -> Self {
        let task = tokio::spawn(run(node.clone(), Arc::new(machine))).abort_handle();
        Self { node, task }
    }

    /// Its node, to report something else about a pod.
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

/// The pods of the node, by UID, each with the wire that tells its task to end it.
struct Pods<M> {
    node: Node,
    machine: Arc<M>,
    wires: BTreeMap<String, Option<oneshot::Sender<()>>>,
    /// Ended with this set.
    tasks: JoinSet<()>,
}

async fn run<M: Machine>(node: Node, machine: Arc<M>) {
    let api: Api<Pod> = Api::all(node.client().clone());
    let mut events = watch(api, watcher::Config::default())
        .default_backoff()
        .boxed();
    let mut pods = Pods {
        node,
        machine,
        wires: BTreeMap::new(),
        tasks: JoinSet::new(),
    };
    let mut listed = BTreeSet::new();
    while let Some(event) = events.next().await {
        // Tasks that have ended are let go of here, or there would be one for every pod that ever was.
        while pods.tasks.try_join_next().is_some() {}
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(pod)) => {
                listed.insert(pod.uid().unwrap_or_default());
                pods.see(pod);
            }
            Ok(Event::InitDone) => pods.keep(&listed),
            Ok(Event::Apply(pod)) => pods.see(pod),
            Ok(Event::Delete(pod)) => pods.forget(&pod.uid().unwrap_or_default()),
            // The watcher backs off and lists again.
            Err(_) => {}
        }
    }
}

impl<M: Machine> Pods<M> {
    fn see(&mut self, pod: Pod) {
        let ours = self.node.name();
        if has_node(&pod) && pod.spec.as_ref().and_then(|s| s.node_name.as_deref()) != Some(ours) {
            return;
        }
        let uid = pod.uid().unwrap_or_default();
        let ending = pod.metadata.deletion_timestamp.is_some();
        if !self.wires.contains_key(&uid) {
            let (wire, end) = oneshot::channel();
            self.wires.insert(uid.clone(), Some(wire));
            let life = life(self.node.clone(), Arc::clone(&self.machine), pod, end);
            self.tasks.spawn(life);
        }
        if ending && let Some(wire) = self.wires.get_mut(&uid) {
            end(wire.take());
        }
    }

    fn forget(&mut self, uid: &str) {
        end(self.wires.remove(uid).flatten());
    }

    /// Forgets the pods that are not in a complete list: they went while the API was away.
    fn keep(&mut self, listed: &BTreeSet<String>) {
        self.wires.retain(|uid, wire| {
            let stays = listed.contains(uid);
            if !stays {
                end(wire.take());
            }
            stays
        });
    }
}

/// A task that has ended needs no telling.
fn end(wire: Option<oneshot::Sender<()>>) {
    if let Some(wire) = wire {
        let _ = wire.send(());
    }
}

/// A pod from when it is first seen until it is gone.
async fn life<M: Machine>(node: Node, machine: Arc<M>, pod: Pod, end: oneshot::Receiver<()>) {
    if pod.metadata.deletion_timestamp.is_none() {
        if !has_node(&pod) {
            tell(&node, &pod, Word::Bind).await;
        }
        if let Some(ip) = machine.start(&pod).await {
            tell(&node, &pod, Word::Ready(ip)).await;
        }
        // Either way it is to end: the kubelet that held the other end of the wire has forgotten it.
        let _ = end.await;
    }
    machine.stop(&pod).await;
    tell(&node, &pod, Word::Gone).await;
}

/// What the API is told about a pod.
#[derive(Debug, Clone, Copy)]
enum Word {
    Bind,
    Ready(IpAddr),
    Gone,
}

/// Tries until it is told, while the API is away or busy. A pod that is gone (404) or not as it was (409) need not be
/// told about; any other refusal would come again, so it is shown and left.
async fn tell(node: &Node, pod: &Pod, word: Word) {
    loop {
        let told = match word {
            Word::Bind => node.bind(pod).await,
            Word::Ready(ip) => node.report(pod, ip, true).await,
            Word::Gone => node.remove(pod).await,
        };
        let Err(error) = told else { return };
        match error.status() {
            Some(404 | 409) => return,
            None | Some(429 | 500..) => tokio::time::sleep(RETRY).await,
            Some(_) => {
                eprintln!("kubelet: {word:?}: {error}");
                return;
            }
        }
    }
}
