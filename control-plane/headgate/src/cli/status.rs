//! Flags of the commands that query control planes: `status`, `wait` and `version`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use headgate_identity::{ClientOptions, ExpectedServer};
use headgate_report::Query;
use headgate_report::client::{
    Credentials, Goal, HostPort, StatusOptions, VersionOptions, WaitOptions,
};
use headgate_report::output::Format;

use super::Output;
use crate::names::parse_namespace;

/// The control planes to query.
#[derive(Debug, Args)]
struct ServerArgs {
    /// Admin address of the control plane. Repeatable. Each address of a host name (a headless Service) is a replica; all replicas are
    /// queried, and their answers are merged.
    #[arg(
        long,
        visible_alias = "server",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        default_value = "127.0.0.1:18001",
        env = "HEADGATE_ADMIN_ADDRESS"
    )]
    admin_address: Vec<HostPort>,
    /// File with a bearer token, sent to every control plane: for a proxy in front of the admin address that requires one. A token that
    /// Kubernetes mounts is replaced before it expires, so the file is read for each request.
    #[arg(long, value_name = "FILE", env = "HEADGATE_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// PEM file of the authorities that issue the certificates of the control plane, such as `ca.crt`. Turns on TLS for the queries.
    #[arg(long, value_name = "FILE", env = "HEADGATE_ADMIN_CA")]
    admin_ca: Option<PathBuf>,
    /// DNS name, IP address or SPIFFE id that the certificate of each control plane must have; the default is a host of
    /// --admin-address. Needs --admin-ca. Repeatable: one of them must match.
    #[arg(
        long,
        value_name = "NAME|SPIFFE_ID",
        value_delimiter = ',',
        env = "HEADGATE_ADMIN_SERVER_NAME"
    )]
    admin_server_name: Vec<ExpectedServer>,
    /// Directory with `tls.crt` and `tls.key` of the client, for control planes that ask for a certificate. Needs --admin-ca. The files
    /// are read for each request.
    #[arg(long, value_name = "DIR", env = "HEADGATE_CLIENT_CERT")]
    client_cert: Option<PathBuf>,
}

impl ServerArgs {
    /// What the client presents and expects.
    ///
    /// # Errors
    /// Flags that contradict each other. The message names them and the fix.
    fn credentials(&self) -> Result<Credentials, String> {
        Ok(Credentials {
            token_file: self.token_file.clone(),
            tls: self.tls()?,
        })
    }

    fn tls(&self) -> Result<Option<ClientOptions>, String> {
        let Some(authorities) = self.admin_ca.clone() else {
            let needing = [
                ("--admin-server-name", self.admin_server_name.is_empty()),
                ("--client-cert", self.client_cert.is_none()),
            ];
            return match needing.iter().find(|(_, is_absent)| !is_absent) {
                None => Ok(None),
                Some((flag, _)) => Err(format!(
                    "{flag} needs TLS: add --admin-ca FILE, the authorities of the control plane's certificate"
                )),
            };
        };
        let mut expected = self.admin_server_name.clone();
        if expected.is_empty() {
            let hosts = self.admin_address.iter().map(|at| at.host.parse());
            expected = hosts.collect::<Result<_, _>>()?;
        }
        Ok(Some(ClientOptions {
            authorities,
            certificate: self.client_cert.clone(),
            expected,
        }))
    }
}

/// `headgate status`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 (also if some replicas do not answer, which is shown), 1 if the model is unknown, 2 if no control plane answers. \
With --watch, an unknown model is waited for, and SIGINT or SIGTERM ends with 0.

A `>` before an age: the state is at least as old as the process of the control plane.")]
pub(crate) struct StatusArgs {
    /// Show this model only, in full: its id, NAMESPACE/ID, or a client name.
    #[arg(value_name = "MODEL")]
    model: Option<String>,
    /// Show the models of this namespace only.
    #[arg(short = 'n', long, value_name = "NAMESPACE", value_parser = parse_namespace)]
    namespace: Option<String>,
    #[command(flatten)]
    servers: ServerArgs,
    /// Follow changes until a signal: on a terminal the whole text, otherwise a line for each change (with `-o json` a document per
    /// line, with `-o yaml` a YAML stream).
    #[arg(short, long)]
    watch: bool,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = StatusOutput::Text)]
    output: StatusOutput,
}

/// Output format of `headgate status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StatusOutput {
    /// Text for people.
    Text,
    /// Text with additional columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// One NAMESPACE/MODEL per line.
    Name,
}

impl StatusArgs {
    /// The options.
    ///
    /// # Errors
    /// Flags that contradict each other.
    pub(crate) fn options(&self) -> Result<StatusOptions, String> {
        Ok(StatusOptions {
            hosts: self.servers.admin_address.clone(),
            credentials: self.servers.credentials()?,
            query: Query {
                model: self.model.clone(),
                namespace: self.namespace.clone(),
            },
            watch: self.watch,
            format: match self.output {
                StatusOutput::Text => Format::Text,
                StatusOutput::Wide => Format::Wide,
                StatusOutput::Json => Format::Json,
                StatusOutput::Yaml => Format::Yaml,
                StatusOutput::Name => Format::Name,
            },
        })
    }
}

/// `headgate wait`.
#[derive(Debug, Args)]
#[command(after_help = "\
Conditions:
  acked=PERCENT           every connected proxy of every replica ACKed this percent of new sessions for the only version whose
                          carrier has a weight label
  acked=VERSION=PERCENT   the same for this version
  weight=[VERSION=]PERCENT  this percent is planned
  converged               every connected proxy of every replica ACKed the planned weights

At least one proxy must be connected for `acked` and `converged`, and every replica must answer.

Exit codes: 0 once the condition holds, 1 on a timeout (the reason is on standard error), 2 if it cannot be evaluated.

Example: kubectl label deployment/llama-v2 canary-weight=30 --overwrite && headgate wait llama --for acked=30 --timeout 60s")]
pub(crate) struct WaitArgs {
    /// The model: its id, NAMESPACE/ID, or a client name.
    #[arg(value_name = "MODEL")]
    model: String,
    /// The condition.
    #[arg(long = "for", value_name = "CONDITION", required = true)]
    goal: Goal,
    /// How long to wait, such as 30s, 5m or 1h; 0 evaluates the condition once.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_timeout)]
    timeout: Duration,
    /// Namespace of the model.
    #[arg(short = 'n', long, value_name = "NAMESPACE", value_parser = parse_namespace)]
    namespace: Option<String>,
    #[command(flatten)]
    servers: ServerArgs,
}

impl WaitArgs {
    /// The options.
    ///
    /// # Errors
    /// Flags that contradict each other.
    pub(crate) fn options(&self) -> Result<WaitOptions, String> {
        Ok(WaitOptions {
            hosts: self.servers.admin_address.clone(),
            credentials: self.servers.credentials()?,
            query: Query {
                model: Some(self.model.clone()),
                namespace: self.namespace.clone(),
            },
            goal: self.goal.clone(),
            timeout: self.timeout,
        })
    }
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let parsed = text.parse::<jiff::SignedDuration>().ok();
    let duration = parsed.and_then(|duration| Duration::try_from(duration).ok());
    duration.ok_or_else(|| format!("{text:?} is not a duration: write 30s, 5m or 1h30m"))
}

/// `headgate version`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 if every control plane answers, 1 if one does not.")]
pub(crate) struct VersionArgs {
    #[command(flatten)]
    servers: ServerArgs,
    /// Print the version of this program only.
    #[arg(long)]
    client: bool,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl VersionArgs {
    /// The options.
    ///
    /// # Errors
    /// Flags that contradict each other.
    pub(crate) fn options(&self) -> Result<VersionOptions, String> {
        let hosts = self.servers.admin_address.clone();
        Ok(VersionOptions {
            hosts: if self.client { Vec::new() } else { hosts },
            credentials: self.servers.credentials()?,
            format: self.output.into(),
        })
    }
}
