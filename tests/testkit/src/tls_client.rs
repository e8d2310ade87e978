//! TLS in front of a client: a plain TCP port whose connections go to a TLS server, with a certificate of the client if it has one.
//!
//! With it, every HTTP client of the tests can speak TLS. [`get_unverified`] sends a request as the kubelet does.
//!
//! Invariant: a failed handshake ends the client's connection; nothing is retried.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime,
};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::svid::Svid;

/// A running port in front of a TLS server. Dropping it ends it.
#[derive(Debug)]
pub struct TlsOriginator {
    addr: SocketAddr,
    serving: JoinHandle<()>,
}

impl TlsOriginator {
    /// Starts a port in front of the server at `to`, whose certificate must be for `headgate.test` and of these authorities (PEM).
    ///
    /// # Errors
    /// When the certificates cannot be used or no port can be bound.
    pub async fn start(
        to: SocketAddr,
        authorities: &str,
        client: Option<&Svid>,
    ) -> io::Result<Self> {
        Self::start_from(Ipv4Addr::LOCALHOST, to, authorities, client).await
    }

    /// Also sets the address from which the server sees the connections.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_from(
        from: Ipv4Addr,
        to: SocketAddr,
        authorities: &str,
        client: Option<&Svid>,
    ) -> io::Result<Self> {
        Self::start_with("http/1.1", from, to, authorities, client).await
    }

    /// As [`Self::start`], for clients that speak HTTP/2.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_http2(
        to: SocketAddr,
        authorities: &str,
        client: Option<&Svid>,
    ) -> io::Result<Self> {
        Self::start_with("h2", Ipv4Addr::LOCALHOST, to, authorities, client).await
    }

    async fn start_with(
        protocol: &str,
        from: Ipv4Addr,
        to: SocketAddr,
        authorities: &str,
        client: Option<&Svid>,
    ) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
            let certificate = certificate.map_err(io::Error::other)?;
            roots.add(certificate).map_err(io::Error::other)?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots);
        let mut config = match client {
            None => config.with_no_client_auth(),
            Some(svid) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(svid.key_der.clone()));
                let chain = vec![CertificateDer::from(svid.der.clone())];
                config
                    .with_client_auth_cert(chain, key)
                    .map_err(io::Error::other)?
            }
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Self {
            addr,
            serving: tokio::spawn(accept(listener, connector, from, to)),
        })
    }

    /// The address of the plain port.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of the plain port.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

impl Drop for TlsOriginator {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Sends a GET to a server whose certificate may be anything, as the kubelet does for probes, and returns the status and the answer.
///
/// # Errors
/// When the handshake fails or nothing answers.
pub async fn get_unverified(
    at: SocketAddr,
    path: &str,
    headers: &[(String, String)],
) -> io::Result<(u16, String)> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        .with_no_client_auth();
    let stream = TcpStream::connect(at).await?;
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(at.ip().into(), stream).await?;
    let headers = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"));
    let headers: String = headers.collect();
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("not HTTP: {answer:?}")))?;
    Ok((status, answer))
}

/// Accepts every certificate whose key the server has.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.0.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

async fn accept(listener: TcpListener, connector: TlsConnector, from: Ipv4Addr, to: SocketAddr) {
    // Only the client needs to notice a failed connection.
    while let Ok((connection, _)) = listener.accept().await {
        let connector = connector.clone();
        tokio::spawn(async move { forward(connection, &connector, from, to).await });
    }
}

async fn forward(
    mut inside: TcpStream,
    connector: &TlsConnector,
    from: Ipv4Addr,
    to: SocketAddr,
) -> io::Result<()> {
    let name = ServerName::try_from("headgate.test").map_err(io::Error::other)?;
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let outside = socket.connect(to).await?;
    let mut outside = connector.connect(name, outside).await?;
    tokio::io::copy_bidirectional(&mut inside, &mut outside).await?;
    Ok(())
}
