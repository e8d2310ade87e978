//! Flags of Istio.

use clap::{Args, ValueEnum};
use headgate_istio::XdsService;

use crate::config::{IstioConfig, IstioMode};
use crate::names::{parse_label, parse_namespace};

/// Istio: the objects that route versions and run the filter in proxies of a mesh.
#[derive(Debug, Args, Clone, PartialEq, Eq)]
#[command(next_help_heading = "Istio")]
pub(crate) struct IstioArgs {
    /// Serve the proxies of a mesh. `write`: the replica that leads writes DestinationRules and EnvoyFilters. `watch`: another tool
    /// writes them, such as Argo CD with the output of `headgate translate --istio`. A version gets requests from proxies of the mesh
    /// once its objects exist. With `headgate translate`, prints the objects.
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true, default_missing_value = "write", env = "HEADGATE_ISTIO")]
    istio: Option<Mode>,
    /// Namespaces of sidecars that call models. The default is the root namespace, whose objects apply to the whole mesh.
    #[arg(long, value_name = "NAMESPACE,…", value_delimiter = ',', value_parser = parse_namespace, env = "HEADGATE_ISTIO_CLIENTS")]
    istio_clients: Vec<String>,
    /// Namespaces of ingress gateways that serve a --domain. The default is the root namespace, whose objects apply to every gateway.
    #[arg(long, value_name = "NAMESPACE,…", value_delimiter = ',', value_parser = parse_namespace, env = "HEADGATE_ISTIO_GATEWAYS")]
    istio_gateways: Vec<String>,
    /// Labels of the client pods whose sidecars run the filter. The default is every sidecar of the namespaces. A sidecar without the file
    /// of --wasm-proxy-path rejects a listener with the filter, so use a label that only pods with the file have.
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',', value_parser = parse_label, env = "HEADGATE_ISTIO_CLIENT_LABELS")]
    istio_client_labels: Vec<(String, String)>,
    /// Labels of the ingress gateways that run the filter. The default is every gateway of the namespaces.
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',', value_parser = parse_label, env = "HEADGATE_ISTIO_GATEWAY_LABELS")]
    istio_gateway_labels: Vec<(String, String)>,
    /// Root namespace of Istio.
    #[arg(long, value_name = "NAMESPACE", default_value = "istio-system", value_parser = parse_namespace, env = "HEADGATE_ISTIO_ROOT_NAMESPACE")]
    istio_root_namespace: String,
    /// Service by which proxies of the mesh reach the xDS server.
    #[arg(
        long,
        value_name = "NAME.NAMESPACE:PORT",
        default_value = "headgate.headgate-system:18000",
        env = "HEADGATE_ISTIO_XDS_SERVICE"
    )]
    istio_xds_service: XdsService,
    /// DNS domain of the cluster. A Service is a host of the namespace whose models it selects.
    #[arg(
        long,
        value_name = "DOMAIN",
        default_value = "cluster.local",
        env = "HEADGATE_CLUSTER_DOMAIN"
    )]
    cluster_domain: String,
}

/// Whether objects of Istio are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    /// The replica that leads writes them.
    Write,
    /// Another tool writes them.
    Watch,
}

impl IstioArgs {
    /// The configuration.
    pub(crate) fn config(&self) -> IstioConfig {
        let or_root = |namespaces: &[String]| match namespaces {
            [] => vec![self.istio_root_namespace.clone()],
            some => some.to_vec(),
        };
        IstioConfig {
            mode: self.istio.map(|mode| match mode {
                Mode::Write => IstioMode::Write,
                Mode::Watch => IstioMode::Watch,
            }),
            clients: or_root(&self.istio_clients),
            gateways: or_root(&self.istio_gateways),
            client_labels: self.istio_client_labels.iter().cloned().collect(),
            gateway_labels: self.istio_gateway_labels.iter().cloned().collect(),
            root_namespace: self.istio_root_namespace.clone(),
            xds_service: self.istio_xds_service.clone(),
            cluster_domain: self.cluster_domain.clone(),
        }
    }

    /// Whether objects of Istio are wanted.
    pub(crate) fn is_wanted(&self) -> bool {
        self.istio.is_some()
    }
}
