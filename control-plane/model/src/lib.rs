//! Labels → registry of variants → plan. The pure middle of the control plane: no kube, no tonic, no clock, no I/O.
//!
//! ```text
//! Objects (source) ──▶ Registry::build ──▶ plan ──▶ Plan ──▶ translate
//!                                           ▲
//!                ScaleDamper (time as data) ┘
//! ```
//!
//! Invariant: the plan is a function of the accepted objects as they are now and of the damped scales, nothing
//! else. Two replicas that see the same objects emit the same bytes, whenever and in whatever order they saw them.
//! Nothing here fails: a bad label, name or policy becomes a [`Finding`], and the rest is planned without it.

mod finding;
mod levels;
mod objects;
mod plan;
mod policies;
mod registry;
mod scale;
mod shares;
mod transitions;

pub use finding::{Finding, Severity, Subject, reason};
pub use levels::Standing;
pub use objects::{Carrier, CarrierKey, LabelKeys, Objects, Pod, Policy, PolicyKey};
pub use plan::{NamespacePlan, Plan, PlannedCarrier, PlannedModel, PlannedVariant, plan};
pub use policies::{PolicyId, PolicyKind, PolicyOutcome, Verdict, verdict};
pub use registry::{Endpoints, Member, Model, Registry, Weight};
pub use scale::{Readiness, ScaleDamper, Scales, Tick};
pub use transitions::Course;
