//! The identity of this server: the TLS configuration for new handshakes, and what `status` shows of it.
//!
//! Invariant: sessions are never resumed, because a resumed session skips the check of the client's certificate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use spiffe::TrustDomain;
use tokio::sync::watch;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, version};

use crate::certificate::spiffe_id;
use crate::validity::Validity;
use crate::verifier::SpiffeVerifier;

/// The certificates of the authorities of each trust domain, in DER.
pub type TrustBundles = BTreeMap<TrustDomain, Vec<CertificateDer<'static>>>;

/// Certificates that cannot be used. The message names the flag or the file, and the fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct IdentityError(pub String);

/// Why the source has nothing newer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The reason, with the fix.
    pub message: String,
    /// Since when.
    pub since: SystemTime,
}

impl Problem {
    /// The problem with this message, after the one `before`.
    pub(crate) fn after(before: Option<&Self>, message: String) -> Self {
        let since = before.map_or_else(SystemTime::now, |before| before.since);
        Self { message, since }
    }
}

/// The identity of this server, as its source knows it now.
#[derive(Debug, Clone, Default)]
pub struct ServerIdentity {
    /// The configuration of new handshakes; `None` before the first certificate.
    pub config: Option<Arc<ServerConfig>>,
    /// SPIFFE id of the server's certificate; `None` if it has none.
    pub spiffe_id: Option<String>,
    /// Validity of the server's certificate.
    pub validity: Option<Validity>,
    /// Trust domains whose certificates are allowed.
    pub trust_domains: Vec<String>,
    /// The problem of the source, if it has one. The rest is then the last good state.
    pub problem: Option<Problem>,
}

/// What a port demands of the certificates of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// A client without a certificate is refused.
    Required,
    /// A client may have none. An invalid one is refused.
    Optional,
    /// Clients are not asked for one.
    Ignored,
}

/// The TLS of one port of this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortTls {
    /// Name of the port in the log.
    pub port: &'static str,
    /// The flag that names the directory of its certificate.
    pub flag: &'static str,
    /// The demand on clients.
    pub clients: ClientCertificates,
    /// Application protocols (ALPN).
    pub protocols: &'static [&'static str],
}

impl PortTls {
    /// The xDS port.
    pub const XDS: Self = Self {
        port: "xds",
        flag: "--xds-tls",
        clients: ClientCertificates::Required,
        protocols: &["h2"],
    };

    /// The admin port.
    #[must_use]
    pub const fn admin(clients: ClientCertificates) -> Self {
        Self {
            port: "admin",
            flag: "--admin-tls",
            clients,
            protocols: &["http/1.1"],
        }
    }
}

/// A certificate of this server, with its key, and the bundles.
pub(crate) struct Credentials {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub bundles: TrustBundles,
}

impl ServerIdentity {
    /// The identity of a port with these credentials. Certificates of the `allowed` trust domains are accepted.
    pub(crate) fn new(
        credentials: Credentials,
        allowed: &BTreeSet<TrustDomain>,
        tls: PortTls,
    ) -> Result<Self, String> {
        let Credentials {
            chain,
            key,
            bundles,
        } = credentials;
        let leaf = chain.first().ok_or("there is no certificate")?;
        let id = spiffe_id(leaf).ok().map(|id| id.to_string());
        let validity = Validity::of(leaf).map_err(|error| error.to_string())?;
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&version::TLS13])
            .map_err(|error| error.to_string())?;
        let config = match tls.clients {
            ClientCertificates::Ignored => config.with_no_client_auth(),
            demand => {
                let verifier = verifier(allowed, &bundles, demand, provider)?;
                config.with_client_cert_verifier(Arc::new(verifier))
            }
        };
        let config = config.with_single_cert(chain, key);
        let mut config = config.map_err(|error| {
            format!("the private key does not fit the certificate, or cannot be used: {error}")
        })?;
        let protocols = tls.protocols.iter();
        config.alpn_protocols = protocols.map(|p| p.as_bytes().to_vec()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self {
            config: Some(Arc::new(config)),
            spiffe_id: id,
            validity: Some(validity),
            trust_domains: match tls.clients {
                ClientCertificates::Ignored => Vec::new(),
                _ => allowed.iter().map(ToString::to_string).collect(),
            },
            problem: None,
        })
    }
}

fn verifier(
    allowed: &BTreeSet<TrustDomain>,
    bundles: &TrustBundles,
    demand: ClientCertificates,
    provider: Arc<CryptoProvider>,
) -> Result<SpiffeVerifier, String> {
    let domains = allowed.iter().map(|domain| {
        let roots = bundles.get(domain).map(|bundle| roots(domain, bundle));
        Ok((domain.clone(), roots.transpose()?))
    });
    let domains = domains.collect::<Result<Vec<_>, String>>()?;
    let is_mandatory = demand == ClientCertificates::Required;
    SpiffeVerifier::new(domains, is_mandatory, provider)
}

fn roots(
    domain: &TrustDomain,
    bundle: &[CertificateDer<'static>],
) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in bundle {
        roots
            .add(certificate.clone())
            .map_err(|error| format!("the bundle of trust domain {domain}: {error}"))?;
    }
    if roots.is_empty() {
        return Err(format!("the bundle of trust domain {domain} is empty"));
    }
    Ok(roots)
}

/// Publishes the identity that was read. If the source failed, publishes its problem, and keeps the last good identity.
pub(crate) fn publish(
    to: &watch::Sender<ServerIdentity>,
    tls: PortTls,
    read: Result<ServerIdentity, String>,
) {
    to.send_if_modified(|identity| match read {
        Ok(new) => {
            let spiffe_id = new.spiffe_id.as_deref();
            let not_after = new.validity.map(|validity| validity.not_after);
            let (port, trust_domains) = (tls.port, new.trust_domains.join(","));
            tracing::info!(
                port,
                spiffe_id,
                not_after,
                trust_domains,
                "the TLS certificate of a port is in effect"
            );
            *identity = new;
            true
        }
        Err(message) => {
            let before = identity.problem.as_ref();
            if before.is_some_and(|before| before.message == message) {
                return false;
            }
            identity.problem = Some(Problem::after(before, message));
            true
        }
    });
}
