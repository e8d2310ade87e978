//! The transport: connections of proxies, whatever carries their bytes.
//!
//! [`XdsServer::serve`](crate::XdsServer::serve) takes any stream of [`Connection`]s. [`tcp`] is the plaintext one; a transport
//! with authentication fills in the [`PeerIdentity`] that it has verified.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::server::TcpIncoming;

/// The remote end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Remote address, unique among the open connections; `None` on a transport without addresses. Streams are taken to
    /// belong to one proxy if they have the same address, identity and node id. An IPv4 address is never mapped to IPv6.
    pub address: Option<SocketAddr>,
    /// The verified identity; `None` on a transport without authentication.
    pub identity: Option<PeerIdentity>,
}

/// The identity of a proxy, as its transport, or a trusted proxy in front of this server, has verified it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerIdentity {
    /// URI subject alternative names of its certificate, such as `spiffe://cluster.local/ns/default/sa/gateway`.
    pub uris: Vec<String>,
    /// Whether a trusted proxy in front of this server has verified it ([`forwarded`](crate::forwarded)). Then the address of
    /// the connection is not the one of the client.
    pub is_forwarded: bool,
}

impl fmt::Display for PeerIdentity {
    /// The URIs, separated by commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uris.join(","))
    }
}

/// A connection that a proxy has opened: a byte stream and its remote end.
#[derive(Debug)]
pub struct Connection<T> {
    io: T,
    info: ConnectionInfo,
}

impl<T> Connection<T> {
    /// A connection over `io`.
    pub fn new(io: T, info: ConnectionInfo) -> Self {
        Self { io, info }
    }

    /// Its remote end.
    #[must_use]
    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }
}

/// The connections that `listener` accepts: plaintext TCP, without an identity.
pub fn tcp(listener: TcpListener) -> impl Stream<Item = io::Result<Connection<TcpStream>>> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    incoming.map(|accepted| {
        let io = accepted?;
        let info = ConnectionInfo {
            address: io.peer_addr().ok().map(canonical),
            identity: None,
        };
        Ok(Connection::new(io, info))
    })
}

/// The address without a mapping of IPv4 to IPv6, which a listener on all interfaces reports.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl<T: AsyncRead + Unpin> AsyncRead for Connection<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Connection<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
