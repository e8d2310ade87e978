//! The Kubernetes API of a testbed: the shipped manifests applied to it, and mock model servers in their pods.
//!
//! Invariant: objects are created only by commands that a user could type in the checkout; each command is recorded.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{TestbedError, artifacts};
use crate::kube::{CommandOutput, Kube, KubeOptions, Kubectl, Kubelet, ModelServers};
use crate::mock_model::StatsSnapshot;

/// The commands for a new API: Headgate's definitions, then the demo's models and policies.
const APPLIED: [&str; 4] = [
    "kubectl apply -k istio-manifests/base",
    "kubectl wait --for=condition=Established crd --all --timeout=60s",
    "kubectl apply -f envoy-config/models -f envoy-config/policies",
    "kubectl wait --for=condition=Available deploy --all --timeout=100s",
];

/// Namespace and name of Headgate's ServiceAccount, which the first command creates.
const ACCOUNT: (&str, &str) = ("headgate-system", "headgate");

/// A Kubernetes API with the demo's models in pods.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: clients before their servers.
    _kubelet: Kubelet,
    servers: Arc<ModelServers>,
    full: Arc<AtomicBool>,
    kubectl: Kubectl,
    applied: Vec<CommandOutput>,
    headgate: PathBuf,
    kube: Kube,
}

impl Cluster {
    /// Starts it, with a kubelet that runs `headgate/mock-model` with the arguments in the pods' manifests, and applies the shipped
    /// manifests.
    ///
    /// # Errors
    /// [`TestbedError::Kube`] when the API server refuses.
    pub async fn start(options: KubeOptions) -> Result<Self, TestbedError> {
        let kube = Kube::start(options).await?;
        let full = Arc::new(AtomicBool::new(false));
        let is_full = Arc::clone(&full);
        let servers = Arc::new(ModelServers::new(move |pod| {
            let has_room = !is_full.load(Ordering::Relaxed);
            has_room
                .then(|| ModelServers::from_container_args(pod))
                .flatten()
        }));
        let kubelet = kube.kubelet(Arc::clone(&servers));
        let kubectl = kube.kubectl().in_dir(&artifacts::checkout()?);
        let mut applied = Vec::new();
        for line in APPLIED {
            applied.push(kubectl.run_line(line).await?);
        }
        let (namespace, name) = ACCOUNT;
        Ok(Self {
            _kubelet: kubelet,
            servers,
            full,
            kubectl,
            applied,
            headgate: kube.service_account(namespace, name).await?,
            kube,
        })
    }

    /// The commands that set it up, with their output.
    #[must_use]
    pub fn applied(&self) -> &[CommandOutput] {
        &self.applied
    }

    /// The kubeconfig of Headgate's own ServiceAccount, which has the shipped permissions only.
    #[must_use]
    pub fn headgate(&self) -> &Path {
        &self.headgate
    }

    /// The API itself.
    #[must_use]
    pub fn kube(&self) -> &Kube {
        &self.kube
    }

    /// The API itself, to kill and restart it.
    pub fn kube_mut(&mut self) -> &mut Kube {
        &mut self.kube
    }

    /// Runs a line of `kubectl` in the checkout, as the administrator.
    ///
    /// # Errors
    /// [`TestbedError::Kube`] when the command fails.
    pub async fn kubectl(&self, line: &str) -> Result<CommandOutput, TestbedError> {
        Ok(self.kubectl.run_line(line).await?)
    }

    /// `kubectl apply -f -` of a manifest.
    ///
    /// # Errors
    /// [`TestbedError::Kube`] when the command fails.
    pub async fn apply(&self, manifest: &str) -> Result<(), TestbedError> {
        self.kubectl.apply(manifest).await?;
        Ok(())
    }

    /// Sets whether the cluster is full. On a full cluster no further pod starts; such a pod stays pending.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// The names of the running pods of a Deployment.
    #[must_use]
    pub fn pods_of(&self, deployment: &str) -> Vec<String> {
        let prefix = format!("default/{deployment}-");
        let running = self.servers.running();
        let names = running.keys().filter_map(|pod| {
            // The ReplicaSet's hash and the pod's own suffix follow, so the name of no other Deployment matches.
            let (_, own) = (pod.strip_prefix(&prefix)?.matches('-').count() == 1)
                .then(|| pod.split_once('/'))??;
            Some(own.to_owned())
        });
        names.collect()
    }

    /// The sum of the counters of the servers in a Deployment's running pods.
    #[must_use]
    pub fn stats_of(&self, deployment: &str) -> StatsSnapshot {
        let pods = self.pods_of(deployment);
        let running = self.servers.running();
        let counted = pods
            .iter()
            .filter_map(|pod| running.get(&format!("default/{pod}")));
        counted.map(|(_, server)| server.stats()).sum()
    }
}
