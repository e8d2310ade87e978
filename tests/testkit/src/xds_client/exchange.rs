//! One bidirectional stream: requests go out at any time, responses are taken one at a time.

use std::fmt::Debug;
use std::time::Duration;

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

/// A stream to the server. Dropping it resets the stream.
#[derive(Debug)]
pub(super) struct Exchange<Req, Resp> {
    requests: UnboundedSender<Req>,
    responses: Responses<Resp>,
}

/// Some servers send response headers only with their first response, so opening must not be waited for before
/// the first request is out.
#[derive(Debug)]
enum Responses<Resp> {
    Opening(JoinSet<Result<Streaming<Resp>, Status>>),
    Open(Box<Streaming<Resp>>),
}

impl<Req, Resp> Exchange<Req, Resp>
where
    Req: Message + Send + Sync + 'static,
    Resp: Message + Default + Debug + Send + Sync + 'static,
{
    pub(super) fn open(channel: Channel, path: &str) -> Result<Self, XdsError> {
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

    /// Sends a request. On a stream that has ended nothing is sent; the next receive tells.
    pub(super) fn send(&self, request: Req) {
        let _ = self.requests.send(request);
    }

    /// The next response.
    pub(super) async fn next(&mut self, within: Duration) -> Result<Resp, XdsError> {
        tokio::time::timeout(within, self.receive())
            .await
            .map_err(|_| XdsError::Silence(within))?
    }

    /// Succeeds if nothing comes for a while.
    pub(super) async fn silent(&mut self, during: Duration) -> Result<(), XdsError> {
        match self.next(during).await {
            Err(XdsError::Silence(_)) => Ok(()),
            Ok(response) => Err(XdsError::NotSilent(format!("{response:?}"))),
            Err(error) => Err(error),
        }
    }

    /// Cancel safe: a response is never lost when the future is dropped.
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
