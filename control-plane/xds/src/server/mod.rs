//! The shell: tonic's services around [`Session`](crate::session::Session).
//!
//! [`XdsServer`] offers the aggregated service and one service per kind, each in both protocols;
//! `wire` turns messages into a session's inputs and its outputs into messages; `stream` runs one
//! session; `memory` is what it leaves to the proxy's next one. Everything decided is decided in the session; this room only waits and performs.

mod memory;
mod services;
mod stream;
mod wire;

use std::future::Future;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::fleet::Fleet;
use crate::options::Options;
use crate::world::World;

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
    memory: memory::Memory,
    closing: watch::Sender<bool>,
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
            memory: memory::Memory::default(),
            closing: watch::Sender::new(false),
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
        self.inner.closing.send_replace(true);
    }

    /// Serves plaintext HTTP/2 on `listener` until `shutdown`, then closes all streams.
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
                self.close();
            })
            .await
    }
}
