//! Many models with many pods, created in bulk, and pods that are replaced continuously.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{EmptyRuntime, Kube, KubeError, Kubelet, Node, deployment};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::Value;
use tokio::task::{AbortHandle, JoinSet};

use crate::ClusterError;

/// Deployments created concurrently.
const PARALLEL: usize = 16;
/// Time for a pod to run on a busy machine, and the minimum for all of them.
const PER_POD: Duration = Duration::from_millis(100);
const MIN_TIMEOUT: Duration = Duration::from_secs(120);

/// The size of a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Number of models.
    pub models: usize,
    /// Versions of each model: the first is the base, the others are canaries of 5 %.
    pub versions: usize,
    /// Pods of each version.
    pub pods: usize,
}

impl Size {
    /// Number of variants: versions of all models.
    #[must_use]
    pub const fn variants(self) -> usize {
        self.models * self.versions
    }

    /// Number of pods of all variants.
    #[must_use]
    pub const fn all_pods(self) -> usize {
        self.variants() * self.pods
    }

    /// Deadline for all pods to run.
    #[must_use]
    pub fn timeout(self) -> Duration {
        let pods = u32::try_from(self.all_pods()).unwrap_or(u32::MAX);
        MIN_TIMEOUT + PER_POD * pods
    }
}

/// The name of a model.
#[must_use]
pub fn model(number: usize) -> String {
    format!("model-{number:03}")
}

/// The name of the Deployment of a version (from 1) of a model.
#[must_use]
pub fn workload(model: &str, version: usize) -> String {
    format!("{model}-v{version}")
}

fn manifests(size: Size) -> impl Iterator<Item = Value> {
    let of = move |number: usize| {
        (1..=size.versions).map(move |version| {
            let (model, pods) = (model(number), u32::try_from(size.pods).unwrap_or(u32::MAX));
            let name = workload(&model, version);
            let mut made = deployment(&model, &name, &format!("v{version}"), pods);
            if version > 1 {
                made["metadata"]["labels"]["canary-weight"] = "5".into();
            }
            made
        })
    };
    (0..size.models).flat_map(of)
}

/// Runs every pod without a server in it, until dropped.
#[must_use]
pub fn run_empty_pods(kube: &Kube) -> Kubelet {
    kube.kubelet(EmptyRuntime::default())
}

/// Creates all Deployments and returns the time until all their pods were ready. A kubelet must run them.
///
/// # Errors
/// [`ClusterError::Kube`], [`ClusterError::TimedOut`].
pub async fn deploy(kube: &Kube, size: Size) -> Result<Duration, ClusterError> {
    let began = Instant::now();
    let api: Api<Deployment> = Api::namespaced(kube.client(), "default");
    let mut making = JoinSet::new();
    for manifest in manifests(size) {
        while making.len() >= PARALLEL {
            done(making.join_next().await)?;
        }
        let api = api.clone();
        making.spawn(async move {
            let made = serde_json::from_value(manifest).map_err(kube::Error::SerdeError)?;
            api.create(&PostParams::default(), &made).await
        });
    }
    while !making.is_empty() {
        done(making.join_next().await)?;
    }
    let what = format!("{} pods ready", size.all_pods());
    let mut next = Instant::now();
    let all = eventually(size.timeout(), &what, async || {
        // A list of hundreds of Deployments is expensive for the API server.
        tokio::time::sleep_until(next.into()).await;
        next = Instant::now() + Duration::from_secs(1);
        let list = api.list(&ListParams::default()).await;
        let ready = list.map_err(|error| error.to_string())?;
        let ready = ready
            .iter()
            .filter_map(|d| d.status.as_ref()?.ready_replicas);
        let ready: i64 = ready.map(i64::from).sum();
        if usize::try_from(ready) == Ok(size.all_pods()) {
            return Ok(());
        }
        Err(format!("{ready} are"))
    });
    all.await?;
    Ok(began.elapsed())
}

type Made = Result<Result<Deployment, kube::Error>, tokio::task::JoinError>;

fn done(made: Option<Made>) -> Result<(), ClusterError> {
    match made {
        Some(Ok(Ok(_))) | None => Ok(()),
        Some(Ok(Err(source))) => Err(ClusterError::Kube(KubeError::Api {
            action: "make a Deployment".to_owned(),
            source: Box::new(source),
        })),
        Some(Err(error)) => Err(ClusterError::NotMeasured(error.to_string())),
    }
}

/// Pods are deleted at a constant rate, and their ReplicaSets create new ones, until dropped.
#[derive(Debug)]
pub struct Churn {
    ended: Arc<AtomicUsize>,
    began: Instant,
    task: AbortHandle,
}

impl Churn {
    /// Starts deleting `a_second` pods per second.
    #[must_use]
    pub fn start(node: Node, client: kube::Client, a_second: u32) -> Self {
        let ended = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(end_pods(node, client, a_second, Arc::clone(&ended)));
        Self {
            ended,
            began: Instant::now(),
            task: task.abort_handle(),
        }
    }

    /// Deleted pods per second so far.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.ended.load(Ordering::Relaxed) as f64 / self.began.elapsed().as_secs_f64()
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn end_pods(node: Node, client: kube::Client, a_second: u32, ended: Arc<AtomicUsize>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / a_second.max(1));
    let api: Api<Pod> = Api::namespaced(client, "default");
    let mut under_way = JoinSet::new();
    loop {
        // An API that does not respond shows as a lower rate.
        let pods = node.pods_in(Some("default")).await.unwrap_or_default();
        let living = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none());
        // Every seventh, so that all models lose some.
        for pod in living.step_by(7) {
            ticks.tick().await;
            while under_way.try_join_next().is_some() {}
            let (api, ended) = (api.clone(), Arc::clone(&ended));
            let name = pod.metadata.name.clone().unwrap_or_default();
            // Concurrently; otherwise the latency of a busy API would limit the rate.
            under_way.spawn(async move {
                if api.delete(&name, &DeleteParams::default()).await.is_ok() {
                    ended.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        ticks.tick().await;
    }
}
