//! Configuration of the transports of both ports, and of who may use them.

use std::net::SocketAddr;
use std::path::PathBuf;

use headgate_identity::{FileOptions, PortTls, TrustDomain};
use headgate_publisher::FlagRules;
use ipnet::IpNet;

/// The admin server.
#[derive(Debug, Clone)]
pub(crate) struct AdminConfig {
    /// Listen address.
    pub address: SocketAddr,
    /// The transport.
    pub transport: TransportConfig,
    /// Trust domains of clients; empty for the default of the transport.
    pub trust_domains: Vec<TrustDomain>,
    /// Whether the Kubernetes API checks tokens of clients.
    pub tokens: bool,
    /// Patterns of SPIFFE ids of clients that may use every page.
    pub identities: Vec<String>,
}

/// The transport of the xDS port, and which proxies may connect.
#[derive(Debug, Clone)]
pub(crate) struct IdentityConfig {
    /// The transport.
    pub transport: TransportConfig,
    /// Trust domains whose identities are allowed; empty for the default of the transport.
    pub trust_domains: Vec<TrustDomain>,
    /// Addresses of proxies that forward the identity of others.
    pub trusted_forwarders: Vec<IpNet>,
    /// The rules.
    pub rules: RuleSourceConfig,
}

impl IdentityConfig {
    /// Whether proxies have a verified identity.
    pub(crate) fn has_identities(&self) -> bool {
        !matches!(self.transport, TransportConfig::Plaintext) || !self.trusted_forwarders.is_empty()
    }
}

/// The transport of a port.
#[derive(Debug, Clone)]
pub(crate) enum TransportConfig {
    /// TCP without encryption.
    Plaintext,
    /// TLS with certificates from files.
    Files(FileOptions),
    /// TLS with certificates from the Workload API at this socket.
    WorkloadApi(String, PortTls),
}

/// Where the scope rules come from.
#[derive(Debug, Clone)]
pub(crate) enum RuleSourceConfig {
    /// Flags.
    Flags(FlagRules),
    /// A file.
    File(PathBuf),
}
