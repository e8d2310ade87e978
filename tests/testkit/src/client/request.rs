//! One HTTP request, as plain data.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body::{Body, Frame, SizeHint};

use super::ClientError;

/// A request; [`super::HttpClient`] validates it when it sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// An absolute `http://` URL.
    pub url: String,
    /// Headers in order; names may repeat.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Bytes,
    /// Trailers; sent over HTTP/2 only.
    pub trailers: Vec<(String, String)>,
    /// Whether `content-length` is sent.
    pub content_length: bool,
}

impl HttpRequest {
    /// A request without headers and body.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self {
            method,
            url: url.into(),
            headers: Vec::new(),
            body: Bytes::new(),
            trailers: Vec::new(),
            content_length: true,
        }
    }

    /// `GET url`.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::GET, url)
    }

    /// `POST url` with a body and no `content-type`.
    pub fn post(url: impl Into<String>, body: impl Into<Bytes>) -> Self {
        let mut request = Self::new(Method::POST, url);
        request.body = body.into();
        request
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds a trailer. Only HTTP/2 sends it.
    #[must_use]
    pub fn trailer(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.trailers.push((name.into(), value.into()));
        self
    }

    /// Omits `content-length`: over HTTP/1.1 the body is chunked, over HTTP/2 it ends with the stream.
    #[must_use]
    pub fn without_content_length(mut self) -> Self {
        self.content_length = false;
        self
    }

    pub(super) fn into_http(self) -> Result<Request<RequestBody>, ClientError> {
        let bad = |what: &str, why: String| ClientError::Request(format!("{what}: {why}"));
        let uri: Uri = self
            .url
            .parse()
            .map_err(|e: http::uri::InvalidUri| bad(&self.url, e.to_string()))?;
        let trailers = header_map(self.trailers)?;
        let mut request = Request::new(RequestBody {
            data: (!self.body.is_empty()).then_some(self.body),
            trailers: (!trailers.is_empty()).then_some(trailers),
            content_length: self.content_length,
        });
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = header_map(self.headers)?;
        Ok(request)
    }
}

fn header_map(pairs: Vec<(String, String)>) -> Result<HeaderMap, ClientError> {
    let mut map = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        let bad = |why: String| ClientError::Request(format!("{name}: {why}"));
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|e| bad(e.to_string()))?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|e| bad(e.to_string()))?;
        map.append(key, value);
    }
    Ok(map)
}

/// A body in memory with its trailers.
pub(super) struct RequestBody {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
    content_length: bool,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.data.take().map(Frame::data);
        let next = data.or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(next.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.content_length {
            SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
        } else {
            SizeHint::default()
        }
    }
}
