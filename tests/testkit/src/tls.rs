//! TLS termination in front of a server; bytes are forwarded unchanged.
//!
//! Invariant: keys never leave the process. Clients read the CA certificate from a file.

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
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// The relevant part of a client's TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    /// The requested server name (SNI), if any.
    pub server_name: Option<String>,
    /// The negotiated protocol (ALPN), if any.
    pub protocol: Option<String>,
}

/// A running TLS server on 127.0.0.1. Dropping it ends it.
#[derive(Debug)]
pub struct TlsTerminator {
    addr: SocketAddr,
    client_hellos: Arc<Mutex<Vec<ClientHello>>>,
    serving: JoinHandle<()>,
}

impl CertificateAuthority {
    /// A new certificate authority.
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

    /// Writes its certificate, for clients that should trust it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, &self.certificate)
    }

    /// Starts TLS in front of the server at `to`, with a certificate for these names and addresses. It negotiates the first of
    /// `protocols` that a client offers.
    ///
    /// # Errors
    /// When the certificate cannot be made or no port can be bound.
    pub async fn terminate_tls(
        &self,
        names: &[&str],
        protocols: &[&str],
        to: SocketAddr,
    ) -> io::Result<TlsTerminator> {
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
        let client_hellos = Arc::default();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let serving = accept(listener, acceptor, Arc::clone(&client_hellos), to);
        Ok(TlsTerminator {
            addr,
            client_hellos,
            serving: tokio::spawn(serving),
        })
    }
}

impl TlsTerminator {
    /// The address of the TLS server.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The completed handshakes so far. Clients that rejected the certificate are not among them.
    #[must_use]
    pub fn client_hellos(&self) -> Vec<ClientHello> {
        let client_hellos = self.client_hellos.lock();
        client_hellos
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for TlsTerminator {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    client_hellos: Arc<Mutex<Vec<ClientHello>>>,
    to: SocketAddr,
) {
    // Only the client needs to notice a failed connection.
    while let Ok((connection, _)) = listener.accept().await {
        let (acceptor, client_hellos) = (acceptor.clone(), Arc::clone(&client_hellos));
        tokio::spawn(async move { forward(connection, &acceptor, &client_hellos, to).await });
    }
}

async fn forward(
    connection: TcpStream,
    acceptor: &TlsAcceptor,
    client_hellos: &Mutex<Vec<ClientHello>>,
    to: SocketAddr,
) -> io::Result<()> {
    let mut outside = acceptor.accept(connection).await?;
    let (_, session) = outside.get_ref();
    let protocol = session.alpn_protocol().map(String::from_utf8_lossy);
    let client_hello = ClientHello {
        server_name: session.server_name().map(str::to_owned),
        protocol: protocol.map(|protocol| protocol.into_owned()),
    };
    let hellos = client_hellos.lock();
    hellos
        .unwrap_or_else(PoisonError::into_inner)
        .push(client_hello);
    let mut inside = TcpStream::connect(to).await?;
    tokio::io::copy_bidirectional(&mut outside, &mut inside).await?;
    Ok(())
}
