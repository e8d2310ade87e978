//! The connections of the admin port, plaintext or TLS.
//!
//! Invariant: a slow or failing handshake delays no other connection.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use futures::{Stream, StreamExt as _};
use headgate_identity::{ClientCertificates, HandshakeOptions, PortTls, ServerIdentity, tls};
use headgate_kubernetes::faults::{FaultPlace, Faults};
use headgate_xds::connection::tcp;
use headgate_xds::{Connection, ConnectionInfo, Refusals};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::{AdminConfig, Failure};
use crate::port_certificate::{InStatus, PortCertificate};

/// Pause after the listener fails, as it does without a free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Problems of the certificate.
const IN_STATUS: InStatus = InStatus {
    place: FaultPlace::AdminCertificate,
    resource: "certificate of the admin port",
    without: "the admin port refuses every connection",
};

/// The transport of the admin port.
pub(crate) struct AdminPort {
    /// `None` for plaintext.
    certificate: Option<PortCertificate>,
    options: HandshakeOptions,
}

impl AdminPort {
    /// Reads the certificate for the first time.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(crate) fn open(config: &AdminConfig, timeout: Duration) -> Result<Self, Failure> {
        Ok(Self {
            certificate: PortCertificate::open(&config.transport, &config.trust_domains)?,
            options: HandshakeOptions {
                tls: PortTls::admin(ClientCertificates::Optional),
                timeout,
                refusals: Refusals::default(),
            },
        })
    }

    /// The identity of the server; `None` for plaintext.
    pub(crate) fn identity(&self) -> Option<watch::Receiver<ServerIdentity>> {
        self.certificate.as_ref().map(PortCertificate::identity)
    }

    /// The connections whose handshake failed.
    pub(crate) fn refusals(&self) -> Refusals {
        self.options.refusals.clone()
    }

    /// Starts to follow the certificate. Problems go to `faults`.
    pub(crate) fn follow(&mut self, faults: &Faults) {
        if let Some(certificate) = &mut self.certificate {
            certificate.follow(faults, &IN_STATUS);
        }
    }

    /// The connections of a listener.
    ///
    /// # Errors
    /// It has no address.
    pub(crate) fn listen(self, listener: TcpListener) -> io::Result<AdminListener> {
        let address = listener.local_addr()?;
        let connections: Accepted = match self.identity() {
            None => Box::pin(tcp(listener).map(boxed)),
            Some(identity) => Box::pin(tls(listener, identity, self.options).map(boxed)),
        };
        Ok(AdminListener {
            address,
            connections,
        })
    }
}

fn boxed<T>(accepted: io::Result<Connection<T>>) -> io::Result<(Box<dyn Io>, ConnectionInfo)>
where
    Connection<T>: Io + 'static,
{
    let connection = accepted?;
    let info = connection.info().clone();
    Ok((Box::new(connection), info))
}

/// A byte stream.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

type Accepted = Pin<Box<dyn Stream<Item = io::Result<(Box<dyn Io>, ConnectionInfo)>> + Send>>;

/// The connections of the admin port.
pub(crate) struct AdminListener {
    address: SocketAddr,
    connections: Accepted,
}

/// The remote end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Client(pub ConnectionInfo);

impl Listener for AdminListener {
    type Io = Box<dyn Io>;
    type Addr = Client;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.connections.next().await {
                Some(Ok((io, info))) => return (io, Client(info)),
                Some(Err(error)) => {
                    tracing::debug!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                None => std::future::pending().await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(Client(ConnectionInfo {
            address: Some(self.address),
            identity: None,
        }))
    }
}

impl Connected<IncomingStream<'_, AdminListener>> for Client {
    fn connect_info(stream: IncomingStream<'_, AdminListener>) -> Self {
        stream.remote_addr().clone()
    }
}
