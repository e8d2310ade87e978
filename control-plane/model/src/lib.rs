//! Labels → registry of variants → plan. The pure middle of the control plane: no kube, no tonic, no clock, no I/O.
//!
//! ```text
//! Objects (source) ──▶ Registry::build ──▶ plan ──▶ Plan ──▶ translate
//!                                           ▲
//!     Stability, ScaleDamper (time as data) ┘
//! ```
//!
//! Invariant: the plan is a function of the accepted objects as they are now (`ServedModel`s among them), of the damped scales and
//! of the verdicts on stability, and of nothing else. Two replicas that see the same objects emit the same bytes, whenever and in
//! whatever order they saw them.
//! Nothing here fails: a bad label, name or policy becomes a [`Finding`], and the rest is planned without it.

mod address;
mod annotation_checks;
mod capacity;
pub mod change;
mod finding;
mod levels;
mod memory;
mod near;
mod objects;
mod observed;
mod plan;
mod policies;
pub mod ports;
pub mod reference;
mod registry;
mod replica_counts;
mod scale;
mod shares;
mod stability;
mod transitions;
mod unreachable;
mod unread;
mod upstream;
mod written_base;

pub use address::{InvalidAddress, addresses};
pub use annotation_checks::{
    annotation_findings, incomplete_labels, prefers_owner, template_findings,
};
pub use capacity::{OwnerReplicas, OwnerShare};
pub use change::Change;
pub use finding::{Finding, Severity, Subject, reason};
pub use levels::CarrierState;
pub use memory::{
    Memory, MemoryUpdate, ModelRecord, StoredCarrier, StoredName, next_memories, next_memory_change,
};
pub use objects::{
    Address, Carrier, CarrierKey, InvalidProtocol, LabelKeys, ModelKey, Objects, Pod, Policy,
    PolicyKey, PortSource, Protocol, quote,
};
pub use observed::{FileProblem, Observed, Planned};
pub use plan::{NamespacePlan, Plan, PlannedCarrier, PlannedModel, PlannedVariant, plan};
pub use policies::{PolicyCondition, PolicyId, PolicyKind, PolicyOutcome, condition_reason};
pub use reference::{Reference, References};
pub use registry::{Endpoints, Member, Model, Registry, UpstreamAnnotations, Weight};
pub use replica_counts::{
    PolicyRevision, PolicyRevisions, Refusal, ReplicaCounts, WeightsHeld, policy_revision,
    policy_revisions, same_weights, weights_revision,
};
pub use scale::{Readiness, ScaleDamper, Scales, Tick};
pub use stability::{Stability, Verdicts};
pub use transitions::Transitions;
pub use unreachable::{VariantKey, reachable_finding, unreachable_finding};
pub use unread::Unread;
pub use upstream::{HealthCheck, Tls, Upstream};
pub use written_base::WrittenBase;
