//! Delta proxies that subscribe as Envoy does and acknowledge everything, or do not read at all.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use futures::{Stream, StreamExt as _, stream};
use headgate_xds::Kind;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::CLUSTERS;
use super::server::cluster_name;

/// Proxies that connect, or read, at the same time.
const AT_ONCE: usize = 32;

struct Proxy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

/// Connected proxies. Dropping them closes their connections.
pub(crate) struct Fleet {
    proxies: JoinSet<()>,
    /// Revisions that proxies have accepted, counted over all of them.
    accepted: watch::Receiver<usize>,
    awaited: usize,
}

impl Fleet {
    /// Connects proxies, each on a connection of its own, until they run everything.
    pub(crate) async fn connect(address: &str, count: usize) -> Self {
        let (accepts, accepted) = watch::channel(0);
        let mut fleet = Self {
            proxies: JoinSet::new(),
            accepted,
            awaited: 0,
        };
        let mut opened = Box::pin(open(address, count));
        while let Some(mut proxy) = opened.next().await {
            let accepts = accepts.clone();
            fleet
                .proxies
                .spawn(async move { proxy.accept_everything(&accepts).await });
        }
        fleet.run_next_revision().await;
        fleet
    }

    /// Connects proxies that subscribe to everything and read nothing.
    pub(crate) async fn connect_stalled(address: &str, count: usize) -> Self {
        let stalled: Vec<Proxy> = open(address, count).collect().await;
        let mut fleet = Self {
            proxies: JoinSet::new(),
            accepted: watch::channel(0).1,
            awaited: 0,
        };
        fleet.proxies.spawn(async move {
            std::future::pending::<()>().await;
            drop(stalled);
        });
        fleet
    }

    pub(crate) fn len(&self) -> usize {
        self.proxies.len()
    }

    /// Waits until all run the next revision.
    pub(crate) async fn run_next_revision(&mut self) {
        self.awaited += self.proxies.len();
        let awaited = self.awaited;
        let accepted = self.accepted.wait_for(|accepted| *accepted >= awaited);
        let accepted = tokio::time::timeout(Duration::from_secs(600), accepted).await;
        drop(accepted.expect("not all proxies run the revision").unwrap());
    }
}

fn open(address: &str, count: usize) -> impl Stream<Item = Proxy> {
    stream::iter(0..count)
        .map(|number| Proxy::open(address, number))
        .buffer_unordered(AT_ONCE)
}

impl Proxy {
    async fn open(address: &str, number: usize) -> Self {
        let channel = Channel::from_shared(address.to_owned()).unwrap();
        let channel = channel.connect().await.unwrap();
        let (requests, sent) = mpsc::channel(64);
        let endpoints: Vec<String> = (0..CLUSTERS).map(cluster_name).collect();
        let subscriptions = [
            (Kind::Cluster, Vec::new()),
            (Kind::Endpoints, endpoints),
            (Kind::Listener, Vec::new()),
            (Kind::Route, vec!["routes".to_owned()]),
            (Kind::Extension, vec!["headgate".to_owned()]),
        ];
        for (kind, names) in subscriptions {
            let request = DeltaDiscoveryRequest {
                node: Some(Node {
                    id: format!("proxy-{number}"),
                    ..Node::default()
                }),
                type_url: kind.type_url().to_owned(),
                resource_names_subscribe: names,
                ..DeltaDiscoveryRequest::default()
            };
            requests.send(request).await.unwrap();
        }
        let mut client =
            AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(64 << 20);
        let opened = client.delta_aggregated_resources(ReceiverStream::new(sent));
        let responses = opened.await.unwrap().into_inner();
        Self {
            requests,
            responses,
        }
    }

    /// Accepts responses for ever. Each filter configuration, which comes last in a revision, is counted.
    async fn accept_everything(&mut self, accepts: &watch::Sender<usize>) {
        while let Ok(Some(response)) = self.responses.message().await {
            let is_last = response.type_url == Kind::Extension.type_url();
            let ack = DeltaDiscoveryRequest {
                type_url: response.type_url,
                response_nonce: response.nonce,
                ..DeltaDiscoveryRequest::default()
            };
            self.requests.send(ack).await.unwrap();
            accepts.send_modify(|accepted| *accepted += usize::from(is_last));
        }
    }
}
