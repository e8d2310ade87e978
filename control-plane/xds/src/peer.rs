//! A connected proxy, as it and its connection describe it.

use std::net::SocketAddr;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::protobuf::Struct;

use crate::connection::{ConnectionInfo, PeerIdentity};

/// A proxy. The node fields are the proxy's own claim, from the first request of a stream; the address and the identity come
/// from the connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Peer {
    /// Node id. Characters that cannot be printed, and `\`, are escaped, as in all texts here that the proxy chooses.
    pub id: String,
    /// Node cluster.
    pub cluster: String,
    /// Node metadata, as far as the provider uses it ([`SnapshotProvider::node_metadata`](crate::SnapshotProvider)).
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
    /// A peer from the node of its first request and its connection, with these keys of its metadata.
    #[must_use]
    pub fn new(node: Node, connection: ConnectionInfo, metadata_keys: &[&str]) -> Self {
        let agent = escaped(&agent(&node));
        let locality = node.locality.unwrap_or_default();
        let mut metadata = node.metadata.unwrap_or_default();
        let fields = metadata.fields.into_iter();
        let used = fields.filter(|(key, _)| metadata_keys.contains(&&**key));
        metadata.fields = used.collect();
        Self {
            id: escaped(&node.id),
            cluster: escaped(&node.cluster),
            metadata,
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

/// A text of a proxy, safe to print: a terminal or a log shows it as one line. Different texts stay different.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' => escaped.push(c),
            c => escaped.extend(c.escape_debug()),
        }
    }
    escaped
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
