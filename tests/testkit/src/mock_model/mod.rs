//! The mock model server: OpenAI-style answers from nothing, and every misbehaviour on demand.
//!
//! `POST /v1/chat/completions`, `POST /v1/completions` (whole, and `stream: true` as server-sent events),
//! `GET /v1/models`, `GET /health`, `/healthz` and `/ping`, `GET /__stats`, `GET /__kept/NAME`. HTTP/1.1 and cleartext
//! HTTP/2 on one port.
//!
//! `prompt_tokens` = ⌈UTF-8 bytes of the prompt / 4⌉, `completion_tokens` = n · min(max_tokens, tokens to produce).
//! Every answer says who it is in `x-mock-served-by: model/version`; an answer (of a stream, its first event) echoes the
//! request under the key `mock`: `{model, version, method, path, headers, trailers, body_bytes}`.
//!
//! What it does is asked for by request headers, so it works through Envoy and through SDKs; [`HEADERS_HELP`] is
//! the table of them:
//!
//! ```text
#![doc = include_str!("headers.txt")]
//! ```
//!
//! Place in the flow: the upstream of every test. Requests become [`Ask`] and [`Behaviour`] (parsed), these a
//! script of steps (pure), which the response body performs.

mod answer;
mod args;
mod ask;
mod behaviour;
mod canned;
mod connection;
mod script;
mod serve;
mod show;
mod stats;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::args::MockArgs;
pub use self::ask::Ask;
pub use self::behaviour::{AbortAfter, AbortWith, Behaviour, Usage};
pub use self::canned::{MockAnswer, SeenRequest};
pub use self::stats::StatsSnapshot;

use self::serve::Server;

/// The headers that steer an answer, as a table for people.
pub const HEADERS_HELP: &str = include_str!("headers.txt");

/// Who the server is and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MockOptions {
    /// Where to listen; port 0 for any.
    pub addr: SocketAddr,
    /// The model it serves.
    pub name: String,
    /// The version of it.
    pub version: String,
    /// Tokens per choice when neither the request nor a header says less or more.
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

    /// Elsewhere.
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

/// Reads the counters of a mock model and sets its health. Cheap to clone; outlives the server.
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

    /// Its counters and its health.
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
        // The only outcome of an aborted task is that it was cancelled.
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

    /// Registers an answer, which a request with the header `x-mock-answer: NAME` gets on any path.
    pub fn set_answer(&self, name: &str, answer: MockAnswer) {
        self.server.answers.put(name, answer);
    }

    /// The last request that came with the header `x-mock-keep: NAME`.
    #[must_use]
    pub fn kept(&self, name: &str) -> Option<SeenRequest> {
        self.server.kept.get(name)
    }

    /// Sets what `/health`, `/healthz` and `/ping` answer: 200, or 503.
    pub fn set_healthy(&self, healthy: bool) {
        self.server.healthy.store(healthy, Ordering::Relaxed);
    }
}
