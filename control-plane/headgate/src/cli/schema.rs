//! Flags of `headgate schema`.

use clap::{Args, ValueEnum};
use headgate_kubernetes::access::{Account, MeshAccess};

use super::input::OwnerArgs;
use super::istio::Mode;
use super::reference;
use crate::config::{RbacConfig, SchemaOf};
use crate::names::{parse_name, parse_namespace};

/// `headgate schema`.
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// The document.
    #[arg(value_enum)]
    document: Document,
    /// Flags of `rbac`.
    #[command(flatten)]
    rbac: RbacArgs,
}

/// Permissions of the control plane and their ServiceAccount. For `rbac` only.
#[derive(Debug, Args, Clone, PartialEq, Eq)]
struct RbacArgs {
    /// As `serve --namespace`: permissions in this namespace only, instead of the whole cluster. Repeatable.
    #[arg(long = "namespace", short = 'n', value_name = "NAMESPACE", value_parser = parse_namespace)]
    namespaces: Vec<String>,
    /// As `serve --root-namespace`.
    #[arg(long, value_name = "NAMESPACE", value_parser = parse_namespace)]
    root_namespace: Option<String>,
    /// Kinds that own pods, as for `serve`.
    #[command(flatten)]
    owners: OwnerArgs,
    /// Namespace of the control plane.
    #[arg(long, value_name = "NAMESPACE", default_value = INSTALL_NAMESPACE, value_parser = parse_namespace)]
    install_namespace: String,
    /// ServiceAccount of the control plane.
    #[arg(long, value_name = "NAME", default_value = Account::DEFAULT_NAME, value_parser = parse_name)]
    service_account: String,
    /// Print only the role that `serve --istio` of the same mode needs in addition.
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true, default_missing_value = "write")]
    istio: Option<Mode>,
    /// Namespaces of proxies of the mesh, with --istio and --namespace: those of `serve --istio-clients` and `--istio-gateways`, or the
    /// root namespace of Istio.
    #[arg(long, value_name = "NAMESPACE,…", value_delimiter = ',', value_parser = parse_namespace)]
    istio_clients: Vec<String>,
    /// As `serve --admin-tokens`.
    #[arg(long)]
    admin_tokens: bool,
}

const INSTALL_NAMESPACE: &str = "headgate-system";

impl Default for RbacArgs {
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            root_namespace: None,
            owners: OwnerArgs::default(),
            install_namespace: INSTALL_NAMESPACE.to_owned(),
            service_account: Account::DEFAULT_NAME.to_owned(),
            istio: None,
            istio_clients: Vec::new(),
            admin_tokens: false,
        }
    }
}

/// A document of `headgate schema`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Document {
    /// JSON schema of the configuration of a filter.
    FilterConfig,
    /// JSON schema of `spec` of an `AuthenticationPolicy`.
    AuthenticationPolicy,
    /// JSON schema of `spec` of a `TokenBucketPolicy`.
    TokenBucketPolicy,
    /// JSON schema of `spec` of a `TrafficTagPolicy`.
    TrafficTagPolicy,
    /// JSON schema of `spec` of a `ServedModel`.
    ServedModel,
    /// JSON schema of the file of `serve --scopes`.
    Scopes,
    /// Reference of all schemas, as Markdown.
    Reference,
    /// Reference of the metrics, as Markdown.
    MetricsReference,
    /// Reference of the findings with causes and fixes, as Markdown.
    FindingsReference,
    /// Reference of the APIs, their methods and paths, as Markdown.
    Endpoints,
    /// Reference of commands and flags, as Markdown.
    CliReference,
    /// CustomResourceDefinitions of the policies and of `ServedModel`, as YAML for `kubectl apply`.
    Crds,
    /// ServiceAccount, Roles and bindings with exactly the permissions that `serve --kube` uses, as YAML for `kubectl apply`.
    Rbac,
}

/// The output of a schema command.
pub(crate) enum Printed {
    /// A document that is independent of the command line.
    Schema(SchemaOf),
    /// A document that is ready.
    Text(String),
}

impl SchemaArgs {
    /// The document to print.
    ///
    /// # Errors
    /// Flags of `rbac` with another document.
    pub(crate) fn printed(&self) -> Result<Printed, String> {
        if self.document != Document::Rbac && self.rbac != RbacArgs::default() {
            return Err("these flags apply to `headgate schema rbac` only: remove them".to_owned());
        }
        Ok(Printed::Schema(match self.document {
            Document::FilterConfig => SchemaOf::FilterConfig,
            Document::AuthenticationPolicy => SchemaOf::AuthenticationPolicy,
            Document::TokenBucketPolicy => SchemaOf::TokenBucketPolicy,
            Document::TrafficTagPolicy => SchemaOf::TrafficTagPolicy,
            Document::ServedModel => SchemaOf::ServedModel,
            Document::Scopes => SchemaOf::Scopes,
            Document::Reference => SchemaOf::Reference,
            Document::MetricsReference => SchemaOf::Metrics,
            Document::FindingsReference => SchemaOf::Findings,
            Document::Endpoints => SchemaOf::Endpoints,
            Document::CliReference => return Ok(Printed::Text(reference())),
            Document::Crds => SchemaOf::Crds,
            Document::Rbac => SchemaOf::Rbac(self.rbac.config()),
        }))
    }
}

impl RbacArgs {
    fn config(&self) -> RbacConfig {
        RbacConfig {
            namespaces: self.namespaces.clone(),
            root_namespace: self.root_namespace.clone(),
            kinds: self.owners.kinds(),
            install_namespace: self.install_namespace.clone(),
            service_account: self.service_account.clone(),
            mesh: match self.istio {
                None => MeshAccess::None,
                Some(Mode::Watch) => MeshAccess::Read,
                Some(Mode::Write) => MeshAccess::Write(self.istio_clients.clone()),
            },
            admin_tokens: self.admin_tokens,
        }
    }
}
