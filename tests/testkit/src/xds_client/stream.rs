//! The stream of one proxy: requests are sent at any time, responses are received one at a time.

use std::fmt::Debug;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use http::uri::PathAndQuery;
use prost::Message;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::XdsError;

/// A discovery request, which may carry the node.
pub(super) trait DiscoveryMessage: Message + Send + Sync + 'static {
    /// Sets the node.
    fn set_node(&mut self, node: Node);
}

impl DiscoveryMessage for DeltaDiscoveryRequest {
    fn set_node(&mut self, node: Node) {
        self.node = Some(node);
    }
}

impl DiscoveryMessage for DiscoveryRequest {
    fn set_node(&mut self, node: Node) {
        self.node = Some(node);
    }
}

/// The stream of a proxy, which can be reopened. The first request of each stream gets the node.
#[derive(Debug)]
pub(super) struct ProxyStream<Req, Resp> {
    channel: Channel,
    path: String,
    node: Node,
    node_sent: bool,
    stream: BidiStream<Req, Resp>,
}

impl<Req, Resp> ProxyStream<Req, Resp>
where
    Req: DiscoveryMessage,
    Resp: Message + Default + Debug + Send + Sync + 'static,
{
    pub(super) fn open(channel: Channel, node: Node, path: String) -> Result<Self, XdsError> {
        Ok(Self {
            stream: BidiStream::open(channel.clone(), &path)?,
            channel,
            path,
            node,
            node_sent: false,
        })
    }

    /// Drops the stream and opens another.
    pub(super) fn reopen(&mut self) -> Result<(), XdsError> {
        self.stream = BidiStream::open(self.channel.clone(), &self.path)?;
        self.node_sent = false;
        Ok(())
    }

    /// Sends a request. On an ended stream nothing is sent; the next receive returns the error.
    pub(super) fn send(&mut self, mut request: Req) {
        if !self.node_sent {
            request.set_node(self.node.clone());
            self.node_sent = true;
        }
        let _ = self.stream.requests.send(request);
    }

    /// The next response.
    pub(super) async fn next(&mut self, within: Duration) -> Result<Resp, XdsError> {
        tokio::time::timeout(within, self.stream.receive())
            .await
            .map_err(|_| XdsError::NoResponse(within))?
    }

    /// Succeeds if no response comes for `during`.
    pub(super) async fn expect_silence(&mut self, during: Duration) -> Result<(), XdsError> {
        match self.next(during).await {
            Err(XdsError::NoResponse(_)) => Ok(()),
            Ok(response) => Err(XdsError::UnexpectedResponse(format!("{response:?}"))),
            Err(error) => Err(error),
        }
    }
}

/// One gRPC stream to the server. Dropping it resets the stream.
#[derive(Debug)]
struct BidiStream<Req, Resp> {
    requests: UnboundedSender<Req>,
    responses: Responses<Resp>,
}

/// Some servers send response headers only with their first response, so the client must not wait for the stream to open before it
/// has sent the first request.
#[derive(Debug)]
enum Responses<Resp> {
    Opening(JoinSet<Result<Streaming<Resp>, Status>>),
    Open(Box<Streaming<Resp>>),
}

impl<Req, Resp> BidiStream<Req, Resp>
where
    Req: Message + Send + Sync + 'static,
    Resp: Message + Default + Debug + Send + Sync + 'static,
{
    fn open(channel: Channel, path: &str) -> Result<Self, XdsError> {
        let path = path
            .parse::<PathAndQuery>()
            .map_err(|_| XdsError::NoService(path.to_owned()))?;
        let (requests, outbox) = unbounded_channel();
        let mut opening = JoinSet::new();
        opening.spawn(async move {
            let mut grpc = Grpc::new(channel).max_decoding_message_size(usize::MAX);
            grpc.ready()
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?;
            let outbox = Request::new(UnboundedReceiverStream::new(outbox));
            let codec = ProstCodec::<Req, Resp>::default();
            Ok(grpc.streaming(outbox, path, codec).await?.into_inner())
        });
        Ok(Self {
            requests,
            responses: Responses::Opening(opening),
        })
    }

    /// Cancel safe: no response is lost when the future is dropped.
    async fn receive(&mut self) -> Result<Resp, XdsError> {
        loop {
            match &mut self.responses {
                Responses::Open(stream) => {
                    return stream.message().await?.ok_or(XdsError::Closed);
                }
                Responses::Opening(opening) => match opening.join_next().await {
                    Some(Ok(stream)) => self.responses = Responses::Open(Box::new(stream?)),
                    Some(Err(_)) | None => return Err(XdsError::Closed),
                },
            }
        }
    }
}
