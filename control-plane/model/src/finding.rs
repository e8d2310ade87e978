//! Findings on objects. Events, `status` and metrics are made from them.
//!
//! Invariant: findings are a function of the objects, like the plan, so they never flap on their own.

use std::fmt;

use headgate_contract::ModelId;

use crate::{CarrierKey, PolicyId};

/// The subject of a finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The control plane itself: what follows from its flags alone, or from all objects.
    ControlPlane,
    /// A policy.
    Policy(PolicyId),
    /// A carrier.
    Carrier(CarrierKey),
    /// A model as a whole, regardless of its carriers.
    Model {
        /// Kubernetes namespace.
        namespace: String,
        /// The model.
        id: ModelId,
    },
}

impl Subject {
    /// Its Kubernetes namespace; `None` for the control plane.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::ControlPlane => None,
            Self::Policy(id) => Some(&id.namespace),
            Self::Carrier(key) => Some(&key.namespace),
            Self::Model { namespace, .. } => Some(namespace),
        }
    }
}

impl From<CarrierKey> for Subject {
    fn from(key: CarrierKey) -> Self {
        Self::Carrier(key)
    }
}

impl From<PolicyId> for Subject {
    fn from(id: PolicyId) -> Self {
        Self::Policy(id)
    }
}

/// `TokenBucketPolicy default/tenants`, `deployment default/llama-v2`, `model default/llama`.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(id) => id.fmt(f),
            Self::Carrier(key) => key.fmt(f),
            Self::Model { namespace, id } => write!(f, "model {namespace}/{id}"),
            Self::ControlPlane => f.write_str("the control plane"),
        }
    }
}

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// For information: everything works as written.
    Info,
    /// Something written has no effect, or an effect that its author may not expect.
    Warning,
    /// Something written is refused.
    Error,
}

/// Something that an operator should know, with the fix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Finding {
    /// Its subject.
    pub object: Subject,
    /// One of [`reason`]: the Event's reason and the metric's label.
    pub reason: &'static str,
    /// Its severity.
    pub severity: Severity,
    /// The place of the object for messages: a file, or its name on the API server; empty if it has none.
    pub origin: String,
    /// The problem, and the command or edit that changes it.
    pub message: String,
}

impl Finding {
    /// Its subject for messages, with the origin where there is one: `deployment default/v1 (models.yaml)`, `model default/llama`.
    #[must_use]
    pub fn place(&self) -> String {
        match self.origin.as_str() {
            "" => self.object.to_string(),
            origin => format!("{} ({origin})", self.object),
        }
    }

    /// A finding on a carrier.
    pub(crate) fn on_carrier(
        key: &CarrierKey,
        origin: &str,
        severity: Severity,
        reason: &'static str,
        message: String,
    ) -> Self {
        Self {
            object: Subject::Carrier(key.clone()),
            reason,
            severity,
            origin: origin.to_owned(),
            message,
        }
    }

    /// A finding on a model as a whole, without an origin.
    pub(crate) fn on_model(
        namespace: &str,
        id: &ModelId,
        severity: Severity,
        reason: &'static str,
        message: String,
    ) -> Self {
        Self {
            object: Subject::Model {
                namespace: namespace.to_owned(),
                id: id.clone(),
            },
            reason,
            severity,
            origin: String::new(),
            message,
        }
    }
}

/// Reasons of findings, as Events and metrics spell them.
pub mod reason {
    /// Proxies of the mesh cannot be routed to a version.
    pub const NO_MESH_ROUTE: &str = "NoMeshRoute";
    /// Proxies of the mesh send requests to a Service of a model past the filter.
    pub const SERVICE_BYPASSES_FILTER: &str = "ServiceBypassesFilter";
    /// A policy is charged inbound, and the sidecars of a carrier's pods cannot be selected.
    pub const NOT_CHARGED_INBOUND: &str = "NotChargedInbound";
    /// A gateway routes a host to a model, and no domain contains the host.
    pub const GATEWAY_HOST_WITHOUT_DOMAIN: &str = "GatewayHostWithoutDomain";
    /// An object of another person has a name that Headgate needs in the mesh.
    pub const MESH_NAME_TAKEN: &str = "MeshNameTaken";
    /// A DestinationRule of another person takes the subsets of versions from proxies of the mesh.
    pub const SUBSETS_HIDDEN: &str = "SubsetsHidden";
    /// The traffic policy of a DestinationRule of another person applies to a host of models no longer.
    pub const POLICY_DISPLACED: &str = "TrafficPolicyDisplaced";
    /// A VirtualService of another person changes requests to a host of models, but not those for a model.
    pub const ROUTE_SETTINGS_BYPASSED: &str = "RouteSettingsBypassed";
    /// A VirtualService of another person splits the requests of a host of models.
    pub const VIRTUAL_SERVICE_SPLITS: &str = "VirtualServiceSplits";
    /// A host in `spec.hosts` of a ServedModel is ignored.
    pub const HOST_IGNORED: &str = "HostIgnored";
    /// A new carrier without a weight takes no new sessions until it has one.
    pub const VERSION_HELD: &str = "VersionHeld";
    /// A weight label that is not 0–100.
    pub const INVALID_WEIGHT: &str = "InvalidWeight";
    /// A model label that is not a model id.
    pub const INVALID_MODEL: &str = "InvalidModel";
    /// A version label that is not a version.
    pub const INVALID_VERSION: &str = "InvalidVersion";
    /// A carrier names a model, but neither it nor one of its pods names a version.
    pub const NO_VERSION: &str = "NoVersion";
    /// An object has labels for a version and a weight, but none for a model.
    pub const NO_MODEL: &str = "NoModel";
    /// An unknown annotation with Headgate's prefix.
    pub const UNKNOWN_ANNOTATION: &str = "UnknownAnnotation";
    /// An unknown value of `headgate.dev/join`.
    pub const INVALID_JOIN: &str = "InvalidJoin";
    /// An unknown value of `headgate.dev/carrier`.
    pub const INVALID_CARRIER: &str = "InvalidCarrier";
    /// A client name that cannot be used.
    pub const INVALID_NAME: &str = "InvalidName";
    /// A client name that another model has.
    pub const NAME_CLAIMED: &str = "NameClaimed";
    /// The annotation `headgate.dev/served-name` cannot be used.
    pub const INVALID_SERVED_NAME: &str = "InvalidServedName";
    /// An annotation that is not a number of tokens.
    pub const INVALID_MAX_TOKENS: &str = "InvalidMaxTokens";
    /// The default of `max_tokens` is the model's context window, and no carrier gives its length.
    pub const NO_CONTEXT_LENGTH: &str = "NoContextLength";
    /// Carriers of one model give different defaults of `max_tokens`.
    pub const MAX_TOKENS_DIFFER: &str = "MaxTokensDiffer";
    /// Two carriers declare the same version.
    pub const VERSION_MERGED: &str = "VersionMerged";
    /// Canaries sum to more than 100 percent and are scaled down.
    pub const CANARIES_SCALED: &str = "CanariesScaled";
    /// Only dark carriers (weight 0) are ready: they act as the base.
    pub const DARK_SERVES: &str = "DarkServes";
    /// Stable carriers of equal age share the base.
    pub const EQUAL_AGE: &str = "EqualAge";
    /// A promoted carrier has too few ready endpoints to take everything.
    pub const PROMOTION_SHARED: &str = "PromotionShared";
    /// A canary becomes ready too often.
    pub const FLAPPING: &str = "Flapping";
    /// No pod of a weighted version became ready in time.
    pub const NOT_STARTED: &str = "NotStarted";
    /// A held or standby version acts as the base, which has no ready endpoint.
    pub const STANDS_IN: &str = "StandsIn";
    /// No endpoint of the base is ready, nothing stands in for it, and the canaries take all new sessions.
    pub const BASE_LOST: &str = "BaseLost";
    /// The annotation `headgate.dev/base` of a `ServedModel` names nothing that exists.
    pub const INVALID_BASE: &str = "InvalidBase";
    /// The weight label of a promoted version is gone, and it stays the base.
    pub const STAYS_BASE: &str = "StaysBase";
    /// A client name whose carriers are all deleted.
    pub const NAME_ORPHANED: &str = "NameOrphaned";
    /// No endpoint of the model is ready: it answers 503.
    pub const NOTHING_READY: &str = "NothingReady";
    /// Two versions have the same endpoints.
    pub const ENDPOINTS_SHARED: &str = "EndpointsShared";
    /// A policy, or one of the models it names, matches nothing.
    pub const MATCHES_NOTHING: &str = "MatchesNothing";
    /// A policy targets an object of a kind that cannot be read.
    pub const TARGET_UNREAD: &str = "TargetUnread";
    /// `override` in a policy outside the root namespace.
    pub const OVERRIDE_IGNORED: &str = "OverrideIgnored";
    /// Two policies give one model a bucket of the same name.
    pub const DUPLICATE_BUCKET: &str = "DuplicateBucket";
    /// A bucket that fills so slowly that a restart of a proxy matters.
    pub const LONG_WINDOW: &str = "LongWindow";
    /// A tagging policy that another one overrides.
    pub const TAGGING_SHADOWED: &str = "TaggingShadowed";
    /// Two policies give one namespace the same issuer of tokens.
    pub const DUPLICATE_ISSUER: &str = "DuplicateIssuer";
    /// An issuer of tokens without audiences.
    pub const ANY_AUDIENCE: &str = "AnyAudience";
    /// Proxies of a service mesh do not apply a policy.
    pub const NOT_IN_MESH: &str = "NotInMesh";
    /// A field of an object that cannot be read; the rest of the object takes effect.
    pub const UNREADABLE: &str = "Unreadable";
    /// An annotation with endpoints on an object of a cluster, where pods are the endpoints.
    pub const ENDPOINTS_IGNORED: &str = "EndpointsIgnored";
    /// A port annotation that names no port.
    pub const INVALID_PORT: &str = "InvalidPort";
    /// Pods without a serving port.
    pub const NO_PORT: &str = "NoPort";
    /// An upstream annotation that cannot be read, or has no effect.
    pub const INVALID_UPSTREAM: &str = "InvalidUpstream";
    /// Endpoints of one version, or versions of one model, use different protocols.
    pub const PROTOCOLS_DIFFER: &str = "ProtocolsDiffer";
    /// Pods with several candidate ports and no rule that chooses one.
    pub const AMBIGUOUS_PORT: &str = "AmbiguousPort";
    /// A port that speaks TLS, without an annotation that enables or disables TLS.
    pub const TLS_PORT: &str = "TlsPort";
    /// An owner of pods of several roles, and no rule that selects those that serve.
    pub const ROLES_UNCLEAR: &str = "RolesUnclear";
    /// A port was chosen, but an InferencePool that cannot be read may name another one.
    pub const POOLS_UNREAD: &str = "PoolsUnread";
    /// A service annotation that names no Service of the pods.
    pub const INVALID_SERVICE: &str = "InvalidService";
    /// A protocol annotation that names no protocol.
    pub const INVALID_PROTOCOL: &str = "InvalidProtocol";
    /// A label or an annotation has no effect, because another object is the carrier.
    pub const LABEL_IGNORED: &str = "LabelIgnored";
    /// A labelled pod whose owner is of a kind that is not watched, such as a Job.
    pub const OWNER_NOT_WATCHED: &str = "OwnerNotWatched";
    /// The labels are only on a pod template, where a change restarts the pods.
    pub const LABELS_ON_TEMPLATE: &str = "LabelsOnTemplate";
    /// A labelled Service without a selector and without endpoints of its own.
    pub const NO_SELECTOR: &str = "NoSelector";
    /// An endpoint that cannot be read.
    pub const INVALID_ENDPOINT: &str = "InvalidEndpoint";
    /// An endpoint that Headgate may not use.
    pub const ENDPOINT_REFUSED: &str = "EndpointRefused";
    /// A canary takes new sessions.
    pub const CANARY_STARTED: &str = "CanaryStarted";
    /// A canary takes another share of new sessions.
    pub const CANARY_MOVED: &str = "CanaryMoved";
    /// A version became the base or a part of it: it was a canary, held or dark, or it was created with weight 100.
    pub const PROMOTED: &str = "Promoted";
    /// A standby version is the base again.
    pub const RESUMED: &str = "Resumed";
    /// A version no longer takes new sessions.
    pub const DRAINED: &str = "Drained";
    /// A version that had no ready endpoint takes new sessions again.
    pub const RECOVERED: &str = "Recovered";
    /// A version no longer has a ready endpoint.
    pub const UNREADY: &str = "Unready";
    /// `ServedModel`s cannot be read or written, so the base of models is not stored.
    pub const STATUS_NOT_STORED: &str = "StatusNotStored";
    /// Two `ServedModel`s for one model.
    pub const MODEL_GIVEN_TWICE: &str = "ModelGivenTwice";
    /// Proxies cannot connect to a version whose endpoints are ready.
    pub const UNREACHABLE: &str = "Unreachable";
    /// Proxies no longer report that they cannot connect to a version.
    pub const REACHABLE: &str = "Reachable";
    /// A proxy rejected a resource that comes from an object: it answered with a NACK.
    pub const REFUSED: &str = "RefusedByProxy";
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_finding_has_parentheses_only_around_an_origin() {
        let id = ModelId::try_from("phi-3").unwrap();
        let message = String::new();
        let mut finding =
            Finding::on_model("other", &id, Severity::Info, reason::NO_MESH_ROUTE, message);
        assert_eq!(finding.place(), "model other/phi-3");
        "models.yaml".clone_into(&mut finding.origin);
        assert_eq!(finding.place(), "model other/phi-3 (models.yaml)");
    }
}
