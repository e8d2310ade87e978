//! The limits of the first request of a client, the part of its node that is kept, and the cost of large requests for other clients.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod in_memory;

use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use envoy_types::pb::google::protobuf::{Struct, Value, value};
use headgate_xds::{
    Kind, Options, Peer, PeerIdentity, PermissionDenied, Refusal, Resource, Scope, Snapshot,
    SnapshotProvider, XdsServer,
};
use in_memory::{DeltaStream, Network};
use tokio::sync::watch;
use tonic::{Code, Status};

const PROXY: Option<&str> = Some("spiffe://td/ns/default/sa/gateway");
/// No rule allows it.
const NOBODY: Option<&str> = Some("spiffe://td/ns/default/sa/nobody");

/// Everybody has the same scope, which depends on the metadata `ROLE`.
struct Same(watch::Sender<Option<Arc<Snapshot>>>);

impl SnapshotProvider for Same {
    fn scope(&self, _: &Peer) -> Result<Scope, PermissionDenied> {
        Ok(Scope("all".to_owned()))
    }

    fn may_allow(&self, identity: &PeerIdentity) -> bool {
        identity.uris.first().map(String::as_str) != NOBODY
    }

    fn node_metadata(&self) -> &'static [&'static str] {
        &["ROLE"]
    }

    fn snapshots(
        &self,
        _: &Peer,
    ) -> Result<watch::Receiver<Option<Arc<Snapshot>>>, PermissionDenied> {
        Ok(self.0.subscribe())
    }
}

fn server() -> XdsServer<Same> {
    let clusters = (0..3).map(|n| Resource::new(Kind::Cluster, format!("c{n}"), "cluster"));
    let snapshot = Arc::new(Snapshot::new(clusters).unwrap());
    XdsServer::new(Same(watch::Sender::new(Some(snapshot))), Options::default())
}

fn node(id: &str, metadata: &[(&str, usize)]) -> Option<Node> {
    let text = |length: &usize| Value {
        kind: Some(value::Kind::StringValue("x".repeat(*length))),
    };
    let fields = metadata
        .iter()
        .map(|(key, length)| ((*key).to_owned(), text(length)));
    Some(Node {
        id: id.to_owned(),
        metadata: Some(Struct {
            fields: fields.collect(),
        }),
        ..Node::default()
    })
}

fn clusters(node: Option<Node>) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node,
        type_url: Kind::Cluster.type_url().to_owned(),
        ..DeltaDiscoveryRequest::default()
    }
}

/// The number of resources in the answer to the first request of a stream.
async fn first_answer(
    (send, mut stream): DeltaStream,
    request: DeltaDiscoveryRequest,
) -> Result<usize, Status> {
    send.send(request).await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(60), stream.message());
    let answer = answer.await.expect("no answer")?;
    Ok(answer.expect("the stream ended").resources.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_of_a_client_that_no_rule_allows_by_its_identity_is_at_most_two_mebibytes()
 {
    let server = server();
    let mut network = Network::serve(&server);
    let large = || {
        let names = (0..50_000).map(|n| (format!("{n:040}"), "v".repeat(10)));
        DeltaDiscoveryRequest {
            initial_resource_versions: names.collect(),
            ..clusters(node("proxy", &[]))
        }
    };
    for identity in [None, NOBODY] {
        let refused = first_answer(network.delta(identity).await, large()).await;
        assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);
    }
    assert_eq!(
        first_answer(network.delta(PROXY).await, large())
            .await
            .unwrap(),
        3
    );
    let small = first_answer(network.delta(None).await, clusters(node("proxy", &[]))).await;
    assert_eq!(small.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_node_only_what_is_used_is_kept_and_its_size_is_bounded() {
    let server = server();
    let mut network = Network::serve(&server);
    let unused = || clusters(node("proxy", &[("OTHER", 1 << 20), ("ROLE", 5)]));
    let used = || clusters(node("proxy", &[("ROLE", 1 << 20)]));
    for (identity, request) in [(None, unused()), (PROXY, used())] {
        let refused = first_answer(network.delta(identity).await, request).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(refused.message().contains("at most 65536"), "{refused}");
    }
    assert_eq!(server.refusals().counts()[&Refusal::NodeSize], 2);
    let (send, mut stream) = network.delta(PROXY).await;
    send.send(unused()).await.unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap().resources.len(), 3);
    let proxies = server.fleet().proxies();
    let kept: Vec<&String> = proxies[0].peer.metadata.fields.keys().collect();
    assert_eq!(kept, ["ROLE"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_calls_itself_is_escaped() {
    let server = server();
    let mut network = Network::serve(&server);
    let (send, mut stream) = network.delta(None).await;
    let request = clusters(node("a\n\u{1b}[31mb\\c\"d\u{202e}", &[]));
    send.send(request).await.unwrap();
    stream.message().await.unwrap();
    let id = &server.fleet().proxies()[0].peer.id;
    assert_eq!(id, "a\\n\\u{1b}[31mb\\\\c\"d\\u{202e}");
}

/// The longest wait of another proxy. It was 16 s when names were handled on the thread that serves the streams.
const HELD_UP: Duration = Duration::from_secs(4);

/// Four times the limit of names. They were handled one by one on the thread that serves the other streams.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_request_with_too_many_names_is_refused_and_holds_nobody_up() {
    let server = server();
    let mut network = Network::serve(&server);
    let names = (0..400_000).map(|n: u32| (format!("{n:x}"), String::new()));
    let request = DeltaDiscoveryRequest {
        initial_resource_versions: names.collect(),
        ..clusters(node("flood", &[]))
    };
    let flood = tokio::spawn(first_answer(network.delta(PROXY).await, request));
    let mut slowest = Duration::ZERO;
    loop {
        let begun = Instant::now();
        let answer = first_answer(network.delta(PROXY).await, clusters(node("other", &[]))).await;
        assert_eq!(answer.unwrap(), 3);
        slowest = slowest.max(begun.elapsed());
        if flood.is_finished() {
            break;
        }
    }
    let refused = flood.await.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(slowest < HELD_UP, "another proxy waited for {slowest:?}");
}
