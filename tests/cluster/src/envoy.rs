//! An Envoy of the control plane: the shipped bootstrap, everything else over delta ADS.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use headgate_testkit::envoy::{Envoy, EnvoyOptions};
use headgate_testkit::ports::free_addr;
use headgate_testkit::testbed::bootstrap_with_replicas;
use serde_json::Value;

use crate::ClusterError;

/// A running Envoy. Dropping it kills it.
#[derive(Debug)]
pub struct ClusterEnvoy {
    envoy: Envoy,
    id: String,
    url: String,
}

impl ClusterEnvoy {
    /// Starts it and waits until it is live.
    ///
    /// # Errors
    /// [`ClusterError::Envoy`] with the end of its log.
    pub async fn start(id: &str, xds: SocketAddr, workers: u32) -> Result<Self, ClusterError> {
        Self::start_among(id, &[xds], workers).await
    }

    /// As [`Self::start`], with several control plane replicas.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_among(
        id: &str,
        control_planes: &[SocketAddr],
        workers: u32,
    ) -> Result<Self, ClusterError> {
        let listen = free_addr().map_err(ClusterError::os("a free port"))?;
        let mut options = EnvoyOptions::new(bootstrap_with_replicas(control_planes)?);
        options.name = id.to_owned();
        options.node_id = Some(id.to_owned());
        options.node_cluster = Some("cluster".to_owned());
        options.concurrency = workers;
        options.log_level = "warning".to_owned();
        options
            .node_metadata
            .insert("headgate.listen".to_owned(), listen.to_string().into());
        Ok(Self {
            envoy: Envoy::start(options).await?,
            id: id.to_owned(),
            url: format!("http://{listen}"),
        })
    }

    /// Its node id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// URL for traffic.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The addresses that receive new requests of a cluster; `None` when there is no such cluster.
    ///
    /// # Errors
    /// [`ClusterError::Envoy`].
    pub async fn hosts(&self, cluster: &str) -> Result<Option<BTreeSet<SocketAddr>>, ClusterError> {
        let dump = self.envoy.clusters().await?;
        let all = dump["cluster_statuses"].as_array();
        let found = all.into_iter().flatten().find(|c| c["name"] == cluster);
        Ok(found.map(|cluster| {
            let hosts = cluster["host_statuses"].as_array();
            hosts.into_iter().flatten().filter_map(address).collect()
        }))
    }

    /// The process and its admin interface.
    pub fn envoy(&mut self) -> &mut Envoy {
        &mut self.envoy
    }
}

fn address(host: &Value) -> Option<SocketAddr> {
    let socket = &host["address"]["socket_address"];
    let ip = socket["address"].as_str()?.parse().ok()?;
    let port = u16::try_from(socket["port_value"].as_u64()?).ok()?;
    Some(SocketAddr::new(ip, port))
}
