//! A kubelet for tests: it runs the containers of pods as processes, from the pods' own manifests.
//!
//! What a real kubelet and a container runtime do, done here without either: command and arguments with `$(NAME)`, variables from
//! fields, ConfigMaps and Secrets, volumes at their paths in a root directory of the container's own, the ServiceAccount's token,
//! user and read-only root, startup, liveness and readiness probes, restarts, `preStop`, the grace period, and the pod's status.
//!
//! | in a cluster | here |
//! |---|---|
//! | images are pulled | [`Images`] says which program of this machine an image is |
//! | a pod has a network namespace | it has an address of 127.0.0.0/8; a listen address on all interfaces (`:18000`) becomes this address |
//! | other containers of a pod share its address | a container without an image in the table does not run, and counts as ready |
//! | tokens are renewed | they are written once |
//! | resources and capabilities are limited | they are not limited; another user than root has no capabilities |
//!
//! Invariant: only loopback addresses; no mount is visible outside of a container; processes end with the [`Kubelet`].

mod atomic;
mod cluster;
mod container;
mod environment;
mod error;
mod exec;
mod expansion;
mod health;
mod images;
mod injection;
mod objects;
mod pod;
mod probes;
mod root;
mod status;
mod volumes;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use headgate_testkit::kube::{ContainerRuntime, Kube, Kubelet, Node, OnRuntime, PodAddresses};
use headgate_testkit::kube::{PodReport, PodRunner};
use headgate_testkit::process::Log;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use tempfile::TempDir;
use tokio::sync::oneshot;

pub use self::cluster::ProcessCluster;
pub use self::images::{Image, Images};
pub use self::injection::{Injected, Injecting, Injector};

use self::container::{Phase, States};
use self::objects::Objects;
use self::pod::PodRun;

/// Time between two calls of an injector that fails.
const RETRY: Duration = Duration::from_secs(1);

/// Runs pods as processes, and the pods without any known image on another runtime.
pub struct ProcessRunner<M> {
    images: Images,
    others: OnRuntime<M>,
    objects: Objects,
    addresses: PodAddresses,
    injector: Option<Injector>,
    running: Processes,
    dir: TempDir,
}

impl<M> std::fmt::Debug for ProcessRunner<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProcessRunner")
            .field("images", &self.images)
            .finish_non_exhaustive()
    }
}

/// The processes of running pods; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Processes {
    pods: Arc<Mutex<BTreeMap<String, (States, PathBuf)>>>,
}

impl<M: ContainerRuntime> ProcessRunner<M> {
    /// A runner for the pods of an API. A pod none of whose images is in the table runs on `others`.
    ///
    /// # Errors
    /// When no directory can be made, or the certificate of the API cannot be read.
    pub fn new(kube: &Kube, images: Images, others: M) -> std::io::Result<Self> {
        let authority = std::fs::read_to_string(kube.authority())?;
        Ok(Self {
            images,
            others: OnRuntime(others),
            objects: Objects::new(kube.client(), kube.address(), &authority),
            addresses: PodAddresses::default(),
            injector: None,
            running: Processes::default(),
            dir: tempfile::tempdir()?,
        })
    }

    /// Sets what adds containers to pods before they run.
    #[must_use]
    pub fn with_injector(mut self, injector: Injector) -> Self {
        self.injector = Some(injector);
        self
    }

    /// The processes of its pods.
    #[must_use]
    pub fn processes(&self) -> Processes {
        self.running.clone()
    }

    /// Starts a kubelet with this runner.
    #[must_use]
    pub fn start(self, kube: &Kube) -> Kubelet {
        kube.kubelet_with(self)
    }
}

impl<M: ContainerRuntime> PodRunner for ProcessRunner<M> {
    async fn run(&self, node: &Node, declared: Pod, mut end: oneshot::Receiver<()>) {
        if declared.metadata.deletion_timestamp.is_some() {
            return self.others.run(node, declared, end).await;
        }
        node.deliver(&declared, PodReport::Bind).await;
        let ip = IpAddr::from(self.addresses.next());
        let injected = tokio::select! {
            injected = self.inject(&declared, ip) => injected,
            _ = &mut end => return node.deliver(&declared, PodReport::Gone).await,
        };
        let images = self.images_of(&injected);
        if images.is_empty() {
            return self.others.run(node, declared, end).await;
        }
        let key = format!(
            "{}/{}",
            declared.namespace().unwrap_or_default(),
            declared.name_any()
        );
        let uid = declared.uid().unwrap_or_default();
        let logs = self.dir.path().join("logs").join(&uid);
        if let Err(error) = std::fs::create_dir_all(&logs) {
            eprintln!("kubelet: {}: {error}", logs.display());
            return;
        }
        let states = States::new(images.keys().cloned());
        self.running.insert(&key, states.clone(), logs.clone());
        let run = PodRun {
            declared,
            pod: injected.pod,
            ip,
            port_offset: injected.port_offset,
            objects: self.objects.clone(),
            images,
            dir: self.dir.path().join("pods").join(&uid),
            logs,
            states,
            volumes: tokio::sync::Mutex::default(),
        };
        run.run(node, end).await;
    }
}

impl<M> ProcessRunner<M> {
    /// The pod as it runs. An injector that fails, such as one whose API does not answer, is asked again, as an admission webhook is by
    /// the controller whose pod was refused.
    async fn inject(&self, pod: &Pod, ip: IpAddr) -> Injected {
        let Some(injector) = &self.injector else {
            return Injected::nothing(pod.clone());
        };
        loop {
            match injector(pod.clone(), ip).await {
                Ok(injected) => return injected,
                Err(why) => eprintln!("kubelet: {}: {why}", pod.name_any()),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn images_of(&self, injected: &Injected) -> BTreeMap<String, Image> {
        let spec = injected.pod.spec.iter();
        let containers = spec.flat_map(|spec| {
            let init = spec.init_containers.iter().flatten();
            init.chain(&spec.containers)
        });
        containers
            .filter_map(|container| {
                let own = injected.images.get(&container.name);
                let image = own.or_else(|| self.images.get(container.image.as_deref()?))?;
                Some((container.name.clone(), image.clone()))
            })
            .collect()
    }
}

impl Processes {
    /// The log of a container of a pod (`namespace/pod`), also after the pod's end. It has stdout, stderr, and lines of the kubelet.
    #[must_use]
    pub fn log(&self, pod: &str, container: &str) -> Option<Log> {
        let (_, logs) = self.get(pod)?;
        Some(Log::new(logs.join(format!("{container}.log"))))
    }

    /// The process id of a running container of a pod (`namespace/pod`).
    #[must_use]
    pub fn pid(&self, pod: &str, container: &str) -> Option<u32> {
        let (states, _) = self.get(pod)?;
        match states.read().borrow().get(container)?.phase {
            Phase::Running { pid } => Some(pid),
            _ => None,
        }
    }

    /// The states of all containers and the ends of their logs, for messages about a failure.
    #[must_use]
    pub fn log_tails(&self, lines: usize) -> String {
        let mut tails = String::new();
        for (pod, (states, logs)) in &*lock(&self.pods) {
            for (container, state) in &*states.read().borrow() {
                let log = Log::new(logs.join(format!("{container}.log")));
                tails += &format!("--- {pod} {container}: {state:?}\n{}\n", log.tail(lines));
            }
        }
        tails
    }

    fn insert(&self, pod: &str, states: States, logs: PathBuf) {
        lock(&self.pods).insert(pod.to_owned(), (states, logs));
    }

    fn get(&self, pod: &str) -> Option<(States, PathBuf)> {
        lock(&self.pods).get(pod).cloned()
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
