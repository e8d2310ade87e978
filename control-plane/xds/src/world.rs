//! The port to the rest of the control plane: who a proxy is, what it may have, and the snapshots.
//!
//! Invariant: a scope decides everything that differs between proxies, so a snapshot is built and
//! encoded once per scope, however many proxies share it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::protobuf::Struct;
use tokio::sync::watch;

use crate::snapshot::Snapshot;

/// A proxy as it introduced itself on a stream's first request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Peer {
    /// Node id.
    pub id: String,
    /// Node cluster.
    pub cluster: String,
    /// Node metadata.
    pub metadata: Struct,
    /// Locality as region, zone, sub-zone; empty where not said.
    pub locality: [String; 3],
    /// User agent and version, `envoy/1.40.0` or empty.
    pub agent: String,
    /// Where the connection comes from, if it comes over TCP.
    pub address: Option<SocketAddr>,
}

impl Peer {
    /// A peer from the node of its first request and the address of its connection.
    #[must_use]
    pub fn new(node: Node, address: Option<SocketAddr>) -> Self {
        let agent = agent(&node);
        let locality = node.locality.unwrap_or_default();
        Self {
            id: node.id,
            cluster: node.cluster,
            metadata: node.metadata.unwrap_or_default(),
            locality: [locality.region, locality.zone, locality.sub_zone],
            agent,
            address,
        }
    }
}

fn agent(node: &Node) -> String {
    use envoy_types::pb::envoy::config::core::v3::node::UserAgentVersionType as Agent;
    let version = match &node.user_agent_version_type {
        Some(Agent::UserAgentVersion(text)) => text.clone(),
        Some(Agent::UserAgentBuildVersion(build)) => build
            .version
            .as_ref()
            .map(|v| format!("{}.{}.{}", v.major_number, v.minor_number, v.patch))
            .unwrap_or_default(),
        None => String::new(),
    };
    match (node.user_agent_name.as_str(), version.as_str()) {
        ("", "") => String::new(),
        (name, "") => name.to_owned(),
        (name, version) => format!("{name}/{version}"),
    }
}

/// What a proxy may have, as an opaque key: equal scopes get the same snapshots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(pub String);

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A proxy that may have nothing, and why; its stream ends with `PermissionDenied`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// The reason, as the proxy's operator will read it.
    pub reason: String,
}

/// Where snapshots come from.
pub trait World: Send + Sync + 'static {
    /// The scope of a proxy. Builds nothing.
    ///
    /// # Errors
    /// [`Refused`] with the reason if it may have nothing.
    fn scope(&self, peer: &Peer) -> Result<Scope, Refused>;

    /// The snapshots of a proxy's scope, now and later. `None` means not synced yet: streams are refused
    /// with `Unavailable` rather than told that the world is empty (rule 6). A later `None` changes
    /// nothing for streams that already have a snapshot. The first call for a scope may build its snapshot, and blocks meanwhile.
    ///
    /// # Errors
    /// [`Refused`] with the reason if it may have nothing.
    fn snapshots(&self, peer: &Peer) -> Result<watch::Receiver<Option<Arc<Snapshot>>>, Refused>;
}
