//! gRPC messages in the bodies of HTTP/2 requests and responses.
//!
//! tonic's codec keeps the buffers of a stream, each as large as the largest message so far, for as long as the stream lives:
//! more than everything else that an idle proxy costs. These keep none between two messages. And the largest accepted request is
//! a matter of the stream ([`Requests::set_limit`]), not of the service.
//!
//! Invariant: a request that is larger than the limit is refused before it is received. [`Requests::next`] loses nothing when its
//! future is dropped.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt as _;
use prost::Message;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use tonic::{Code, Status};

/// Bytes before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The messages of a request.
pub(super) struct Requests<M> {
    body: Body,
    buffer: BytesMut,
    limit: usize,
    message: PhantomData<fn() -> M>,
}

impl<M: Message + Default> Requests<M> {
    /// The messages of `body`, each at most `limit` bytes.
    pub(super) fn new(body: Body, limit: usize) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            limit,
            message: PhantomData,
        }
    }

    /// Sets the size of the largest message from now on.
    pub(super) fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// The next message. `None` if the client has closed its side.
    ///
    /// # Errors
    /// The end of the connection, or a message that is too large or malformed.
    pub(super) async fn message(&mut self) -> Result<Option<M>, Status> {
        let next = self.next().await?;
        next.map(decode).transpose()
    }

    /// The bytes of the next message.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = self.take_buffered()? {
                return Ok(Some(message));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                // The client has reset its stream.
                Some(Err(status)) if status.code() == Code::Cancelled => return Ok(None),
                Some(Err(status)) => return Err(status),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Status::internal("the request ends within a message")),
            }
        }
    }

    fn take_buffered(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let [is_compressed, length @ ..] = *prefix;
        if is_compressed != 0 {
            return Err(Status::unimplemented(
                "compressed messages are not supported",
            ));
        }
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        let limit = self.limit;
        if length > limit {
            return Err(Status::resource_exhausted(format!(
                "the request has {length} bytes, and at most {limit} are accepted"
            )));
        }
        if self.buffer.len() - PREFIX < length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        let message = self.buffer.split_to(length).freeze();
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(Some(message))
    }
}

/// The message in these bytes.
pub(super) fn decode<M: Message + Default>(bytes: Bytes) -> Result<M, Status> {
    M::decode(bytes).map_err(|error| Status::internal(format!("malformed request: {error}")))
}

/// The bytes of a message, in a buffer of its own.
pub(super) fn encode(message: &impl Message) -> Result<Bytes, Status> {
    let length = message.encoded_len();
    let prefix =
        u32::try_from(length).map_err(|_| Status::internal("the response is too large"))?;
    let mut buffer = BytesMut::with_capacity(PREFIX + length);
    buffer.put_u8(0);
    buffer.put_u32(prefix);
    message
        .encode(&mut buffer)
        .map_err(|error| Status::internal(error.to_string()))?;
    Ok(buffer.freeze())
}

/// The response with these messages ([`encode`]). An error is its last item.
pub(super) fn response<S>(messages: S) -> Response<Body>
where
    S: Stream<Item = Result<Bytes, Status>> + Unpin + Send + 'static,
{
    let body = ResponseBody {
        messages,
        has_ended: false,
    };
    let mut response = Response::new(Body::new(body));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    response
}

struct ResponseBody<S> {
    messages: S,
    has_ended: bool,
}

impl<S> HttpBody for ResponseBody<S>
where
    S: Stream<Item = Result<Bytes, Status>> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let end = match ready!(self.messages.poll_next_unpin(cx)) {
            Some(Ok(message)) => return Poll::Ready(Some(Ok(Frame::data(message)))),
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.has_ended = true;
        let mut trailers = HeaderMap::new();
        let added = end.add_header(&mut trailers);
        Poll::Ready(Some(added.map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }
}
