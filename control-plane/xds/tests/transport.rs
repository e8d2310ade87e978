//! The transport seam: the server serves any stream of connections, and the provider decides by what the transport has verified.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod in_memory;
mod loopback;

use std::sync::Arc;

use headgate_xds::connection::tcp;
use headgate_xds::{
    Kind, Options, Peer, PermissionDenied, Resource, Scope, Snapshot, SnapshotProvider, XdsServer,
};
use in_memory::Network;
use loopback::{ask, end, next, within};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

const BLUE: &str = "spiffe://example.org/ns/blue/sa/gateway";
const GREEN: &str = "spiffe://example.org/ns/green/sa/gateway";

/// One scope per identity, with a filter that names it; a proxy without an identity is denied.
struct ByIdentity;

impl SnapshotProvider for ByIdentity {
    fn scope(&self, peer: &Peer) -> Result<Scope, PermissionDenied> {
        let identity = peer.identity.as_ref().and_then(|i| i.uris.first());
        let scope = identity.map(|uri| Scope(uri.clone()));
        scope.ok_or_else(|| PermissionDenied {
            refusal: headgate_xds::Refusal::NoRule,
            reason: format!("node {} has no identity", peer.id),
        })
    }

    fn snapshots(
        &self,
        peer: &Peer,
    ) -> Result<watch::Receiver<Option<Arc<Snapshot>>>, PermissionDenied> {
        let filter = Resource::new(Kind::Extension, "f", self.scope(peer)?.0);
        let snapshot = Snapshot::new([filter]).unwrap();
        Ok(watch::Sender::new(Some(Arc::new(snapshot))).subscribe())
    }
}

#[tokio::test]
async fn the_identity_of_the_connection_decides_what_the_provider_answers() {
    let server = XdsServer::new(ByIdentity, Options::default());
    let mut network = Network::serve(&server);
    let mut streams = Vec::new();
    for identity in [BLUE, GREEN] {
        // Both claim to be the same node.
        let (send, mut stream) = network.delta(Some(identity)).await;
        send.send(ask(Kind::Extension, &["f"])).await.unwrap();
        let response = next(&mut stream).await;
        let body = response.resources[0].resource.clone().unwrap().value;
        assert_eq!(body, identity.as_bytes());
        streams.push((send, stream));
    }
    let proxies = server.fleet().proxies();
    let peers = proxies.iter().map(|proxy| {
        let identity = proxy.peer.identity.as_ref().unwrap();
        (proxy.peer.address.unwrap().port(), identity.uris.concat())
    });
    let peers: Vec<_> = peers.collect();
    assert_eq!(peers, [(1, BLUE.to_owned()), (2, GREEN.to_owned())]);
}

#[tokio::test]
async fn a_tcp_connection_has_an_address_and_no_identity() {
    let server = XdsServer::new(ByIdentity, Options::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let serving = server.clone();
    tokio::spawn(async move { serving.serve(tcp(listener), std::future::pending()).await });
    let channel = tonic::transport::Channel::from_shared(address).unwrap();
    let channel = channel.connect().await.unwrap();

    let (send, requests) = mpsc::channel(8);
    let mut client = loopback::aggregated(channel);
    let stream = client.delta_aggregated_resources(ReceiverStream::new(requests));
    let mut stream = within(stream).await.unwrap().into_inner();
    send.send(ask(Kind::Extension, &["f"])).await.unwrap();
    let status = end(&mut stream).await;
    assert_eq!(
        (status.code(), status.message()),
        (Code::PermissionDenied, "node proxy-1 has no identity")
    );
}
