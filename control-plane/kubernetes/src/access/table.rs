//! The table.

use headgate_model::PolicyKind;
use kube::CustomResourceExt as _;
use kube::core::{ApiResource, DynamicObject, Request, Resource as _};

use crate::models::ServedModel;
use crate::policies::{TokenBucketPolicy, TrafficTagPolicy};
use crate::{kinds::Kind, watched_kind::WatchedKind};

/// Gives an API server the kinds that are Headgate's own.
pub const DEFINE: &str = "headgate schema crds | kubectl apply --server-side -f -";

/// A kind that is watched. It comes from the table only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watchable {
    pub(super) resource: ApiResource,
    pub(super) why: &'static str,
    /// The command that gives the kind to an API server, where every one should have it.
    pub install: Option<&'static str>,
    /// Whether the API server says which version of it is watched.
    pub discovered: bool,
}

/// What carriers are made of.
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
                "a labelled Service is a carrier, and a policy can be attached to any",
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
            why: "an owner of pods carries their labels and says how many are wanted",
            install: None,
            discovered: kind.discovered,
        };
        (WatchedKind::Owners(place), owner)
    });
    fixed.into_iter().chain(owners).collect()
}

/// The policies.
pub fn policies() -> [(PolicyKind, Watchable); 2] {
    let own = |resource| Watchable {
        resource,
        why: "policies are objects",
        install: Some(DEFINE),
        discovered: false,
    };
    [
        (
            PolicyKind::TokenBucket,
            own(TokenBucketPolicy::api_resource()),
        ),
        (
            PolicyKind::TrafficTag,
            own(TrafficTagPolicy::api_resource()),
        ),
    ]
}

/// `ServedModel`s. Without the kind the control plane serves, and a finding says what is missing.
pub fn models() -> Watchable {
    Watchable {
        resource: ServedModel::api_resource(),
        why: "a ServedModel stores the base of a model",
        install: None,
        discovered: false,
    }
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
    /// Its path at the API server, in a namespace or in all.
    pub fn path(&self, namespace: Option<&str>) -> Request {
        Self::path_of(&self.resource, namespace)
    }

    /// The path of a resource, in a namespace or in all.
    pub fn path_of(resource: &ApiResource, namespace: Option<&str>) -> Request {
        Request::new(DynamicObject::url_path(resource, namespace))
    }

    /// Whether the kind is built in: no CustomResourceDefinition to install, and no conversion webhook.
    pub fn is_built_in(&self) -> bool {
        !self.resource.group.contains('.')
    }

    /// What it is, in the version that is given or assumed.
    pub fn resource(&self) -> &ApiResource {
        &self.resource
    }

    /// As `status` calls a watch of it.
    pub fn name(&self, namespace: Option<&str>) -> String {
        let ApiResource { plural, group, .. } = &self.resource;
        let what = match group.as_str() {
            "" => plural.clone(),
            group => format!("{plural}.{group}"),
        };
        match namespace {
            Some(namespace) => format!("{what} in {namespace}"),
            None => what,
        }
    }
}
