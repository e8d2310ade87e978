//! The server: tonic's services around [`Session`](crate::session::Session).
//!
//! [`XdsServer`] serves the aggregated service and one service for each kind, each in both protocols. Every rule of delivery is
//! in the session; this module only waits and performs.
//!
//! - `services`: the gRPC services. `stream`: one stream and its session. `siblings`: the streams of one proxy.
//! - `connections`: the open connections and their limits.
//! - `framing`: the messages in the bodies of requests and responses.
//! - `admission`: the peer and the scope of a stream, and refusals.
//! - `scope_changes`: the end of the streams whose scope is not theirs any more.
//! - `histories`: what a stream leaves to the proxy's next one. `last_good`: what it leaves to other proxies of its scope.
//! - `drain`: the end of the streams when the server shuts down.
//! - `loads`: the load reporting service.
//! - `log`, `log_limiter`: the log lines about streams, and their limits.

mod admission;
mod connections;
mod drain;
mod framing;
mod histories;
mod last_good;
mod loads;
mod log;
mod log_limiter;
mod scope_changes;
mod services;
mod siblings;
mod stream;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::connection::Connection;
use crate::counts::OpenCounts;
use crate::fleet::Fleet;
use crate::loads::Loads;
use crate::memory;
use crate::options::Options;
use crate::provider::SnapshotProvider;
use crate::refusal::Refusals;
use crate::session::SharedState;

use drain::DrainSchedule;

/// The largest accepted request: room for the names and versions that a proxy with some ten thousand resources lists when it
/// reconnects.
const MAX_REQUEST_BYTES: usize = 32 << 20;

/// An xDS server of the snapshots of a [`SnapshotProvider`]. Cheap to clone; all clones share one state.
#[derive(Debug)]
pub struct XdsServer<S> {
    inner: Arc<Inner<S>>,
}

#[derive(Debug)]
struct Inner<S> {
    provider: S,
    options: Arc<Options>,
    fleet: Fleet,
    loads: Loads,
    connections: Arc<OpenCounts>,
    streams: Arc<OpenCounts>,
    shared: SharedState,
    histories: histories::StreamHistories,
    last_good: Arc<last_good::LastGoodByScope>,
    siblings: siblings::SiblingGroups,
    log_limits: log::LogLimits,
    refusals: Refusals,
    /// The end of each stream, once the server drains or closes.
    drain: watch::Sender<Option<Arc<DrainSchedule>>>,
}

impl<S> Clone for XdsServer<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<S: SnapshotProvider> XdsServer<S> {
    /// A server of the snapshots of `provider`.
    pub fn new(provider: S, options: Options) -> Self {
        let inner = Inner {
            provider,
            options: Arc::new(options),
            fleet: Fleet::default(),
            loads: Loads::default(),
            connections: Arc::default(),
            streams: Arc::default(),
            shared: SharedState::default(),
            histories: histories::StreamHistories::default(),
            last_good: Arc::default(),
            siblings: siblings::SiblingGroups::default(),
            log_limits: log::LogLimits::default(),
            refusals: Refusals::default(),
            drain: watch::Sender::new(None),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The connected proxies and their state.
    #[must_use]
    pub fn fleet(&self) -> Fleet {
        self.inner.fleet.clone()
    }

    /// The load reports of proxies.
    #[must_use]
    pub fn loads(&self) -> Loads {
        self.inner.loads.clone()
    }

    /// The refused streams. The transport may count its refused connections here too.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        self.inner.refusals.clone()
    }

    /// The source of its snapshots.
    #[must_use]
    pub fn provider(&self) -> &S {
        &self.inner.provider
    }

    /// Ends every open stream, and every new one, with `Unavailable`. Proxies keep what they run.
    pub fn close(&self) {
        self.inner.drain.send_replace(Some(Arc::default()));
    }

    /// Ends the open streams with `Unavailable`, one connection after another over `over`, so that proxies reconnect elsewhere
    /// without all coming at once. Every new stream ends at once. Until its turn a stream is served as usual.
    /// [`XdsServer::close`] cuts the drain short; a second drain does nothing.
    pub fn drain(&self, over: Duration) {
        let proxies = self.inner.fleet.proxies();
        let streams = proxies
            .iter()
            .map(|proxy| (proxy.stream, proxy.peer.address));
        let now = tokio::time::Instant::now().into_std();
        let schedule = drain::schedule(streams, over, now);
        self.inner.drain.send_if_modified(|drain| {
            let begins = drain.is_none();
            *drain = drain.take().or_else(|| Some(Arc::new(schedule)));
            begins
        });
    }

    /// Serves HTTP/2 on `connections`, such as those of [`tcp`](crate::connection::tcp), until `shutdown`, then drains over
    /// [`Options::drain`].
    ///
    /// After `shutdown` no connection is accepted: a proxy that tries is refused at once and tries elsewhere. Every open
    /// connection is sent a GOAWAY, so a proxy whose stream ended opens the next one on another connection.
    pub async fn serve<T>(
        &self,
        connections: impl Stream<Item = io::Result<Connection<T>>>,
        shutdown: impl Future<Output = ()>,
    ) where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shutdown = async {
            shutdown.await;
            self.drain(self.inner.options.drain);
        };
        tokio::select! {
            () = connections::serve(self, connections, shutdown) => {}
            never = memory::return_unused(self.inner.fleet.changes()) => never,
        }
    }
}
