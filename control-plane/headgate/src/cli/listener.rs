//! Flags of the TLS of the listener that proxies get.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use headgate_identity::{ListenerFileOptions, TrustDomain};
use headgate_translate::{ClientCertificates, Http3};

use super::identity::{parse_bundle, parse_trust_domain};
use crate::config::{ListenerSource, ListenerTlsConfig};

/// TLS and HTTP/3 of the listener that proxies get.
#[derive(Debug, Args, Clone)]
#[command(next_help_heading = "TLS of the listener")]
pub(crate) struct ListenerArgs {
    /// Directory with the certificate of the listener, `tls.crt` and `tls.key`, and with `ca.crt` if clients present certificates, as
    /// cert-manager writes them. Proxies get them over the xDS stream. Changed files are used without a restart.
    #[arg(
        long,
        value_name = "DIR",
        env = "HEADGATE_LISTENER_TLS",
        conflicts_with = "listener_spiffe"
    )]
    listener_tls: Option<PathBuf>,
    /// Take the certificate of the listener and the bundles of its clients from the SPIRE agent of each proxy. The bootstrap of the
    /// proxy needs the cluster of the agent, as `headgate bootstrap --identity spiffe` writes it.
    #[arg(long, env = "HEADGATE_LISTENER_SPIFFE")]
    listener_spiffe: bool,
    /// Client certificates. `none`: clients are not asked for one. `request`: optional, verified if present. `require`: clients without
    /// one cannot connect. A certificate needs exactly one URI, a SPIFFE id of an allowed trust domain, verified by the bundle of that
    /// trust domain.
    #[arg(
        long,
        value_name = "MODE",
        default_value = "none",
        env = "HEADGATE_LISTENER_CLIENT_CERTIFICATES"
    )]
    listener_client_certificates: Clients,
    /// PEM bundle that verifies the clients of another trust domain, with --listener-tls. Repeatable.
    #[arg(long = "listener-trust-bundle", value_name = "TRUST_DOMAIN=FILE", value_parser = parse_bundle)]
    listener_trust_bundles: Vec<(TrustDomain, PathBuf)>,
    /// Trust domains of clients. Default with --listener-tls: that of `tls.crt` and those of --listener-trust-bundle. Required with
    /// --listener-spiffe if clients present certificates. With `--listener-client-certificates request`, exactly one.
    #[arg(long, value_name = "TRUST_DOMAIN,…", value_delimiter = ',', value_parser = parse_trust_domain, env = "HEADGATE_LISTENER_TRUST_DOMAINS")]
    listener_trust_domains: Vec<TrustDomain>,
    /// Also serve HTTP/3, on the UDP port with the same number as the TCP port of the listener and with the same certificates. PORT
    /// (1–65535): the port that responses advertise in `alt-svc`, if clients reach another one.
    #[arg(
        long,
        value_name = "PORT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "0",
        env = "HEADGATE_HTTP3"
    )]
    http3: Option<u16>,
}

/// Whether clients present certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Clients {
    /// Clients are not asked for one.
    None,
    /// Optional; verified if present.
    Request,
    /// Clients without one cannot connect.
    Require,
}

impl ListenerArgs {
    /// The configuration; `None` for plain HTTP.
    ///
    /// # Errors
    /// Flags that contradict each other. The message names them and the fix.
    pub(crate) fn config(&self) -> Result<Option<ListenerTlsConfig>, String> {
        let clients = match self.listener_client_certificates {
            Clients::None => ClientCertificates::None,
            Clients::Request => ClientCertificates::Request,
            Clients::Require => ClientCertificates::Require,
        };
        let asks = clients != ClientCertificates::None;
        let given = [
            ("--listener-client-certificates", asks),
            ("--http3", self.http3.is_some()),
            (
                "--listener-trust-bundle",
                !self.listener_trust_bundles.is_empty(),
            ),
            (
                "--listener-trust-domains",
                !self.listener_trust_domains.is_empty(),
            ),
        ];
        if self.listener_tls.is_none() && !self.listener_spiffe {
            return match given.iter().find(|(_, is_given)| *is_given) {
                Some((flag, _)) => Err(format!(
                    "{flag} needs a listener with TLS: add --listener-tls DIR or --listener-spiffe"
                )),
                None => Ok(None),
            };
        }
        if let Some((flag, _)) = given[2..].iter().find(|(_, is_given)| *is_given && !asks) {
            return Err(format!(
                "{flag} needs client certificates: add --listener-client-certificates request or require"
            ));
        }
        let source = match &self.listener_tls {
            Some(directory) => ListenerSource::Files(ListenerFileOptions {
                directory: directory.clone(),
                clients: asks,
                one_trust_domain: clients == ClientCertificates::Request,
                bundles: self.listener_trust_bundles.clone(),
                trust_domains: self.listener_trust_domains.clone(),
            }),
            None => self.agent(clients)?,
        };
        Ok(Some(ListenerTlsConfig {
            source,
            clients,
            trust_domains: self.listener_trust_domains.clone(),
            http3: self.http3.map(|port| Http3 {
                advertised_port: (port != 0).then_some(port),
            }),
        }))
    }

    fn agent(&self, clients: ClientCertificates) -> Result<ListenerSource, String> {
        if !self.listener_trust_bundles.is_empty() {
            return Err(
                "--listener-trust-bundle needs --listener-tls; with --listener-spiffe, federate the trust domains in SPIRE"
                    .to_owned(),
            );
        }
        match (clients, self.listener_trust_domains.len()) {
            (ClientCertificates::None, _) | (_, 1) => Ok(ListenerSource::Agent),
            (ClientCertificates::Require, 2..) => Ok(ListenerSource::Agent),
            (ClientCertificates::Request, 2..) => Err(
                "--listener-client-certificates request works with one trust domain: name one with --listener-trust-domains, or use require"
                    .to_owned(),
            ),
            _ => Err(
                "--listener-client-certificates with --listener-spiffe needs --listener-trust-domains: name the trust domains of clients"
                    .to_owned(),
            ),
        }
    }
}
