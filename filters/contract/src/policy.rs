//! Policies: the `spec` of each kind, its status, and the table of all kinds.
//!
//! ```text
//! PolicySpec: TokenBucketPolicySpec, … ──▶ PolicyDefinition: the table of kinds ──▶ parser, CRD, access table
//!                                     └──────▶ AnyPolicySpec: one map for policies of all kinds
//! ```

mod any;
mod authentication;
mod checks;
mod definition;
mod kind;
mod spec;
mod status;
mod target;
mod token_bucket;
mod traffic_tag;

pub use self::any::AnyPolicySpec;
pub use self::authentication::AuthenticationPolicySpec;
pub use self::definition::{POLICY_DEFINITIONS, PolicyDefinition};
pub use self::kind::PolicyKind;
pub use self::spec::{HasSchema, PolicySpec};
pub use self::status::{Condition, ConditionStatus, ControllerStatus, PolicyStatus};
pub use self::target::{Selector, Target, TargetKind, TargetRef};
pub use self::token_bucket::TokenBucketPolicySpec;
pub use self::traffic_tag::TrafficTagPolicySpec;
