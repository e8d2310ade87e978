//! Flags of `headgate serve` about the identity of proxies.

use std::path::{Path, PathBuf};

use clap::Args;
use headgate_identity::{FileOptions, PortTls, TrustDomain};
use headgate_publisher::FlagRules;
use ipnet::IpNet;

use crate::config::{IdentityConfig, RuleSourceConfig, TransportConfig};
use crate::names::parse_namespace;

/// TLS of the xDS port, and which proxies may connect.
#[derive(Debug, Args, Clone)]
pub(crate) struct IdentityArgs {
    /// Directory with `tls.crt`, `tls.key` and `ca.crt`, as cert-manager writes them. The xDS port then speaks TLS 1.3 and requires
    /// client certificates with one SPIFFE id, verified by `ca.crt`. Changed files are used without a restart.
    #[arg(long, value_name = "DIR", env = "HEADGATE_XDS_TLS")]
    xds_tls: Option<PathBuf>,
    /// Socket of a SPIFFE Workload API, such as that of a SPIRE agent. The xDS port then speaks TLS 1.3 with the X.509-SVID of this
    /// process, and requires client certificates with one SPIFFE id, verified by the bundles of the Workload API.
    #[arg(long, value_name = "PATH|unix:PATH", env = "SPIFFE_ENDPOINT_SOCKET")]
    spiffe_socket: Option<String>,
    /// PEM bundle that verifies the client certificates of another trust domain, with --xds-tls and with --admin-identity. Repeatable.
    #[arg(long = "trust-bundle", value_name = "TRUST_DOMAIN=FILE", value_parser = parse_bundle)]
    trust_bundles: Vec<(TrustDomain, PathBuf)>,
    /// Trust domains whose identities are allowed on the xDS port and, with --admin-identity, on the admin port. Default with --xds-tls or
    /// --admin-tls: the trust domains of `tls.crt` and of --trust-bundle. Default with --spiffe-socket: the trust domain of this process.
    /// --trust-xfcc-from alone allows every trust domain by default.
    #[arg(long, value_name = "TRUST_DOMAIN,…", value_delimiter = ',', value_parser = parse_trust_domain)]
    trust_domains: Vec<TrustDomain>,
    /// Addresses of proxies in front of the xDS port, such as 127.0.0.0/8 for a sidecar. The last element of their header
    /// `x-forwarded-client-cert` is the identity of the proxy behind each stream. The header of others is ignored.
    #[arg(long, value_name = "CIDR,…", value_delimiter = ',', value_parser = parse_network)]
    trust_xfcc_from: Vec<IpNet>,
    /// File of scope rules (YAML): which proxies may connect, and what they get. Replaces the flags --allow-node, --allow-identity,
    /// --follow-node and --node-namespaces. A changed file is used without a restart.
    #[arg(long, value_name = "FILE", env = "HEADGATE_SCOPES")]
    scopes: Option<PathBuf>,
    /// SPIFFE ids that may connect; all others may not. A `*` matches any characters. Repeatable.
    #[arg(long = "allow-identity", value_name = "PATTERN")]
    allow_identities: Vec<String>,
    /// Node ids that may connect from other machines. A `*` matches any characters. Without --scopes and --allow-identity,
    /// connections from loopback are always allowed. Repeatable.
    #[arg(long = "allow-node", value_name = "PATTERN")]
    allow_nodes: Vec<String>,
    /// Node ids whose filters follow the decision of the previous hop instead of deciding. A `*` matches any characters. Repeatable.
    #[arg(long = "follow-node", value_name = "PATTERN")]
    follow_nodes: Vec<String>,
    /// Namespaces that are served to the node ids that match the pattern. A `*` matches any characters; a node id that matches
    /// several patterns gets the namespaces of all of them. If the flag is given, a proxy that matches no pattern is rejected.
    /// Otherwise each proxy gets all namespaces that have a domain. Repeatable.
    #[arg(long = "node-namespaces", value_name = "PATTERN=NAMESPACE,…", value_parser = parse_node_namespaces)]
    node_namespaces: Vec<(String, Vec<String>)>,
}

/// What verifies the certificates of clients of the admin port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AdminClients {
    /// Nothing: they have none.
    None,
    /// The bundles of the SPIFFE Workload API.
    Agent,
    /// Bundles of files.
    Files,
}

impl IdentityArgs {
    /// The configuration.
    ///
    /// # Errors
    /// Flags that contradict each other. The message names them and the fix.
    pub(crate) fn config(&self, admin: AdminClients) -> Result<IdentityConfig, String> {
        let transport = self.transport(admin)?;
        let has_identities =
            !matches!(transport, TransportConfig::Plaintext) || !self.trust_xfcc_from.is_empty();
        let needing = [
            (
                "--trust-domains",
                self.trust_domains.is_empty() || admin != AdminClients::None,
            ),
            ("--allow-identity", self.allow_identities.is_empty()),
        ];
        if let Some((flag, _)) = needing
            .iter()
            .find(|(_, is_fine)| !is_fine && !has_identities)
        {
            return Err(format!(
                "{flag} needs proxies with an identity: add --xds-tls, --spiffe-socket or --trust-xfcc-from"
            ));
        }
        Ok(IdentityConfig {
            transport,
            trust_domains: if has_identities {
                self.trust_domains.clone()
            } else {
                Vec::new()
            },
            trusted_forwarders: self.trust_xfcc_from.clone(),
            rules: self.rules()?,
        })
    }

    /// The trust domains, as given.
    pub(super) fn trust_domains(&self) -> &[TrustDomain] {
        &self.trust_domains
    }

    /// The socket of the SPIFFE Workload API.
    pub(super) fn socket(&self) -> Option<&str> {
        self.spiffe_socket.as_deref()
    }

    /// The certificate of a port from this directory, with the bundles and trust domains of all ports.
    pub(super) fn files(&self, tls: PortTls, directory: &Path) -> FileOptions {
        FileOptions {
            tls,
            directory: directory.to_owned(),
            bundles: self.trust_bundles.clone(),
            trust_domains: self.trust_domains.clone(),
        }
    }

    fn transport(&self, admin: AdminClients) -> Result<TransportConfig, String> {
        let uses_bundles = self.xds_tls.is_some() || admin == AdminClients::Files;
        if !uses_bundles && !self.trust_bundles.is_empty() {
            return Err("--trust-bundle needs --xds-tls, or --admin-tls with --admin-identity; with --spiffe-socket, federate the trust domains in SPIRE".to_owned());
        }
        match (&self.xds_tls, &self.spiffe_socket) {
            (Some(_), Some(_)) => Err(
                "--xds-tls and --spiffe-socket exclude each other: remove one, or unset SPIFFE_ENDPOINT_SOCKET"
                    .to_owned(),
            ),
            (Some(directory), None) => Ok(TransportConfig::Files(
                self.files(PortTls::XDS, directory),
            )),
            (None, Some(socket)) => Ok(TransportConfig::WorkloadApi(socket.clone(), PortTls::XDS)),
            (None, None) => Ok(TransportConfig::Plaintext),
        }
    }

    fn rules(&self) -> Result<RuleSourceConfig, String> {
        let flags = [
            ("--allow-identity", self.allow_identities.is_empty()),
            ("--allow-node", self.allow_nodes.is_empty()),
            ("--follow-node", self.follow_nodes.is_empty()),
            ("--node-namespaces", self.node_namespaces.is_empty()),
        ];
        let rules = FlagRules {
            allow: self.allow_nodes.clone(),
            allow_identities: self.allow_identities.clone(),
            follow: self.follow_nodes.clone(),
            node_namespaces: self.node_namespaces.clone(),
        };
        let source = rule_source(self.scopes.as_deref(), &flags, rules)?;
        if !self.allow_identities.is_empty() && !self.allow_nodes.is_empty() {
            return Err(
                "--allow-node does not apply with --allow-identity, because every proxy can claim a node id: remove --allow-node"
                    .to_owned(),
            );
        }
        Ok(source)
    }
}

/// The file of --scopes, else the rules of these flags, each with whether it is absent.
///
/// # Errors
/// Both are given.
pub(super) fn rule_source(
    scopes: Option<&Path>,
    flags: &[(&str, bool)],
    rules: FlagRules,
) -> Result<RuleSourceConfig, String> {
    let Some(file) = scopes else {
        return Ok(RuleSourceConfig::Flags(rules));
    };
    match flags.iter().find(|(_, is_absent)| !is_absent) {
        None => Ok(RuleSourceConfig::File(file.to_owned())),
        Some((flag, _)) => Err(format!(
            "--scopes replaces {flag}: remove the flag, and write a rule into {}",
            file.display()
        )),
    }
}

pub(super) fn parse_trust_domain(text: &str) -> Result<TrustDomain, String> {
    TrustDomain::new(text.trim())
        .map_err(|error| format!("{error}: write a trust domain such as example.org"))
}

pub(super) fn parse_bundle(text: &str) -> Result<(TrustDomain, PathBuf), String> {
    let (domain, file) = text
        .split_once('=')
        .ok_or("write TRUST_DOMAIN=FILE, such as example.org=/etc/bundles/example.org.pem")?;
    Ok((parse_trust_domain(domain)?, PathBuf::from(file)))
}

fn parse_network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse::<IpNet>()
        .or_else(|_| address())
        .map_err(|_| "write a network or an address, such as 127.0.0.0/8".to_owned())
}

pub(super) fn parse_node_namespaces(text: &str) -> Result<(String, Vec<String>), String> {
    let (pattern, namespaces) = text
        .rsplit_once('=')
        .ok_or("write PATTERN=NAMESPACE, or PATTERN=NAMESPACE,NAMESPACE for several")?;
    let namespaces = namespaces.split(',').map(|n| parse_namespace(n.trim()));
    Ok((pattern.to_owned(), namespaces.collect::<Result<_, _>>()?))
}
