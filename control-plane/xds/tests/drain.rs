//! The drain of a server, over real connections: its streams end one after another.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use headgate_xds::connection::tcp;
use headgate_xds::{
    Kind, Options, Peer, PermissionDenied, Resource, Scope, Snapshot, SnapshotProvider, XdsServer,
};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

/// One scope for all proxies.
struct Same(watch::Sender<Option<Arc<Snapshot>>>);

impl SnapshotProvider for Same {
    fn scope(&self, _: &Peer) -> Result<Scope, PermissionDenied> {
        Ok(Scope("all".to_owned()))
    }

    fn snapshots(
        &self,
        _: &Peer,
    ) -> Result<watch::Receiver<Option<Arc<Snapshot>>>, PermissionDenied> {
        Ok(self.0.subscribe())
    }
}

fn snapshot(revision: u32) -> Arc<Snapshot> {
    let filter = Resource::new(Kind::Extension, "f", format!("filter {revision}"));
    Arc::new(Snapshot::new([filter]).unwrap())
}

struct Running {
    server: XdsServer<Same>,
    address: String,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

async fn start(drain: Duration) -> Running {
    let provider = Same(watch::Sender::new(Some(snapshot(1))));
    let options = Options {
        drain,
        ..Options::default()
    };
    let server = XdsServer::new(provider, options);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel();
    let serving = server.clone();
    let task = tokio::spawn(async move {
        let shutdown = async { drop(stopped.await) };
        serving.serve(tcp(listener), shutdown).await;
    });
    Running {
        server,
        address,
        stop,
        task,
    }
}

/// A stream of a proxy, on a new connection (or on a given one), after its first response.
struct Proxy {
    channel: Channel,
    _requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Proxy {
    async fn connect(address: &str, id: &str) -> Self {
        let endpoint = Channel::from_shared(address.to_owned()).unwrap();
        let mut proxy = Self::open(endpoint.connect().await.unwrap(), id)
            .await
            .unwrap();
        assert_eq!(proxy.next().await.resources[0].name, "f");
        proxy
    }

    async fn open(channel: Channel, id: &str) -> Result<Self, Status> {
        let (send, requests) = mpsc::channel(8);
        let request = DeltaDiscoveryRequest {
            node: Some(Node {
                id: id.to_owned(),
                ..Node::default()
            }),
            type_url: Kind::Extension.type_url().to_owned(),
            resource_names_subscribe: vec!["f".to_owned()],
            ..DeltaDiscoveryRequest::default()
        };
        send.send(request).await.unwrap();
        let mut client = AggregatedDiscoveryServiceClient::new(channel.clone());
        let stream = client.delta_aggregated_resources(ReceiverStream::new(requests));
        Ok(Self {
            channel,
            _requests: send,
            responses: within(stream).await?.into_inner(),
        })
    }

    async fn next(&mut self) -> DeltaDiscoveryResponse {
        let response = within(self.responses.message()).await.unwrap();
        response.expect("the stream ended")
    }

    /// The time and the status of its end.
    async fn end(&mut self) -> (Instant, Code) {
        let status = within(self.responses.message()).await;
        let status = status.expect_err("a response instead of an end");
        (Instant::now(), status.code())
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what)
        .await
        .expect("nothing in 30 s")
}

async fn proxies(address: &str, n: usize) -> Vec<Proxy> {
    let mut proxies = Vec::new();
    for i in 0..n {
        proxies.push(Proxy::connect(address, &format!("proxy-{i}")).await);
    }
    proxies
}

#[tokio::test]
async fn a_drain_ends_the_streams_one_by_one_and_serves_them_until_then() {
    let over = Duration::from_secs(4);
    let running = start(over).await;
    let mut proxies = proxies(&running.address, 5).await;
    let begin = Instant::now();
    running.stop.send(()).unwrap();

    // The first ends at once; the last is still served.
    assert_eq!(proxies[0].end().await.1, Code::Unavailable);
    running.server.provider().0.send_replace(Some(snapshot(2)));
    let last = proxies[4].next().await;
    let body = last.resources[0].resource.clone().unwrap().value;
    assert_eq!(body, b"filter 2");
    for proxy in &mut proxies[1..4] {
        proxy.next().await;
    }
    for (i, proxy) in proxies.iter_mut().enumerate().skip(1) {
        let (at, code) = proxy.end().await;
        assert_eq!(code, Code::Unavailable);
        let turn = over.mul_f64(i as f64 / 5.0);
        let after = at - begin;
        assert!(
            after >= turn,
            "proxy {i} ended after {after:?}, not {turn:?}"
        );
    }
    within(running.task).await.unwrap();
    assert!(running.server.fleet().is_empty());
}

#[tokio::test]
async fn during_a_drain_new_connections_are_refused_and_open_ones_get_a_goaway() {
    let running = start(Duration::from_secs(600)).await;
    let mut proxies = proxies(&running.address, 2).await;
    running.stop.send(()).unwrap();
    assert_eq!(proxies[0].end().await.1, Code::Unavailable);

    // Nothing listens, and no stream can be opened on a connection that was open before.
    let again = Channel::from_shared(running.address.clone()).unwrap();
    within(again.connect()).await.expect_err("it still listens");
    let channel = proxies[1].channel.clone();
    assert!(Proxy::open(channel, "proxy-1").await.is_err());

    // A stream whose turn has not come is served all the same, until the server closes.
    running.server.provider().0.send_replace(Some(snapshot(2)));
    proxies[1].next().await;
    running.server.close();
    assert_eq!(proxies[1].end().await.1, Code::Unavailable);
    within(running.task).await.unwrap();
}

#[tokio::test]
async fn a_drain_over_no_time_ends_all_streams_at_once() {
    let running = start(Duration::ZERO).await;
    let mut proxies = proxies(&running.address, 3).await;
    running.stop.send(()).unwrap();
    for proxy in &mut proxies {
        assert_eq!(proxy.end().await.1, Code::Unavailable);
    }
    within(running.task).await.unwrap();
}
