//! The objects as the API server has them: the subsets and routes that exist, and the routes of other people.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::names;
use serde_json::Value;

use crate::fields::list;
use crate::gateway_hosts::GatewayRoutes;
use crate::host_rule::HostRule;
use crate::manifest::{CONTROLLER, IstioKind, MANAGED_BY};
use crate::object::{ObjectKey, ROUTE_PREFIX, RouteKey, SubsetKey, VirtualHost};
use crate::options::Options;
use crate::virtual_service::VirtualService;

/// The objects that Headgate, or a person on its behalf, wrote, and what objects of other people change for them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stored {
    /// By kind and name.
    pub objects: BTreeMap<(IstioKind, ObjectKey), StoredObject>,
    /// The names of objects of other people.
    pub foreign: BTreeSet<(IstioKind, ObjectKey)>,
    /// The `DestinationRule`s of other people.
    pub foreign_rules: BTreeMap<ObjectKey, HostRule>,
    /// The `VirtualService`s of other people that split requests, or change them.
    pub services: BTreeMap<ObjectKey, VirtualService>,
    /// The hosts that other people's routes have on gateways.
    pub gateways: GatewayRoutes,
}

/// An object of the API server.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredObject {
    /// `metadata.resourceVersion`
    pub resource_version: String,
    /// `metadata.creationTimestamp`: of two rules for a host, Istio prefers the older one.
    pub created: String,
    /// The name of the installation that it belongs to.
    pub controller: String,
    /// Its `spec`.
    pub spec: Value,
}

impl StoredObject {
    /// Reads an object; `None` if it is not Headgate's.
    pub(crate) fn read(object: &Value) -> Option<Self> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let metadata = object.get("metadata")?;
        let managed = metadata
            .get("labels")
            .and_then(|labels| labels.get(MANAGED_BY.0));
        if managed.and_then(Value::as_str) != Some(MANAGED_BY.1) {
            return None;
        }
        let controller = metadata
            .get("annotations")
            .and_then(|all| all.get(CONTROLLER));
        let controller = controller.and_then(Value::as_str);
        Some(Self {
            resource_version: text("/metadata/resourceVersion")
                .unwrap_or_default()
                .to_owned(),
            created: text("/metadata/creationTimestamp")
                .unwrap_or_default()
                .to_owned(),
            controller: controller
                .unwrap_or(names::DEFAULT_CONTROLLER_NAME)
                .to_owned(),
            spec: object.get("spec").cloned().unwrap_or_default(),
        })
    }

    /// Its subsets, by name.
    pub(crate) fn subsets(&self) -> BTreeMap<String, &Value> {
        list(&self.spec, "subsets")
            .filter_map(|subset| Some((subset.get("name")?.as_str()?.to_owned(), subset)))
            .collect()
    }

    /// Its patches that insert a version route, by virtual host and name.
    pub(crate) fn routes(&self) -> BTreeMap<(VirtualHost, String), &Value> {
        let routes = list(&self.spec, "configPatches").filter_map(|patch| {
            let name = patch.pointer("/patch/value/name")?.as_str()?;
            let host = patch.pointer("/match/routeConfiguration/vhost")?;
            let text = |field: &str| host.get(field).and_then(Value::as_str).map(str::to_owned);
            let host = match (text("name"), text("domainName")) {
                (Some(name), _) => VirtualHost::Name(name),
                (None, domain) => VirtualHost::Domain(domain?),
            };
            let is_route = patch.get("applyTo").and_then(Value::as_str) == Some("HTTP_ROUTE");
            (is_route && name.starts_with(ROUTE_PREFIX)).then(|| ((host, name.to_owned()), patch))
        });
        routes.collect()
    }
}

/// Where a stored version route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RouteTo {
    /// To all endpoints of a Service.
    Service,
    /// To a subset that exists.
    Subset(SubsetKey),
    /// To a subset that does not exist.
    Nothing,
}

/// Where each stored version route leads.
pub(crate) type RouteTargets = BTreeMap<RouteKey, RouteTo>;

impl Stored {
    /// An object.
    #[must_use]
    pub fn get(&self, kind: IstioKind, key: &ObjectKey) -> Option<&StoredObject> {
        self.objects.get(&(kind, key.clone()))
    }

    /// Whether the object of this name belongs to someone else: to another person, or to another installation.
    pub(crate) fn is_taken(&self, name: &(IstioKind, ObjectKey), options: &Options) -> bool {
        let own = self.objects.get(name);
        self.foreign.contains(name) || own.is_some_and(|own| own.controller != options.controller)
    }

    /// All subsets.
    pub(crate) fn subset_keys(&self) -> BTreeSet<SubsetKey> {
        let rules = self.of(IstioKind::DestinationRule);
        rules
            .flat_map(|(key, rule)| {
                let subsets = rule.subsets().into_keys();
                subsets.map(move |name| (key.clone(), name))
            })
            .collect()
    }

    /// Where each version route leads, by its cluster: `outbound|PORT|SUBSET|HOST`.
    pub(crate) fn route_targets(&self) -> RouteTargets {
        let rules = self.of(IstioKind::DestinationRule);
        let subsets: BTreeMap<(&str, String), &ObjectKey> = rules
            .flat_map(|(key, rule)| {
                let host = rule.spec.get("host").and_then(Value::as_str);
                let names = rule.subsets().into_keys();
                names.map(move |name| ((host.unwrap_or_default(), name), key))
            })
            .collect();
        let target = |patch: &Value| {
            let cluster = patch.pointer("/patch/value/route/cluster")?.as_str()?;
            let mut parts = cluster.split('|').skip(2);
            let (subset, host) = (parts.next()?, parts.next()?);
            if subset.is_empty() {
                return Some(RouteTo::Service);
            }
            let rule = subsets.get(&(host, subset.to_owned()))?;
            Some(RouteTo::Subset(((*rule).clone(), subset.to_owned())))
        };
        let filters = self.of(IstioKind::EnvoyFilter);
        let routes = filters.flat_map(|(key, filter)| {
            let routes = filter.routes().into_iter();
            routes.map(move |((host, name), patch)| ((key.clone(), host, name), patch))
        });
        routes
            .map(|(route, patch)| (route, target(patch).unwrap_or(RouteTo::Nothing)))
            .collect()
    }

    /// The objects of a kind.
    pub(crate) fn of(&self, kind: IstioKind) -> impl Iterator<Item = (&ObjectKey, &StoredObject)> {
        let objects = self.objects.iter().filter(move |((of, _), _)| *of == kind);
        objects.map(|((_, key), object)| (key, object))
    }
}
