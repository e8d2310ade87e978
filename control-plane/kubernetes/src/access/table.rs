//! The rows of the access table that are watched.

use headgate_contract::{POLICY_DEFINITIONS, PolicyDefinition};
use kube::CustomResourceExt as _;
use kube::core::{ApiResource, DynamicObject, Request, Resource as _};

use super::write_permissions::{ISTIO_GROUP, OWN_GROUP};
use crate::kinds::Kind;
use crate::models::ServedModel;
use crate::watched_kind::WatchedKind;

/// The command that installs Headgate's own kinds.
pub const INSTALL_CRDS: &str = "headgate schema crds | kubectl apply --server-side -f -";

/// The version of Headgate's own kinds.
const OWN_VERSION: &str = "v1alpha1";

/// A kind that is watched: a row of the access table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watchable {
    pub(super) resource: ApiResource,
    pub(super) why: &'static str,
    /// The command that installs the kind, where every API server should have it.
    pub install: Option<&'static str>,
    /// Whether discovery decides which version is watched.
    pub discovered: bool,
}

/// The kinds that are watched for carriers.
pub fn carriers(kinds: &[Kind]) -> Vec<(WatchedKind, Watchable)> {
    let pool = |group| Watchable {
        discovered: true,
        ..of(
            group,
            "inferencepools",
            "InferencePool",
            "policies can target an InferencePool",
        )
    };
    let fixed = [
        (
            WatchedKind::Pods,
            of(("", "v1"), "pods", "Pod", "pods are the endpoints"),
        ),
        (
            WatchedKind::Services,
            of(
                ("", "v1"),
                "services",
                "Service",
                "a labelled Service is a carrier, and a policy can target any Service",
            ),
        ),
        (
            WatchedKind::Pools,
            pool(("inference.networking.k8s.io", "v1")),
        ),
        (
            WatchedKind::ExperimentalPools,
            pool(("inference.networking.x-k8s.io", "v1alpha2")),
        ),
    ];
    let owners = kinds.iter().enumerate().map(|(place, kind)| {
        let owner = Watchable {
            resource: kind.resource(),
            why: "owners of pods carry labels and declare the desired replicas",
            install: None,
            discovered: kind.discovered,
        };
        (WatchedKind::Owners(place), owner)
    });
    fixed.into_iter().chain(owners).collect()
}

/// The kinds of policies.
pub fn policies() -> impl Iterator<Item = (&'static PolicyDefinition, Watchable)> {
    POLICY_DEFINITIONS
        .iter()
        .map(|definition| (definition, policy(definition)))
}

/// A kind of policies.
pub fn policy(definition: &PolicyDefinition) -> Watchable {
    let (plural, kind) = (definition.plural, definition.kind.as_str());
    Watchable {
        install: Some(INSTALL_CRDS),
        ..of(
            (OWN_GROUP, OWN_VERSION),
            plural,
            kind,
            "policies are read from the Kubernetes API",
        )
    }
}

/// `ServedModel`s. Without the kind, models are served, and a finding reports that it is missing.
pub fn models() -> Watchable {
    Watchable {
        resource: ServedModel::api_resource(),
        why: "a ServedModel stores the base of a model",
        install: None,
        discovered: false,
    }
}

/// The objects of Istio that `serve --istio` reads: `DestinationRule`s, `EnvoyFilter`s, `VirtualService`s and, of the Gateway API,
/// `HTTPRoute`s.
pub fn istio() -> [Watchable; 4] {
    let istio = |version, plural, kind| {
        of(
            (ISTIO_GROUP, version),
            plural,
            kind,
            "proxies of the mesh get a version once its subset and its route exist",
        )
    };
    [
        istio("v1", "destinationrules", "DestinationRule"),
        istio("v1alpha3", "envoyfilters", "EnvoyFilter"),
        istio("v1", "virtualservices", "VirtualService"),
        of(
            ("gateway.networking.k8s.io", "v1"),
            "httproutes",
            "HTTPRoute",
            "gateways of the mesh run the filter for hosts that lead to models",
        ),
    ]
}

fn of((group, version): (&str, &str), plural: &str, kind: &str, why: &'static str) -> Watchable {
    let api_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    let resource = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    Watchable {
        resource,
        why,
        install: None,
        discovered: false,
    }
}

impl Watchable {
    /// Its path at the API server, in one namespace or in all.
    pub fn path(&self, namespace: Option<&str>) -> Request {
        Self::path_of(&self.resource, namespace)
    }

    /// The path of a resource, in one namespace or in all.
    pub fn path_of(resource: &ApiResource, namespace: Option<&str>) -> Request {
        Request::new(DynamicObject::url_path(resource, namespace))
    }

    /// Whether the kind is built in: it has no CustomResourceDefinition and no conversion webhook.
    pub fn is_built_in(&self) -> bool {
        !self.resource.group.contains('.')
    }

    /// The resource, in the version that is given or assumed.
    pub fn resource(&self) -> &ApiResource {
        &self.resource
    }

    /// Name of its watch in `headgate status`: `deployments.apps`, `deployments.apps in NAMESPACE`.
    pub fn name(&self, namespace: Option<&str>) -> String {
        let ApiResource { plural, group, .. } = &self.resource;
        let kind = match group.as_str() {
            "" => plural.clone(),
            group => format!("{plural}.{group}"),
        };
        match namespace {
            Some(namespace) => format!("{kind} in {namespace}"),
            None => kind,
        }
    }
}
