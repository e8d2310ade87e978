//! The xDS port: its transport, and the rules that say which proxies may connect.
//!
//! - `scope_file`: the watch of the file of `--scopes`.
//!
//! Invariant: if a certificate or the file of rules cannot be read again, the last good one stays in effect, and `status` shows the problem
//! until the next read succeeds.

mod scope_file;

use std::future::Future;
use std::time::Duration;

use headgate_identity::{HandshakeOptions, PortTls, ServerIdentity, tls};
use headgate_kubernetes::faults::{FaultPlace, Faults};
use headgate_publisher::{RuleSource, ScopeRules, SnapshotStore};
use headgate_xds::XdsServer;
use headgate_xds::connection::tcp;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::scope_file::ScopeFile;
use crate::config::{Failure, IdentityConfig, RuleSourceConfig};
use crate::port_certificate::{InStatus, PortCertificate};

/// Problems of the certificate.
const IN_STATUS: InStatus = InStatus {
    place: FaultPlace::XdsCertificate,
    resource: "certificate of the xDS port",
    without: "no proxy can connect",
};

/// The transport and the rules, as they are at the start.
pub(crate) struct XdsPort {
    /// `None` for plaintext.
    certificate: Option<PortCertificate>,
    handshake_timeout: Duration,
    scope_file: Option<ScopeFile>,
    rules: watch::Receiver<ScopeRules>,
}

impl XdsPort {
    /// Reads certificates and rules for the first time. `rules` has the namespaces and the listen address.
    ///
    /// # Errors
    /// A file cannot be used, or a flag names a namespace that is not served.
    pub(crate) fn open(
        config: &IdentityConfig,
        rules: ScopeRules,
        handshake_timeout: Duration,
    ) -> Result<Self, Failure> {
        let certificate = PortCertificate::open(&config.transport, &config.trust_domains)?;
        let base = ScopeRules {
            has_identities: certificate.is_some() || !config.trusted_forwarders.is_empty(),
            trust_domains: config
                .trust_domains
                .iter()
                .map(ToString::to_string)
                .collect(),
            ..rules
        };
        let (rules, scope_file) = rules_from(&config.rules, base)?;
        rules.borrow().check()?;
        Ok(Self {
            certificate,
            handshake_timeout,
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
        self.certificate.as_ref().map(PortCertificate::identity)
    }

    /// Starts to follow certificates and rules. Problems go to `faults`.
    pub(crate) fn follow(&mut self, scopes: &SnapshotStore, faults: &Faults) {
        if let Some(certificate) = &mut self.certificate {
            certificate.follow(faults, &IN_STATUS);
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
        match self.identity() {
            None => server.serve(tcp(listener), shutdown).await,
            Some(identity) => {
                let options = HandshakeOptions {
                    tls: PortTls::XDS,
                    timeout: self.handshake_timeout,
                    refusals: server.refusals(),
                };
                let connections = tls(listener, identity, options);
                server.serve(connections, shutdown).await;
            }
        }
        Ok(())
    }
}

/// The rules that flags or a file add to `base`, and the file.
fn rules_from(
    source: &RuleSourceConfig,
    base: ScopeRules,
) -> Result<(watch::Receiver<ScopeRules>, Option<ScopeFile>), Failure> {
    Ok(match source {
        RuleSourceConfig::Flags(flags) => {
            let source = RuleSource::Flags(flags.clone());
            let rules = watch::Sender::new(ScopeRules { source, ..base });
            (rules.subscribe(), None)
        }
        RuleSourceConfig::File(path) => {
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
    source: &RuleSourceConfig,
    base: ScopeRules,
) -> Result<ScopeRules, Failure> {
    let (rules, _) = rules_from(source, base)?;
    Ok(rules.borrow().clone())
}
