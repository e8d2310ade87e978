//! The rows of the access table that are written, and those that are read only by a writer.
//!
//! Invariant: every written resource is named here and nowhere else.

use std::borrow::Cow;

use headgate_contract::{POLICY_DEFINITIONS, PolicyDefinition};

use super::qualified::qualified;

/// The namespaces of a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Those with models.
    Models,
    /// Those with models, and the root namespace.
    Policies,
    /// Those with models, the root namespace, and that of the control plane.
    Everywhere,
    /// That of the control plane.
    Own,
    /// Those with models, and those of the mesh's proxies.
    Mesh,
    /// None: the resource is of the whole cluster.
    Cluster,
}

/// The permission to write a resource.
#[derive(Debug, Clone)]
pub struct WritePermission {
    pub(super) group: &'static str,
    pub(super) resource: Cow<'static, str>,
    pub(super) verbs: &'static [&'static str],
    pub(super) place: Place,
    pub(super) why: &'static str,
}

/// The group of Istio's kinds.
pub(super) const ISTIO_GROUP: &str = "networking.istio.io";
/// The group of Headgate's own kinds.
pub(super) const OWN_GROUP: &str = "headgate.dev";

/// Events on objects, and on the Lease for findings without an object.
pub static EVENTS: WritePermission = WritePermission {
    group: "events.k8s.io",
    resource: Cow::Borrowed("events"),
    verbs: &["create", "get", "patch"],
    place: Place::Everywhere,
    why: "findings are reported as Events of their objects",
};
/// The `ServedModel`s.
pub static MODELS: WritePermission = WritePermission {
    group: OWN_GROUP,
    resource: Cow::Borrowed("servedmodels"),
    verbs: &["create", "delete", "patch"],
    place: Place::Models,
    why: "a ServedModel stores the base of a model, its weights and conditions",
};
/// The status of `ServedModel`s, which is replaced as a whole.
pub static MODEL_STATUS: WritePermission = WritePermission {
    group: OWN_GROUP,
    resource: Cow::Borrowed("servedmodels/status"),
    verbs: &["update"],
    place: Place::Models,
    why: "a ServedModel stores the base of a model, its weights and conditions",
};
/// The subsets of versions.
pub static DESTINATION_RULES: WritePermission = WritePermission {
    group: ISTIO_GROUP,
    resource: Cow::Borrowed("destinationrules"),
    verbs: &["create", "delete", "patch"],
    place: Place::Mesh,
    why: "a DestinationRule declares the subset of each version",
};
/// The routes of versions, and the filter in proxies of the mesh.
pub static ENVOY_FILTERS: WritePermission = WritePermission {
    group: ISTIO_GROUP,
    resource: Cow::Borrowed("envoyfilters"),
    verbs: &["create", "delete", "patch"],
    place: Place::Mesh,
    why: "an EnvoyFilter routes each version, and runs the filter in proxies of the mesh",
};
/// The Lease of the replicas.
pub static LEASES: WritePermission = WritePermission {
    group: "coordination.k8s.io",
    resource: Cow::Borrowed("leases"),
    verbs: &["create", "get", "update"],
    place: Place::Own,
    why: "the replica that holds the Lease writes status and Events",
};
/// The ConfigMap with the proxy counts of each replica.
pub static COUNTS: WritePermission = WritePermission {
    group: "",
    resource: Cow::Borrowed("configmaps"),
    verbs: &["create", "delete", "list", "patch", "watch"],
    place: Place::Own,
    why: "replicas exchange the number of proxies that have a policy",
};

/// Reviews of tokens.
static TOKEN_REVIEWS: WritePermission = WritePermission {
    group: "authentication.k8s.io",
    resource: Cow::Borrowed("tokenreviews"),
    verbs: &["create"],
    place: Place::Cluster,
    why: "the Kubernetes API authenticates clients of the admin port",
};
/// Reviews of what the owner of a token may do.
static ACCESS_REVIEWS: WritePermission = WritePermission {
    group: "authorization.k8s.io",
    resource: Cow::Borrowed("subjectaccessreviews"),
    verbs: &["create"],
    place: Place::Cluster,
    why: "the Kubernetes API authorizes clients of the admin port",
};

/// All rows, in the order of the manifest.
pub(super) fn all() -> impl Iterator<Item = Cow<'static, WritePermission>> {
    let statuses = POLICY_DEFINITIONS.iter().map(status_of);
    let [events, others @ ..] = [
        &EVENTS,
        &MODELS,
        &MODEL_STATUS,
        &LEASES,
        &COUNTS,
        &DESTINATION_RULES,
        &ENVOY_FILTERS,
        &TOKEN_REVIEWS,
        &ACCESS_REVIEWS,
    ];
    std::iter::once(Cow::Borrowed(events))
        .chain(statuses.map(Cow::Owned))
        .chain(others.into_iter().map(Cow::Borrowed))
}

/// The row of the status of a kind of policies.
pub fn status_of(definition: &PolicyDefinition) -> WritePermission {
    WritePermission {
        group: OWN_GROUP,
        resource: format!("{}/status", definition.plural).into(),
        verbs: &["patch"],
        place: Place::Policies,
        why: "the conditions of a policy are stored in its status",
    }
}

impl WritePermission {
    /// Its name for `headgate status` and `kubectl auth can-i`: `events.events.k8s.io`.
    pub fn name(&self) -> String {
        qualified(self.group, &self.resource)
    }

    /// The name with a part in parentheses: `configmaps (watch)`.
    pub fn part(&self, part: &str) -> String {
        format!("{} ({part})", self.name())
    }

    /// Whether the row applies only if policies are read from the Kubernetes API.
    pub(super) fn of_policies(&self) -> bool {
        self.place == Place::Policies
    }

    /// Whether the row applies only if tokens are reviewed.
    pub(super) fn of_tokens(&self) -> bool {
        self.place == Place::Cluster
    }

    /// Whether the row applies only if the control plane writes objects of Istio.
    pub(super) fn of_mesh(&self) -> bool {
        self.place == Place::Mesh
    }
}
