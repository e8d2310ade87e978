//! The objects of Istio as data: subsets, version routes, insertions of the filter, and what each version needs of them.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{FilterConfig, ModelId, Version};
use headgate_model::{Finding, Labels, ModelKey};

/// The name of an object, and its namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// `namespace/name`.
impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The objects that a plan needs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Desired {
    /// `DestinationRule`s, with subsets only.
    pub rules: BTreeMap<ObjectKey, Rule>,
    /// `EnvoyFilter`s with version routes and the switch of the filter.
    pub routes: BTreeMap<ObjectKey, Routes>,
    /// `EnvoyFilter`s that insert the filter.
    pub insertions: BTreeMap<ObjectKey, Insertion>,
    /// What each version needs before proxies of the mesh may pick it.
    pub needs: BTreeMap<ModelKey, BTreeMap<Version, Needs>>,
    /// Versions that the mesh cannot route to.
    pub findings: Vec<Finding>,
}

/// The subsets of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The host: the DNS name of a Service.
    pub host: String,
    /// Labels by name of a subset.
    pub subsets: BTreeMap<String, Labels>,
}

/// Where Istio applies a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Context {
    /// Requests that sidecars send.
    SidecarOutbound,
    /// Requests that sidecars receive.
    SidecarInbound,
    /// Ingress gateways.
    Gateway,
}

/// A virtual host as Istio names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum VirtualHost {
    /// The virtual host of this name: `HOST:PORT`.
    Name(String),
    /// Virtual hosts with this domain, on any port.
    Domain(String),
}

/// The version routes of virtual hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    /// Where the patches apply.
    pub context: Context,
    /// For each virtual host, its routes by name.
    pub hosts: BTreeMap<VirtualHost, BTreeMap<String, Route>>,
}

/// The route of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The model, as the header `x-model` has it.
    pub model: ModelId,
    /// The version, as the header `x-model-version` has it.
    pub version: Version,
    /// Istio's cluster: `outbound|PORT|SUBSET|HOST`.
    pub cluster: String,
    /// The subset that the cluster needs.
    pub subset: Option<SubsetKey>,
}

/// A subset of a `DestinationRule`.
pub(crate) type SubsetKey = (ObjectKey, String);

/// The filter on a port.
#[derive(Debug, Clone, PartialEq)]
pub struct Insertion {
    /// Where the filter is inserted.
    pub context: Context,
    /// The number of the listener's port; `None` for every port.
    pub port: Option<u16>,
    /// The labels of the pods whose proxies get it; `None` for those of the options.
    pub pods: Option<Labels>,
    /// Whether these proxies have the module.
    pub module: Module,
    /// Its configuration while the control plane cannot be reached.
    pub default_config: FilterConfig,
}

/// Whether the proxies of an insertion have the module as a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// All of them do, so the filter runs before the control plane answers.
    InFile,
    /// Some may not. The filter does nothing before the control plane answers.
    MayLack,
}

/// What a version needs before proxies of the mesh may pick it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// Its subsets.
    pub subsets: BTreeSet<SubsetKey>,
    /// Its routes: the object, the virtual host and the name.
    pub routes: BTreeSet<RouteKey>,
}

/// A route in an `EnvoyFilter`.
pub(crate) type RouteKey = (ObjectKey, VirtualHost, String);

/// The model of a route: the namespace is the end of the name of the object, the id is in the name of the route.
pub(crate) fn model_of((object, _, name): &RouteKey) -> Option<ModelKey> {
    let (_, namespace) = object.name.rsplit_once('.')?;
    let (id, _) = name.strip_prefix(ROUTE_PREFIX)?.rsplit_once('/')?;
    Some((namespace.to_owned(), ModelId::try_from(id.to_owned()).ok()?))
}

/// The prefix of the names of version routes: `headgate/MODEL/VERSION`.
pub(crate) const ROUTE_PREFIX: &str = "headgate/";
