//! Upstream settings of a version: what its Envoy cluster needs besides endpoint addresses.

use crate::Protocol;

/// Protocol, TLS and health check of a version's endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Upstream {
    /// The protocol in which requests are sent.
    pub protocol: Protocol,
    /// Whether any endpoint, ready or not, has a DNS name as its address.
    pub by_name: bool,
    /// TLS to the endpoints; `None` means plain text.
    pub tls: Option<Tls>,
    /// The active health check; `None` means no check.
    pub health_check: Option<HealthCheck>,
}

/// TLS to endpoints. Envoy always verifies the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// The SNI to send. Default: the endpoint's DNS name.
    pub sni: Option<String>,
    /// The DNS name that the certificate must have. Default: the SNI, else the endpoint's name or address.
    pub san: Option<String>,
}

/// An active health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthCheck {
    /// `GET` of this path, which must answer 200.
    Http(String),
    /// The standard gRPC health service.
    Grpc,
}
