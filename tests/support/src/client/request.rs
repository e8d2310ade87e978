//! One HTTP request, as plain data.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::Full;

use super::ClientError;

/// A request, checked when it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// An absolute `http://` URL.
    pub url: String,
    /// Headers in order; a name may come twice.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Bytes,
}

impl HttpRequest {
    /// A request of any method, without headers and body.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self {
            method,
            url: url.into(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// `GET url`.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::GET, url)
    }

    /// `POST url` with a body of no declared type.
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

    pub(super) fn into_http(self) -> Result<Request<Full<Bytes>>, ClientError> {
        let bad = |what: &str, why: String| ClientError::Request(format!("{what}: {why}"));
        let uri: Uri = self
            .url
            .parse()
            .map_err(|e: http::uri::InvalidUri| bad(&self.url, e.to_string()))?;
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        for (name, value) in self.headers {
            let key = HeaderName::from_bytes(name.as_bytes())
                .map_err(|error| bad(&name, error.to_string()))?;
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|error| bad(&name, error.to_string()))?;
            request.headers_mut().append(key, value);
        }
        Ok(request)
    }
}
