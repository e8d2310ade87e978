//! The check of client certificates: the one URI names the trust domain, and only the bundle of that trust domain counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use headgate_xds::Refusal;
use spiffe::TrustDomain;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use crate::certificate::{NoSpiffeId, spiffe_id};

/// A refused certificate.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct Refused {
    /// The reason, for the metric.
    pub refusal: Refusal,
    /// The reason, for the log.
    pub detail: String,
}

impl Refused {
    fn error(refusal: Refusal, detail: String) -> Error {
        let refused = Arc::new(Self { refusal, detail });
        Error::InvalidCertificate(CertificateError::Other(OtherError(refused)))
    }
}

/// A verifier for each allowed trust domain; `None` if its bundle is missing.
#[derive(Debug)]
pub(crate) struct SpiffeVerifier {
    domains: BTreeMap<TrustDomain, Option<Arc<dyn ClientCertVerifier>>>,
    is_mandatory: bool,
    provider: Arc<CryptoProvider>,
}

impl SpiffeVerifier {
    /// A verifier of the certificates of these trust domains. If it is mandatory, clients without a certificate are refused.
    ///
    /// # Errors
    /// A bundle cannot be used.
    pub(crate) fn new(
        domains: impl IntoIterator<Item = (TrustDomain, Option<RootCertStore>)>,
        is_mandatory: bool,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let verifiers = domains.into_iter().map(|(domain, roots)| {
            let verifier = roots.map(|roots| {
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                    .build()
                    .map_err(|error| format!("the bundle of trust domain {domain}: {error}"))
            });
            Ok((domain.clone(), verifier.transpose()?))
        });
        Ok(Self {
            domains: verifiers.collect::<Result<_, String>>()?,
            is_mandatory,
            provider: provider.clone(),
        })
    }
}

impl ClientCertVerifier for SpiffeVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let id = spiffe_id(end_entity).map_err(|error| {
            let refusal = match error {
                NoSpiffeId::Unreadable(_) => Refusal::CertificateInvalid,
                NoSpiffeId::Count(_) | NoSpiffeId::Invalid { .. } => Refusal::UriSan,
            };
            Refused::error(refusal, error.to_string())
        })?;
        let domain = id.trust_domain();
        let verifier = self.domains.get(domain).ok_or_else(|| {
            let detail =
                format!("{id}: trust domain {domain} is not allowed; add it to --trust-domains");
            Refused::error(Refusal::TrustDomain, detail)
        })?;
        let verifier = verifier.as_ref().ok_or_else(|| {
            let detail = format!("{id}: there is no bundle of trust domain {domain}; add it with --trust-bundle, or federate with it in SPIRE");
            Refused::error(Refusal::CertificateUntrusted, detail)
        })?;
        verifier
            .verify_client_cert(end_entity, intermediates, now)
            .map_err(|error| Refused::error(refusal_of(&error), format!("{id}: {error}")))
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
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

fn refusal_of(error: &Error) -> Refusal {
    let Error::InvalidCertificate(error) = error else {
        return Refusal::CertificateInvalid;
    };
    match error {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Refusal::CertificateExpired,
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            Refusal::CertificateUntrusted
        }
        _ => Refusal::CertificateInvalid,
    }
}
