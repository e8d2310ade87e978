//! The command line: what a person can ask of the binary.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use headgate_contract::names;
use headgate_model::LabelKeys;
use headgate_source::kubernetes::Kind;

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

/// Where models and policies are, and what is made of them.
#[derive(Debug, Args, Clone)]
pub(crate) struct InputArgs {
    /// Directory of Kubernetes manifests with the three labels.
    #[arg(long, value_name = "DIR", env = "HEADGATE_MODELS")]
    pub models: Option<PathBuf>,
    /// A Kubernetes API instead of --models.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Directory of policies (`headgate.dev/v1alpha1`). With --kube it counts in place of the policies of the API.
    #[arg(long, value_name = "DIR", env = "HEADGATE_POLICIES")]
    pub policies: Option<PathBuf>,
    /// Namespace whose policies are for the models of every namespace: defaults, or with `override: true` a ceiling.
    #[arg(long, value_name = "NAMESPACE", env = "HEADGATE_ROOT_NAMESPACE", value_parser = parse_namespace)]
    pub root_namespace: Option<String>,
    /// Namespace of manifests that name none; its virtual host owns `*` unless --domain gives that to another. Where it
    /// is not given, it is the only --namespace, else `default`.
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "HEADGATE_DEFAULT_NAMESPACE",
        value_parser = parse_namespace
    )]
    pub default_namespace: Option<String>,
    /// Domains of a namespace's virtual host. A namespace without domains is served to nobody. Repeatable.
    #[arg(long = "domain", value_name = "NAMESPACE=DOMAIN,…", value_parser = parse_domains)]
    pub domains: Vec<(String, Vec<String>)>,
    /// Which labels declare a model.
    #[command(flatten)]
    pub labels: LabelArgs,
    /// Where proxies listen, unless their node metadata `headgate.listen` says otherwise.
    #[arg(
        long,
        value_name = "IP:PORT",
        default_value = "127.0.0.1:10000",
        env = "HEADGATE_LISTEN"
    )]
    pub listen: SocketAddr,
    /// Directory with headgate.wasm, traffic-tag.wasm and token-bucket.wasm, readable by the proxies under the same path.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "dist",
        env = "HEADGATE_WASM"
    )]
    pub wasm: PathBuf,
    /// Send the modules' bytes instead of their paths, for proxies that cannot read --wasm.
    #[arg(long)]
    pub wasm_inline: bool,
    /// The proxies' access log, as they see the path; `none` for no log.
    #[arg(long, value_name = "PATH", default_value = "/dev/stdout")]
    pub access_log: String,
    /// Largest request body the filter reads, in bytes (1024–67108864).
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 20, value_parser = clap::value_parser!(u32).range(1024..=64 << 20))]
    pub max_body_bytes: u32,
    /// How long a stream may be silent, in seconds: the first token of a long prompt takes a while.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub idle_timeout: u64,
}

/// Keys of the three labels.
#[derive(Debug, Args, Clone)]
pub(crate) struct LabelArgs {
    /// Key of the label that names the model.
    #[arg(long, value_name = "KEY", default_value = names::LABEL_MODEL, value_parser = parse_label_key)]
    pub model_label: String,
    /// Key of the label that names the version.
    #[arg(long, value_name = "KEY", default_value = names::LABEL_VERSION, value_parser = parse_label_key)]
    pub version_label: String,
    /// Key of the label that holds the weight.
    #[arg(long, value_name = "KEY", default_value = names::LABEL_WEIGHT, value_parser = parse_label_key)]
    pub weight_label: String,
}

impl LabelArgs {
    /// As the registry is told.
    pub(crate) fn keys(&self) -> LabelKeys {
        LabelKeys {
            model: self.model_label.clone(),
            version: self.version_label.clone(),
            weight: self.weight_label.clone(),
        }
    }
}

/// A Kubernetes API to watch.
#[derive(Debug, Args, Clone)]
pub(crate) struct ClusterArgs {
    /// Watch pods, Services and workloads of a Kubernetes API instead of --models: of the pod's cluster, or of a kubeconfig.
    #[arg(long, env = "HEADGATE_KUBE")]
    pub kube: bool,
    /// The kubeconfig, and so --kube; else $KUBECONFIG, else ~/.kube/config, else the pod's ServiceAccount.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig, and so --kube; else its current one.
    #[arg(long, value_name = "CONTEXT")]
    pub context: Option<String>,
    /// Watch this namespace alone; none for the whole cluster. Repeatable.
    #[arg(long = "namespace", short = 'n', value_name = "NAMESPACE", value_parser = parse_namespace)]
    pub namespaces: Vec<String>,
    /// A further kind that owns pods and may carry the labels, with the JSON pointer to the replicas it wants. Repeatable.
    #[arg(
        long = "owner-kind",
        value_name = "GROUP/VERSION/PLURAL/KIND[=POINTER]"
    )]
    pub owner_kinds: Vec<Kind>,
}

impl ClusterArgs {
    /// Whether a Kubernetes API is to be watched.
    pub(crate) fn wanted(&self) -> bool {
        self.kube || self.kubeconfig.is_some() || self.context.is_some()
    }
}

impl InputArgs {
    /// Whether models come from a Kubernetes API; else they come from a directory.
    ///
    /// # Errors
    /// Where neither is named, or a flag has no meaning for the one that is: the flag and the fix.
    pub(crate) fn on_cluster(&self) -> Result<bool, String> {
        if self.cluster.wanted() {
            return Ok(true);
        }
        let of_cluster = [
            ("--namespace", self.cluster.namespaces.is_empty()),
            ("--owner-kind", self.cluster.owner_kinds.is_empty()),
        ];
        match of_cluster.iter().find(|(_, absent)| !absent) {
            Some((flag, _)) => Err(format!("{flag} is about a Kubernetes API: add --kube, --kubeconfig FILE or --context NAME")),
            None if self.models.is_none() => Err("where are the models? Name a directory with --models DIR, or a Kubernetes API with --kube, --kubeconfig FILE or --context NAME".to_owned()),
            None => Ok(false),
        }
    }

    /// The namespace of what names none, and the owner of `*`.
    pub(crate) fn default_namespace(&self) -> &str {
        match (&self.default_namespace, self.cluster.namespaces.as_slice()) {
            (Some(given), _) => given,
            (None, [only]) => only,
            (None, _) => "default",
        }
    }
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

/// `headgate validate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 when nothing is refused (there may be remarks), 1 when something is, 2 when a path cannot be read.")]
pub(crate) struct ValidateArgs {
    /// Files or directories with manifests and policies, also as `kubectl get -o yaml` prints them; `-` is standard input.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
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
a directory or a Kubernetes API that cannot be read, a plan that cannot be translated. Without --wasm's modules the \
filters are shown without their code.")]
pub(crate) struct TranslateArgs {
    /// What would be served.
    #[command(flatten)]
    pub input: InputArgs,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// `headgate schema`.
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Which.
    #[arg(value_enum)]
    pub what: SchemaOf,
    /// How the control plane is run.
    #[command(flatten)]
    pub rights: RightsArgs,
}

/// What decides which rights a control plane needs, and who is given them. For `rbac` only.
#[derive(Debug, Args, Clone, PartialEq, Eq)]
pub(crate) struct RightsArgs {
    /// As `serve --namespace`: rights in this namespace alone, instead of in all. Repeatable.
    #[arg(long = "namespace", short = 'n', value_name = "NAMESPACE", value_parser = parse_namespace)]
    pub namespaces: Vec<String>,
    /// As `serve --root-namespace`.
    #[arg(long, value_name = "NAMESPACE", value_parser = parse_namespace)]
    pub root_namespace: Option<String>,
    /// As `serve --owner-kind`. Repeatable.
    #[arg(
        long = "owner-kind",
        value_name = "GROUP/VERSION/PLURAL/KIND[=POINTER]"
    )]
    pub owner_kinds: Vec<Kind>,
    /// Where the control plane runs.
    #[arg(long, value_name = "NAMESPACE", default_value = "headgate-system", value_parser = parse_namespace)]
    pub install_namespace: String,
    /// The ServiceAccount it runs as.
    #[arg(long, value_name = "NAME", default_value = "headgate", value_parser = parse_namespace)]
    pub service_account: String,
}

impl Default for RightsArgs {
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            root_namespace: None,
            owner_kinds: Vec::new(),
            install_namespace: "headgate-system".to_owned(),
            service_account: "headgate".to_owned(),
        }
    }
}

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// The configuration of a filter.
    FilterConfig,
    /// `spec` of a `TokenBucketPolicy`.
    TokenBucketPolicy,
    /// `spec` of a `TrafficTagPolicy`.
    TrafficTagPolicy,
    /// All of them, as a Markdown reference.
    Reference,
    /// The policies' CustomResourceDefinitions, as YAML that `kubectl apply` takes.
    Crds,
    /// The rights that `serve --kube` uses and no others, and a ServiceAccount that has them, as YAML that `kubectl apply` takes.
    Rbac,
}

/// Output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For scripts.
    Json,
}

fn parse_domains(text: &str) -> Result<(String, Vec<String>), String> {
    let (namespace, domains) = text
        .split_once('=')
        .ok_or("write NAMESPACE=DOMAIN, or NAMESPACE=DOMAIN,DOMAIN for several")?;
    let domains: Vec<String> = domains.split(',').map(|d| d.trim().to_owned()).collect();
    if domains.iter().any(String::is_empty) {
        return Err("no domain may be empty".to_owned());
    }
    Ok((parse_namespace(namespace)?, domains))
}

fn parse_reach(text: &str) -> Result<(String, Vec<String>), String> {
    let (pattern, namespaces) = text
        .rsplit_once('=')
        .ok_or("write PATTERN=NAMESPACE, or PATTERN=NAMESPACE,NAMESPACE for several")?;
    let namespaces = namespaces.split(',').map(|n| parse_namespace(n.trim()));
    Ok((pattern.to_owned(), namespaces.collect::<Result<_, _>>()?))
}

/// What Kubernetes allows as a label's key: `name`, or `prefix/name`.
fn parse_label_key(text: &str) -> Result<String, String> {
    let sound = |part: &str, most: usize, also: &[u8]| {
        let inner = |c: &u8| c.is_ascii_alphanumeric() || also.contains(c);
        let ends = [part.bytes().next(), part.bytes().last()];
        let ends = ends
            .iter()
            .all(|c| c.is_some_and(|c| c.is_ascii_alphanumeric()));
        ends && part.len() <= most && part.as_bytes().iter().all(inner)
    };
    let (prefix, name) = text.rsplit_once('/').unwrap_or(("none", text));
    if sound(prefix, 253, b".-") && sound(name, 63, b".-_") {
        return Ok(text.to_owned());
    }
    Err(
        "write a label's key as Kubernetes allows it: `model-name`, or `example.com/model-name`"
            .to_owned(),
    )
}

/// Namespaces reach the names of clusters and virtual hosts, so they are what Kubernetes allows.
pub(crate) fn parse_namespace(text: &str) -> Result<String, String> {
    let bytes = text.as_bytes();
    let inner = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == b'-';
    let ends = [bytes.first(), bytes.last()]
        .into_iter()
        .all(|c| c.is_some_and(u8::is_ascii_alphanumeric));
    if ends && bytes.len() <= 63 && bytes.iter().all(inner) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is no namespace: write 1-63 lower-case letters, digits or '-'"
        ))
    }
}
