//! Make before break over the per-type streams of one proxy (server rule 3), on one connection, in delta.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod loopback;

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::cluster::v3::cluster_discovery_service_client::ClusterDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use envoy_types::pb::envoy::service::endpoint::v3::endpoint_discovery_service_client::EndpointDiscoveryServiceClient;
use envoy_types::pb::envoy::service::route::v3::route_discovery_service_client::RouteDiscoveryServiceClient;
use headgate_xds::{Kind, Options, Resource, ResourceKey, Snapshot};
use loopback::{Running, answer, ask, next, start_with};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// Time in which a response would arrive that must not be sent.
const QUIET: Duration = Duration::from_millis(300);
const LINGER: Duration = Duration::from_millis(400);

/// A stream of one kind.
struct Stream {
    kind: Kind,
    send: mpsc::Sender<DeltaDiscoveryRequest>,
    stream: Streaming<DeltaDiscoveryResponse>,
}

impl Stream {
    /// Opens it on a connection, and subscribes to these names.
    async fn open(kind: Kind, channel: &Channel, names: &[&str]) -> Self {
        let (send, requests) = mpsc::channel(64);
        let (channel, requests) = (channel.clone(), ReceiverStream::new(requests));
        send.send(ask(kind, names)).await.unwrap();
        let stream = match kind {
            Kind::Cluster => {
                let mut client = ClusterDiscoveryServiceClient::new(channel);
                client.delta_clusters(requests).await
            }
            Kind::Endpoints => {
                let mut client = EndpointDiscoveryServiceClient::new(channel);
                client.delta_endpoints(requests).await
            }
            _ => {
                let mut client = RouteDiscoveryServiceClient::new(channel);
                client.delta_routes(requests).await
            }
        };
        Self {
            kind,
            send,
            stream: stream.unwrap().into_inner(),
        }
    }

    async fn next(&mut self) -> DeltaDiscoveryResponse {
        next(&mut self.stream).await
    }

    async fn ack(&self, response: &DeltaDiscoveryResponse) {
        self.send.send(answer(response, None)).await.unwrap();
    }

    async fn take(&mut self) -> Vec<String> {
        let response = self.next().await;
        self.ack(&response).await;
        names(&response)
    }

    async fn is_silent(&mut self) {
        let came = tokio::time::timeout(QUIET, self.stream.message()).await;
        assert!(came.is_err(), "{}: {came:?}", self.kind);
    }
}

fn names(response: &DeltaDiscoveryResponse) -> Vec<String> {
    response.resources.iter().map(|r| r.name.clone()).collect()
}

/// Clusters with endpoints, some of them with none left, and a route to some of the clusters.
fn snapshot_of(clusters: &[&str], none_left: &[&str], routed: &[&str]) -> Arc<Snapshot> {
    let mut all = Vec::new();
    for name in clusters {
        all.push(Resource::new(
            Kind::Cluster,
            *name,
            format!("cluster {name}"),
        ));
        all.push(if none_left.contains(name) {
            Resource::new(Kind::Endpoints, *name, "none").after_routes()
        } else {
            Resource::new(Kind::Endpoints, *name, format!("endpoints {name}"))
        });
    }
    let keys = routed.iter().map(|c| ResourceKey::new(Kind::Cluster, *c));
    all.push(Resource::new(Kind::Route, "r", format!("to {routed:?}")).requiring(keys));
    Arc::new(Snapshot::new(all).unwrap())
}

async fn serve(snapshot: Arc<Snapshot>) -> Running {
    let options = Options {
        linger: LINGER,
        ..Options::default()
    };
    start_with(Some(snapshot), options).await
}

/// A proxy that has the clusters, their endpoints and the route, on a stream each.
async fn proxy(running: &Running, channel: &Channel, clusters: &[&str]) -> [Stream; 3] {
    let mut cds = Stream::open(Kind::Cluster, channel, &[]).await;
    let mut all = cds.take().await;
    all.sort();
    assert_eq!(all, clusters);
    let mut eds = Stream::open(Kind::Endpoints, channel, clusters).await;
    eds.take().await;
    let mut rds = Stream::open(Kind::Route, channel, &["r"]).await;
    assert_eq!(rds.take().await, ["r"]);
    let fleet = running.server.fleet();
    let mut changes = fleet.changes();
    let settled = |_: &u64| {
        fleet
            .proxies()
            .iter()
            .all(headgate_xds::fleet::Proxy::is_current)
    };
    loopback::within(changes.wait_for(settled)).await.unwrap();
    [cds, eds, rds]
}

#[tokio::test]
async fn rule_03_a_route_waits_for_a_new_cluster_of_another_stream() {
    let running = serve(snapshot_of(&["a"], &[], &["a"])).await;
    let channel = running.channel().await;
    let [mut cds, mut eds, mut rds] = proxy(&running, &channel, &["a"]).await;
    running.set(snapshot_of(&["a", "b"], &[], &["a", "b"]));
    let clusters = cds.next().await;
    assert_eq!(names(&clusters), ["b"]);
    rds.is_silent().await;
    let waits = running.server.fleet().proxies();
    let mut waits = waits
        .iter()
        .filter_map(|proxy| proxy.kinds.get(&Kind::Route));
    assert_eq!(
        waits.next().unwrap().status.waiting["r"].clusters,
        [Arc::from("b")]
    );
    cds.ack(&clusters).await;
    // Without its endpoints it cannot take traffic.
    rds.is_silent().await;
    eds.send.send(ask(Kind::Endpoints, &["b"])).await.unwrap();
    eds.take().await;
    assert_eq!(rds.take().await, ["r"]);
}

#[tokio::test]
async fn rule_03_a_route_stays_if_a_cluster_of_another_stream_is_rejected() {
    let running = serve(snapshot_of(&["a"], &[], &["a"])).await;
    let channel = running.channel().await;
    let [mut cds, _eds, mut rds] = proxy(&running, &channel, &["a"]).await;
    running.set(snapshot_of(&["a", "b"], &[], &["a", "b"]));
    let clusters = cds.next().await;
    let nack = answer(&clusters, Some("no"));
    cds.send.send(nack).await.unwrap();
    rds.is_silent().await;
    let proxies = running.server.fleet().proxies();
    let mut routes = proxies
        .iter()
        .filter_map(|proxy| proxy.kinds.get(&Kind::Route));
    assert!(routes.next().unwrap().status.waiting["r"].failed);
}

#[tokio::test]
async fn rule_03_a_vanished_cluster_lingers_until_no_route_of_another_stream_uses_it() {
    let running = serve(snapshot_of(&["a", "b"], &[], &["a", "b"])).await;
    let channel = running.channel().await;
    let [mut cds, mut eds, mut rds] = proxy(&running, &channel, &["a", "b"]).await;
    running.set(snapshot_of(&["a"], &[], &["a"]));
    let routes = rds.next().await;
    tokio::time::sleep(LINGER).await;
    cds.is_silent().await;
    eds.is_silent().await;
    rds.ack(&routes).await;
    let acked = tokio::time::Instant::now();
    assert_eq!(cds.next().await.removed_resources, ["b"]);
    assert!(acked.elapsed() >= LINGER, "{:?}", acked.elapsed());
    assert_eq!(eds.next().await.removed_resources, ["b"]);
}

#[tokio::test]
async fn rule_03_the_last_endpoints_stay_until_another_stream_acked_its_routes() {
    let running = serve(snapshot_of(&["a", "b"], &[], &["a", "b"])).await;
    let channel = running.channel().await;
    let [_cds, mut eds, mut rds] = proxy(&running, &channel, &["a", "b"]).await;
    running.set(snapshot_of(&["a", "b"], &["b"], &["a"]));
    let routes = rds.next().await;
    eds.is_silent().await;
    rds.ack(&routes).await;
    assert_eq!(eds.take().await, ["b"]);
}

#[tokio::test]
async fn streams_on_another_connection_belong_to_another_proxy() {
    let running = serve(snapshot_of(&["a"], &[], &["a"])).await;
    let channel = running.channel().await;
    let [mut cds, _eds, mut rds] = proxy(&running, &channel, &["a"]).await;
    // It has the same node id, and subscribes to routes alone.
    let stranger = running.channel().await;
    let mut other = Stream::open(Kind::Route, &stranger, &["r"]).await;
    other.take().await;
    running.set(snapshot_of(&["a", "b"], &[], &["a", "b"]));
    assert_eq!(other.take().await, ["r"]);
    cds.next().await;
    rds.is_silent().await;
}
