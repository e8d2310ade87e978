//! Labels → registry of variants → plan. The pure middle of the control plane: no kube, no tonic, no clock, no I/O.
//!
//! ```text
//! Objects (source) ──▶ Registry::build ──▶ plan ──▶ Plan ──▶ translate
//!                                           ▲
//!     Stability, ScaleDamper (time as data) ┘
//! ```
//!
//! Invariant: the plan is a function of the accepted objects in their current state (`ServedModel`s among them), of the damped scales,
//! and of the report on stability. Two replicas that see the same objects emit the same bytes, whenever and in whatever order they
//! saw them. Nothing here fails: a bad label, name or policy becomes a [`Finding`], and the rest is planned without it.

mod address;
mod age;
mod annotation_checks;
mod authentication;
mod capacity;
pub mod change;
mod finding;
mod host_rules;
mod hosts;
mod keys;
mod levels;
mod memory;
mod memory_update;
mod mesh;
mod near;
mod next_memory;
mod objects;
mod observed;
mod owner_replicas;
mod plan;
mod policies;
mod policy_revisions;
pub mod ports;
mod protocol;
pub mod reference;
mod registry;
mod replica_counts;
mod routed;
mod scale;
mod shares;
mod stability;
mod transitions;
mod unreachable;
mod unread;
mod upstream;

pub use address::{Address, InvalidAddress, addresses};
pub use annotation_checks::{
    annotation_findings, incomplete_labels, prefers_owner, template_findings,
};
pub use authentication::{Authentication, TokenProvider};
pub use change::Change;
pub use finding::{Finding, Severity, Subject, reason};
pub use host_rules::HostRules;
pub use keys::{CarrierKey, LabelKeys, ModelKey, PolicyId, quote};
pub use levels::CarrierState;
pub use memory::{Memory, ModelRecord, RoutedVersions, StoredCarrier, StoredName, WrittenBase};
pub use memory_update::MemoryUpdate;
pub use mesh::{CarrierMesh, Labels, MeshPort, MeshService};
pub use next_memory::{next_memories, next_memory_change};
pub use objects::{Carrier, Objects, Pod, Policy};
pub use observed::{FileProblem, Observed, Planned};
pub use owner_replicas::{OwnerReplicas, OwnerShare};
pub use plan::{MeshPlan, NamespacePlan, Plan, PlannedCarrier, PlannedModel, PlannedVariant, plan};
pub use policies::{PolicyCondition, PolicyOutcome, condition_reason};
pub use policy_revisions::{PolicyRevision, PolicyRevisions, policy_revision};
pub use ports::PortSource;
pub use protocol::{InvalidProtocol, Protocol};
pub use reference::{Reference, References};
pub use registry::{Endpoints, Member, Model, Registry, UpstreamAnnotations, Weight};
pub use replica_counts::{
    ProxyGroup, Refusal, ReplicaCounts, WeightsHeld, same_weights, weights_revision,
};
pub use scale::{Readiness, ScaleDamper, Scales, Tick};
pub use stability::{Stability, StabilityReport};
pub use transitions::Transitions;
pub use unreachable::{VariantKey, reachable_finding, unreachable_finding};
pub use unread::Unread;
pub use upstream::{HealthCheck, Tls, Upstream};
