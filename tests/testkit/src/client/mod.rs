//! An HTTP client for tests: OpenAI-style requests, complete and streamed responses, and closed-loop load.
//!
//! Invariant: the client hides nothing. Statuses are values, not errors; a broken body is an error that keeps the bytes read;
//! every exchange has a deadline. Connections are pooled and kept alive; dropping a [`StreamedReply`] before its end closes
//! its connection (HTTP/1) or resets its stream (HTTP/2).

mod error;
mod load;
mod openai;
mod reply;
mod request;

use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

pub use self::error::ClientError;
pub use self::load::{Job, Load, LoadOptions, LoadReport, Outcome, Sample};
pub use self::openai::OpenAiRequest;
pub use self::reply::{Reply, StreamedReply};
pub use self::request::HttpRequest;

use self::request::RequestBody;

/// The default timeout of an exchange.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A pool of keep-alive connections. Cheap to clone; clones share the pool.
#[derive(Debug, Clone)]
pub struct HttpClient {
    inner: Client<HttpConnector, RequestBody>,
    timeout: Duration,
}

impl Default for HttpClient {
    fn default() -> Self {
        Self::new()
    }
}

impl HttpClient {
    /// A client with HTTP/1.1.
    #[must_use]
    pub fn new() -> Self {
        Self::build(false)
    }

    /// A client with cleartext HTTP/2 and prior knowledge.
    #[must_use]
    pub fn http2() -> Self {
        Self::build(true)
    }

    fn build(http2: bool) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let inner = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .http2_only(http2)
            .build(connector);
        Self {
            inner,
            timeout: TIMEOUT,
        }
    }

    /// Sets the timeout of an exchange, or of one chunk of a streamed response.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends a request and reads the complete response.
    ///
    /// # Errors
    /// [`ClientError`], also when the body breaks off.
    pub async fn send(&self, request: HttpRequest) -> Result<Reply, ClientError> {
        let exchange = async { self.open(request).await?.whole().await };
        tokio::time::timeout(self.timeout, exchange)
            .await
            .map_err(|_| ClientError::Timeout(self.timeout))?
    }

    /// Sends a request and returns with the response headers; the caller reads the body chunk by chunk.
    ///
    /// # Errors
    /// [`ClientError`] for failures before the end of the headers.
    pub async fn open(&self, request: HttpRequest) -> Result<StreamedReply, ClientError> {
        let request = request.into_http()?;
        let response = tokio::time::timeout(self.timeout, self.inner.request(request))
            .await
            .map_err(|_| ClientError::Timeout(self.timeout))?
            .map_err(|error| ClientError::Exchange(error::chain(&error)))?;
        Ok(StreamedReply::new(response, self.timeout))
    }
}
