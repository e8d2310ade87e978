//! A transport without sockets: connections whose bytes stay in memory, with whatever address and identity a test gives them.

#![allow(dead_code, missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use headgate_xds::{Connection, ConnectionInfo, PeerIdentity, SnapshotProvider, XdsServer};
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

/// The requests and the responses of a stream.
pub type DeltaStream = (
    mpsc::Sender<DeltaDiscoveryRequest>,
    Streaming<DeltaDiscoveryResponse>,
);

/// A server on an in-memory transport.
pub struct Network {
    accepted: mpsc::Sender<io::Result<Connection<DuplexStream>>>,
    port: u16,
}

impl Network {
    /// Serves `server` on a new network.
    pub fn serve<S: SnapshotProvider>(server: &XdsServer<S>) -> Self {
        let (accepted, connections) = mpsc::channel(8);
        let server = server.clone();
        tokio::spawn(async move {
            let connections = ReceiverStream::new(connections);
            server.serve(connections, std::future::pending()).await
        });
        Self { accepted, port: 0 }
    }

    /// Opens a connection with this identity.
    pub async fn connect(&mut self, identity: Option<&str>) -> Channel {
        self.port += 1;
        let (client, server) = tokio::io::duplex(1 << 16);
        let info = ConnectionInfo {
            address: Some(SocketAddr::from(([192, 0, 2, 1], self.port))),
            identity: identity.map(|uri| PeerIdentity {
                is_forwarded: false,
                uris: vec![uri.to_owned()],
            }),
        };
        let connection = Connection::new(server, info);
        self.accepted.send(Ok(connection)).await.unwrap();
        let endpoint = Endpoint::from_static("http://in-memory");
        let connector = Connector(Some(client));
        endpoint.connect_with_connector(connector).await.unwrap()
    }

    /// Opens an aggregated delta stream on a new connection with this identity.
    pub async fn delta(&mut self, identity: Option<&str>) -> DeltaStream {
        let (send, requests) = mpsc::channel(64);
        let mut client = AggregatedDiscoveryServiceClient::new(self.connect(identity).await);
        let stream = client
            .delta_aggregated_resources(ReceiverStream::new(requests))
            .await;
        (send, stream.unwrap().into_inner())
    }
}

/// Hands out its one connection.
struct Connector(Option<DuplexStream>);

impl Service<Uri> for Connector {
    type Response = TokioIo<DuplexStream>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let closed = || io::Error::from(io::ErrorKind::ConnectionReset);
        ready(self.0.take().map(TokioIo::new).ok_or_else(closed))
    }
}
