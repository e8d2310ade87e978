//! Certificates of a port from files: `tls.crt`, `tls.key` and `ca.crt` of one directory, as cert-manager writes them, and PEM bundles of
//! other trust domains.
//!
//! Invariant: changed files are used after two reads in a row find the same content, because a writer may replace them one after
//! another. Files that do not fit together change nothing but the problem that `status` shows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use spiffe::TrustDomain;
use tokio::sync::watch;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificate::spiffe_id;
use crate::server_identity::{
    ClientCertificates, Credentials, IdentityError, PortTls, Problem, ServerIdentity, TrustBundles,
    publish,
};
use crate::stable::{Stable, follow};
use crate::validity::unix_now;

/// The files, and the trust domains that are allowed.
#[derive(Debug, Clone)]
pub struct FileOptions {
    /// The port that the certificate is for.
    pub tls: PortTls,
    /// Directory with `tls.crt` and `tls.key`, and `ca.crt` if clients are asked for certificates.
    pub directory: PathBuf,
    /// PEM bundles of further trust domains.
    pub bundles: Vec<(TrustDomain, PathBuf)>,
    /// Trust domains whose certificates are allowed; empty for the one of the server's certificate and those of `bundles`.
    pub trust_domains: Vec<TrustDomain>,
}

/// The files and the identity that was made from them.
#[derive(Debug)]
pub struct CertificateFiles {
    options: FileOptions,
    content: Stable<Result<Content, String>>,
    /// When the validity of the certificate is to be judged again, in Unix seconds.
    until: Option<i64>,
    identity: watch::Sender<ServerIdentity>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
    /// `None` if clients are not asked for certificates.
    authorities: Option<Vec<u8>>,
    bundles: Vec<Vec<u8>>,
}

impl CertificateFiles {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// [`IdentityError`]: there is no last good identity to fall back to.
    pub fn new(options: FileOptions) -> Result<Self, IdentityError> {
        let content = Content::read(&options);
        let sender = watch::Sender::default();
        let identity = identity(&options, &content).map_err(IdentityError)?;
        let until = put_in_effect(&sender, &options, identity);
        Ok(Self {
            options,
            content: Stable::new(content),
            until,
            identity: sender,
        })
    }

    /// The identity, now and later.
    pub fn identity(&self) -> watch::Receiver<ServerIdentity> {
        self.identity.subscribe()
    }

    /// Reads the files again and again until the last subscriber is dropped.
    pub async fn run(self) {
        let options = &self.options;
        let read = || Content::read(options);
        let sender = &self.identity;
        let apply = |content: &_| match identity(options, content) {
            Ok(identity) => put_in_effect(sender, options, identity),
            Err(problem) => {
                publish(sender, options.tls, Err(problem));
                None
            }
        };
        follow(self.content, self.until, sender, read, apply).await;
    }
}

impl Content {
    fn read(options: &FileOptions) -> Result<Self, String> {
        let own = |name: &str| read(options.tls.flag, &options.directory.join(name));
        let has_clients = options.tls.clients != ClientCertificates::Ignored;
        let bundles = options.bundles.iter();
        Ok(Self {
            certificate: own("tls.crt")?,
            key: own("tls.key")?,
            authorities: has_clients.then(|| own("ca.crt")).transpose()?,
            bundles: bundles
                .filter(|_| has_clients)
                .map(|(_, path)| read("--trust-bundle", path))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// Publishes an identity, unless its certificate is not valid now and the one in effect is. Returns when this is to be judged again, in
/// Unix seconds.
fn put_in_effect(
    to: &watch::Sender<ServerIdentity>,
    options: &FileOptions,
    identity: ServerIdentity,
) -> Option<i64> {
    let validity = identity.validity?;
    let current = to.borrow().validity;
    let verdict = validity.verdict(current, unix_now());
    let problem = verdict
        .problem
        .map(|why| fault(options.tls.flag, &options.directory, "tls.crt", &why));
    let read = match (verdict.takes_effect, problem) {
        (false, Some(problem)) => Err(problem),
        (_, problem) => Ok(ServerIdentity {
            problem: problem.map(|problem| Problem::after(to.borrow().problem.as_ref(), problem)),
            ..identity
        }),
    };
    publish(to, options.tls, read);
    verdict.until
}

/// The message about a file of the directory that a flag names.
pub(crate) fn fault(flag: &str, directory: &Path, name: &str, why: &str) -> String {
    format!("{flag}: {}: {why}", directory.join(name).display())
}

pub(crate) fn read(flag: &str, path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| {
        format!(
            "{flag}: cannot read {}: {error}; create the file, or set {flag} to another path",
            path.display()
        )
    })
}

fn identity(
    options: &FileOptions,
    content: &Result<Content, String>,
) -> Result<ServerIdentity, String> {
    let content = content.as_ref().map_err(Clone::clone)?;
    let flag = options.tls.flag;
    let fault = |name: &str, why: &str| fault(flag, &options.directory, name, why);
    let chain = certificates(&content.certificate).map_err(|why| fault("tls.crt", &why))?;
    let key = PrivateKeyDer::from_pem_slice(&content.key)
        .map_err(|error| fault("tls.key", &format!("no private key in PEM: {error}")))?;
    let mut bundles = TrustBundles::new();
    for ((domain, path), pem) in options.bundles.iter().zip(&content.bundles) {
        let bundle = certificates(pem)
            .map_err(|why| format!("--trust-bundle {domain}={}: {why}", path.display()))?;
        bundles.entry(domain.clone()).or_default().extend(bundle);
    }
    if let Some(authorities) = &content.authorities {
        let own = certificates(authorities).map_err(|why| fault("ca.crt", &why))?;
        let own_domain = own_domain(options, &chain).map_err(|why| fault("tls.crt", &why))?;
        bundles.entry(own_domain).or_default().extend(own);
    }
    let allowed: BTreeSet<TrustDomain> = if options.trust_domains.is_empty() {
        bundles.keys().cloned().collect()
    } else {
        options.trust_domains.iter().cloned().collect()
    };
    let credentials = Credentials {
        chain,
        key,
        bundles,
    };
    ServerIdentity::new(credentials, &allowed, options.tls)
        .map_err(|why| format!("{flag} {}: {why}", options.directory.display()))
}

pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| format!("not PEM: {error}"))?;
    if all.is_empty() {
        return Err("no certificate in PEM".to_owned());
    }
    Ok(all)
}

/// The trust domain that `ca.crt` is the bundle of: that of the server's certificate, else the only allowed one without a
/// bundle of its own.
fn own_domain(
    options: &FileOptions,
    chain: &[CertificateDer<'static>],
) -> Result<TrustDomain, String> {
    if let Some(id) = chain.first().and_then(|leaf| spiffe_id(leaf).ok()) {
        return Ok(id.trust_domain().clone());
    }
    let has_bundle = |domain: &&TrustDomain| options.bundles.iter().any(|(d, _)| d == *domain);
    let mut without = options.trust_domains.iter().filter(|d| !has_bundle(d));
    match (without.next(), without.next()) {
        (Some(only), None) => Ok(only.clone()),
        _ => Err(
            "the certificate has no SPIFFE id, so the trust domain of ca.crt is unknown: name it with --trust-domains, and give each \
             other trust domain its own --trust-bundle"
                .to_owned(),
        ),
    }
}
