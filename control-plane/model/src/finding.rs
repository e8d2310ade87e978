//! What the control plane has to say about an object: Events, `status` and metrics are made from these.
//!
//! Invariant: findings are a function of the objects, like the plan, so they never flap on their own.

use std::fmt;

use headgate_contract::ModelId;

use crate::{CarrierKey, PolicyId};

/// What something is said about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The control plane itself: what is made of its flags alone, or of everything there is.
    ControlPlane,
    /// A policy.
    Policy(PolicyId),
    /// An object whose labels count.
    Carrier(CarrierKey),
    /// A model as a whole, whichever objects carry it.
    Model {
        /// Kubernetes namespace.
        namespace: String,
        /// The model.
        id: ModelId,
    },
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

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; everything works as written.
    Info,
    /// Something written has no effect, or another one than its author may expect.
    Warning,
    /// Something written is refused.
    Error,
}

/// Something an operator should know, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Finding {
    /// What it is about.
    pub object: Subject,
    /// One of [`reason`]: the Event's reason and the metric's label.
    pub reason: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Where people find the object: a file, or the API server's name for it.
    pub origin: String,
    /// What happened, and which command or edit changes it.
    pub message: String,
}

/// Reasons, as Events and metrics spell them.
pub mod reason {
    /// A new unlabelled carrier takes nothing until it is weighted.
    pub const VERSION_HELD: &str = "VersionHeld";
    /// A weight label that is not 0–100.
    pub const INVALID_WEIGHT: &str = "InvalidWeight";
    /// A model label that is not a model id.
    pub const INVALID_MODEL: &str = "InvalidModel";
    /// A version label that is not a version.
    pub const INVALID_VERSION: &str = "InvalidVersion";
    /// A carrier names a model, but neither it nor a pod names a version.
    pub const NO_VERSION: &str = "NoVersion";
    /// An object has labels of a version and of a weight, but names no model.
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
    /// An annotation that says no number of tokens.
    pub const INVALID_MAX_TOKENS: &str = "InvalidMaxTokens";
    /// The default of `max_tokens` is the model's context window, whose length no carrier says.
    pub const NO_CONTEXT_LENGTH: &str = "NoContextLength";
    /// Carriers of one model that say different defaults of `max_tokens`.
    pub const MAX_TOKENS_DIFFER: &str = "MaxTokensDiffer";
    /// One version in two carriers.
    pub const VERSION_MERGED: &str = "VersionMerged";
    /// Canaries that sum to more than 100 were scaled down.
    pub const CANARIES_SCALED: &str = "CanariesScaled";
    /// Nothing but dark carriers is ready: they act as the base.
    pub const DARK_SERVES: &str = "DarkServes";
    /// Stable carriers of one age share the base.
    pub const EQUAL_AGE: &str = "EqualAge";
    /// A promoted carrier has too few ready endpoints to take everything.
    pub const PROMOTION_SHARED: &str = "PromotionShared";
    /// A canary flaps.
    pub const FLAPPING: &str = "Flapping";
    /// No pod of a weighted version became ready in time.
    pub const NOT_STARTED: &str = "NotStarted";
    /// A version that is held or stands by acts as the base, which has no ready endpoint.
    pub const STANDS_IN: &str = "StandsIn";
    /// No endpoint of the base is ready, nothing stands in for it, and the canaries take all new sessions.
    pub const BASE_LOST: &str = "BaseLost";
    /// The annotation `headgate.dev/base` of a `ServedModel` names nothing that exists.
    pub const INVALID_BASE: &str = "InvalidBase";
    /// The weight label of a promoted version is gone, and it stays the base.
    pub const STAYS_BASE: &str = "StaysBase";
    /// A client name all of whose carriers are deleted.
    pub const NAME_ORPHANED: &str = "NameOrphaned";
    /// No endpoint of the model is ready: it answers 503.
    pub const NOTHING_READY: &str = "NothingReady";
    /// Two versions have the same endpoints.
    pub const ENDPOINTS_SHARED: &str = "EndpointsShared";
    /// A policy, or one of the models it names, matches nothing.
    pub const MATCHES_NOTHING: &str = "MatchesNothing";
    /// A policy names an object that may be there, and whose kind cannot be read.
    pub const TARGET_UNREAD: &str = "TargetUnread";
    /// `override` in a policy outside the root namespace.
    pub const OVERRIDE_IGNORED: &str = "OverrideIgnored";
    /// A bucket name given twice for one model.
    pub const DUPLICATE_BUCKET: &str = "DuplicateBucket";
    /// A bucket that takes so long to fill that a restart of a proxy matters to it.
    pub const LONG_WINDOW: &str = "LongWindow";
    /// A tagging policy that another one comes before.
    pub const TAGGING_SHADOWED: &str = "TaggingShadowed";
    /// A field of an object that cannot be read; the rest of the object counts.
    pub const UNREADABLE: &str = "Unreadable";
    /// Endpoints written on an object of a real cluster, where the pods say them.
    pub const ENDPOINTS_IGNORED: &str = "EndpointsIgnored";
    /// A port annotation that names no port.
    pub const INVALID_PORT: &str = "InvalidPort";
    /// Pods without a port that serves.
    pub const NO_PORT: &str = "NoPort";
    /// An annotation on how endpoints are reached that cannot be read, or has no effect.
    pub const INVALID_UPSTREAM: &str = "InvalidUpstream";
    /// Endpoints of one version, or versions of one model, that speak different protocols.
    pub const PROTOCOLS_DIFFER: &str = "ProtocolsDiffer";
    /// Pods with several candidate ports and no rule that chooses one.
    pub const AMBIGUOUS_PORT: &str = "AmbiguousPort";
    /// A port that speaks TLS, and no annotation that says how to connect.
    pub const TLS_PORT: &str = "TlsPort";
    /// An owner of unlike pods and no rule that tells which of them serve.
    pub const ROLES_UNCLEAR: &str = "RolesUnclear";
    /// A port that is chosen although an InferencePool that cannot be read may say another.
    pub const POOLS_UNREAD: &str = "PoolsUnread";
    /// A service annotation that names no Service of the pods.
    pub const INVALID_SERVICE: &str = "InvalidService";
    /// A protocol annotation that names no protocol.
    pub const INVALID_PROTOCOL: &str = "InvalidProtocol";
    /// A label or an annotation without effect, because another object is the carrier.
    pub const LABEL_IGNORED: &str = "LabelIgnored";
    /// A labelled pod whose owner is of a kind that is not watched, such as a Job.
    pub const OWNER_NOT_WATCHED: &str = "OwnerNotWatched";
    /// The labels are on a pod template only, where they cannot be changed without a restart.
    pub const LABELS_ON_TEMPLATE: &str = "LabelsOnTemplate";
    /// A labelled Service without a selector, and without endpoints of its own.
    pub const NO_SELECTOR: &str = "NoSelector";
    /// An endpoint that cannot be read.
    pub const INVALID_ENDPOINT: &str = "InvalidEndpoint";
    /// An endpoint that may not be used.
    pub const ENDPOINT_REFUSED: &str = "EndpointRefused";
    /// A canary takes new sessions.
    pub const CANARY_STARTED: &str = "CanaryStarted";
    /// A canary takes another share of new sessions.
    pub const CANARY_MOVED: &str = "CanaryMoved";
    /// A version became the base, or a part of it: a canary, a held or a dark one, or one that came with weight 100.
    pub const PROMOTED: &str = "Promoted";
    /// A version that stood by is the base again.
    pub const RESUMED: &str = "Resumed";
    /// A version takes no new sessions any more.
    pub const DRAINED: &str = "Drained";
    /// A version of which no endpoint was ready takes new sessions again.
    pub const RECOVERED: &str = "Recovered";
    /// None of a version's endpoints is ready any more.
    pub const UNREADY: &str = "Unready";
    /// `ServedModel`s cannot be read or written, so the base of a model is not stored.
    pub const NOTHING_REMEMBERED: &str = "NothingRemembered";
    /// Two `ServedModel`s of one model.
    pub const MODEL_GIVEN_TWICE: &str = "ModelGivenTwice";
    /// Proxies cannot connect to a version whose endpoints are ready.
    pub const UNREACHABLE: &str = "Unreachable";
    /// No proxy reports any more that it cannot connect to a version.
    pub const REACHABLE: &str = "Reachable";
    /// A proxy refused what was made of an object.
    pub const REFUSED: &str = "RefusedByProxy";
}
