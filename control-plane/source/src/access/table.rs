//! The table.

use headgate_model::PolicyKind;
use kube::CustomResourceExt as _;
use kube::core::{ApiResource, DynamicObject, Request, Resource as _};

use crate::kubernetes::{Kind, What};
use crate::policies::{TokenBucketPolicy, TrafficTagPolicy};

/// Gives an API server the kinds that are Headgate's own.
const DEFINE: &str = "headgate schema crds | kubectl apply --server-side -f -";

/// A kind that is watched. It comes from the table only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watchable {
    pub(super) resource: ApiResource,
    pub(super) why: &'static str,
    /// The command that gives the kind to an API server, where every one should have it.
    pub(crate) install: Option<&'static str>,
}

/// What carriers are made of.
pub(crate) fn carriers(kinds: &[Kind]) -> Vec<(What, Watchable)> {
    let pool = ("inference.networking.k8s.io", "v1");
    let fixed = [
        (
            What::Pods,
            of(("", "v1"), "pods", "Pod", "pods are the endpoints"),
        ),
        (
            What::Services,
            of(
                ("", "v1"),
                "services",
                "Service",
                "a labelled Service is a carrier, and a policy can be attached to any",
            ),
        ),
        (
            What::Pools,
            of(
                pool,
                "inferencepools",
                "InferencePool",
                "a policy can be attached to an InferencePool",
            ),
        ),
    ];
    let owners = kinds.iter().enumerate().map(|(place, kind)| {
        let owner = Watchable {
            resource: kind.resource(),
            why: "an owner of pods carries their labels and says how many are wanted",
            install: None,
        };
        (What::Owners(place), owner)
    });
    fixed.into_iter().chain(owners).collect()
}

/// The policies.
pub(crate) fn policies() -> [(PolicyKind, Watchable); 2] {
    let own = |resource| Watchable {
        resource,
        why: "policies are objects",
        install: Some(DEFINE),
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
    }
}

impl Watchable {
    /// Its path at the API server, in a namespace or in all.
    pub(crate) fn path(&self, namespace: Option<&str>) -> Request {
        Request::new(DynamicObject::url_path(&self.resource, namespace))
    }

    /// As `status` calls a watch of it.
    pub(crate) fn name(&self, namespace: Option<&str>) -> String {
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
