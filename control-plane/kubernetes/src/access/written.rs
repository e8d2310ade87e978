//! What is written to the API server, and what is read only for that: rows of the table, by the names that the writers use.
//!
//! Invariant: a resource that is written is named here and nowhere else.

use headgate_model::PolicyKind;

use super::rights::qualified;

/// Where a right holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Where models are.
    Models,
    /// Where models are, and in the root namespace.
    Policies,
    /// There, and where the control plane runs.
    Everywhere,
    /// Where the control plane runs.
    Own,
}

/// A kind that is written.
#[derive(Debug)]
pub struct Written {
    pub(super) group: &'static str,
    pub(super) resource: &'static str,
    pub(super) verbs: &'static [&'static str],
    pub(super) place: Place,
    pub(super) why: &'static str,
}

/// The group of Headgate's own kinds.
const OWN_GROUP: &str = "headgate.dev";

/// Events on objects, and on the Lease for what is no object's doing.
pub static EVENTS: Written = Written {
    group: "events.k8s.io",
    resource: "events",
    verbs: &["create", "get", "patch"],
    place: Place::Everywhere,
    why: "what people should know of an object is told in its Events",
};
static BUCKET_STATUS: Written = status("tokenbucketpolicies/status");
static TAG_STATUS: Written = status("traffictagpolicies/status");
/// The `ServedModel`s.
pub static MODELS: Written = Written {
    group: OWN_GROUP,
    resource: "servedmodels",
    verbs: &["create", "delete", "patch"],
    place: Place::Models,
    why: "a ServedModel stores the base of a model, its weights and conditions",
};
/// Their status, which is replaced as a whole.
pub static MODEL_STATUS: Written = Written {
    group: OWN_GROUP,
    resource: "servedmodels/status",
    verbs: &["update"],
    place: Place::Models,
    why: "a ServedModel stores the base of a model, its weights and conditions",
};
/// The Lease of the replicas.
pub static LEASES: Written = Written {
    group: "coordination.k8s.io",
    resource: "leases",
    verbs: &["create", "get", "update"],
    place: Place::Own,
    why: "of several replicas the one that holds the Lease writes",
};
/// The counts of each replica.
pub static COUNTS: Written = Written {
    group: "",
    resource: "configmaps",
    verbs: &["create", "delete", "list", "patch", "watch"],
    place: Place::Own,
    why: "each replica tells the others how many of its proxies have a policy",
};

/// All of them, in the order of the manifest.
pub(super) static ALL: [&Written; 7] = [
    &EVENTS,
    &BUCKET_STATUS,
    &TAG_STATUS,
    &MODELS,
    &MODEL_STATUS,
    &LEASES,
    &COUNTS,
];

const fn status(resource: &'static str) -> Written {
    Written {
        group: OWN_GROUP,
        resource,
        verbs: &["patch"],
        place: Place::Policies,
        why: "what became of a policy is told in its status",
    }
}

/// The status of a kind of policies.
pub fn status_of(kind: PolicyKind) -> &'static Written {
    match kind {
        PolicyKind::TokenBucket => &BUCKET_STATUS,
        PolicyKind::TrafficTag => &TAG_STATUS,
    }
}

impl Written {
    /// `events.events.k8s.io`: as `status` and `kubectl auth can-i` call it.
    pub fn name(&self) -> String {
        qualified(self.group, self.resource)
    }

    /// The same, with what of it is meant: `configmaps (watch)`.
    pub fn part(&self, part: &str) -> String {
        format!("{} ({part})", self.name())
    }

    /// Whether it is there only where policies are objects.
    pub(super) fn of_policies(&self) -> bool {
        self.place == Place::Policies
    }
}
