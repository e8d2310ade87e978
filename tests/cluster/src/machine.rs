//! Mock model servers in pods, of which those of some workloads can be kept from starting, as on a full cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use headgate_testkit::kube::{Machine, ModelServers};
use headgate_testkit::mock_model::{MockHandle, MockOptions};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;

use crate::ClusterError;

/// How long a server goes on serving after it was told to stop, as a preStop hook would have it. Longer than the control
/// plane gathers changes of endpoints (1 s) by what a busy machine needs to pass them on.
const GOES_ON: Duration = Duration::from_secs(5);

/// The mock model servers of a cluster. Each says of itself that it is the workload whose pod it runs in.
#[derive(Debug)]
pub struct Servers {
    servers: ModelServers,
    held: watch::Sender<BTreeSet<String>>,
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
            servers: ModelServers::new(cast).going_on_for(GOES_ON),
            held: watch::Sender::new(BTreeSet::new()),
        }
    }
}

impl Servers {
    /// From now on no server of this workload starts.
    pub fn hold(&self, app: &str) {
        self.held.send_modify(|held| {
            held.insert(app.to_owned());
        });
    }

    /// Those that were kept from starting start now.
    pub fn release(&self, app: &str) {
        self.held.send_modify(|held| {
            held.remove(app);
        });
    }

    /// Ends the server of a pod of `default` as SIGKILL does. Whether there was one.
    pub async fn crash(&self, pod: &str) -> bool {
        self.servers.crash(&format!("default/{pod}")).await
    }

    /// Starts the server of a pod of `default` that crashed anew, at its address.
    ///
    /// # Errors
    /// [`ClusterError::Os`] when it did not crash, or its address is taken.
    pub async fn restart(&self, pod: &str) -> Result<(), ClusterError> {
        let restarted = self.servers.restart(&format!("default/{pod}")).await;
        restarted.map_err(ClusterError::os(pod))
    }

    /// Where the servers listen and what they counted, by `namespace/pod`.
    #[must_use]
    pub fn running(&self) -> BTreeMap<String, (SocketAddr, MockHandle)> {
        self.servers.running()
    }
}

impl Machine for Servers {
    async fn start(&self, pod: &Pod) -> Option<IpAddr> {
        let mut held = self.held.subscribe();
        // An error means that nobody holds anything any more.
        let _ = held
            .wait_for(|held| app(pod).is_none_or(|app| !held.contains(app)))
            .await;
        self.servers.start(pod).await
    }

    async fn stop(&self, pod: &Pod) {
        self.servers.stop(pod).await;
    }
}
