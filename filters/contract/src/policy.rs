//! Policies as people write them: the `spec` of `TokenBucketPolicy` and `TrafficTagPolicy`, in files and on the API server.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Bucket, ModelId, Tagging};

/// Buckets for some models of the policy's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    try_from = "raw::TokenBucketPolicySpec",
    into = "raw::TokenBucketPolicySpec"
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "raw::TokenBucketPolicySpec"))]
pub struct TokenBucketPolicySpec {
    /// Which models.
    pub target: Target,
    /// Every bucket must have room; all of them are charged, or none.
    pub buckets: Vec<Bucket>,
}

/// Tagging for some models of the policy's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    try_from = "raw::TrafficTagPolicySpec",
    into = "raw::TrafficTagPolicySpec"
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "raw::TrafficTagPolicySpec"))]
pub struct TrafficTagPolicySpec {
    /// Which models.
    pub target: Target,
    /// How they are tagged.
    pub tagging: Tagging,
}

/// Which models of the namespace a policy is for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Target {
    /// Every model.
    #[default]
    All,
    /// These model ids.
    Models(Vec<ModelId>),
    /// Models one of whose carriers has all these labels.
    Selector(Selector),
}

/// Labels a carrier must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// All of them, with exactly these values.
    pub match_labels: BTreeMap<String, String>,
}

impl Target {
    fn parse(models: Option<Vec<ModelId>>, selector: Option<Selector>) -> Result<Self, String> {
        match (models, selector) {
            (None, None) => Ok(Self::All),
            (Some(m), None) if m.is_empty() => {
                Err("`models` is empty, so the policy would match nothing: name a model, or remove `models` for all".into())
            }
            (Some(m), None) => Ok(Self::Models(m)),
            (None, Some(s)) if s.match_labels.is_empty() => {
                Err("`selector.matchLabels` is empty: name a label, or remove `selector` for all models".into())
            }
            (None, Some(s)) => Ok(Self::Selector(s)),
            (Some(_), Some(_)) => Err("`models` and `selector` exclude each other: remove one".into()),
        }
    }

    fn split(self) -> (Option<Vec<ModelId>>, Option<Selector>) {
        match self {
            Self::All => (None, None),
            Self::Models(m) => (Some(m), None),
            Self::Selector(s) => (None, Some(s)),
        }
    }
}

mod raw {
    use serde::{Deserialize, Serialize};

    use super::{Bucket, ModelId, Selector, Tagging, Target};
    use crate::HeaderName;
    use crate::tagging::{OwnTag, SessionKey, UnknownVersion, not_a_tag};

    /// Buckets for some models of the policy's namespace.
    #[derive(Serialize, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[cfg_attr(feature = "schema", schemars(rename = "TokenBucketPolicySpec"))]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub(super) struct TokenBucketPolicySpec {
        /// Model ids. With neither `models` nor `selector`: every model of the namespace.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        models: Option<Vec<ModelId>>,
        /// Models one of whose carriers has these labels. Excludes `models`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        selector: Option<Selector>,
        /// Every bucket must have room; all of them are charged, or none.
        buckets: Vec<Bucket>,
    }

    impl TryFrom<TokenBucketPolicySpec> for super::TokenBucketPolicySpec {
        type Error = String;
        fn try_from(raw: TokenBucketPolicySpec) -> Result<Self, String> {
            if raw.buckets.is_empty() {
                return Err("`buckets` is empty: give at least one bucket".into());
            }
            for (i, b) in raw.buckets.iter().enumerate() {
                if raw.buckets[..i].iter().any(|other| other.name == b.name) {
                    return Err(format!(
                        "bucket name {:?} is given twice: rename `buckets[{i}]`",
                        b.name.as_str()
                    ));
                }
            }
            Ok(Self {
                target: Target::parse(raw.models, raw.selector)?,
                buckets: raw.buckets,
            })
        }
    }

    impl From<super::TokenBucketPolicySpec> for TokenBucketPolicySpec {
        fn from(spec: super::TokenBucketPolicySpec) -> Self {
            let (models, selector) = spec.target.split();
            Self {
                models,
                selector,
                buckets: spec.buckets,
            }
        }
    }

    /// Tagging for some models of the policy's namespace.
    #[derive(Serialize, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[cfg_attr(feature = "schema", schemars(rename = "TrafficTagPolicySpec"))]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub(super) struct TrafficTagPolicySpec {
        /// Model ids. With neither `models` nor `selector`: every model of the namespace.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        models: Option<Vec<ModelId>>,
        /// Models one of whose carriers has these labels. Excludes `models`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        selector: Option<Selector>,
        /// Request header that names the tenant. Default `x-tenant-id`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant_header: Option<HeaderName>,
        /// What keeps a session on its version: the first that is present wins. Default: the headers
        /// `x-conversation-id`, `x-session-id`, `x-user-id`, the body fields, the fingerprint.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session_keys: Option<Vec<SessionKey>>,
        /// What a pin to an unknown version gets. Default `refuse`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unknown_version: Option<UnknownVersion>,
        /// Whether the tags also travel as members of `baggage`. Default true.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        baggage: Option<bool>,
        /// Whether answers carry `x-model` and `x-model-version` of what served, and the balance of the buckets; a refusal always tells. Default true.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        response_headers: Option<bool>,
        /// Own tags: header `x-headgate-<name>`, `baggage` member and filter state.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tags: Vec<OwnTag>,
    }

    impl TryFrom<TrafficTagPolicySpec> for super::TrafficTagPolicySpec {
        type Error = String;
        fn try_from(raw: TrafficTagPolicySpec) -> Result<Self, String> {
            for (i, t) in raw.tags.iter().enumerate() {
                if raw.tags[..i].iter().any(|other| other.name == t.name) {
                    return Err(format!(
                        "tag {:?} is given twice: remove `tags[{i}]`",
                        t.name.as_str()
                    ));
                }
            }
            let default = Tagging::default();
            Ok(Self {
                target: Target::parse(raw.models, raw.selector)?,
                tagging: Tagging {
                    tenant_header: not_a_tag(raw.tenant_header.unwrap_or(default.tenant_header))
                        .map_err(|e| format!("`tenantHeader`: {e}"))?,
                    session_keys: raw.session_keys.unwrap_or(default.session_keys),
                    unknown_version: raw.unknown_version.unwrap_or(default.unknown_version),
                    baggage: raw.baggage.unwrap_or(default.baggage),
                    response_headers: raw.response_headers.unwrap_or(default.response_headers),
                    tags: raw.tags,
                },
            })
        }
    }

    impl From<super::TrafficTagPolicySpec> for TrafficTagPolicySpec {
        fn from(spec: super::TrafficTagPolicySpec) -> Self {
            let (models, selector) = spec.target.split();
            Self {
                models,
                selector,
                tenant_header: Some(spec.tagging.tenant_header),
                session_keys: Some(spec.tagging.session_keys),
                unknown_version: Some(spec.tagging.unknown_version),
                baggage: Some(spec.tagging.baggage),
                response_headers: Some(spec.tagging.response_headers),
                tags: spec.tagging.tags,
            }
        }
    }
}
