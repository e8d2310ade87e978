//! A complete test cluster: the API, a control plane on it, Envoys, and a mock model server in each pod.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{Kube, KubeOptions, Kubectl, Kubelet, Node, deployment};
use headgate_testkit::mock_model::MockHandle;
use headgate_testkit::testbed::Status;
use serde_json::Value;

use crate::ClusterError;
use crate::control_plane::{ControlPlane, definitions};
use crate::envoy::ClusterEnvoy;
use crate::model_servers::Servers;

/// Deadline for steps without a delay of their own, on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// Options of a test cluster.
#[derive(Debug, Clone)]
pub struct TestClusterOptions {
    /// Node ids of the Envoys.
    pub envoys: Vec<String>,
    /// Additional arguments of `headgate serve`.
    pub workers: u32,
    /// Further arguments of `headgate serve`.
    pub serve: Vec<String>,
}

impl Default for TestClusterOptions {
    /// One Envoy with two workers; clusters linger for 5 s.
    fn default() -> Self {
        Self {
            envoys: vec!["envoy-0".to_owned()],
            workers: 2,
            serve: vec!["--linger".to_owned(), "5".to_owned()],
        }
    }
}

/// A running test cluster.
#[derive(Debug)]
pub struct TestCluster {
    // Dropped in this order: clients before their servers.
    /// The Envoys.
    pub envoys: Vec<ClusterEnvoy>,
    /// The control plane.
    pub control_plane: ControlPlane,
    kubelet: Kubelet,
    /// The model servers.
    pub servers: Arc<Servers>,
    /// The API.
    pub kube: Kube,
}

impl TestCluster {
    /// Starts everything; the API has the policy kinds and no other objects.
    ///
    /// # Errors
    /// [`ClusterError`]: a missing program, or one that did not start.
    pub async fn start(options: TestClusterOptions) -> Result<Self, ClusterError> {
        let kube = Kube::start(KubeOptions::default()).await?;
        let servers = Arc::new(Servers::default());
        let kubelet = kube.kubelet(Arc::clone(&servers));
        let kubectl = kube.kubectl();
        kubectl.apply_crds(&definitions()?).await?;
        let mut control_plane = ControlPlane::start(kube.kubeconfig(), &options.serve)?;
        control_plane.ready(SOON).await?;
        let mut envoys = Vec::new();
        for id in &options.envoys {
            envoys.push(ClusterEnvoy::start(id, control_plane.xds(), options.workers).await?);
        }
        Ok(Self {
            envoys,
            control_plane,
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

    /// Runs `kubectl` with these words and returns its output.
    ///
    /// # Errors
    /// [`ClusterError::Kube`].
    pub async fn run(&self, words: &str) -> Result<String, ClusterError> {
        Ok(self.kubectl().run(words.split_whitespace()).await?)
    }

    /// Applies a Deployment and waits until it is rolled out.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn roll_out(&self, deployment: &Value) -> Result<(), ClusterError> {
        Ok(self.kubectl().apply_and_wait(deployment).await?)
    }

    /// Rolls out a version of a model and waits until every Envoy serves it with all its replicas.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn serve(
        &self,
        model: &str,
        workload: &str,
        version: &str,
        replicas: u32,
    ) -> Result<(), ClusterError> {
        self.roll_out(&deployment(model, workload, version, replicas))
            .await?;
        self.wait_until_served(model, version, replicas as usize)
            .await?;
        Ok(())
    }

    /// The node of all pods.
    #[must_use]
    pub fn node(&self) -> &Node {
        self.kubelet.node()
    }

    /// Sets the readiness of a pod, as the kubelet would.
    ///
    /// # Errors
    /// [`ClusterError::Kube`].
    pub async fn set_ready(&self, pod: &str, ready: bool) -> Result<(), ClusterError> {
        let node = self.kubelet.node();
        Ok(node.set_ready("default", pod, ready).await?)
    }

    /// The pods of a Deployment in `default` whose server runs, with address and counters.
    #[must_use]
    pub fn pods(&self, deployment: &str) -> BTreeMap<String, (SocketAddr, MockHandle)> {
        let prefix = format!("default/{deployment}-");
        let running = self.servers.running().into_iter();
        let ours = running.filter(|(pod, _)| pod.starts_with(&prefix));
        ours.map(|(pod, server)| (pod.trim_start_matches("default/").to_owned(), server))
            .collect()
    }

    /// Waits until the running servers of a Deployment in `default` satisfy `holds`.
    ///
    /// # Errors
    /// [`ClusterError::TimedOut`].
    pub async fn wait_for_pods(
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

    /// Waits until the filters of every Envoy acknowledged this percentage for a version.
    ///
    /// # Errors
    /// [`ClusterError::TimedOut`] with the last status.
    pub async fn wait_until_acked(
        &self,
        model: &str,
        version: &str,
        percent: f64,
    ) -> Result<Status, ClusterError> {
        let what = format!("{percent} % for {version} of {model} at every Envoy");
        let there = |status: &Status| {
            status.proxies.len() == self.envoys.len() && status.all_acked(model, version, percent)
        };
        self.control_plane.wait_for_status(SOON, &what, there).await
    }

    /// Waits until a version has this number of ready endpoints, and every Envoy runs its whole configuration.
    ///
    /// # Errors
    /// [`ClusterError::TimedOut`] with the last status.
    pub async fn wait_until_served(
        &self,
        model: &str,
        version: &str,
        endpoints: usize,
    ) -> Result<Status, ClusterError> {
        let what = format!("{endpoints} endpoints of {version} of {model} at every Envoy");
        let there = |status: &Status| {
            let found = status.version(model, version);
            let ready = found.map_or(0, |version| version.endpoints.current);
            ready == endpoints
                && status.proxies.len() == self.envoys.len()
                && status.proxies.iter().all(|proxy| proxy.current)
        };
        self.control_plane.wait_for_status(SOON, &what, there).await
    }
}
