//! The command line: what a person can ask of the binary.

mod input;
pub(crate) mod names;
mod schema;
mod status;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::input::{InputArgs, LabelArgs};
use self::names::parse_namespace;
pub(crate) use self::schema::{RightsArgs, SchemaArgs, SchemaOf};
pub(crate) use self::status::{Place, StatusArgs};
use crate::writing::WriteArgs;

/// Model-aware traffic control for Envoy.
///
/// Turns labels on model workloads (`model-name`, `model-version`, `canary-weight`) into clusters, endpoints,
/// weighted version routes and live filter configuration, pushed over xDS.
#[derive(Debug, Parser)]
#[command(name = "headgate", version, propagate_version = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to log (to standard error).
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, env = "HEADGATE_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// What to log: `error`, `warn`, `info`, `debug`, or per module as in `info,headgate_xds=debug`. Else `info` by `serve`,
    /// and `error` by what answers and ends.
    #[arg(long, global = true, env = "HEADGATE_LOG")]
    pub log: Option<String>,
}

impl Cli {
    /// What to log. A client that logs each failure of its own would drown the one line a watch says of it.
    pub(crate) fn log(&self) -> &str {
        match (&self.log, &self.command) {
            (Some(log), _) => log,
            (None, Command::Serve(_)) => "info,kube_client=off",
            (None, _) => "error,kube_client=off",
        }
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The tasks.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch models and policies, and serve them to proxies over xDS.
    Serve(Box<ServeArgs>),
    /// Show what a running control plane plans, and what each proxy has taken of it.
    Status(StatusArgs),
    /// Check models and policies with the very code that will run them; exits 1 if any is refused.
    Validate(ValidateArgs),
    /// Show what would be served now, without serving.
    Translate(Box<TranslateArgs>),
    /// Print the JSON schema of a configuration, the whole reference as Markdown, or what a cluster is given.
    Schema(SchemaArgs),
}

/// `headgate serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// What is served.
    #[command(flatten)]
    pub input: InputArgs,
    /// Where proxies connect.
    #[arg(
        long,
        value_name = "IP:PORT",
        default_value = "127.0.0.1:18000",
        env = "HEADGATE_XDS_ADDRESS"
    )]
    pub xds_address: SocketAddr,
    /// Where people and probes connect: /syncz /config_dump /metrics /readyz /livez /version.
    #[arg(
        long,
        value_name = "IP:PORT",
        default_value = "127.0.0.1:18001",
        env = "HEADGATE_ADMIN_ADDRESS"
    )]
    pub admin_address: SocketAddr,
    /// Node ids that may connect from another machine (`*` at the end stands for anything). Loopback always may. Repeatable.
    #[arg(long = "allow-node", value_name = "PATTERN")]
    pub allow_nodes: Vec<String>,
    /// Node ids whose filters follow the hop before instead of deciding (`*` at the end stands for anything). Repeatable.
    #[arg(long = "follow-node", value_name = "PATTERN")]
    pub follow_nodes: Vec<String>,
    /// Namespaces that proxies of these node ids see (`*` at the end stands for anything); one that several patterns match
    /// sees those of all. Where it is given, a proxy that no pattern matches is refused; else each sees every namespace that
    /// has a domain. Repeatable.
    #[arg(long = "node-namespaces", value_name = "PATTERN=NAMESPACE,…", value_parser = parse_reach)]
    pub node_namespaces: Vec<(String, Vec<String>)>,
    /// How long a cluster outlives the last route to it, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(2..=3600))]
    pub linger: u64,
    /// Seconds between load reports of a proxy, which tell the versions that it cannot connect to. The proxy's bootstrap needs
    /// `load_stats_config`.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub load_report_interval: u64,
    /// On SIGTERM, over how many seconds connected proxies are sent elsewhere, one after another; 0 for all at once. /readyz
    /// answers 503 and no proxy is taken in meanwhile. A second SIGTERM, or SIGINT, ends at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=3600), env = "HEADGATE_DRAIN_TIME")]
    pub drain_time: u64,
    /// Who of several replicas writes to a Kubernetes API.
    #[command(flatten)]
    pub writing: WriteArgs,
}

impl ServeArgs {
    /// A removed cluster lives this long past its last route.
    pub(crate) fn linger(&self) -> Duration {
        Duration::from_secs(self.linger)
    }

    /// How long sending proxies elsewhere takes.
    pub(crate) fn drain_time(&self) -> Duration {
        Duration::from_secs(self.drain_time)
    }
}

/// `headgate validate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 when nothing is refused (there may be remarks), 1 when something is, 2 when a path cannot be read.")]
pub(crate) struct ValidateArgs {
    /// Files or directories with manifests and policies, also as `kubectl get -o yaml` prints them; `-` is standard input.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// Also check manifests in subdirectories. Hidden directories and symbolic links to directories are skipped.
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Namespace of manifests that name none.
    #[arg(long, value_name = "NAMESPACE", default_value = "default", value_parser = parse_namespace)]
    pub default_namespace: String,
    /// Namespace whose policies are for the models of every namespace.
    #[arg(long, value_name = "NAMESPACE", env = "HEADGATE_ROOT_NAMESPACE", value_parser = parse_namespace)]
    pub root_namespace: Option<String>,
    /// Which labels declare a model.
    #[command(flatten)]
    pub labels: LabelArgs,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// `headgate translate`.
#[derive(Debug, Args)]
#[command(after_help = "\
What is wrong goes to standard error. Exit codes: 0, also where something is left out; 2 when there is nothing to show: \
a directory or a Kubernetes API that cannot be read, a plan that cannot be translated. Without --wasm's module the \
filters are shown without their code.")]
pub(crate) struct TranslateArgs {
    /// What would be served.
    #[command(flatten)]
    pub input: InputArgs,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For scripts.
    Json,
}

fn parse_reach(text: &str) -> Result<(String, Vec<String>), String> {
    let (pattern, namespaces) = text
        .rsplit_once('=')
        .ok_or("write PATTERN=NAMESPACE, or PATTERN=NAMESPACE,NAMESPACE for several")?;
    let namespaces = namespaces.split(',').map(|n| parse_namespace(n.trim()));
    Ok((pattern.to_owned(), namespaces.collect::<Result<_, _>>()?))
}
