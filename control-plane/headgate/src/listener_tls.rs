//! TLS of the listener that proxies get: its settings, and the files of its certificate, which are followed.
//!
//! Invariant: files that cannot be used change nothing but a problem in `status`.

use std::sync::Arc;

use headgate_identity::listener::ListenerState;
use headgate_identity::{ListenerFiles, ListenerPem};
use headgate_kubernetes::faults::{FaultPlace, Faults};
use headgate_publisher::SnapshotStore;
use headgate_report::metrics::Metrics;
use headgate_translate::{ListenerCertificateSource as Source, ListenerSecrets, ListenerTls};
use tokio::sync::watch;

use crate::config::{Failure, ListenerSource, ListenerTlsConfig};

/// Resource of problems of the certificate, in `status`.
const CERTIFICATE: &str = "certificate of the listener";

/// The settings and the files.
pub(crate) struct ListenerTlsSource {
    tls: Option<ListenerTls>,
    files: Option<ListenerFiles>,
}

impl ListenerTlsSource {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(crate) fn open(config: Option<&ListenerTlsConfig>) -> Result<Self, Failure> {
        let Some(config) = config else {
            return Ok(Self {
                tls: None,
                files: None,
            });
        };
        let (source, trust_domains, files) = match &config.source {
            ListenerSource::Agent => {
                let domains = config.trust_domains.iter().map(ToString::to_string);
                (Source::Agent, domains.collect(), None)
            }
            ListenerSource::Files(options) => {
                let files = ListenerFiles::new(options.clone())?;
                let secrets = secrets(&files.state().borrow().certificates);
                let domains = secrets.bundles.keys().cloned().collect();
                (Source::Ads(Arc::new(secrets)), domains, Some(files))
            }
        };
        Ok(Self {
            tls: Some(ListenerTls {
                source,
                clients: config.clients,
                trust_domains,
                http3: config.http3,
            }),
            files,
        })
    }

    /// The settings and the secrets as they are at the start.
    pub(crate) fn tls(&self) -> Option<ListenerTls> {
        self.tls.clone()
    }

    /// Starts to follow the files. Problems go to `faults`, the end of the validity to `metrics`.
    pub(crate) fn follow(self, scopes: SnapshotStore, faults: Faults, metrics: Arc<Metrics>) {
        if let Some(files) = self.files {
            tokio::spawn(publish(files.state(), scopes, faults, metrics));
            tokio::spawn(files.run());
        }
    }
}

fn secrets(certificates: &ListenerPem) -> ListenerSecrets {
    ListenerSecrets {
        chain: certificates.chain.clone(),
        key: certificates.key.clone(),
        bundles: certificates.bundles.clone(),
    }
}

async fn publish(
    mut state: watch::Receiver<ListenerState>,
    scopes: SnapshotStore,
    faults: Faults,
    metrics: Arc<Metrics>,
) {
    // The secrets of the first certificate are in the settings.
    let mut in_effect = state.borrow().certificates.clone();
    loop {
        let now = state.borrow_and_update().clone();
        match &now.problem {
            Some(problem) => faults.failed_in(
                FaultPlace::ListenerCertificate,
                CERTIFICATE,
                "the last good certificate and bundles stay in effect",
                &problem.message,
            ),
            None => faults.succeeded(CERTIFICATE),
        }
        metrics.listener_certificate_expires(now.certificates.validity.not_after);
        if now.certificates != in_effect {
            in_effect = now.certificates;
            let secrets = Arc::new(secrets(&in_effect));
            // Snapshots of many models take long, and streams run on the same threads.
            tokio::task::block_in_place(|| scopes.set_listener_secrets(secrets));
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}
