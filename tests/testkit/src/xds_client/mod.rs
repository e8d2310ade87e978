//! An xDS client that plays a proxy: delta and state of the world, one step at a time.
//!
//! Invariant: the client does only what the test says. It acknowledges nothing by itself and derives no subscription from another;
//! it only stores the acknowledged versions that a proxy needs to reconnect. It takes the place of Envoy, so that a test can be
//! a proxy that rejects, stalls, sends wrong nonces, or disconnects. [`AutoAckProxy`] accepts everything by default.

mod auto_ack;
mod delta;
mod load_reports;
mod sotw;
mod stream;

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};
use tonic::transport::{Channel, Endpoint};

pub use self::auto_ack::{AcceptedResources, AutoAckProxy, subscribe_to_all};
pub use self::delta::DeltaProxy;
pub use self::load_reports::LoadReports;
pub use self::sotw::SotwProxy;

/// The type URLs of the resources Headgate serves.
pub mod type_url {
    /// `Cluster`.
    pub const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
    /// `ClusterLoadAssignment`.
    pub const ENDPOINTS: &str =
        "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
    /// `Listener`.
    pub const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
    /// `RouteConfiguration`.
    pub const ROUTES: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
    /// `TypedExtensionConfig`: filter configuration (ECDS).
    pub const EXTENSION: &str = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";
    /// `Secret`.
    pub const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
}

/// An error of the xDS client.
#[derive(Debug, thiserror::Error)]
pub enum XdsError {
    /// The address of the server is invalid.
    #[error("not an xDS server: {0}")]
    Address(#[from] tonic::transport::Error),
    /// The server refused or broke the stream.
    #[error("the server ended the stream: {0}")]
    Refused(#[from] tonic::Status),
    /// The server closed the stream regularly.
    #[error("the server closed the stream")]
    Closed,
    /// No response came in time.
    #[error("no response within {0:?}")]
    NoResponse(Duration),
    /// A response came although none was expected.
    #[error("expected silence, got {0}")]
    UnexpectedResponse(String),
    /// This type has no service of its own.
    #[error("no per-type service for {0}")]
    NoService(String),
}

/// The gRPC service of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service<'a> {
    /// ADS: all types on one stream.
    Aggregated,
    /// The service of one type, named by its type URL.
    Of(&'a str),
}

impl Service<'_> {
    /// The gRPC path: service and method, in the `Delta…` or the `Stream…` form.
    fn path(self, delta: bool) -> Result<String, XdsError> {
        let (package, service, method) = match self {
            Self::Aggregated => (
                "discovery",
                "AggregatedDiscoveryService",
                "AggregatedResources",
            ),
            Self::Of(type_url::CLUSTER) => ("cluster", "ClusterDiscoveryService", "Clusters"),
            Self::Of(type_url::ENDPOINTS) => ("endpoint", "EndpointDiscoveryService", "Endpoints"),
            Self::Of(type_url::LISTENER) => ("listener", "ListenerDiscoveryService", "Listeners"),
            Self::Of(type_url::ROUTES) => ("route", "RouteDiscoveryService", "Routes"),
            Self::Of(type_url::EXTENSION) => (
                "extension",
                "ExtensionConfigDiscoveryService",
                "ExtensionConfigs",
            ),
            Self::Of(type_url::SECRET) => ("secret", "SecretDiscoveryService", "Secrets"),
            Self::Of(other) => return Err(XdsError::NoService(other.to_owned())),
        };
        let form = if delta { "Delta" } else { "Stream" };
        Ok(format!(
            "/envoy.service.{package}.v3.{service}/{form}{method}"
        ))
    }
}

/// A connection to an xDS server such as `http://127.0.0.1:18000`. It is established on first use and again after it broke.
///
/// # Errors
/// [`XdsError::Address`] when it is not a URL.
pub fn channel(server: &str) -> Result<Channel, XdsError> {
    Ok(Endpoint::from_shared(server.to_owned())?
        .connect_timeout(Duration::from_secs(5))
        .connect_lazy())
}

/// A node with an id, a cluster and string metadata.
#[must_use]
pub fn node(id: &str, cluster: &str, metadata: &[(&str, &str)]) -> Node {
    let fields = metadata.iter().map(|(name, value)| {
        let kind = Some(Kind::StringValue((*value).to_owned()));
        ((*name).to_owned(), Value { kind })
    });
    Node {
        id: id.to_owned(),
        cluster: cluster.to_owned(),
        metadata: (!metadata.is_empty()).then(|| Struct {
            fields: fields.collect(),
        }),
        user_agent_name: "envoy".to_owned(),
        ..Node::default()
    }
}
