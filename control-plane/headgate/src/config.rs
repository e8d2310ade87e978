//! Plain configuration of every command. The command line fills it; nothing else knows `clap`.

mod bootstrap;
mod identity;
mod listener;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use headgate_istio::XdsService;
use headgate_kubernetes::access::MeshAccess;
use headgate_kubernetes::kinds::Kind;
use headgate_kubernetes::policies::Controller;
use headgate_model::{LabelKeys, Labels};
use headgate_report::output::Format;
use headgate_source::cluster::AllowedEndpoint;

pub(crate) use self::bootstrap::{BootstrapConfig, ProxyIdentity, ServerNames, XdsTarget};
pub(crate) use self::identity::{AdminConfig, IdentityConfig, RuleSourceConfig, TransportConfig};
pub(crate) use self::listener::{ListenerSource, ListenerTlsConfig};

/// An error that ends a command: one line that names the flag or file, and the fix.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Logging.
#[derive(Debug, Clone)]
pub(crate) struct LogConfig {
    /// Filter directives, such as `info,headgate_xds=debug`.
    pub filter: String,
    /// Whether each line is a JSON object.
    pub json: bool,
}

/// The source of models and policies, and the settings of their translation.
#[derive(Debug, Clone)]
pub(crate) struct InputConfig {
    /// The source of models.
    pub models: ModelSource,
    /// Directory of policies. With a Kubernetes API it replaces the policies of the API.
    pub policies: Option<PathBuf>,
    /// Whether subdirectories are read.
    pub recursive: bool,
    /// Namespace whose policies apply to the models of all namespaces.
    pub root_namespace: Option<String>,
    /// Namespace of manifests without one, and of the domain `*`.
    pub default_namespace: String,
    /// Domains of namespaces, as given.
    pub domains: Vec<(String, Vec<String>)>,
    /// Keys of the model, version and weight labels.
    pub labels: LabelKeys,
    /// Default listen address of proxies.
    pub listen: SocketAddr,
    /// Directory of the wasm modules.
    pub wasm: PathBuf,
    /// How proxies get the module.
    pub delivery: ModuleDelivery,
    /// Path of the access log of proxies; `None` for no log.
    pub access_log: Option<String>,
    /// Largest request body that the filter reads, in bytes.
    pub max_body_bytes: u32,
    /// Longest pause of a stream.
    pub idle_timeout: Duration,
    /// CA file of model servers, as a path on the proxies.
    pub upstream_ca: String,
    /// TLS of the listener of proxies; `None` for plain HTTP.
    pub listener_tls: Option<ListenerTlsConfig>,
    /// Istio.
    pub istio: IstioConfig,
}

/// The objects of Istio.
#[derive(Debug, Clone)]
pub(crate) struct IstioConfig {
    /// Whether they are written; `None` if proxies of a mesh are not served by them.
    pub mode: Option<IstioMode>,
    /// Namespaces of sidecars.
    pub clients: Vec<String>,
    /// Namespaces of gateways.
    pub gateways: Vec<String>,
    /// Labels of pods whose sidecars run the filter; empty for all.
    pub client_labels: Labels,
    /// Labels of gateways that run the filter; empty for all.
    pub gateway_labels: Labels,
    /// Root namespace of Istio.
    pub root_namespace: String,
    /// The Service of the xDS server.
    pub xds_service: XdsService,
    /// DNS domain of the cluster.
    pub cluster_domain: String,
}

/// Who writes the objects of Istio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IstioMode {
    /// The replica that leads.
    Write,
    /// Another tool.
    Watch,
}

/// How proxies get the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ModuleDelivery {
    /// They read the directory of `--wasm` under the same path, where a copy with the SHA-256 in its name is written.
    SharedDirectory,
    /// They have the copy with that name already, in this directory of theirs.
    ProxyDirectory(String),
    /// Its bytes are in the configuration.
    Inline,
}

/// The source of models.
#[derive(Debug, Clone)]
pub(crate) enum ModelSource {
    /// Manifests in a directory.
    Files {
        /// The directory.
        directory: PathBuf,
        /// Directory of the stored `ServedModel`s.
        state: Option<PathBuf>,
    },
    /// A Kubernetes API.
    Cluster(ClusterConfig),
}

/// A Kubernetes API to watch.
#[derive(Debug, Clone)]
pub(crate) struct ClusterConfig {
    /// Path of the kubeconfig.
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    pub context: Option<String>,
    /// Namespaces to watch; empty for all.
    pub namespaces: Vec<String>,
    /// Endpoints that the annotation of a Service may contain besides the default.
    pub allowed_endpoints: Vec<AllowedEndpoint>,
    /// Kinds that own pods.
    pub kinds: Vec<Kind>,
}

impl InputConfig {
    /// The Kubernetes API, if models come from one.
    pub(crate) fn cluster(&self) -> Option<&ClusterConfig> {
        match &self.models {
            ModelSource::Cluster(cluster) => Some(cluster),
            ModelSource::Files { .. } => None,
        }
    }

    /// The directory of models, if they come from one.
    pub(crate) fn model_directory(&self) -> Option<&PathBuf> {
        match &self.models {
            ModelSource::Files { directory, .. } => Some(directory),
            ModelSource::Cluster(_) => None,
        }
    }

    /// The directory of stored `ServedModel`s.
    pub(crate) fn state(&self) -> Option<&PathBuf> {
        match &self.models {
            ModelSource::Files { state, .. } => state.as_ref(),
            ModelSource::Cluster(_) => None,
        }
    }
}

/// `headgate serve`.
#[derive(Debug, Clone)]
pub(crate) struct ServeConfig {
    /// The source of the objects.
    pub input: InputConfig,
    /// Listen address of the xDS server.
    pub xds_address: SocketAddr,
    /// The admin server.
    pub admin: AdminConfig,
    /// The transport of the xDS port, and which proxies may connect.
    pub identity: IdentityConfig,
    /// How long a cluster stays after the last route to it is removed.
    pub linger: Duration,
    /// Interval of load reports.
    pub load_report_interval: Duration,
    /// How long a drain takes.
    pub drain_time: Duration,
    /// Open connections on the xDS port.
    pub max_connections: usize,
    /// The same for one identity or address.
    pub max_connections_per_peer: usize,
    /// Open streams on one connection.
    pub max_streams: u32,
    /// Open streams of one identity; 0 for no limit.
    pub max_streams_per_identity: usize,
    /// Longest TLS handshake of a connection.
    pub handshake_timeout: Duration,
    /// Writes to a Kubernetes API.
    pub writer: WriterConfig,
}

/// Writes to a Kubernetes API.
#[derive(Debug, Clone)]
pub(crate) struct WriterConfig {
    /// Name of the Lease.
    pub lease_name: String,
    /// Namespace of the Lease; `None` for that of the pod or kubeconfig.
    pub lease_namespace: Option<String>,
    /// Duration of the Lease.
    pub lease_duration: Duration,
    /// Name of this replica; `None` for host name and process id.
    pub replica_name: Option<String>,
    /// Address of this replica.
    pub replica_address: Option<IpAddr>,
    /// Name of this installation.
    pub controller: Controller,
}

/// `headgate validate`.
#[derive(Debug, Clone)]
pub(crate) struct ValidateConfig {
    /// Files and directories; `-` is standard input.
    pub paths: Vec<PathBuf>,
    /// Whether subdirectories are read.
    pub recursive: bool,
    /// Namespace of manifests without one.
    pub default_namespace: String,
    /// Namespace whose policies apply to the models of all namespaces.
    pub root_namespace: Option<String>,
    /// Keys of the model, version and weight labels.
    pub labels: LabelKeys,
    /// Output format.
    pub format: Format,
}

/// `headgate translate`.
#[derive(Debug, Clone)]
pub(crate) struct TranslateConfig {
    /// The source of the objects.
    pub input: InputConfig,
    /// What proxies of a mesh see.
    pub rules: RuleSourceConfig,
    /// Name of the installation.
    pub controller: Controller,
    /// Output format.
    pub format: Format,
}

/// `headgate schema`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SchemaOf {
    /// JSON schema of the filter configuration.
    FilterConfig,
    /// JSON schema of the spec of an `AuthenticationPolicy`.
    AuthenticationPolicy,
    /// JSON schema of the spec of a `TokenBucketPolicy`.
    TokenBucketPolicy,
    /// JSON schema of the spec of a `TrafficTagPolicy`.
    TrafficTagPolicy,
    /// JSON schema of the spec of a `ServedModel`.
    ServedModel,
    /// JSON schema of the file of `serve --scopes`.
    Scopes,
    /// Markdown reference of these schemas.
    Reference,
    /// Markdown reference of the metrics.
    Metrics,
    /// Markdown reference of the findings.
    Findings,
    /// Markdown reference of the APIs.
    Endpoints,
    /// CustomResourceDefinitions.
    Crds,
    /// ServiceAccount, Roles and bindings.
    Rbac(RbacConfig),
}

/// Permissions of a control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RbacConfig {
    /// Watched namespaces; empty for all.
    pub namespaces: Vec<String>,
    /// Root namespace.
    pub root_namespace: Option<String>,
    /// Kinds that own pods.
    pub kinds: Vec<Kind>,
    /// Namespace of the control plane.
    pub install_namespace: String,
    /// Its ServiceAccount.
    pub service_account: String,
    /// If it is not `None`, only the rights that this use of Istio needs in addition are printed.
    pub mesh: MeshAccess,
    /// Whether the rights that `serve --admin-tokens` needs are included.
    pub admin_tokens: bool,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The input of `--models m`.
    pub(crate) fn input() -> InputConfig {
        InputConfig {
            models: ModelSource::Files {
                directory: "m".into(),
                state: None,
            },
            policies: None,
            recursive: false,
            root_namespace: None,
            default_namespace: "default".to_owned(),
            domains: Vec::new(),
            labels: LabelKeys::default(),
            listen: SocketAddr::from(([127, 0, 0, 1], 10000)),
            wasm: "dist".into(),
            delivery: ModuleDelivery::SharedDirectory,
            access_log: None,
            max_body_bytes: 8 << 20,
            idle_timeout: Duration::from_secs(300),
            upstream_ca: String::new(),
            listener_tls: None,
            istio: IstioConfig {
                mode: None,
                clients: Vec::new(),
                gateways: Vec::new(),
                client_labels: Labels::new(),
                gateway_labels: Labels::new(),
                root_namespace: "istio-system".to_owned(),
                xds_service: XdsService {
                    name: "headgate".to_owned(),
                    namespace: "headgate-system".to_owned(),
                    port: 18000,
                },
                cluster_domain: "cluster.local".to_owned(),
            },
        }
    }
}
