//! A TLS server on loopback that answers each connection with its identity, and clients.

#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use headgate_identity::{HandshakeOptions, PortTls, ServerIdentity, tls};
use headgate_testkit::deadline::eventually;
use headgate_testkit::svid::{Svid, TrustDomainAuthority};
use headgate_xds::{Refusal, Refusals};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The time within which a change of a source is in effect.
pub const SOON: Duration = Duration::from_secs(10);

pub struct Server {
    pub addr: SocketAddr,
    pub refusals: Refusals,
    pub identity: watch::Receiver<ServerIdentity>,
}

impl Server {
    pub async fn start(identity: watch::Receiver<ServerIdentity>) -> Self {
        Self::start_port(identity, PortTls::XDS, SOON).await
    }

    /// Starts another port, with a time limit of its handshakes.
    pub async fn start_port(
        identity: watch::Receiver<ServerIdentity>,
        port: PortTls,
        timeout: Duration,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let refusals = Refusals::default();
        let options = HandshakeOptions {
            tls: port,
            timeout,
            refusals: refusals.clone(),
        };
        let connections = tls(listener, identity.clone(), options);
        tokio::spawn(async move {
            let mut connections = std::pin::pin!(connections);
            while let Some(Ok(mut connection)) = connections.next().await {
                let info = connection.info().clone();
                tokio::spawn(async move {
                    let identity = info.identity.map_or("nobody".to_owned(), |i| i.to_string());
                    connection.write_all(identity.as_bytes()).await.unwrap();
                    connection.shutdown().await.unwrap();
                });
            }
        });
        Self {
            addr,
            refusals,
            identity,
        }
    }

    /// Connects with a certificate, and returns the identity that the server saw.
    pub async fn connect(
        &self,
        authority: &TrustDomainAuthority,
        svid: Option<&Svid>,
    ) -> io::Result<String> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from(authority.der().to_vec()))
            .unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match svid {
            None => config.with_no_client_auth(),
            Some(svid) => {
                let chain = vec![CertificateDer::from(svid.der.clone())];
                let key = PrivatePkcs8KeyDer::from(svid.key_der.clone());
                config.with_client_auth_cert(chain, key.into()).unwrap()
            }
        };
        let io = TcpStream::connect(self.addr).await?;
        let name = "headgate.test".try_into().unwrap();
        let mut io = TlsConnector::from(Arc::new(config))
            .connect(name, io)
            .await?;
        let mut text = String::new();
        io.read_to_string(&mut text).await?;
        Ok(text)
    }

    /// Waits until this many connections were refused for this reason.
    pub async fn refused(&self, refusal: Refusal, count: u64) {
        eventually(SOON, "the refusal to be counted", async || {
            let counts = self.refusals.counts();
            (counts[&refusal] == count)
                .then_some(())
                .ok_or(format!("{counts:?}"))
        })
        .await
        .unwrap();
    }
}

/// Waits for a state of the identity.
pub async fn identity_that(
    identity: &watch::Receiver<ServerIdentity>,
    what: &str,
    holds: impl Fn(&ServerIdentity) -> bool,
) -> ServerIdentity {
    eventually(SOON, what, async || {
        let now = identity.borrow().clone();
        if holds(&now) {
            Ok(now)
        } else {
            Err(format!("{now:?}"))
        }
    })
    .await
    .unwrap()
}
