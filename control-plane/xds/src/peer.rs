//! A connected proxy, as it and its connection describe it.

use std::net::SocketAddr;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::protobuf::Struct;

use crate::connection::{ConnectionInfo, PeerIdentity};

/// A proxy. The node fields are the proxy's own claim, from the first request of a stream; the address and the identity come
/// from the connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Peer {
    /// Node id.
    pub id: String,
    /// Node cluster.
    pub cluster: String,
    /// Node metadata.
    pub metadata: Struct,
    /// Region, zone and sub-zone; empty where the node does not name one.
    pub locality: [String; 3],
    /// User agent and version, such as `envoy/1.40.0`; empty if the node names none.
    pub agent: String,
    /// Remote address of the connection, if its transport has addresses.
    pub address: Option<SocketAddr>,
    /// Its verified identity; `None` on a transport without authentication.
    pub identity: Option<PeerIdentity>,
}

impl Peer {
    /// A peer from the node of its first request and its connection.
    #[must_use]
    pub fn new(node: Node, connection: ConnectionInfo) -> Self {
        let agent = agent(&node);
        let locality = node.locality.unwrap_or_default();
        Self {
            id: node.id,
            cluster: node.cluster,
            metadata: node.metadata.unwrap_or_default(),
            locality: [locality.region, locality.zone, locality.sub_zone],
            agent,
            address: connection.address,
            identity: connection.identity,
        }
    }

    /// Its identity, else its machine. A node id is a claim, so a peer without permission could fill the log with new ones.
    pub(crate) fn origin(&self) -> String {
        match (&self.identity, self.address) {
            (Some(identity), _) => identity.to_string(),
            (None, Some(address)) => address.ip().to_string(),
            (None, None) => self.id.clone(),
        }
    }

    /// The remote end of its connection, for logs: address and identity, as far as the transport knows them.
    pub(crate) fn remote(&self) -> String {
        match (self.address, &self.identity) {
            (Some(address), None) => address.to_string(),
            (Some(address), Some(identity)) => format!("{address} {identity}"),
            (None, Some(identity)) => identity.to_string(),
            (None, None) => String::new(),
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
