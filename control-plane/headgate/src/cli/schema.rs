//! What `headgate schema` prints.

use clap::{Args, ValueEnum};
use headgate_kubernetes::access::Account;

use super::input::OwnerArgs;
use super::names::{parse_name, parse_namespace};

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
    /// Kinds that own pods, as for `serve`.
    #[command(flatten)]
    pub owners: OwnerArgs,
    /// Where the control plane runs.
    #[arg(long, value_name = "NAMESPACE", default_value = "headgate-system", value_parser = parse_namespace)]
    pub install_namespace: String,
    /// The ServiceAccount it runs as.
    #[arg(long, value_name = "NAME", default_value = Account::USUAL, value_parser = parse_name)]
    pub service_account: String,
}

impl Default for RightsArgs {
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            root_namespace: None,
            owners: OwnerArgs::default(),
            install_namespace: "headgate-system".to_owned(),
            service_account: Account::USUAL.to_owned(),
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
    /// `spec` of a `ServedModel`.
    ServedModel,
    /// All of them, as a Markdown reference.
    Reference,
    /// The CustomResourceDefinitions of the policies and of `ServedModel`, as YAML that `kubectl apply` takes.
    Crds,
    /// The rights that `serve --kube` uses and no others, and a ServiceAccount that has them, as YAML that `kubectl apply` takes.
    Rbac,
}
