//! Upstream settings of a version: what its Envoy cluster needs besides endpoint addresses.

use crate::Protocol;

/// Protocol, TLS and health check of a version's endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Upstream {
    /// How requests are sent.
    pub protocol: Protocol,
    /// Whether any endpoint, ready or not, has a DNS name as its address.
    pub by_name: bool,
    /// TLS towards the endpoints; `None`: plain text.
    pub tls: Option<Tls>,
    /// The active health check, if there is one.
    pub health_check: Option<HealthCheck>,
}

/// TLS towards endpoints. Certificates are always checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// The SNI to send; `None`: the endpoint's DNS name.
    pub sni: Option<String>,
    /// The DNS name that the certificate must have; `None`: the SNI, else the endpoint's name or address.
    pub san: Option<String>,
}

/// An active health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthCheck {
    /// `GET` of this path, which answers 200.
    Http(String),
    /// The standard gRPC health service.
    Grpc,
}
