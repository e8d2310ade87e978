//! The Kubernetes API of a stage: the shipped manifests applied to it, and mock model servers in their pods.
//!
//! Invariant: nothing is put into it but by lines that a user could type, in the checkout; each is kept as it was typed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{StageError, tools};
use crate::kube::{Kube, KubeOptions, Kubectl, Kubelet, ModelServers, Typed};
use crate::mock_model::StatsSnapshot;

/// What is typed into a new API: Headgate's definitions, then the demo's models and policies.
const APPLIED: [&str; 4] = [
    "kubectl apply -k istio-manifests/base",
    "kubectl wait --for=condition=Established crd --all --timeout=60s",
    "kubectl apply -f envoy-config/models -f envoy-config/policies",
    "kubectl wait --for=condition=Available deploy --all --timeout=100s",
];

/// Namespace and name of the ServiceAccount that the first of them makes for Headgate.
const ACCOUNT: (&str, &str) = ("headgate-system", "headgate");

/// A Kubernetes API with the demo's models in pods.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: who talks to another ends first.
    _kubelet: Kubelet,
    servers: Arc<ModelServers>,
    full: Arc<AtomicBool>,
    kubectl: Kubectl,
    applied: Vec<Typed>,
    headgate: PathBuf,
    kube: Kube,
}

impl Cluster {
    /// Starts it, with a kubelet that runs `headgate/mock-model` as the pods' manifests tell it, and applies what is shipped.
    ///
    /// # Errors
    /// [`StageError::Kube`], with what was refused.
    pub async fn start(options: KubeOptions) -> Result<Self, StageError> {
        let kube = Kube::start(options).await?;
        let full = Arc::new(AtomicBool::new(false));
        let no_room = Arc::clone(&full);
        let servers = Arc::new(ModelServers::new(move |pod| {
            let room = !no_room.load(Ordering::Relaxed);
            room.then(|| ModelServers::told(pod)).flatten()
        }));
        let kubelet = kube.kubelet(Arc::clone(&servers));
        let kubectl = kube.kubectl().in_dir(&tools::checkout()?);
        let mut applied = Vec::new();
        for line in APPLIED {
            applied.push(kubectl.type_line(line).await?);
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

    /// What was typed into it before anything else.
    #[must_use]
    pub fn applied(&self) -> &[Typed] {
        &self.applied
    }

    /// The kubeconfig of Headgate's own ServiceAccount, which has the rights that are shipped and no others.
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
    /// [`StageError::Kube`], with what was refused.
    pub async fn kubectl(&self, line: &str) -> Result<Typed, StageError> {
        Ok(self.kubectl.type_line(line).await?)
    }

    /// `kubectl apply -f -` of a manifest.
    ///
    /// # Errors
    /// [`StageError::Kube`], with what was refused.
    pub async fn apply(&self, manifest: &str) -> Result<(), StageError> {
        self.kubectl.apply(manifest).await?;
        Ok(())
    }

    /// Says that no further pod finds room to run, or that they do again. A pod that found none stays pending.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// The pods that run, of these labels' Deployment, by name.
    #[must_use]
    pub fn pods_of(&self, deployment: &str) -> Vec<String> {
        let prefix = format!("default/{deployment}-");
        let running = self.servers.running();
        let names = running.keys().filter_map(|pod| {
            // What follows is the ReplicaSet's hash and the pod's own, so no other Deployment's name fits.
            let (_, own) = (pod.strip_prefix(&prefix)?.matches('-').count() == 1)
                .then(|| pod.split_once('/'))??;
            Some(own.to_owned())
        });
        names.collect()
    }

    /// The counters of the servers in the pods of a Deployment that run now, together.
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
