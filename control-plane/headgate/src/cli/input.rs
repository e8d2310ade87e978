//! Flags of the source: for all commands that read models and policies.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use headgate_contract::names;
use headgate_kubernetes::kinds::Kind;
use headgate_model::LabelKeys;
use headgate_source::cluster::AllowedEndpoint;

use super::istio::IstioArgs;
use super::listener::ListenerArgs;
use crate::config::{ClusterConfig, InputConfig, ModelSource, ModuleDelivery};
use crate::names::{parse_label_key, parse_namespace};

/// The source of models and policies, and the settings of their translation.
#[derive(Debug, Args, Clone)]
pub(crate) struct InputArgs {
    /// Directory of workload manifests with the model, version and weight labels.
    #[arg(long, value_name = "DIR", env = "HEADGATE_MODELS")]
    models: Option<PathBuf>,
    /// A Kubernetes API instead of --models.
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Directory of policies (`headgate.dev/v1alpha1`). With --kube it replaces the policies of the Kubernetes API.
    #[arg(long, value_name = "DIR", env = "HEADGATE_POLICIES")]
    policies: Option<PathBuf>,
    /// Also read subdirectories of --models and --policies. Hidden directories and symbolic links to directories are skipped.
    #[arg(short = 'R', long, env = "HEADGATE_RECURSIVE")]
    recursive: bool,
    /// Directory where `serve` stores the base and the client names of each model of --models, as `ServedModel` manifests. Without it
    /// the oldest carrier of a model is its base. With --kube, `ServedModel` objects store the same.
    #[arg(long, value_name = "DIR", env = "HEADGATE_STATE")]
    state: Option<PathBuf>,
    /// Namespace whose policies apply to the models of all namespaces: as defaults, or with `override: true` as upper limits.
    #[arg(long, value_name = "NAMESPACE", env = "HEADGATE_ROOT_NAMESPACE", value_parser = parse_namespace)]
    root_namespace: Option<String>,
    /// Namespace of manifests without one. Its virtual host gets the domain `*` unless --domain assigns that to another namespace. The
    /// default is the only --namespace, else `default`.
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "HEADGATE_DEFAULT_NAMESPACE",
        value_parser = parse_namespace
    )]
    default_namespace: Option<String>,
    /// Domains of the virtual host of a namespace. A namespace without domains is not served. Repeatable.
    #[arg(long = "domain", value_name = "NAMESPACE=DOMAIN,…", value_parser = parse_domains)]
    domains: Vec<(String, Vec<String>)>,
    /// Label keys.
    #[command(flatten)]
    labels: LabelArgs,
    /// Listen address of proxies; `[::]:PORT` is all interfaces, IPv6 and IPv4. The node metadata `headgate.listen` of a proxy takes
    /// precedence.
    #[arg(
        long,
        value_name = "IP:PORT",
        default_value = "127.0.0.1:10000",
        env = "HEADGATE_LISTEN"
    )]
    listen: SocketAddr,
    /// Directory with headgate.wasm. Proxies must be able to read it under the same path.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "dist",
        env = "HEADGATE_WASM"
    )]
    wasm: PathBuf,
    /// Directory of the module on the proxies, if it is not --wasm: an absolute path. Each proxy must have the module there, as
    /// headgate-SHA256.wasm with the SHA-256 of headgate.wasm in lower-case hex, before the control plane offers it.
    #[arg(
        long,
        value_name = "DIR",
        env = "HEADGATE_WASM_PROXY_PATH",
        value_parser = parse_proxy_path,
        conflicts_with = "wasm_inline"
    )]
    wasm_proxy_path: Option<String>,
    /// Send the bytes of the module instead of its path, for proxies that cannot read --wasm.
    #[arg(long)]
    wasm_inline: bool,
    /// Path of the access log on the proxies; `none` for no log.
    #[arg(long, value_name = "PATH", default_value = "/dev/stdout")]
    access_log: String,
    /// Largest request body the filter reads, in bytes (1024–67108864).
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 20, value_parser = clap::value_parser!(u32).range(1024..=64 << 20))]
    max_body_bytes: u32,
    /// Longest time without a byte on a stream, in seconds (1–86400). Envoy then ends the stream. Set it above the time to the first
    /// token of your longest prompt.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    idle_timeout: u64,
    /// CA file that verifies the certificates of model servers, as a path on the proxies. Used for carriers with
    /// `headgate.dev/tls: "true"`.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/ssl/certs/ca-certificates.crt",
        env = "HEADGATE_UPSTREAM_CA"
    )]
    upstream_ca: String,
    /// TLS of the listener.
    #[command(flatten)]
    listener: ListenerArgs,
    /// Istio.
    #[command(flatten)]
    istio: IstioArgs,
}

/// Keys of the labels.
#[derive(Debug, Args, Clone)]
pub(crate) struct LabelArgs {
    /// Key of the label that names the model.
    #[arg(long, value_name = "KEY", default_value = names::LABEL_MODEL, value_parser = parse_label_key)]
    model_label: String,
    /// Key of the label that names the version.
    #[arg(long, value_name = "KEY", default_value = names::LABEL_VERSION, value_parser = parse_label_key)]
    version_label: String,
    /// Key of the label that holds the weight.
    #[arg(long, value_name = "KEY", default_value = names::LABEL_WEIGHT, value_parser = parse_label_key)]
    weight_label: String,
}

impl LabelArgs {
    /// The keys as plain data.
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
    /// Watch pods, Services and workloads of a Kubernetes API instead of --models: the cluster of the pod, or of a kubeconfig.
    #[arg(long, env = "HEADGATE_KUBE")]
    kube: bool,
    /// Path of the kubeconfig; implies --kube. The default is $KUBECONFIG, else ~/.kube/config, else the ServiceAccount of the pod.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; implies --kube. The default is its current context.
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
    /// Watch this namespace only; without it, the whole cluster. Repeatable.
    #[arg(long = "namespace", short = 'n', value_name = "NAMESPACE", value_parser = parse_namespace)]
    namespaces: Vec<String>,
    /// Allow these addresses or DNS names in `headgate.dev/endpoints` of a Service. By default DNS names, and loopback,
    /// link-local, metadata, multicast and unspecified addresses are rejected. A suffix matches whole DNS labels; `*` matches
    /// every name. Repeatable.
    #[arg(long = "allow-endpoint", value_name = "CIDR|SUFFIX")]
    allowed_endpoints: Vec<AllowedEndpoint>,
    /// Kinds that own pods.
    #[command(flatten)]
    owners: OwnerArgs,
}

/// Kinds that own pods and may carry the labels.
#[derive(Debug, Args, Clone, Default, PartialEq, Eq)]
pub(crate) struct OwnerArgs {
    /// An additional kind that owns pods and may have the labels. The first JSON pointer is the field of the desired replicas, the
    /// second one the field of the minimum ready seconds (`=/spec/replicas,/spec/minReadySeconds`). Repeatable.
    #[arg(
        long = "owner-kind",
        value_name = "GROUP/VERSION/PLURAL/KIND[=POINTER[,POINTER]]"
    )]
    owner_kinds: Vec<Kind>,
    /// Do not watch this default kind: LeaderWorkerSet, Rollout, InferenceService, LLMInferenceService, RayService, RayCluster,
    /// Deployment, ReplicaSet, StatefulSet or DaemonSet. Its pods count as pods without an owner. The other default kinds are
    /// watched as soon as they are installed, in the version that the API server prefers. Repeatable.
    #[arg(long = "no-owner-kind", value_name = "KIND", value_delimiter = ',', value_parser = parse_default_kind)]
    no_owner_kinds: Vec<String>,
}

impl OwnerArgs {
    /// The kinds to watch.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        Kind::defaults_without_and(&self.no_owner_kinds, &self.owner_kinds)
    }
}

fn parse_default_kind(name: &str) -> Result<String, String> {
    Kind::default_kind(name).map_err(|error| error.to_string())
}

impl ClusterArgs {
    /// Whether models come from a Kubernetes API.
    fn is_wanted(&self) -> bool {
        self.kube || self.kubeconfig.is_some() || self.context.is_some()
    }

    fn config(&self) -> ClusterConfig {
        ClusterConfig {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            namespaces: self.namespaces.clone(),
            allowed_endpoints: self.allowed_endpoints.clone(),
            kinds: self.owners.kinds(),
        }
    }

    /// A flag that needs a Kubernetes API and is given.
    fn given_flag(&self) -> Option<&'static str> {
        let flags = [
            ("--namespace", self.namespaces.is_empty()),
            ("--owner-kind", self.owners.owner_kinds.is_empty()),
            ("--no-owner-kind", self.owners.no_owner_kinds.is_empty()),
            ("--allow-endpoint", self.allowed_endpoints.is_empty()),
        ];
        let given = flags.iter().find(|(_, is_absent)| !is_absent);
        given.map(|(flag, _)| *flag)
    }
}

impl InputArgs {
    /// The configuration.
    ///
    /// # Errors
    /// No source is given, or a flag has no effect on the given source. The message names the flag and the fix.
    pub(crate) fn config(&self) -> Result<InputConfig, String> {
        Ok(InputConfig {
            models: self.source()?,
            policies: self.policies.clone(),
            recursive: self.recursive,
            root_namespace: self.root_namespace.clone(),
            default_namespace: self.default_namespace().to_owned(),
            domains: self.domains.clone(),
            labels: self.labels.keys(),
            listen: self.listen,
            wasm: self.wasm.clone(),
            delivery: self.delivery(),
            access_log: (self.access_log != "none").then(|| self.access_log.clone()),
            max_body_bytes: self.max_body_bytes,
            idle_timeout: Duration::from_secs(self.idle_timeout),
            upstream_ca: self.upstream_ca.clone(),
            listener_tls: self.listener.config()?,
            istio: self.istio.config(),
        })
    }

    fn delivery(&self) -> ModuleDelivery {
        match &self.wasm_proxy_path {
            Some(dir) => ModuleDelivery::ProxyDirectory(dir.clone()),
            None if self.wasm_inline => ModuleDelivery::Inline,
            None => ModuleDelivery::SharedDirectory,
        }
    }

    fn source(&self) -> Result<ModelSource, String> {
        if self.cluster.is_wanted() {
            return match self.state {
                Some(_) => Err("--state applies to --models only; with --kube, ServedModel objects store the base of a model: remove --state".to_owned()),
                None => Ok(ModelSource::Cluster(self.cluster.config())),
            };
        }
        let flag = self
            .cluster
            .given_flag()
            .or_else(|| self.istio.is_wanted().then_some("--istio"));
        match (flag, &self.models) {
            (Some(flag), _) => Err(format!("{flag} needs a Kubernetes API: add --kube, --kubeconfig FILE or --context NAME")),
            (None, None) => Err("no source of models is given: add --models DIR for a directory, or --kube, --kubeconfig FILE or --context NAME for a Kubernetes API".to_owned()),
            (None, Some(directory)) => Ok(ModelSource::Files {
                directory: directory.clone(),
                state: self.state.clone(),
            }),
        }
    }

    fn default_namespace(&self) -> &str {
        match (&self.default_namespace, self.cluster.namespaces.as_slice()) {
            (Some(given), _) => given,
            (None, [only]) => only,
            (None, _) => "default",
        }
    }
}

/// Whether a text is `*`, or a DNS name or `*.NAME`, with a port or without.
fn is_domain(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_port = |port: &str| port == "*" || port.parse::<u16>().is_ok();
    text == "*" || (names::is_host(host) && port.is_none_or(is_port))
}

/// An absolute path, without the slashes at its end.
fn parse_proxy_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("write an absolute path, such as /etc/headgate/wasm".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn parse_domains(text: &str) -> Result<(String, Vec<String>), String> {
    let (namespace, domains) = text
        .split_once('=')
        .ok_or("write NAMESPACE=DOMAIN, or NAMESPACE=DOMAIN,DOMAIN for several")?;
    let domains: Vec<String> = domains.split(',').map(|d| d.trim().to_owned()).collect();
    if domains.iter().any(String::is_empty) {
        return Err("a domain is empty: write NAMESPACE=DOMAIN,DOMAIN".to_owned());
    }
    if let Some(domain) = domains.iter().find(|domain| !is_domain(domain)) {
        return Err(format!(
            "{domain:?} is no domain: write a DNS name without scheme and path, such as ai.example.com or *.example.com, or `*`"
        ));
    }
    Ok((parse_namespace(namespace)?, domains))
}
