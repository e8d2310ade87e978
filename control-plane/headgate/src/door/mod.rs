//! The xDS port: its transport, and the rules that say which proxies may connect.
//!
//! - `scope_file`: the watch of the file of `--scopes`.
//!
//! Invariant: what cannot be read anew keeps its last good state, and is a problem in `status` until it can.

mod scope_file;

use std::future::Future;

use headgate_identity::{CertificateFiles, ServerIdentity, WorkloadApi, tls};
use headgate_kubernetes::faults::{FaultPlace, Faults};
use headgate_publisher::{Admission, ScopeRules, SnapshotStore};
use headgate_xds::XdsServer;
use headgate_xds::connection::tcp;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::scope_file::ScopeFile;
use crate::config::{AdmissionConfig, Failure, IdentityConfig, TransportConfig};

/// Resource of problems of the certificate, in `status`.
const CERTIFICATE: &str = "certificate of the xDS port";

/// The transport and the rules, as they are at the start.
pub(crate) struct Door {
    source: Option<CertificateSource>,
    /// The identity of the server; `None` for plaintext.
    identity: Option<watch::Receiver<ServerIdentity>>,
    scope_file: Option<ScopeFile>,
    rules: watch::Receiver<ScopeRules>,
}

enum CertificateSource {
    Files(Box<CertificateFiles>),
    WorkloadApi(WorkloadApi),
}

impl Door {
    /// Reads certificates and rules for the first time. `rules` has the namespaces and the listen address.
    ///
    /// # Errors
    /// A file cannot be used, or a flag names a namespace that is not served.
    pub(crate) fn open(config: &IdentityConfig, rules: ScopeRules) -> Result<Self, Failure> {
        let source = match &config.transport {
            TransportConfig::Plaintext => None,
            TransportConfig::Files(options) => Some(CertificateSource::Files(Box::new(
                CertificateFiles::new(options.clone())?,
            ))),
            TransportConfig::WorkloadApi(socket) => Some(CertificateSource::WorkloadApi(
                WorkloadApi::new(socket, config.trust_domains.clone())?,
            )),
        };
        let identity = source.as_ref().map(|source| match source {
            CertificateSource::Files(files) => files.identity(),
            CertificateSource::WorkloadApi(api) => api.identity(),
        });
        let base = ScopeRules {
            has_identities: source.is_some() || !config.trusted_forwarders.is_empty(),
            trust_domains: config
                .trust_domains
                .iter()
                .map(ToString::to_string)
                .collect(),
            ..rules
        };
        let (rules, scope_file) = admitted(&config.admission, base)?;
        rules.borrow().check()?;
        Ok(Self {
            source,
            identity,
            scope_file,
            rules,
        })
    }

    /// The rules, now and later. Those of flags do not change.
    pub(crate) fn rules(&self) -> watch::Receiver<ScopeRules> {
        self.rules.clone()
    }

    /// The identity of the server; `None` for plaintext.
    pub(crate) fn identity(&self) -> Option<watch::Receiver<ServerIdentity>> {
        self.identity.clone()
    }

    /// Starts to follow certificates and rules. Problems go to `faults`.
    pub(crate) fn follow(&mut self, scopes: &SnapshotStore, faults: &Faults) {
        match self.source.take() {
            None => {}
            Some(CertificateSource::Files(files)) => drop(tokio::spawn(files.run())),
            Some(CertificateSource::WorkloadApi(api)) => drop(tokio::spawn(api.run())),
        }
        if let Some(identity) = self.identity.clone() {
            tokio::spawn(report_problems(identity, faults.clone()));
        }
        if let Some(file) = self.scope_file.take() {
            tokio::spawn(file.run(scopes.clone(), faults.clone()));
        }
    }

    /// Serves proxies until `shutdown`, then drains.
    ///
    /// # Errors
    /// The transport can no longer accept connections.
    pub(crate) async fn serve(
        &self,
        server: &XdsServer<SnapshotStore>,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        match &self.identity {
            None => server.serve(tcp(listener), shutdown).await,
            Some(identity) => {
                let connections = tls(listener, identity.clone(), server.refusals());
                server.serve(connections, shutdown).await;
            }
        }
        Ok(())
    }
}

/// The rules that flags or a file add to `base`, and the file.
fn admitted(
    admission: &AdmissionConfig,
    base: ScopeRules,
) -> Result<(watch::Receiver<ScopeRules>, Option<ScopeFile>), Failure> {
    Ok(match admission {
        AdmissionConfig::Flags(flags) => {
            let admission = Admission::Flags(flags.clone());
            let rules = watch::Sender::new(ScopeRules { admission, ..base });
            (rules.subscribe(), None)
        }
        AdmissionConfig::File(path) => {
            let file = ScopeFile::open(path, base)?;
            (file.rules(), Some(file))
        }
    })
}

/// The rules that flags or a file add to `base`, as they are now.
///
/// # Errors
/// The file cannot be used.
pub(crate) fn scope_rules(
    admission: &AdmissionConfig,
    base: ScopeRules,
) -> Result<ScopeRules, Failure> {
    let (rules, _) = admitted(admission, base)?;
    Ok(rules.borrow().clone())
}

/// Reports the problem of the certificate's source while it has one.
async fn report_problems(mut identity: watch::Receiver<ServerIdentity>, faults: Faults) {
    loop {
        let now = identity.borrow_and_update().clone();
        match &now.problem {
            Some(problem) => {
                let effect = match &now.config {
                    Some(_) => "the last good certificate and bundles stay in effect",
                    None => "no proxy can connect",
                };
                faults.failed_in(
                    FaultPlace::XdsCertificate,
                    CERTIFICATE,
                    effect,
                    &problem.message,
                );
            }
            None => faults.succeeded(CERTIFICATE),
        }
        if identity.changed().await.is_err() {
            return;
        }
    }
}
