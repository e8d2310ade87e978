//! A cluster, a control plane over it, Envoys of that, and a mock model server in each pod.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{Kube, KubeOptions, Kubectl, Kubelet, Node};
use headgate_testkit::mock_model::MockHandle;
use headgate_testkit::stage::Status;
use serde_json::Value;

use crate::ClusterError;
use crate::edge::Edge;
use crate::machine::Servers;
use crate::plane::{Plane, definitions};

/// Longer than anything takes that takes no time by rule, on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// What to set up.
#[derive(Debug, Clone)]
pub struct WorldOptions {
    /// Node ids of the Envoys.
    pub edges: Vec<String>,
    /// Worker threads of each.
    pub workers: u32,
    /// Further arguments of `headgate serve`.
    pub serve: Vec<String>,
}

impl Default for WorldOptions {
    /// One Envoy of two workers; clusters linger for 5 s.
    fn default() -> Self {
        Self {
            edges: vec!["edge-0".to_owned()],
            workers: 2,
            serve: vec!["--linger".to_owned(), "5".to_owned()],
        }
    }
}

/// A running world.
#[derive(Debug)]
pub struct World {
    // Dropped in this order: who talks to another ends first.
    /// The Envoys.
    pub edges: Vec<Edge>,
    /// The control plane.
    pub plane: Plane,
    kubelet: Kubelet,
    /// The model servers.
    pub servers: Arc<Servers>,
    /// The API.
    pub kube: Kube,
}

impl World {
    /// Starts everything; the cluster has the definitions of the policies and nothing else.
    ///
    /// # Errors
    /// [`ClusterError`]: what is missing or did not start.
    pub async fn start(options: WorldOptions) -> Result<Self, ClusterError> {
        let kube = Kube::start(KubeOptions::default()).await?;
        let servers = Arc::new(Servers::default());
        let kubelet = kube.kubelet(Arc::clone(&servers));
        let kubectl = kube.kubectl();
        kubectl.defined(&definitions()?).await?;
        let mut plane = Plane::start(kube.kubeconfig(), &options.serve)?;
        plane.ready(SOON).await?;
        let mut edges = Vec::new();
        for id in &options.edges {
            edges.push(Edge::start(id, plane.xds(), options.workers).await?);
        }
        Ok(Self {
            edges,
            plane,
            kubelet,
            servers,
            kube,
        })
    }

    /// `kubectl` as the administrator.
    #[must_use]
    pub fn kubectl(&self) -> Kubectl {
        self.kube.kubectl()
    }

    /// `kubectl` with these words; what it said.
    ///
    /// # Errors
    /// [`ClusterError::Kube`].
    pub async fn run(&self, words: &str) -> Result<String, ClusterError> {
        Ok(self.kubectl().run(words.split_whitespace()).await?)
    }

    /// Rolls out a Deployment and waits until Kubernetes says it is.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn roll_out(&self, deployment: &Value) -> Result<(), ClusterError> {
        Ok(self.kubectl().rolled_out(deployment).await?)
    }

    /// The node that all pods run on.
    #[must_use]
    pub fn node(&self) -> &Node {
        self.kubelet.node()
    }

    /// The kubelet's word on a pod.
    ///
    /// # Errors
    /// [`ClusterError::Kube`].
    pub async fn set_ready(&self, pod: &str, ready: bool) -> Result<(), ClusterError> {
        let node = self.kubelet.node();
        Ok(node.set_ready("default", pod, ready).await?)
    }

    /// The pods of a Deployment of `default` whose server runs: where it listens, and what it counted.
    #[must_use]
    pub fn pods(&self, deployment: &str) -> BTreeMap<String, (SocketAddr, MockHandle)> {
        let prefix = format!("default/{deployment}-");
        let running = self.servers.running().into_iter();
        let ours = running.filter(|(pod, _)| pod.starts_with(&prefix));
        ours.map(|(pod, server)| (pod.trim_start_matches("default/").to_owned(), server))
            .collect()
    }

    /// Waits until the servers that run for a Deployment of `default` are as wanted.
    ///
    /// # Errors
    /// [`ClusterError::TimedOut`].
    pub async fn until_pods(
        &self,
        deployment: &str,
        what: &str,
        holds: impl Fn(&BTreeMap<String, (SocketAddr, MockHandle)>) -> bool,
    ) -> Result<(), ClusterError> {
        let seen = eventually(SOON, what, async || {
            let pods = self.pods(deployment);
            if holds(&pods) {
                return Ok(());
            }
            Err(format!("{:?}", pods.keys()))
        });
        Ok(seen.await?)
    }

    /// Waits until every Envoy's filters acked this percent for a version.
    ///
    /// # Errors
    /// [`ClusterError::TimedOut`] with the last status.
    pub async fn acked(
        &self,
        model: &str,
        version: &str,
        percent: f64,
    ) -> Result<Status, ClusterError> {
        let what = format!("{percent} % for {version} of {model} at every Envoy");
        let there = |status: &Status| {
            status.proxies.len() == self.edges.len() && status.all_acked(model, version, percent)
        };
        self.plane.until(SOON, &what, there).await
    }

    /// Waits until a version has as many ready endpoints as wanted, and every Envoy runs all that it should.
    ///
    /// # Errors
    /// [`ClusterError::TimedOut`] with the last status.
    pub async fn serving(
        &self,
        model: &str,
        version: &str,
        endpoints: usize,
    ) -> Result<Status, ClusterError> {
        let what = format!("{endpoints} endpoints of {version} of {model} at every Envoy");
        let there = |status: &Status| {
            let found = status.version(model, version);
            let ready = found.map_or(0, |version| version.endpoints.are);
            ready == endpoints
                && status.proxies.len() == self.edges.len()
                && status.proxies.iter().all(|proxy| proxy.settled)
        };
        self.plane.until(SOON, &what, there).await
    }
}
