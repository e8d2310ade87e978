//! A server on loopback, and clients of envoy-types' stubs.

#![allow(dead_code, missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::rpc::Status as RpcStatus;
use headgate_xds::connection::tcp;
use headgate_xds::{
    Kind, Options, Peer, PermissionDenied, Resource, ResourceKey, Scope, Snapshot,
    SnapshotProvider, XdsServer,
};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// One scope per node cluster; nodes of other clusters are denied.
pub struct Scopes(pub BTreeMap<String, watch::Sender<Option<Arc<Snapshot>>>>);

impl SnapshotProvider for Scopes {
    fn scope(&self, peer: &Peer) -> Result<Scope, PermissionDenied> {
        match self.0.contains_key(&peer.cluster) {
            true => Ok(Scope(peer.cluster.clone())),
            false => Err(PermissionDenied {
                refusal: headgate_xds::Refusal::NoRule,
                reason: format!("no scope for {}", peer.cluster),
            }),
        }
    }

    fn snapshots(
        &self,
        peer: &Peer,
    ) -> Result<watch::Receiver<Option<Arc<Snapshot>>>, PermissionDenied> {
        let scope = self.scope(peer)?;
        Ok(self.0[&scope.0].subscribe())
    }
}

pub struct Running {
    pub server: XdsServer<Scopes>,
    pub address: String,
}

pub async fn start(snapshot: Option<Arc<Snapshot>>) -> Running {
    start_with(snapshot, Options::default()).await
}

pub async fn start_with(snapshot: Option<Arc<Snapshot>>, options: Options) -> Running {
    let scopes = [("ours".to_owned(), watch::Sender::new(snapshot))];
    let server = XdsServer::new(Scopes(scopes.into()), options);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let serving = server.clone();
    tokio::spawn(async move { serving.serve(tcp(listener), std::future::pending()).await });
    Running { server, address }
}

impl Running {
    pub fn set(&self, snapshot: Arc<Snapshot>) {
        self.server.provider().0["ours"].send_replace(Some(snapshot));
    }

    pub async fn channel(&self) -> Channel {
        Channel::from_shared(self.address.clone())
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    pub async fn delta(
        &self,
    ) -> (
        mpsc::Sender<DeltaDiscoveryRequest>,
        Streaming<DeltaDiscoveryResponse>,
    ) {
        let (send, requests) = mpsc::channel(64);
        let mut client = AggregatedDiscoveryServiceClient::new(self.channel().await);
        let stream = client
            .delta_aggregated_resources(ReceiverStream::new(requests))
            .await;
        (send, stream.unwrap().into_inner())
    }

    pub async fn sotw(&self) -> (mpsc::Sender<DiscoveryRequest>, Streaming<DiscoveryResponse>) {
        let (send, requests) = mpsc::channel(64);
        let mut client = AggregatedDiscoveryServiceClient::new(self.channel().await);
        let stream = client
            .stream_aggregated_resources(ReceiverStream::new(requests))
            .await;
        (send, stream.unwrap().into_inner())
    }
}

pub fn aggregated(channel: Channel) -> AggregatedDiscoveryServiceClient<Channel> {
    AggregatedDiscoveryServiceClient::new(channel)
}

pub fn node(cluster: &str) -> Option<Node> {
    Some(Node {
        id: "proxy-1".to_owned(),
        cluster: cluster.to_owned(),
        ..Node::default()
    })
}

pub fn snapshot(revision: u32) -> Arc<Snapshot> {
    let route = Resource::new(Kind::Route, "r", format!("route {revision}"))
        .requiring([ResourceKey::new(Kind::Cluster, "c")]);
    let cluster = Resource::new(Kind::Cluster, "c", "cluster");
    let endpoints = Resource::new(Kind::Endpoints, "c", "endpoints");
    let filter = Resource::new(Kind::Extension, "f", format!("filter {revision}"));
    Arc::new(Snapshot::new([route, cluster, endpoints, filter]).unwrap())
}

pub fn ask(kind: Kind, names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: node("ours"),
        type_url: kind.type_url().to_owned(),
        resource_names_subscribe: names.iter().map(|s| (*s).to_owned()).collect(),
        ..DeltaDiscoveryRequest::default()
    }
}

pub fn answer(response: &DeltaDiscoveryResponse, error: Option<&str>) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: response.type_url.clone(),
        response_nonce: response.nonce.clone(),
        error_detail: error.map(|message| RpcStatus {
            code: 13,
            message: message.to_owned(),
            details: Vec::new(),
        }),
        ..DeltaDiscoveryRequest::default()
    }
}

pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), what)
        .await
        .expect("nothing in 10 s")
}

pub async fn next<T>(stream: &mut Streaming<T>) -> T {
    within(stream.message())
        .await
        .unwrap()
        .expect("the stream ended")
}

pub async fn end<T: std::fmt::Debug>(stream: &mut Streaming<T>) -> Status {
    within(stream.message())
        .await
        .expect_err("a response instead of an end")
}
