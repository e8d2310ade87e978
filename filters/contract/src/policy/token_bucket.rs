//! `TokenBucketPolicy`: token buckets for some models.

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::checks::ONE_TARGET;
use super::checks::{at_most, is_false};
use super::target::Fields;
#[cfg(feature = "schema")]
use super::target::{MAX_MODELS, MAX_REFS};
use super::{PolicyKind, PolicySpec, PolicyStatus, Selector, Target, TargetRef};
use crate::{Bucket, ChargeAt, ModelId};

/// Most buckets in a policy.
const MAX_BUCKETS: usize = 32;

/// Token buckets for some models. A request spends the buckets of all policies that match its model. For one bucket name, the policy that
/// takes precedence is, in this order: an `override` of the root namespace; a policy that names the version, then the model, then selects
/// its labels, then is for all models of the namespace; a policy of the root namespace. Among equals it is the oldest, then the first by
/// name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "Raw"))]
pub struct TokenBucketPolicySpec {
    /// The models to which it applies.
    pub target: Target,
    /// In the root namespace: policies of other namespaces do not take precedence over it.
    pub overrides: bool,
    /// The hop that charges the buckets.
    pub at: ChargeAt,
    /// Every bucket must have enough tokens; a request spends all of them, or none. 1–32, each name once.
    pub buckets: Vec<Bucket>,
}

impl PolicySpec for TokenBucketPolicySpec {
    const KIND: PolicyKind = PolicyKind::new("TokenBucketPolicy");
    const PLURAL: &'static str = "tokenbucketpolicies";
    const SHORT_NAME: &'static str = "tbp";
    const DESCRIPTION: &'static str = "Semantic token buckets for models of its namespace or, from the root namespace, of all namespaces.";
    const SPEC_DESCRIPTION: &'static str = "Models and their token buckets.";
    type Status = PolicyStatus;

    fn target(&self) -> &Target {
        &self.target
    }

    fn overrides(&self) -> bool {
        self.overrides
    }
}

/// Token buckets for some models.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = crate::rules::of(&[ONE_TARGET]))))]
#[cfg_attr(feature = "schema", schemars(rename = "TokenBucketPolicySpec"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    /// The objects whose models the policy applies to. Excludes `models` and `selector`. Without any of the three: every model of the
    /// namespace; in the root namespace, every model of every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_REFS)))]
    target_refs: Option<Vec<TargetRef>>,
    /// Model ids. Excludes `targetRefs` and `selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_MODELS)))]
    models: Option<Vec<ModelId>>,
    /// Models one of whose carriers has these labels. Excludes `targetRefs` and `models`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    selector: Option<Selector>,
    /// In the root namespace: policies of other namespaces do not take precedence over this one. No effect elsewhere. Default false.
    #[serde(default, rename = "override", skip_serializing_if = "is_false")]
    overrides: bool,
    /// The hop that charges the buckets, for requests that pass two proxies. `decide`: the one that decides, such as a gateway or the
    /// sidecar of the client. `inbound`: the one that follows, such as the sidecar of the model's pod. Default `decide`.
    #[serde(default, skip_serializing_if = "ChargeAt::is_decide")]
    at: ChargeAt,
    /// Every bucket must have enough tokens; a request spends all of them, or none. Each name once.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_BUCKETS), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"],
    )))]
    buckets: Vec<Bucket>,
}

impl TryFrom<Raw> for TokenBucketPolicySpec {
    type Error = String;
    fn try_from(raw: Raw) -> Result<Self, String> {
        if raw.buckets.is_empty() {
            return Err("`buckets` is empty: give at least one bucket".into());
        }
        at_most("buckets", raw.buckets.len(), MAX_BUCKETS)?;
        for (i, b) in raw.buckets.iter().enumerate() {
            if raw.buckets[..i].iter().any(|other| other.name == b.name) {
                return Err(format!(
                    "bucket name {:?} is given twice: rename `buckets[{i}]`",
                    b.name.as_str()
                ));
            }
        }
        let target = Target::try_from(Fields {
            refs: raw.target_refs,
            models: raw.models,
            selector: raw.selector,
        })?;
        Ok(Self {
            target,
            overrides: raw.overrides,
            at: raw.at,
            buckets: raw.buckets,
        })
    }
}

impl From<TokenBucketPolicySpec> for Raw {
    fn from(spec: TokenBucketPolicySpec) -> Self {
        let target = Fields::from(spec.target);
        Self {
            target_refs: target.refs,
            models: target.models,
            selector: target.selector,
            overrides: spec.overrides,
            at: spec.at,
            buckets: spec.buckets,
        }
    }
}
