//! Identities on one connection: a proxy in front of the server forwards the identity of each client with each request.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod in_memory;
mod loopback;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use envoy_types::pb::envoy::service::load_stats::v3::load_reporting_service_client::LoadReportingServiceClient;
use headgate_xds::{
    Kind, Options, Peer, PermissionDenied, Refusal, Resource, Scope, Snapshot, SnapshotProvider,
    XdsServer,
};
use in_memory::{DeltaStream, Network};
use loopback::{ask, end, next};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request};

const BLUE: &str = "spiffe://example.org/ns/blue/sa/gateway";
const GREEN: &str = "spiffe://example.org/ns/green/sa/gateway";

/// One scope per allowed identity, with a filter that names it.
#[derive(Clone, Default)]
struct ByIdentity {
    allowed: Arc<Mutex<BTreeSet<String>>>,
    changes: watch::Sender<u64>,
}

impl ByIdentity {
    fn allowing(identities: &[&str]) -> Self {
        let this = Self::default();
        this.allow(identities);
        this
    }

    fn allow(&self, identities: &[&str]) {
        *self.allowed.lock().unwrap() = identities.iter().map(ToString::to_string).collect();
        self.changes.send_modify(|n| *n += 1);
    }
}

impl SnapshotProvider for ByIdentity {
    fn scope(&self, peer: &Peer) -> Result<Scope, PermissionDenied> {
        let uris = peer.identity.as_ref().map(|i| i.uris.join(","));
        let uris = uris.unwrap_or_else(|| "nobody".to_owned());
        if self.allowed.lock().unwrap().contains(&uris) {
            return Ok(Scope(uris));
        }
        Err(PermissionDenied {
            refusal: Refusal::NoRule,
            reason: format!("{uris} is not allowed"),
        })
    }

    fn scope_changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.changes.subscribe())
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

/// A server that believes the proxy in front of it.
fn server(provider: &ByIdentity) -> XdsServer<ByIdentity> {
    limited_server(provider, Options::default().max_streams_per_identity)
}

/// The same with a limit of streams for each identity.
fn limited_server(provider: &ByIdentity, limit: usize) -> XdsServer<ByIdentity> {
    let options = Options {
        trusted_forwarders: vec!["192.0.2.0/24".parse().unwrap()],
        max_streams_per_identity: limit,
        ..Options::default()
    };
    XdsServer::new(provider.clone(), options)
}

/// Opens a stream with this header on a connection, and asks for the filter.
async fn open(channel: &Channel, header: Option<&str>) -> Result<DeltaStream, tonic::Status> {
    let (send, requests) = mpsc::channel(8);
    let mut request = Request::new(ReceiverStream::new(requests));
    if let Some(header) = header {
        let value = header.parse().unwrap();
        request
            .metadata_mut()
            .insert("x-forwarded-client-cert", value);
    }
    let mut client = loopback::aggregated(channel.clone());
    send.send(ask(Kind::Extension, &["f"])).await.unwrap();
    let stream = client.delta_aggregated_resources(request).await?;
    Ok((send, stream.into_inner()))
}

fn by(uri: &str) -> String {
    format!("By=spiffe://example.org/ns/system/sa/headgate;Hash=0a;Subject=\"\";URI={uri}")
}

async fn filter_of(stream: &mut DeltaStream) -> String {
    let response = next(&mut stream.1).await;
    let body = response.resources[0].resource.clone().unwrap().value;
    String::from_utf8(body).unwrap()
}

/// A stream for each of two identities on one connection. Each gets the filter of its own identity.
async fn blue_and_green(channel: &Channel) -> (DeltaStream, DeltaStream) {
    let mut blue = open(channel, Some(&by(BLUE))).await.unwrap();
    let mut green = open(channel, Some(&by(GREEN))).await.unwrap();
    assert_eq!(filter_of(&mut blue).await, BLUE);
    assert_eq!(filter_of(&mut green).await, GREEN);
    (blue, green)
}

#[tokio::test]
async fn each_stream_of_a_shared_connection_has_the_identity_of_its_own_request() {
    let provider = ByIdentity::allowing(&[BLUE, GREEN]);
    let server = server(&provider);
    let mut network = Network::serve(&server);
    let channel = network.connect(None).await;
    let _streams = blue_and_green(&channel).await;
    // An element that a client wrote itself comes before the one of the proxy.
    let forged = format!("{},{}", by(GREEN), by(BLUE));
    let mut forger = open(&channel, Some(&forged)).await.unwrap();
    assert_eq!(filter_of(&mut forger).await, BLUE);
}

#[tokio::test]
async fn a_request_without_the_header_or_with_a_malformed_one_has_no_identity() {
    let provider = ByIdentity::allowing(&[BLUE]);
    let server = server(&provider);
    let mut network = Network::serve(&server);
    // The identity of the connection is the one of the proxy in front, not of the client.
    let channel = network.connect(Some(BLUE)).await;
    let mut without = open(&channel, None).await.unwrap();
    let status = end(&mut without.1).await;
    assert_eq!(status.message(), "nobody is not allowed");
    let status = open(&channel, Some("URI=spiffe://x\"")).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("malformed"), "{status}");
    let counts = server.refusals().counts();
    assert_eq!(counts[&Refusal::ForwardedHeader], 1);
    assert_eq!(counts[&Refusal::NoRule], 1);
}

#[tokio::test]
async fn the_header_of_a_peer_that_is_not_trusted_is_ignored() {
    let provider = ByIdentity::allowing(&[BLUE]);
    let server = XdsServer::new(provider, Options::default());
    let mut network = Network::serve(&server);
    let channel = network.connect(None).await;
    let mut spoofed = open(&channel, Some(&by(BLUE))).await.unwrap();
    let status = end(&mut spoofed.1).await;
    assert_eq!(status.message(), "nobody is not allowed");
}

#[tokio::test]
async fn a_change_of_the_rules_ends_the_streams_that_are_no_longer_allowed() {
    let provider = ByIdentity::allowing(&[BLUE, GREEN]);
    let server = server(&provider);
    let mut network = Network::serve(&server);
    let channel = network.connect(None).await;
    let (mut blue, green) = blue_and_green(&channel).await;
    provider.allow(&[GREEN]);
    let status = end(&mut blue.1).await;
    assert_eq!(status.code(), Code::PermissionDenied);
    // The other stream goes on.
    green.0.send(ask(Kind::Extension, &["f"])).await.unwrap();
    assert_eq!(server.fleet().proxies().len(), 1);
}

#[tokio::test]
async fn streams_of_an_identity_beyond_the_limit_are_refused_on_every_connection() {
    let provider = ByIdentity::allowing(&[BLUE, GREEN, "nobody"]);
    let server = limited_server(&provider, 2);
    let mut network = Network::serve(&server);
    let shared = network.connect(None).await;
    let direct = network.connect(Some(GREEN)).await;
    let mut first = open(&shared, Some(&by(BLUE))).await.unwrap();
    let mut second = open(&shared, Some(&by(BLUE))).await.unwrap();
    assert_eq!(filter_of(&mut first).await, BLUE);
    assert_eq!(filter_of(&mut second).await, BLUE);
    for channel in [&shared, &direct] {
        let refused = open(channel, Some(&by(BLUE))).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        let why = refused.message();
        assert!(why.contains(BLUE), "{why}");
        assert!(why.contains("--max-streams-per-identity"), "{why}");
    }
    let refused = server.refusals().counts()[&Refusal::IdentityStreamLimit];
    assert_eq!(refused, 2);
    // Load reports are streams too.
    let mut loads = LoadReportingServiceClient::new(shared.clone());
    let mut request = Request::new(tokio_stream::pending());
    let header = by(BLUE).parse().unwrap();
    let key = "x-forwarded-client-cert";
    request.metadata_mut().insert(key, header);
    let refused = loads.stream_load_stats(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    // Other identities, and clients without one, have their own limits.
    let mut green = open(&shared, Some(&by(GREEN))).await.unwrap();
    assert_eq!(filter_of(&mut green).await, GREEN);
    for _ in 0..4 {
        let mut nobody = open(&shared, None).await.unwrap();
        assert_eq!(filter_of(&mut nobody).await, "nobody");
    }
    // The end of a stream makes room.
    drop(first);
    let mut again = open(&shared, Some(&by(BLUE))).await;
    for _ in 0..50 {
        if again.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        again = open(&shared, Some(&by(BLUE))).await;
    }
    assert_eq!(filter_of(&mut again.unwrap()).await, BLUE);
}

#[tokio::test]
async fn a_limit_of_zero_is_no_limit_of_streams() {
    let provider = ByIdentity::allowing(&[BLUE]);
    let server = limited_server(&provider, 0);
    let mut network = Network::serve(&server);
    let shared = network.connect(None).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = open(&shared, Some(&by(BLUE))).await.unwrap();
        assert_eq!(filter_of(&mut stream).await, BLUE);
        streams.push(stream);
    }
}
