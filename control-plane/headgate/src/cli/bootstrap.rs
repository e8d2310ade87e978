//! Flags of `headgate bootstrap`.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use headgate_identity::SpiffeId;
use headgate_report::output::Format;

use crate::config::{BootstrapConfig, ProxyIdentity, ServerNames, XdsTarget};

/// `headgate bootstrap`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  headgate bootstrap > bootstrap.yaml
  headgate bootstrap --identity files --certificates /etc/proxy/tls --server-name headgate.headgate-system.svc \\
    --xds headgate.headgate-system.svc:18000 --output /etc/envoy
  headgate bootstrap --identity spiffe --spiffe-socket /run/spire/agent.sock \\
    --server-id spiffe://example.org/ns/headgate-system/sa/headgate --xds headgate.headgate-system.svc:18000
Istio proxies get their bootstrap from Istio and do not need this command.")]
pub(crate) struct BootstrapArgs {
    /// How the proxy authenticates itself and the control plane.
    #[arg(long, value_enum, default_value_t = IdentityKind::None)]
    identity: IdentityKind,
    /// Address of the xDS port of the control plane: IP or DNS name, and port.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:18000", value_parser = parse_target)]
    xds: XdsTarget,
    /// Directory with `tls.crt`, `tls.key` and `ca.crt` of the proxy, for `--identity files`. Envoy follows their changes.
    #[arg(long, value_name = "DIR")]
    certificates: Option<PathBuf>,
    /// Socket of the SPIRE agent, for `--identity spiffe`. Envoy gets certificate and bundle from it over SDS.
    #[arg(long, value_name = "PATH")]
    spiffe_socket: Option<String>,
    /// SPIFFE id that the certificate of the control plane must have.
    #[arg(long, value_name = "SPIFFE_ID", value_parser = parse_spiffe_id)]
    server_id: Option<SpiffeId>,
    /// DNS name that the certificate of the control plane must have, for `--identity files`.
    #[arg(long, value_name = "DNS_NAME")]
    server_name: Option<String>,
    /// Node id. The default is Envoy's flag --service-node.
    #[arg(long, value_name = "ID")]
    node_id: Option<String>,
    /// Node cluster. The default is Envoy's flag --service-cluster.
    #[arg(long, value_name = "NAME")]
    node_cluster: Option<String>,
    /// Listen address for traffic, instead of the one of `headgate serve --listen`.
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// Address of Envoy's admin interface.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9901")]
    envoy_admin: SocketAddr,
    /// Directory to write `bootstrap.yaml` to. Required for `--identity files`, whose bootstrap refers to two more files in it. By
    /// default the bootstrap goes to standard output.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Format of the files.
    #[arg(long, value_enum, default_value_t = FileFormat::Yaml)]
    format: FileFormat,
}

/// How a proxy authenticates itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum IdentityKind {
    /// Plaintext, for a control plane on loopback or behind a sidecar.
    None,
    /// TLS with certificates from files.
    Files,
    /// TLS with certificates from a SPIRE agent.
    Spiffe,
}

/// Format of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FileFormat {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

impl BootstrapArgs {
    /// The configuration.
    ///
    /// # Errors
    /// A flag is missing, or has no effect. The message names it and the fix.
    pub(crate) fn config(&self) -> Result<BootstrapConfig, String> {
        let names = ServerNames {
            id: self.server_id.clone(),
            dns: self.server_name.clone(),
        };
        let given = [
            ("--certificates", self.certificates.is_some()),
            ("--spiffe-socket", self.spiffe_socket.is_some()),
            ("--server-id", self.server_id.is_some()),
            ("--server-name", self.server_name.is_some()),
        ];
        let allowed: &[&str] = match self.identity {
            IdentityKind::None => &[],
            IdentityKind::Files => &["--certificates", "--server-id", "--server-name"],
            IdentityKind::Spiffe => &["--spiffe-socket", "--server-id"],
        };
        if let Some((flag, _)) = given
            .iter()
            .find(|(f, is_given)| *is_given && !allowed.contains(f))
        {
            let kind = match self.identity {
                IdentityKind::None => "none",
                IdentityKind::Files => "files",
                IdentityKind::Spiffe => "spiffe",
            };
            return Err(format!(
                "{flag} does not apply to --identity {kind}: remove it, or choose another --identity"
            ));
        }
        let identity = match self.identity {
            IdentityKind::None => ProxyIdentity::None,
            IdentityKind::Files => {
                let certificates = self.certificates.clone();
                let certificates =
                    certificates.ok_or("--identity files needs --certificates DIR")?;
                if names.id.is_none() && names.dns.is_none() {
                    return Err("--identity files needs --server-id or --server-name, so that the proxy knows its control plane".to_owned());
                }
                if self.output.is_none() {
                    return Err("--identity files needs --output DIR, because the bootstrap refers to files in it".to_owned());
                }
                ProxyIdentity::Files {
                    certificates,
                    names,
                }
            }
            IdentityKind::Spiffe => {
                let socket = self.spiffe_socket.as_deref();
                let socket = socket.ok_or("--identity spiffe needs --spiffe-socket PATH")?;
                let socket = socket.strip_prefix("unix:").unwrap_or(socket);
                let server = names.id.ok_or("--identity spiffe needs --server-id SPIFFE_ID, so that the proxy knows its control plane")?;
                ProxyIdentity::Spiffe {
                    socket: socket.strip_prefix("//").unwrap_or(socket).to_owned(),
                    server,
                }
            }
        };
        Ok(BootstrapConfig {
            identity,
            xds: self.xds.clone(),
            node_id: self.node_id.clone(),
            node_cluster: self.node_cluster.clone(),
            listen: self.listen,
            envoy_admin: self.envoy_admin,
            output: self.output.clone(),
            format: match self.format {
                FileFormat::Yaml => Format::Yaml,
                FileFormat::Json => Format::Json,
            },
        })
    }
}

fn parse_target(text: &str) -> Result<XdsTarget, String> {
    let wrong = || "write HOST:PORT, such as headgate.headgate-system.svc:18000".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_host = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if host.parse::<IpAddr>().is_err() && (host.is_empty() || !host.chars().all(is_host)) {
        return Err(wrong());
    }
    let port: NonZeroU16 = port.parse().map_err(|_| wrong())?;
    Ok(XdsTarget {
        host: host.to_owned(),
        port: port.get(),
    })
}

fn parse_spiffe_id(text: &str) -> Result<SpiffeId, String> {
    SpiffeId::new(text).map_err(|error| {
        format!("{error}: write a SPIFFE id, such as spiffe://example.org/ns/headgate-system/sa/headgate")
    })
}
