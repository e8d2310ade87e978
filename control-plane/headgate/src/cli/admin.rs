//! Flags of `headgate serve` about the admin port.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use headgate_identity::{ClientCertificates, PortTls};

use super::identity::{AdminClients, IdentityArgs};
use crate::config::{AdminConfig, TransportConfig};
use crate::listen::parse_listen;

/// The admin server, its TLS, and who may use it.
#[derive(Debug, Args, Clone)]
pub(crate) struct AdminArgs {
    /// Listen address of the admin server, for people, probes and Prometheus: /syncz /config_dump /metrics /readyz /livez /version
    /// /logging. `:PORT` listens on all interfaces, IPv4 and IPv6.
    #[arg(
        long,
        value_name = "IP:PORT|:PORT",
        value_parser = parse_listen,
        default_value = "127.0.0.1:18001",
        env = "HEADGATE_ADMIN_ADDRESS"
    )]
    admin_address: SocketAddr,
    /// Open /config_dump and `POST /logging` of the admin server to clients on other machines with a bearer token of audience
    /// `headgate.dev` that the Kubernetes API accepts for the path (TokenReview, SubjectAccessReview). Without --admin-tokens and
    /// --admin-identity, only clients on loopback may use these pages. Needs --kube.
    #[arg(long, env = "HEADGATE_ADMIN_TOKENS")]
    admin_tokens: bool,
    /// Directory with `tls.crt` and `tls.key`, as cert-manager writes them. The admin server then speaks TLS 1.3. Changed files are
    /// used without a restart. Probes need `scheme: HTTPS`.
    #[arg(long, value_name = "DIR", env = "HEADGATE_ADMIN_TLS")]
    admin_tls: Option<PathBuf>,
    /// The admin server speaks TLS 1.3 with the X.509-SVID that --spiffe-socket gives this process.
    #[arg(long, env = "HEADGATE_ADMIN_SPIFFE")]
    admin_spiffe: bool,
    /// SPIFFE ids that may use every page of the admin server from other machines, by a client certificate. `ca.crt` of --admin-tls
    /// and --trust-bundle verify it, or the bundles of --spiffe-socket. Clients without a certificate only read what is open to all. A
    /// `*` matches any characters. Repeatable.
    #[arg(long = "admin-identity", value_name = "PATTERN")]
    admin_identities: Vec<String>,
}

impl AdminArgs {
    /// What verifies the certificates of clients.
    pub(super) fn clients(&self) -> AdminClients {
        match (self.admin_identities.is_empty(), self.admin_spiffe) {
            (true, _) => AdminClients::None,
            (false, true) => AdminClients::Agent,
            (false, false) => AdminClients::Files,
        }
    }

    /// The configuration.
    ///
    /// # Errors
    /// Flags that contradict each other. The message names them and the fix.
    pub(crate) fn config(
        &self,
        identity: &IdentityArgs,
        has_kube: bool,
    ) -> Result<AdminConfig, String> {
        if self.admin_tokens && !has_kube {
            return Err("--admin-tokens needs --kube, because the Kubernetes API checks the tokens: add --kube, or remove it".to_owned());
        }
        let has_identities = !self.admin_identities.is_empty();
        let tls = PortTls::admin(match has_identities {
            true => ClientCertificates::Optional,
            false => ClientCertificates::Ignored,
        });
        let transport = match (&self.admin_tls, self.admin_spiffe) {
            (Some(_), true) => {
                return Err(
                    "--admin-tls and --admin-spiffe exclude each other: remove one".to_owned(),
                );
            }
            (Some(directory), false) => TransportConfig::Files(identity.files(tls, directory)),
            (None, true) => {
                let socket = identity.socket().ok_or(
                    "--admin-spiffe needs --spiffe-socket, the socket of the SPIFFE Workload API; or use --admin-tls",
                )?;
                TransportConfig::WorkloadApi(socket.to_owned(), tls)
            }
            (None, false) if has_identities => {
                return Err(
                    "--admin-identity needs client certificates: add --admin-tls or --admin-spiffe"
                        .to_owned(),
                );
            }
            (None, false) => TransportConfig::Plaintext,
        };
        Ok(AdminConfig {
            address: self.admin_address,
            transport,
            trust_domains: identity.trust_domains().to_vec(),
            tokens: self.admin_tokens,
            identities: self.admin_identities.clone(),
        })
    }
}
