//! TLS in front of a server: bytes are passed on as they come out of it.
//!
//! Invariant: keys never leave the process; clients read the CA certificate from a file.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

/// A certificate authority, made for one test.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// What a client said when it began to speak TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The server name it asked for, if it did.
    pub server_name: Option<String>,
    /// The protocol that was agreed on, if one was.
    pub protocol: Option<String>,
}

/// A running TLS server on 127.0.0.1. Dropping it ends it.
#[derive(Debug)]
pub struct TlsFront {
    addr: SocketAddr,
    greetings: Arc<Mutex<Vec<Greeting>>>,
    serving: JoinHandle<()>,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new() -> io::Result<Self> {
        let mut params = CertificateParams::default();
        let name = "headgate test authority";
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        Ok(Self {
            certificate: certificate.pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Writes its certificate, for those who are to trust it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, &self.certificate)
    }

    /// Starts TLS in front of the server at `to`, with a certificate for these names and addresses. It agrees on the first of
    /// `protocols` that a client offers.
    ///
    /// # Errors
    /// When the certificate cannot be made or no port can be bound.
    pub async fn front(
        &self,
        names: &[&str],
        protocols: &[&str],
        to: SocketAddr,
    ) -> io::Result<TlsFront> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let params = CertificateParams::new(names).map_err(io::Error::other)?;
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(io::Error::other)?;
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(chain, key.into())
            .map_err(io::Error::other)?;
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let greetings = Arc::default();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let serving = accept(listener, acceptor, Arc::clone(&greetings), to);
        Ok(TlsFront {
            addr,
            greetings,
            serving: tokio::spawn(serving),
        })
    }
}

impl TlsFront {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What clients said so far; those that did not like the certificate are not among them.
    #[must_use]
    pub fn greetings(&self) -> Vec<Greeting> {
        let greetings = self.greetings.lock();
        greetings.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    greetings: Arc<Mutex<Vec<Greeting>>>,
    to: SocketAddr,
) {
    // A connection that fails is its client's to notice.
    while let Ok((connection, _)) = listener.accept().await {
        let (acceptor, greetings) = (acceptor.clone(), Arc::clone(&greetings));
        tokio::spawn(async move { relay(connection, &acceptor, &greetings, to).await });
    }
}

async fn relay(
    connection: TcpStream,
    acceptor: &TlsAcceptor,
    greetings: &Mutex<Vec<Greeting>>,
    to: SocketAddr,
) -> io::Result<()> {
    let mut outside = acceptor.accept(connection).await?;
    let (_, session) = outside.get_ref();
    let protocol = session.alpn_protocol().map(String::from_utf8_lossy);
    let greeting = Greeting {
        server_name: session.server_name().map(str::to_owned),
        protocol: protocol.map(|protocol| protocol.into_owned()),
    };
    let known = greetings.lock();
    known.unwrap_or_else(PoisonError::into_inner).push(greeting);
    let mut inside = TcpStream::connect(to).await?;
    tokio::io::copy_bidirectional(&mut outside, &mut inside).await?;
    Ok(())
}
