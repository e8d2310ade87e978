//! What `headgate status` is asked, and of whom.

use clap::Args;

use super::Output;
use super::names::parse_namespace;

/// `headgate status`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 (also where some replicas do not answer, which is shown), 1 when the model is not known, 2 when no control \
plane answers. With --watch a model that is not known is waited for, and SIGINT ends with 0.

A `>` before an age: it was so when the control plane started, and may be older.")]
pub(crate) struct StatusArgs {
    /// Only this model, from its labels to each proxy: its id, NAMESPACE/ID, or a name that clients write.
    #[arg(value_name = "MODEL")]
    pub model: Option<String>,
    /// Only models of this namespace.
    #[arg(short = 'n', long, value_name = "NAMESPACE", value_parser = parse_namespace)]
    pub namespace: Option<String>,
    /// The control plane's admin address. Repeatable; each address of a name (a headless Service) is a replica that is
    /// asked, and what they say is shown as one.
    #[arg(
        long,
        visible_alias = "server",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        default_value = "127.0.0.1:18001",
        env = "HEADGATE_ADMIN_ADDRESS"
    )]
    pub admin_address: Vec<Place>,
    /// Go on showing what changes, as it changes: on a terminal the whole text, else a line for each thing that happens
    /// (with `-o json` a document a line).
    #[arg(short, long)]
    pub watch: bool,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Where something listens: a name or an address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// A name, or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            format!(
                "{text:?} is no HOST:PORT: write 127.0.0.1:18001, [::1]:18001 or headgate.example:18001"
            )
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let host = match bare {
            Some(bare) => bare
                .parse::<std::net::Ipv6Addr>()
                .map_err(|_| wrong())?
                .to_string(),
            None => host.to_owned(),
        };
        let sound = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if bare.is_none() && (host.is_empty() || !host.chars().all(sound)) {
            return Err(wrong());
        }
        let port = port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(wrong)?;
        Ok(Self { host, port })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
