//! The configuration of a filter: what ECDS carries to every proxy, and `static.yaml` spells out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Bucket, ConfigError, ModelId, ModelPlan, Tagging, Version, parse_json};

/// The configuration of a filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "raw::FilterConfig", into = "raw::FilterConfig")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "raw::FilterConfig"))]
pub struct FilterConfig {
    /// Whether this hop decides or follows.
    pub role: Role,
    /// Counts retries after a NACK: Envoy applies the same bytes only once.
    pub retry: u32,
    /// Largest request body the filter reads, in bytes. 1 KiB–64 MiB, default 8 MiB.
    pub max_body_bytes: u32,
    /// What each namespace serves. With several, the filter takes its own from the virtual host.
    pub namespaces: BTreeMap<String, NamespaceConfig>,
}

/// Whether a hop decides what a request is, or follows the hop before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Picks the version, strips tags the client sent, answers 404 for what is not served.
    #[default]
    Decide,
    /// Takes model, version and tags from the headers of the hop before.
    Follow,
}

/// What one namespace serves and how it is limited.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespaceConfig {
    /// The live plan, by model id.
    #[serde(default)]
    pub models: BTreeMap<ModelId, ModelPlan>,
    /// The buckets, in the order they are reserved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<BucketRule>,
    /// The tagging rules; the first that names a model is the model's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tagging: Vec<TagRule>,
}

/// A bucket, and which models spend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BucketRule {
    /// The policy it came from. Part of the bucket's identity: two policies never share one.
    pub policy: String,
    /// The models; absent means every model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<ModelId>>,
    /// The versions of these models; absent means every version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Vec<Version>>,
    /// The bucket.
    pub bucket: Bucket,
}

/// A tagging, and which models it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TagRule {
    /// The policy it came from.
    pub policy: String,
    /// The models; absent means every model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<ModelId>>,
    /// The tagging.
    pub tagging: Tagging,
}

impl FilterConfig {
    /// Parses what a filter received.
    ///
    /// # Errors
    /// [`ConfigError`] with the JSON path and the fix.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        parse_json(json)
    }

    /// The bytes a filter is sent. Equal configurations give equal bytes.
    ///
    /// # Errors
    /// Never in practice: every field of the type has a JSON form. The error is passed on, not hidden.
    pub fn emit(&self) -> Result<String, ConfigError> {
        serde_json::to_string(self).map_err(|e| ConfigError::new(".", e.to_string()))
    }
}

impl BucketRule {
    /// Whether this version of `model` spends this bucket.
    #[must_use]
    pub fn applies_to(&self, model: &str, version: &str) -> bool {
        let some = |list: &Vec<Version>| list.iter().any(|v| v.as_str() == version);
        applies(self.models.as_deref(), model) && self.versions.as_ref().is_none_or(some)
    }
}

impl TagRule {
    /// Whether this tagging is for `model`.
    #[must_use]
    pub fn applies_to(&self, model: &str) -> bool {
        applies(self.models.as_deref(), model)
    }
}

fn applies(models: Option<&[ModelId]>, model: &str) -> bool {
    models.is_none_or(|list| list.iter().any(|m| m.as_str() == model))
}

mod raw {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};

    use super::{BucketRule, NamespaceConfig, Role};

    /// The configuration of a filter.
    #[derive(Serialize, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[cfg_attr(feature = "schema", schemars(rename = "FilterConfig"))]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub(super) struct FilterConfig {
        /// Whether this hop decides or follows the hop before. Default `decide`.
        #[serde(default)]
        role: Role,
        /// Counts retries after a NACK. Written by the control plane only.
        #[serde(default, skip_serializing_if = "is_zero")]
        retry: u32,
        /// Largest request body the filter reads, in bytes. 1 KiB–64 MiB, default 8 MiB.
        #[serde(default = "body")]
        max_body_bytes: u32,
        /// What each namespace serves. With several, the filter takes its own from the virtual host.
        namespaces: BTreeMap<String, NamespaceConfig>,
    }

    const fn body() -> u32 {
        8 << 20
    }

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    fn is_zero(n: &u32) -> bool {
        *n == 0
    }

    impl TryFrom<FilterConfig> for super::FilterConfig {
        type Error = String;
        fn try_from(raw: FilterConfig) -> Result<Self, String> {
            if !(1024..=64 << 20).contains(&raw.max_body_bytes) {
                return Err(format!(
                    "`maxBodyBytes` is {}: write 1024 to 67108864",
                    raw.max_body_bytes
                ));
            }
            for (ns, config) in &raw.namespaces {
                unique_names(ns, config)?;
                unique_buckets(ns, &config.buckets)?;
            }
            Ok(Self {
                role: raw.role,
                retry: raw.retry,
                max_body_bytes: raw.max_body_bytes,
                namespaces: raw.namespaces,
            })
        }
    }

    /// A client name means one model.
    fn unique_names(ns: &str, config: &NamespaceConfig) -> Result<(), String> {
        let mut owner: BTreeMap<&str, &str> = BTreeMap::new();
        for id in config.models.keys() {
            owner.insert(id.as_str(), id.as_str());
        }
        for (id, plan) in &config.models {
            for name in &plan.names {
                match owner.insert(name, id.as_str()) {
                    Some(other) if other != id.as_str() => {
                        return Err(format!(
                            "`namespaces.{ns}.models`: the name {name:?} is claimed by {other} and {id}: remove it from one"
                        ));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// A bucket name given twice for one model is an error.
    fn unique_buckets(ns: &str, buckets: &[BucketRule]) -> Result<(), String> {
        for (i, rule) in buckets.iter().enumerate() {
            let clash = buckets[..i]
                .iter()
                .position(|other| other.bucket.name == rule.bucket.name && overlap(other, rule));
            if let Some(j) = clash {
                return Err(format!(
                    "`namespaces.{ns}.buckets[{j}]` ({}) and `[{i}]` ({}) both give bucket {:?} to one model: rename one",
                    buckets[j].policy,
                    rule.policy,
                    rule.bucket.name.as_str()
                ));
            }
        }
        Ok(())
    }

    fn overlap(a: &BucketRule, b: &BucketRule) -> bool {
        shared(a.models.as_deref(), b.models.as_deref())
            && shared(a.versions.as_deref(), b.versions.as_deref())
    }

    fn shared<T: PartialEq>(a: Option<&[T]>, b: Option<&[T]>) -> bool {
        match (a, b) {
            (Some(a), Some(b)) => a.iter().any(|x| b.contains(x)),
            _ => true,
        }
    }

    impl From<super::FilterConfig> for FilterConfig {
        fn from(c: super::FilterConfig) -> Self {
            Self {
                role: c.role,
                retry: c.retry,
                max_body_bytes: c.max_body_bytes,
                namespaces: c.namespaces,
            }
        }
    }
}
