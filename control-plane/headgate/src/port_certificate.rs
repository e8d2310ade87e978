//! The TLS certificate of a port: its source, and its problems in `status`.
//!
//! Invariant: while a source fails, the last good certificate stays in effect, and `status` shows the problem until it is solved.

use headgate_identity::{CertificateFiles, ServerIdentity, TrustDomain, WorkloadApi};
use headgate_kubernetes::faults::{FaultPlace, Faults};
use tokio::sync::watch;

use crate::config::{Failure, TransportConfig};

/// How problems of the certificate are shown.
pub(crate) struct InStatus {
    /// What fails.
    pub place: FaultPlace,
    /// The resource.
    pub resource: &'static str,
    /// The effect without any certificate.
    pub without: &'static str,
}

/// The certificate of a port.
pub(crate) struct PortCertificate {
    /// `None` once it is followed.
    source: Option<CertificateSource>,
    identity: watch::Receiver<ServerIdentity>,
}

enum CertificateSource {
    Files(Box<CertificateFiles>),
    WorkloadApi(WorkloadApi),
}

impl PortCertificate {
    /// Reads the certificate for the first time; `None` for plaintext.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(crate) fn open(
        transport: &TransportConfig,
        trust_domains: &[TrustDomain],
    ) -> Result<Option<Self>, Failure> {
        let source = match transport {
            TransportConfig::Plaintext => return Ok(None),
            TransportConfig::Files(options) => {
                CertificateSource::Files(Box::new(CertificateFiles::new(options.clone())?))
            }
            TransportConfig::WorkloadApi(socket, tls) => CertificateSource::WorkloadApi(
                WorkloadApi::new(socket, trust_domains.to_vec(), *tls)?,
            ),
        };
        let identity = match &source {
            CertificateSource::Files(files) => files.identity(),
            CertificateSource::WorkloadApi(api) => api.identity(),
        };
        Ok(Some(Self {
            source: Some(source),
            identity,
        }))
    }

    /// The identity of the server, now and later.
    pub(crate) fn identity(&self) -> watch::Receiver<ServerIdentity> {
        self.identity.clone()
    }

    /// Starts to follow the source. Problems go to `faults`.
    pub(crate) fn follow(&mut self, faults: &Faults, shown: &'static InStatus) {
        match self.source.take() {
            None => return,
            Some(CertificateSource::Files(files)) => drop(tokio::spawn(files.run())),
            Some(CertificateSource::WorkloadApi(api)) => drop(tokio::spawn(api.run())),
        }
        tokio::spawn(report_problems(self.identity(), faults.clone(), shown));
    }
}

/// Reports the problem of the certificate's source while it has one.
async fn report_problems(
    mut identity: watch::Receiver<ServerIdentity>,
    faults: Faults,
    shown: &'static InStatus,
) {
    loop {
        let now = identity.borrow_and_update().clone();
        match &now.problem {
            Some(problem) => {
                let effect = match &now.config {
                    Some(_) => "the last good certificate and bundles stay in effect",
                    None => shown.without,
                };
                faults.failed_in(shown.place, shown.resource, effect, &problem.message);
            }
            None => faults.succeeded(shown.resource),
        }
        if identity.changed().await.is_err() {
            return;
        }
    }
}
