//! The xDS client with a scripted server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use envoy_types::pb::google::protobuf::Any;
use headgate_testkit::xds_client::{
    DeltaProxy, Service, SotwProxy, XdsError, channel, node, type_url,
};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming};

const SOON: Duration = Duration::from_secs(10);

type Inbox<T> = UnboundedReceiver<T>;
type Outbox<T> = UnboundedSender<Result<T, Status>>;

/// A stream at the server: the received requests, and a channel for responses.
struct Peer<Req, Resp> {
    requests: Inbox<Req>,
    answer: Outbox<Resp>,
}

type DeltaPeer = Peer<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;
type SotwPeer = Peer<DiscoveryRequest, DiscoveryResponse>;

/// A server that hands every stream to the test.
struct Scripted {
    delta: UnboundedSender<DeltaPeer>,
    sotw: UnboundedSender<SotwPeer>,
}

impl<Req: Send + 'static, Resp: Send + 'static> Peer<Req, Resp> {
    fn accept(mut stream: Streaming<Req>) -> (Self, UnboundedReceiverStream<Result<Resp, Status>>) {
        let (inbox, requests) = unbounded_channel();
        let (answer, answers) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(request)) = stream.message().await {
                if inbox.send(request).is_err() {
                    return;
                }
            }
        });
        (
            Self { requests, answer },
            UnboundedReceiverStream::new(answers),
        )
    }

    async fn receive(&mut self) -> Req {
        tokio::time::timeout(SOON, self.requests.recv())
            .await
            .unwrap()
            .unwrap()
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Scripted {
    type StreamAggregatedResourcesStream =
        UnboundedReceiverStream<Result<DiscoveryResponse, Status>>;
    type DeltaAggregatedResourcesStream =
        UnboundedReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let (peer, answers) = Peer::accept(request.into_inner());
        self.sotw
            .send(peer)
            .map_err(|_| Status::unavailable("not synced yet"))?;
        Ok(Response::new(answers))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (peer, answers) = Peer::accept(request.into_inner());
        self.delta
            .send(peer)
            .map_err(|_| Status::unavailable("not synced yet"))?;
        Ok(Response::new(answers))
    }
}

async fn server() -> (String, Inbox<DeltaPeer>, Inbox<SotwPeer>) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let ((delta, deltas), (sotw, sotws)) = (unbounded_channel(), unbounded_channel());
    let service = AggregatedDiscoveryServiceServer::new(Scripted { delta, sotw });
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    (url, deltas, sotws)
}

fn cluster(name: &str) -> Any {
    let cluster = Cluster {
        name: name.to_owned(),
        ..Cluster::default()
    };
    Any {
        type_url: type_url::CLUSTER.to_owned(),
        value: cluster.encode_to_vec(),
    }
}

fn delta_push(nonce: &str, resources: &[(&str, &str)], removed: &[&str]) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse {
        nonce: nonce.to_owned(),
        type_url: type_url::CLUSTER.to_owned(),
        resources: resources
            .iter()
            .map(|(name, version)| Resource {
                name: (*name).to_owned(),
                version: (*version).to_owned(),
                resource: Some(cluster(name)),
                ..Resource::default()
            })
            .collect(),
        removed_resources: removed.iter().map(|name| (*name).to_owned()).collect(),
        ..DeltaDiscoveryResponse::default()
    }
}

async fn accept<Req, Resp>(peers: &mut Inbox<Peer<Req, Resp>>) -> Peer<Req, Resp> {
    tokio::time::timeout(SOON, peers.recv())
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn delta_sends_its_acknowledged_versions_after_a_reconnect() {
    let (url, mut peers, _sotw) = server().await;
    let me = node("n1", "c1", &[("headgate.listen", "127.0.0.1:1")]);
    let mut proxy =
        DeltaProxy::open(channel(&url).unwrap(), me.clone(), Service::Aggregated).unwrap();
    proxy.subscribe(type_url::CLUSTER, &[]);
    let mut peer = accept(&mut peers).await;
    let first = peer.receive().await;
    assert_eq!(
        (first.node, first.type_url.as_str()),
        (Some(me), type_url::CLUSTER)
    );
    assert!(first.resource_names_subscribe.is_empty());

    peer.answer
        .send(Ok(delta_push("1", &[("a", "v1"), ("b", "v1")], &[])))
        .unwrap();
    proxy.next_acked(SOON).await.unwrap();
    let ack = peer.receive().await;
    assert_eq!((ack.response_nonce.as_str(), ack.node), ("1", None));
    assert!(ack.error_detail.is_none());

    peer.answer
        .send(Ok(delta_push("2", &[("a", "v2")], &["b"])))
        .unwrap();
    let refused = proxy.next(SOON).await.unwrap();
    proxy.nack(&refused, "no good");
    let nack = peer.receive().await;
    assert_eq!(nack.response_nonce, "2");
    assert_eq!(nack.error_detail.unwrap().message, "no good");
    assert_eq!(proxy.versions(type_url::CLUSTER).len(), 2);

    peer.answer
        .send(Ok(delta_push("3", &[("a", "v3")], &["b"])))
        .unwrap();
    proxy.next_acked(SOON).await.unwrap();
    let a: Option<Cluster> = proxy.resource(type_url::CLUSTER, "a").unwrap();
    assert_eq!(a.unwrap().name, "a");
    let b: Option<Cluster> = proxy.resource(type_url::CLUSTER, "b").unwrap();
    assert!(b.is_none());

    proxy.subscribe(type_url::ENDPOINTS, &["x", "y"]);
    proxy.unsubscribe(type_url::ENDPOINTS, &["x"]);
    proxy.reconnect().unwrap();
    let mut peer = accept(&mut peers).await;
    let renewed = peer.receive().await;
    assert!(renewed.node.is_some() && renewed.response_nonce.is_empty());
    assert!(renewed.resource_names_subscribe.is_empty());
    let versions: Vec<_> = renewed.initial_resource_versions.into_iter().collect();
    assert_eq!(versions, [("a".to_owned(), "v3".to_owned())]);
    let endpoints = peer.receive().await;
    assert_eq!(endpoints.resource_names_subscribe, ["y"]);
    assert!(endpoints.node.is_none());
    proxy
        .expect_silence(Duration::from_millis(50))
        .await
        .unwrap();
}

#[tokio::test]
async fn sotw_sends_its_acknowledged_version_and_the_last_nonce() {
    let (url, _delta, mut peers) = server().await;
    let me = node("n1", "c1", &[]);
    let mut proxy = SotwProxy::open(channel(&url).unwrap(), me, Service::Aggregated).unwrap();
    proxy.subscribe(type_url::CLUSTER, &["a"]);
    let mut peer = accept(&mut peers).await;
    assert_eq!(peer.receive().await.resource_names, ["a"]);
    let push = |version: &str, nonce: &str| DiscoveryResponse {
        version_info: version.to_owned(),
        nonce: nonce.to_owned(),
        type_url: type_url::CLUSTER.to_owned(),
        resources: vec![cluster("a")],
        ..DiscoveryResponse::default()
    };
    let ack_state = |request: DiscoveryRequest| {
        let nacked = request.error_detail.is_some();
        (request.version_info, request.response_nonce, nacked)
    };

    peer.answer.send(Ok(push("v1", "1"))).unwrap();
    proxy.next_acked(SOON).await.unwrap();
    assert_eq!(
        ack_state(peer.receive().await),
        ("v1".into(), "1".into(), false)
    );

    peer.answer.send(Ok(push("v2", "2"))).unwrap();
    let refused = proxy.next(SOON).await.unwrap();
    proxy.nack(&refused, "no good");
    assert_eq!(
        ack_state(peer.receive().await),
        ("v1".into(), "2".into(), true)
    );
    assert_eq!(proxy.version(type_url::CLUSTER), "v1");
    let clusters: Vec<Cluster> = proxy.resources(type_url::CLUSTER).unwrap();
    assert_eq!(clusters[0].name, "a");

    proxy.reconnect().unwrap();
    let mut peer = accept(&mut peers).await;
    assert_eq!(
        ack_state(peer.receive().await),
        ("v1".into(), String::new(), false)
    );
}

#[tokio::test]
async fn a_refused_stream_a_missing_and_an_unexpected_response_have_different_errors() {
    let (url, mut peers, sotw) = server().await;
    let open = || {
        DeltaProxy::open(
            channel(&url).unwrap(),
            node("n", "c", &[]),
            Service::Aggregated,
        )
    };
    let mut proxy = open().unwrap();
    proxy.subscribe(type_url::CLUSTER, &[]);
    let peer = accept(&mut peers).await;
    let nothing = proxy.next(Duration::from_millis(30)).await;
    assert!(
        matches!(nothing, Err(XdsError::NoResponse(_))),
        "{nothing:?}"
    );
    peer.answer.send(Ok(delta_push("1", &[], &[]))).unwrap();
    let something = proxy.expect_silence(SOON).await;
    assert!(
        matches!(something, Err(XdsError::UnexpectedResponse(_))),
        "{something:?}"
    );
    drop(peer);
    let closed = proxy.next(SOON).await;
    assert!(matches!(closed, Err(XdsError::Closed)), "{closed:?}");

    drop((peers, sotw));
    let mut proxy = open().unwrap();
    proxy.subscribe(type_url::CLUSTER, &[]);
    match proxy.next(SOON).await {
        Err(XdsError::Refused(status)) => assert_eq!(status.message(), "not synced yet"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_type_without_its_own_service_is_an_error() {
    let (url, _peers, _sotw) = server().await;
    let open = |service| DeltaProxy::open(channel(&url).unwrap(), node("n", "c", &[]), service);
    for own in [
        type_url::CLUSTER,
        type_url::ENDPOINTS,
        type_url::LISTENER,
        type_url::ROUTES,
        type_url::EXTENSION,
        type_url::SECRET,
    ] {
        let mut proxy = open(Service::Of(own)).unwrap();
        proxy.subscribe(own, &[]);
        // This server has only ADS: the path is well formed, and the service does not exist.
        match proxy.next(SOON).await {
            Err(XdsError::Refused(status)) => {
                assert_eq!(status.code(), tonic::Code::Unimplemented);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(
        open(Service::Of("x")),
        Err(XdsError::NoService(_))
    ));
}
