//! Which models and policies are meant, and what is made of them: for all tasks that read them.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use headgate_contract::names;
use headgate_kubernetes::kinds::Kind;
use headgate_model::LabelKeys;
use headgate_source::cluster::AllowedEndpoint;

use super::names::{parse_label_key, parse_namespace};

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
    /// Also read subdirectories of --models and --policies. Hidden directories and symbolic links to directories are skipped.
    #[arg(short = 'R', long, env = "HEADGATE_RECURSIVE")]
    pub recursive: bool,
    /// Directory where `serve` stores the base and the names of each model of --models, as `ServedModel` manifests. Without it the
    /// oldest carrier of a model is its base. With --kube, `ServedModel` objects store the same.
    #[arg(long, value_name = "DIR", env = "HEADGATE_STATE")]
    pub state: Option<PathBuf>,
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
    /// Directory with headgate.wasm, readable by the proxies under the same path.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "dist",
        env = "HEADGATE_WASM"
    )]
    pub wasm: PathBuf,
    /// Send the module's bytes instead of its path, for proxies that cannot read --wasm.
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
    /// CA file that verifies the certificates of model servers, by its path on the proxies. Used for carriers with
    /// `headgate.dev/tls: "true"`.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/ssl/certs/ca-certificates.crt",
        env = "HEADGATE_UPSTREAM_CA"
    )]
    pub upstream_ca: String,
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
    /// Allow these addresses or DNS names in `headgate.dev/endpoints` of a Service. By default DNS names, and loopback,
    /// link-local, metadata, multicast and unspecified addresses are refused. A suffix matches whole DNS labels; `*` matches
    /// every name. Repeatable.
    #[arg(long = "allow-endpoint", value_name = "CIDR|SUFFIX")]
    pub allowed_endpoints: Vec<AllowedEndpoint>,
    /// Which kinds own pods.
    #[command(flatten)]
    pub owners: OwnerArgs,
}

/// Kinds that own pods and may carry the labels.
#[derive(Debug, Args, Clone, Default, PartialEq, Eq)]
pub(crate) struct OwnerArgs {
    /// An additional kind that owns pods and may carry the labels: its version, the JSON pointer to its desired replicas, and after a
    /// comma the one to the seconds for which a pod must have been ready (`=/spec/replicas,/spec/minReadySeconds`). Repeatable.
    #[arg(
        long = "owner-kind",
        value_name = "GROUP/VERSION/PLURAL/KIND[=POINTER[,POINTER]]"
    )]
    pub owner_kinds: Vec<Kind>,
    /// Do not watch this default kind: LeaderWorkerSet, Rollout, InferenceService, LLMInferenceService, RayService, RayCluster,
    /// Deployment, ReplicaSet, StatefulSet or DaemonSet. Its pods count as pods without an owner. Each other default kind is
    /// watched once it is installed, in the version that the API server prefers. Repeatable.
    #[arg(long = "no-owner-kind", value_name = "KIND", value_delimiter = ',', value_parser = parse_usual)]
    pub no_owner_kinds: Vec<String>,
}

impl OwnerArgs {
    /// The kinds to watch.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        Kind::defaults_without_and(&self.no_owner_kinds, &self.owner_kinds)
    }
}

fn parse_usual(name: &str) -> Result<String, String> {
    Kind::usual(name).map_err(|error| error.to_string())
}

impl ClusterArgs {
    /// The kinds that own pods.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        self.owners.kinds()
    }

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
            return match self.state {
                Some(_) => Err("--state is for --models only: with --kube, ServedModel objects store the base of a model. Remove --state".to_owned()),
                None => Ok(true),
            };
        }
        let of_cluster = [
            ("--namespace", self.cluster.namespaces.is_empty()),
            ("--owner-kind", self.cluster.owners.owner_kinds.is_empty()),
            (
                "--no-owner-kind",
                self.cluster.owners.no_owner_kinds.is_empty(),
            ),
            (
                "--allow-endpoint",
                self.cluster.allowed_endpoints.is_empty(),
            ),
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
