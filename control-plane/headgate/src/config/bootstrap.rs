//! Configuration of `headgate bootstrap`.

use std::net::SocketAddr;
use std::path::PathBuf;

use headgate_identity::SpiffeId;
use headgate_report::output::Format;

/// `headgate bootstrap`.
#[derive(Debug, Clone)]
pub(crate) struct BootstrapConfig {
    /// How the proxy authenticates itself and the control plane.
    pub identity: ProxyIdentity,
    /// The xDS port.
    pub xds: XdsTarget,
    /// Node id.
    pub node_id: Option<String>,
    /// Node cluster.
    pub node_cluster: Option<String>,
    /// Listen address for traffic.
    pub listen: Option<SocketAddr>,
    /// Address of Envoy's admin interface.
    pub envoy_admin: SocketAddr,
    /// Directory to write to; `None` for standard output.
    pub output: Option<PathBuf>,
    /// Format of the files.
    pub format: Format,
}

/// How a proxy authenticates itself and the control plane.
#[derive(Debug, Clone)]
pub(crate) enum ProxyIdentity {
    /// Not at all: plaintext.
    None,
    /// With certificates from files.
    Files {
        /// Directory with `tls.crt`, `tls.key` and `ca.crt`.
        certificates: PathBuf,
        /// What the certificate of the control plane must have.
        names: ServerNames,
    },
    /// With certificates from a SPIRE agent.
    Spiffe {
        /// Path of its socket.
        socket: String,
        /// SPIFFE id of the control plane.
        server: SpiffeId,
    },
}

/// Names in the certificate of the control plane.
#[derive(Debug, Clone)]
pub(crate) struct ServerNames {
    /// SPIFFE id.
    pub id: Option<SpiffeId>,
    /// DNS name.
    pub dns: Option<String>,
}

/// Address of an xDS port.
#[derive(Debug, Clone)]
pub(crate) struct XdsTarget {
    /// IP address or DNS name.
    pub host: String,
    /// Port.
    pub port: u16,
}
