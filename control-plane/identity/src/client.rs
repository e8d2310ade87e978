//! TLS of a client of the admin port.
//!
//! Invariant: the server's certificate is verified always, by the given authorities and by one of the expected names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use spiffe::SpiffeId;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    version,
};

use crate::certificate::spiffe_id;
use crate::files::{certificates, read};

/// What the certificate of the server must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpectedServer {
    /// A DNS name or an IP address, among the subject alternative names.
    Name(ServerName<'static>),
    /// This SPIFFE id.
    Id(SpiffeId),
}

impl std::str::FromStr for ExpectedServer {
    type Err = String;

    /// A SPIFFE id, or a DNS name or IP address.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("spiffe:") {
            let id = SpiffeId::new(text).map_err(|error| format!("{text}: {error}"))?;
            return Ok(Self::Id(id));
        }
        let name = ServerName::try_from(text.to_owned());
        name.map(Self::Name).map_err(|_| {
            format!("{text:?} is neither a DNS name nor an IP address nor a SPIFFE id")
        })
    }
}

/// The files of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// PEM bundle of the authorities of the server.
    pub authorities: PathBuf,
    /// Directory with `tls.crt` and `tls.key` of the client.
    pub certificate: Option<PathBuf>,
    /// The certificate of the server must have one of these.
    pub expected: Vec<ExpectedServer>,
}

/// The TLS configuration with these files, which are read now.
///
/// # Errors
/// A file cannot be used. The message names the flag and the file.
pub fn client_config(options: &ClientOptions) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let roots = roots(&options.authorities)?;
    let by_name = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone());
    let by_name = by_name.build().map_err(|error| error.to_string())?;
    let verifier = AdminVerifier {
        expected: options.expected.clone(),
        by_name,
        roots,
        provider: provider.clone(),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match &options.certificate {
        None => Ok(config.with_no_client_auth()),
        Some(directory) => {
            let (chain, key) = own_certificate(directory)?;
            let config = config.with_client_auth_cert(chain, key);
            config.map_err(|error| {
                let directory = directory.display();
                format!("--client-cert {directory}: tls.key does not fit tls.crt, or cannot be used: {error}")
            })
        }
    }
}

fn roots(file: &Path) -> Result<Arc<RootCertStore>, String> {
    let wrong = |why: String| format!("--admin-ca: {}: {why}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&read("--admin-ca", file)?).map_err(wrong)? {
        let added = roots.add(certificate);
        added.map_err(|error| wrong(error.to_string()))?;
    }
    Ok(Arc::new(roots))
}

type OwnCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn own_certificate(directory: &Path) -> Result<OwnCertificate, String> {
    const FLAG: &str = "--client-cert";
    let wrong = |file: &Path, why: String| format!("{FLAG}: {}: {why}", file.display());
    let (certificate, key) = (directory.join("tls.crt"), directory.join("tls.key"));
    let chain = certificates(&read(FLAG, &certificate)?).map_err(|why| wrong(&certificate, why))?;
    let parsed = PrivateKeyDer::from_pem_slice(&read(FLAG, &key)?);
    let parsed = parsed.map_err(|error| wrong(&key, format!("no private key in PEM: {error}")))?;
    Ok((chain, parsed))
}

#[derive(Debug)]
struct AdminVerifier {
    expected: Vec<ExpectedServer>,
    by_name: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl AdminVerifier {
    fn verify_id(
        &self,
        id: &SpiffeId,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        match spiffe_id(leaf) {
            Ok(found) if found == *id => Ok(()),
            _ => Err(CertificateError::NotValidForName.into()),
        }
    }
}

impl ServerCertVerifier for AdminVerifier {
    /// The name that was connected to is an address of a replica, so it does not count.
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut last = Error::from(CertificateError::NotValidForName);
        for expected in &self.expected {
            let verified = match expected {
                ExpectedServer::Id(id) => self.verify_id(id, leaf, intermediates, now),
                ExpectedServer::Name(name) => self
                    .by_name
                    .verify_server_cert(leaf, intermediates, name, ocsp, now)
                    .map(|_| ()),
            };
            match verified {
                Ok(()) => return Ok(ServerCertVerified::assertion()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_name.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_name.supported_verify_schemes()
    }
}
