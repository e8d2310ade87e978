//! The mock model server: generated OpenAI-style responses, and faults on demand.
//!
//! `POST /v1/chat/completions`, `POST /v1/completions` (complete, and `stream: true` as server-sent events),
//! `GET /v1/models`, `GET /health`, `/healthz` and `/ping`, `GET /__stats`, `GET /__kept/NAME`. HTTP/1.1 and cleartext
//! HTTP/2 on one port.
//!
//! `prompt_tokens` = ⌈UTF-8 bytes of the prompt / 4⌉, `completion_tokens` = n · min(max_tokens, tokens to produce).
//! Every response names its server in `x-mock-served-by: model/version`. A response (of a stream, its first event) echoes the
//! request under the key `mock`: `{model, version, method, path, headers, trailers, body_bytes}`.
//!
//! Request headers select its behaviour, so it works through Envoy and through SDKs; [`HEADERS_HELP`] is their table:
//!
//! ```text
#![doc = include_str!("headers.txt")]
//! ```
//!
//! Place in the flow: the upstream of every test. A request is parsed to [`ModelRequest`] and [`Behaviour`]; these become a script
//! of steps (pure), which the response body performs.

mod args;
mod behaviour;
mod body;
mod canned;
mod connection;
mod handler;
mod request;
mod response;
mod script;
mod stats;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::args::MockArgs;
pub use self::behaviour::{AbortAfter, AbortWith, Behaviour, Usage};
pub use self::canned::{MockAnswer, RecordedRequest};
pub use self::request::ModelRequest;
pub use self::stats::StatsSnapshot;

use self::handler::Server;

/// The table of the headers that select the behaviour, for people.
pub const HEADERS_HELP: &str = include_str!("headers.txt");

/// Identity and address of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MockOptions {
    /// Address to listen on; port 0 for any.
    pub addr: SocketAddr,
    /// The model to serve.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Tokens per choice when neither the request nor a header sets another number.
    pub tokens: u64,
}

impl MockOptions {
    /// On 127.0.0.1 and any port, with 16 tokens per answer.
    #[must_use]
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            addr: (Ipv4Addr::LOCALHOST, 0).into(),
            name: name.to_owned(),
            version: version.to_owned(),
            tokens: 16,
        }
    }

    /// Sets the address.
    #[must_use]
    pub fn at(mut self, addr: SocketAddr) -> Self {
        self.addr = addr;
        self
    }
}

/// A running mock model. Dropping it ends it and breaks its connections.
#[derive(Debug)]
pub struct MockModel {
    addr: SocketAddr,
    handle: MockHandle,
    serving: JoinHandle<()>,
}

/// A handle to a mock model's counters, canned responses and health. Cheap to clone; may outlive the server.
#[derive(Debug, Clone)]
pub struct MockHandle {
    server: Arc<Server>,
}

impl MockModel {
    /// Starts serving on the current runtime.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(options: MockOptions) -> io::Result<Self> {
        let listener = TcpListener::bind(options.addr).await?;
        let addr = listener.local_addr()?;
        let server = Arc::new(Server::new(options));
        let serving = tokio::spawn(connection::accept(listener, Arc::clone(&server)));
        Ok(Self {
            addr,
            handle: MockHandle { server },
            serving,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Its handle.
    #[must_use]
    pub fn handle(&self) -> &MockHandle {
        &self.handle
    }

    /// As [`MockHandle::stats`].
    #[must_use]
    pub fn stats(&self) -> StatsSnapshot {
        self.handle.stats()
    }

    /// Ends it, breaks its connections, and returns once its port is free.
    pub async fn stop(mut self) {
        self.serving.abort();
        // An aborted task can only end as cancelled.
        let _ = (&mut self.serving).await;
    }
}

impl Drop for MockModel {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl MockHandle {
    /// The counters now.
    #[must_use]
    pub fn stats(&self) -> StatsSnapshot {
        self.server.stats.snapshot()
    }

    /// Registers a canned response, which a request with the header `x-mock-answer: NAME` gets on any path.
    pub fn set_answer(&self, name: &str, answer: MockAnswer) {
        self.server.answers.put(name, answer);
    }

    /// The last request with the header `x-mock-keep: NAME`.
    #[must_use]
    pub fn recorded(&self, name: &str) -> Option<RecordedRequest> {
        self.server.recorded.get(name)
    }

    /// Sets the response of `/health`, `/healthz` and `/ping`: 200 or 503.
    pub fn set_healthy(&self, healthy: bool) {
        self.server.healthy.store(healthy, Ordering::Relaxed);
    }
}
