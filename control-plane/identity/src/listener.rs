//! The certificate that proxies present to their clients, and the bundles that verify their clients: files of one directory in the
//! layout of cert-manager, and PEM bundles of other trust domains.
//!
//! Invariant: as with the certificate of the xDS port, changed files are used after two equal reads, and files that do not fit
//! together, or a certificate that is not valid now, change nothing but the problem that `status` shows.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use spiffe::TrustDomain;
use tokio::sync::watch;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::certificate::spiffe_id;
use crate::files::{certificates, fault, read};
use crate::server_identity::{IdentityError, Problem};
use crate::stable::{Stable, follow};
use crate::validity::{Validity, unix_now};

/// The files.
#[derive(Debug, Clone)]
pub struct ListenerFileOptions {
    /// Directory with `tls.crt` and `tls.key`, and with `ca.crt` if clients may present certificates.
    pub directory: PathBuf,
    /// Whether clients may present certificates.
    pub clients: bool,
    /// Whether exactly one trust domain must be allowed.
    pub one_trust_domain: bool,
    /// PEM bundles of further trust domains.
    pub bundles: Vec<(TrustDomain, PathBuf)>,
    /// Trust domains whose certificates are allowed; empty for the one of the certificate and those of `bundles`.
    pub trust_domains: Vec<TrustDomain>,
}

/// A certificate with its key, and the bundles of the allowed trust domains, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct ListenerPem {
    /// The certificate and those of intermediate authorities.
    pub chain: Vec<u8>,
    /// The private key.
    pub key: Vec<u8>,
    /// The certificates of the authorities of each allowed trust domain.
    pub bundles: BTreeMap<String, Vec<u8>>,
    /// Validity of the certificate.
    pub validity: Validity,
}

impl fmt::Debug for ListenerPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerPem")
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

/// What the files say now.
#[derive(Debug, Clone)]
pub struct ListenerState {
    /// The last good certificates.
    pub certificates: Arc<ListenerPem>,
    /// Why the files as they are now are not in effect, if so.
    pub problem: Option<Problem>,
}

/// The files, and what was made from them.
#[derive(Debug)]
pub struct ListenerFiles {
    options: ListenerFileOptions,
    content: Stable<Result<Content, String>>,
    /// When the validity of the certificate is to be judged again, in Unix seconds.
    until: Option<i64>,
    state: watch::Sender<ListenerState>,
}

#[derive(Clone, PartialEq, Eq)]
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authorities: Option<Vec<u8>>,
    bundles: Vec<Vec<u8>>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Content")
    }
}

impl ListenerFiles {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// [`IdentityError`]: there are no last good certificates to fall back to.
    pub fn new(options: ListenerFileOptions) -> Result<Self, IdentityError> {
        let content = Content::read(&options);
        let certificates = parse(&options, &content).map_err(IdentityError)?;
        let verdict = certificates.validity.verdict(None, unix_now());
        let problem = verdict.problem.map(|why| not_valid(&options, &why));
        Ok(Self {
            options,
            content: Stable::new(content),
            until: verdict.until,
            state: watch::Sender::new(ListenerState {
                certificates: Arc::new(certificates),
                problem: problem.map(|problem| Problem::after(None, problem)),
            }),
        })
    }

    /// The certificates, now and later.
    pub fn state(&self) -> watch::Receiver<ListenerState> {
        self.state.subscribe()
    }

    /// Reads the files again and again until the last subscriber is dropped.
    pub async fn run(self) {
        let options = &self.options;
        let read = || Content::read(options);
        let apply = |content: &_| publish(&self.state, options, parse(options, content));
        follow(self.content, self.until, &self.state, read, apply).await;
    }
}

/// Publishes what the files say, unless the certificate is not valid now and the one in effect is. Returns when this is to be judged again,
/// in Unix seconds.
fn publish(
    state: &watch::Sender<ListenerState>,
    options: &ListenerFileOptions,
    parsed: Result<ListenerPem, String>,
) -> Option<i64> {
    let mut until = None;
    state.send_modify(|state| {
        let problem = match parsed {
            Ok(certificates) => {
                let current = state.certificates.validity;
                let verdict = certificates.validity.verdict(Some(current), unix_now());
                until = verdict.until;
                if verdict.takes_effect && *state.certificates != certificates {
                    let not_after = certificates.validity.not_after;
                    tracing::info!(
                        not_after,
                        "the TLS certificate of the listener is in effect"
                    );
                    state.certificates = Arc::new(certificates);
                }
                verdict.problem.map(|why| not_valid(options, &why))
            }
            Err(message) => Some(message),
        };
        let before = state.problem.take();
        state.problem = problem.map(|problem| Problem::after(before.as_ref(), problem));
    });
    until
}

fn not_valid(options: &ListenerFileOptions, why: &str) -> String {
    fault("--listener-tls", &options.directory, "tls.crt", why)
}

impl Content {
    fn read(options: &ListenerFileOptions) -> Result<Self, String> {
        let own = |name: &str| read("--listener-tls", &options.directory.join(name));
        let bundles = options.bundles.iter();
        Ok(Self {
            certificate: own("tls.crt")?,
            key: own("tls.key")?,
            authorities: options.clients.then(|| own("ca.crt")).transpose()?,
            bundles: bundles
                .map(|(_, path)| read("--listener-trust-bundle", path))
                .collect::<Result<_, _>>()?,
        })
    }
}

fn parse(
    options: &ListenerFileOptions,
    content: &Result<Content, String>,
) -> Result<ListenerPem, String> {
    let content = content.as_ref().map_err(Clone::clone)?;
    let fault = |name: &str, why: &str| fault("--listener-tls", &options.directory, name, why);
    let chain = certificates(&content.certificate).map_err(|why| fault("tls.crt", &why))?;
    let key = PrivateKeyDer::from_pem_slice(&content.key)
        .map_err(|error| fault("tls.key", &format!("no private key in PEM: {error}")))?;
    let leaf = chain
        .first()
        .ok_or_else(|| fault("tls.crt", "no certificate in PEM"))?;
    let validity = Validity::of(leaf).map_err(|error| fault("tls.crt", &error.to_string()))?;
    let id = spiffe_id(leaf).ok();
    CertifiedKey::from_der(chain.clone(), key, &ring::default_provider()).map_err(|error| {
        fault(
            "tls.key",
            &format!("it does not fit tls.crt, or cannot be used: {error}"),
        )
    })?;
    let mut bundles = BTreeMap::<String, Vec<u8>>::new();
    for ((domain, path), pem) in options.bundles.iter().zip(&content.bundles) {
        certificates(pem)
            .map_err(|why| format!("--listener-trust-bundle {domain}={}: {why}", path.display()))?;
        bundles.entry(domain.to_string()).or_default().extend(pem);
    }
    if let Some(pem) = &content.authorities {
        certificates(pem).map_err(|why| fault("ca.crt", &why))?;
        let own = id.map(|id| id.trust_domain().clone());
        let own = own
            .or_else(|| only_without_bundle(options))
            .ok_or_else(|| {
                fault(
                    "tls.crt",
                    "it has no SPIFFE id, so the trust domain of ca.crt is unknown: name it with --listener-trust-domains, and give \
                     each other trust domain its own --listener-trust-bundle",
                )
            })?;
        bundles.entry(own.to_string()).or_default().extend(pem);
    }
    for domain in &options.trust_domains {
        if options.clients && !bundles.contains_key(&domain.to_string()) {
            return Err(format!(
                "--listener-trust-domains: {domain} has no bundle: add --listener-trust-bundle {domain}=FILE"
            ));
        }
    }
    if !options.trust_domains.is_empty() {
        bundles.retain(|domain, _| {
            options
                .trust_domains
                .iter()
                .any(|allowed| allowed.to_string() == *domain)
        });
    }
    if options.one_trust_domain && bundles.len() != 1 {
        return Err(format!(
            "--listener-client-certificates request works with one trust domain, and there are {}: name one with \
             --listener-trust-domains, or use require",
            bundles.len()
        ));
    }
    Ok(ListenerPem {
        chain: content.certificate.clone(),
        key: content.key.clone(),
        bundles,
        validity,
    })
}

/// The only allowed trust domain without a bundle of its own.
fn only_without_bundle(options: &ListenerFileOptions) -> Option<TrustDomain> {
    let has_bundle = |domain: &&TrustDomain| options.bundles.iter().any(|(d, _)| d == *domain);
    let mut without = options.trust_domains.iter().filter(|d| !has_bundle(d));
    match (without.next(), without.next()) {
        (Some(only), None) => Some(only.clone()),
        _ => None,
    }
}
