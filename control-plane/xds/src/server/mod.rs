//! The shell: tonic's services around [`Session`](crate::session::Session).
//!
//! [`XdsServer`] offers the aggregated service and one service per kind, each in both protocols;
//! `wire` turns messages into a session's inputs and its outputs into messages; `stream` runs one
//! session, `group` lets the sessions of one proxy know of each other; `memory` is what it leaves to the proxy's next one, `good` what it leaves to others of its scope; `drain` is when it
//! ends if the server does. `loads` is the service that proxies report to.
//! Everything decided about delivery is decided in the session; this room only waits and performs.

mod drain;
mod good;
mod group;
mod loads;
mod memory;
mod services;
mod stream;
mod wire;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::fleet::Fleet;
use crate::loads::Loads;
use crate::options::Options;
use crate::world::World;

use drain::Ends;

/// The largest request taken: room for the names and versions a proxy with some ten thousand
/// resources lists when it reconnects.
const MAX_REQUEST_BYTES: usize = 32 << 20;

/// An xDS server over a [`World`]. Cheap to clone; all clones are the same server.
#[derive(Debug)]
pub struct XdsServer<W> {
    inner: Arc<Inner<W>>,
}

#[derive(Debug)]
struct Inner<W> {
    world: W,
    options: Arc<Options>,
    fleet: Fleet,
    loads: Loads,
    memory: memory::Memory,
    good: good::LastGood,
    groups: group::Groups,
    /// When each stream ends, once the server does.
    ending: watch::Sender<Option<Arc<Ends>>>,
}

impl<W> Clone for XdsServer<W> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<W: World> XdsServer<W> {
    /// A server of `world`.
    pub fn new(world: W, options: Options) -> Self {
        let inner = Inner {
            world,
            options: Arc::new(options),
            fleet: Fleet::default(),
            loads: Loads::default(),
            memory: memory::Memory::default(),
            good: good::LastGood::default(),
            groups: group::Groups::default(),
            ending: watch::Sender::new(None),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Who is connected, and how far they are.
    #[must_use]
    pub fn fleet(&self) -> Fleet {
        self.inner.fleet.clone()
    }

    /// The load reports of proxies.
    #[must_use]
    pub fn loads(&self) -> Loads {
        self.inner.loads.clone()
    }

    /// The world it serves.
    #[must_use]
    pub fn world(&self) -> &W {
        &self.inner.world
    }

    /// The gRPC services, to be mounted beside others.
    #[must_use]
    pub fn routes(&self) -> Routes {
        services::routes(self)
    }

    /// Ends every open stream with `Unavailable`, and every new one too. Proxies keep what they run.
    pub fn close(&self) {
        self.inner.ending.send_replace(Some(Arc::default()));
    }

    /// Ends the open streams with `Unavailable` one connection after another over `over`, so that
    /// proxies reconnect elsewhere without all coming at once; every new stream ends at once. Until its
    /// turn a stream is served as ever. [`XdsServer::close`] cuts it short; a second drain does nothing.
    pub fn drain(&self, over: Duration) {
        let proxies = self.inner.fleet.proxies();
        let streams = proxies
            .iter()
            .map(|proxy| (proxy.stream, proxy.peer.address));
        let ends = drain::ends(streams, over, tokio::time::Instant::now().into_std());
        self.inner.ending.send_if_modified(|ending| {
            let begins = ending.is_none();
            *ending = ending.take().or_else(|| Some(Arc::new(ends)));
            begins
        });
    }

    /// Serves plaintext HTTP/2 on `listener` until `shutdown`, then drains over [`Options::drain`].
    ///
    /// From `shutdown` on nothing listens any more: who comes is refused at once and tries elsewhere,
    /// instead of being taken in only to be sent away. Every connection is told so (GOAWAY), so that a
    /// proxy whose stream ended opens the next one on another connection.
    ///
    /// # Errors
    /// The transport's, if it cannot go on accepting connections.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let (interval, timeout) = self.inner.options.keepalive;
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        Server::builder()
            .http2_keepalive_interval(Some(interval))
            .http2_keepalive_timeout(Some(timeout))
            .add_routes(self.routes())
            .serve_with_incoming_shutdown(incoming, async {
                shutdown.await;
                self.drain(self.inner.options.drain);
            })
            .await
    }
}
