//! Mock model servers in pods. A test can hold back those of a workload, as on a full cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use headgate_testkit::kube::{ContainerRuntime, ModelServers};
use headgate_testkit::mock_model::{MockHandle, MockOptions};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;

use crate::ClusterError;

/// Time that a server keeps serving after a stop, as with a preStop hook: longer than the control plane batches endpoint changes
/// (1 s), plus the time that a busy machine needs to deliver them.
const DRAIN_DELAY: Duration = Duration::from_secs(5);

/// The mock model servers of a cluster. Each reports the workload of its pod as its version.
#[derive(Debug)]
pub struct Servers {
    servers: ModelServers,
    held_back: watch::Sender<BTreeSet<String>>,
}

/// The workload of a pod: its label `app`.
fn app(pod: &Pod) -> Option<&str> {
    let labels = pod.metadata.labels.as_ref()?;
    labels.get("app").map(String::as_str)
}

impl Default for Servers {
    fn default() -> Self {
        let cast = |pod: &Pod| Some(MockOptions::new("model", app(pod)?));
        Self {
            servers: ModelServers::new(cast).with_drain_delay(DRAIN_DELAY),
            held_back: watch::Sender::new(BTreeSet::new()),
        }
    }
}

impl Servers {
    /// Holds back the servers of this workload from now on.
    pub fn hold(&self, app: &str) {
        self.held_back.send_modify(|held_back| {
            held_back.insert(app.to_owned());
        });
    }

    /// Starts the held servers of this workload.
    pub fn release(&self, app: &str) {
        self.held_back.send_modify(|held_back| {
            held_back.remove(app);
        });
    }

    /// Ends the server of a pod in `default` as SIGKILL does. Returns whether there was one.
    pub async fn crash(&self, pod: &str) -> bool {
        self.servers.crash(&format!("default/{pod}")).await
    }

    /// Restarts the crashed server of a pod in `default`, at its old address.
    ///
    /// # Errors
    /// [`ClusterError::Os`] when it did not crash, or its address is taken.
    pub async fn restart(&self, pod: &str) -> Result<(), ClusterError> {
        let restarted = self.servers.restart(&format!("default/{pod}")).await;
        restarted.map_err(ClusterError::os(pod))
    }

    /// Address and counters of the running servers, by `namespace/pod`.
    #[must_use]
    pub fn running(&self) -> BTreeMap<String, (SocketAddr, MockHandle)> {
        self.servers.running()
    }
}

impl ContainerRuntime for Servers {
    async fn start(&self, pod: &Pod) -> Option<IpAddr> {
        let mut held_back = self.held_back.subscribe();
        // An error means that the owner, and with it every hold, is gone.
        let _ = held_back
            .wait_for(|held_back| app(pod).is_none_or(|app| !held_back.contains(app)))
            .await;
        self.servers.start(pod).await
    }

    async fn stop(&self, pod: &Pod) {
        self.servers.stop(pod).await;
    }
}
