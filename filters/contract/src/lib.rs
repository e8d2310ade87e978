//! The configuration of the filters and the policies that produce it, shared by the filters and the control plane.
//!
//! The control plane emits these types and the filters parse them, so a configuration is validated by the code that will run it:
//! `parse(emit(x)) == x`. These types cannot hold an invalid value; every error has the JSON path and the fix ([`ConfigError`]).
//! Pure: no clock, no I/O, no ABI types.
//!
//! ```text
//! policy (kubectl apply)  ──▶ model::plan ──▶ FilterConfig ──▶ ECDS ──▶ filter
//! ```

mod apis;
mod attribute;
mod body_path;
mod bucket;
mod cors;
mod decimal;
mod duration;
mod error;
mod filter;
mod hop;
mod ids;
mod json;
mod jwks;
mod jwt;
mod max_tokens;
pub mod names;
pub mod pattern;
mod plan;
mod policy;
mod read;
mod request_rule;
mod request_schema;
#[cfg(feature = "schema")]
mod rules;
mod served_model;
mod stages;
mod tag_text;
mod tagging;
mod tenant;

pub use apis::{Apis, OptionalApi, PathPrefix, Realtime, UnknownEndpoints};
pub use attribute::Attribute;
pub use body_path::{BodyPath, BodyStep};
pub use bucket::{
    Abandoned, Bucket, FailureCharge, Mode, ModelCapacity, OnContention, OnFailure, Override,
    OverrideCapacity, Profile, Semantic, SettleOn, Tokens, Unreadable, UsageReport, Weights,
};
pub use cors::{Cors, OriginPattern};
pub use decimal::Decimal;
pub use duration::Duration;
pub use error::ConfigError;
pub use filter::{BucketRule, FilterConfig, NamespaceConfig, TagRule};
pub use hop::{Bodies, ChargeAt, Role};
pub use ids::{BucketName, HeaderName, InvalidId, ModelId, ObjectName, RuleName, Version};
pub use jwks::{InlineJwks, JwksUri};
pub use jwt::{Jwks, JwtProvider, TokenHeader};
pub use max_tokens::{DefaultMaxTokens, MAX_TOKENS};
pub use plan::{CarrierShare, DarkCarrier, ModelPlan, Scale, VersionShare};
pub use policy::{
    AnyPolicySpec, AuthenticationPolicySpec, Condition, ConditionStatus, ControllerStatus,
    HasSchema, POLICY_DEFINITIONS, PolicyDefinition, PolicyKind, PolicySpec, PolicyStatus,
    Selector, Target, TargetKind, TargetRef, TokenBucketPolicySpec, TrafficTagPolicySpec,
};
pub use read::parse_json;
pub use request_rule::{
    MAX_MATCHED, Network, Pattern, Piece, Predicate, RequestRule, Template, Test,
};
pub use request_schema::{
    COUNT_LIMITS, JSON_OPERATIONS, JSON_TYPES, Literal, NUMBER_LIMITS, OperationSchema,
    RequestSchema, SchemaNumber,
};
pub use served_model::{OnBaseLost, ServedModelSpec};
pub use stages::{Stage, Stages};
pub use tag_text::tag_value;
pub use tagging::{OwnTag, SessionKey, TagSource, Tagging, TenantMetrics, UnknownVersion};
pub use tenant::TrustedHop;
