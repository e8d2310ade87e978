//! The configuration of a filter, as ECDS carries it to every proxy and `static.yaml` contains it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::hop::{Bodies, ChargeAt, Role};
use crate::names::LABEL_VERSION;
use crate::{Bucket, ConfigError, ModelId, ModelPlan, Stages, Tagging, Version, parse_json};

/// Default of [`FilterConfig::max_body_bytes`].
const MAX_BODY_BYTES: u32 = 8 << 20;

/// The configuration of a filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "raw::FilterConfig", into = "raw::FilterConfig")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "raw::FilterConfig"))]
pub struct FilterConfig {
    /// The stages of the filter. `None`: the default of its module.
    pub stages: Option<Stages>,
    /// Whether this hop decides or follows.
    pub role: Role,
    /// Whether bodies are read.
    pub bodies: Bodies,
    /// Number of retries after a NACK: Envoy does not apply the same bytes twice.
    pub retry: u32,
    /// Largest request body the filter reads, in bytes. 1 KiB–64 MiB, default 8 MiB.
    pub max_body_bytes: u32,
    /// Key of the label that names a pod's version. Default `model-version`.
    pub version_label: String,
    /// The models of each namespace. The virtual host tells which one a request belongs to.
    pub namespaces: BTreeMap<String, NamespaceConfig>,
}

/// The models of one namespace, and their limits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespaceConfig {
    /// The hosts whose virtual hosts belong to the namespace: in lower case, without a port and a final dot. `*.example.com` contains
    /// every host below it; if several match, the longest applies. `*` is only the catch-all virtual host, whose name is `*`. No other
    /// namespace has the same host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// The live plan, by model id.
    #[serde(default)]
    pub models: BTreeMap<ModelId, ModelPlan>,
    /// The buckets, in the order of their reserves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<BucketRule>,
    /// The tagging rules; the first that names a model applies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tagging: Vec<TagRule>,
}

/// A bucket, and the models that spend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BucketRule {
    /// The policy it came from. Part of the bucket's identity: two policies never share one.
    pub policy: String,
    /// The hop that charges it. Default `decide`.
    #[serde(default, skip_serializing_if = "ChargeAt::is_decide")]
    pub at: ChargeAt,
    /// The models; absent means every model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<ModelId>>,
    /// The versions of these models; absent means every version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Vec<Version>>,
    /// The bucket.
    pub bucket: Bucket,
}

/// A tagging, and its models.
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

impl Default for FilterConfig {
    fn default() -> Self {
        Self {
            stages: None,
            role: Role::default(),
            bodies: Bodies::default(),
            retry: 0,
            max_body_bytes: MAX_BODY_BYTES,
            version_label: LABEL_VERSION.to_owned(),
            namespaces: BTreeMap::new(),
        }
    }
}

impl FilterConfig {
    /// Parses the configuration that a filter received.
    ///
    /// # Errors
    /// [`ConfigError`] with the JSON path and the fix.
    #[inline(never)]
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        parse_json(json)
    }

    /// The JSON that a filter receives. Equal configurations give equal bytes.
    ///
    /// # Errors
    /// Never in practice: every field of the type has a JSON form.
    pub fn emit(&self) -> Result<String, ConfigError> {
        let [json] = self.emit_with([(self.stages, self.role)])?;
        Ok(json)
    }

    /// The JSON of this configuration with each of these stages and roles. The namespaces, which are nearly all of it, are serialized
    /// once.
    ///
    /// # Errors
    /// As [`Self::emit`].
    pub fn emit_with<const N: usize>(
        &self,
        heads: [(Option<Stages>, Role); N],
    ) -> Result<[String; N], ConfigError> {
        let error = |e: serde_json::Error| ConfigError::new(".", e.to_string());
        let namespaces = serde_json::to_string(&self.namespaces).map_err(error)?;
        let mut emitted = [const { String::new() }; N];
        for (json, (stages, role)) in emitted.iter_mut().zip(heads) {
            let head = Self {
                stages,
                role,
                version_label: self.version_label.clone(),
                namespaces: BTreeMap::new(),
                ..*self
            };
            *json = serde_json::to_string(&head).map_err(error)?;
            // The last member is `"namespaces":{}`.
            json.truncate(json.len() - "{}}".len());
            json.push_str(&namespaces);
            json.push('}');
        }
        Ok(emitted)
    }
}

impl BucketRule {
    /// Whether requests for this version of `model` spend this bucket.
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

    use super::{BucketRule, NamespaceConfig, Stages};
    use crate::hop::{Bodies, Role};
    use crate::names::{LABEL_VERSION, host_of};

    /// The configuration of a filter.
    #[derive(Serialize, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[cfg_attr(feature = "schema", schemars(rename = "FilterConfig"))]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub(super) struct FilterConfig {
        /// The stages of the filter: `tag`, `limit`, or both. Default: `[tag, limit]` in `headgate.wasm`, `[tag]` in
        /// `traffic-tag.wasm`, `[limit]` in `token-bucket.wasm`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stages: Option<Stages>,
        /// Whether this hop decides or follows the previous hop. Default `decide`.
        #[serde(default)]
        role: Role,
        /// Whether bodies are read. `never` is for filters that must not hold a request, because the proxy's configuration lacks
        /// `allow_on_headers_stop_iteration` (`WasmPlugin`, `TrafficExtension`, waypoints): the filter only tags, by headers, and
        /// excludes the stage `limit`. Default `read`.
        #[serde(default, skip_serializing_if = "Bodies::is_read")]
        bodies: Bodies,
        /// Number of retries after a NACK. Written by the control plane only.
        #[serde(default, skip_serializing_if = "is_zero")]
        retry: u32,
        /// Largest request body the filter reads, in bytes. 1 KiB–64 MiB, default 8 MiB.
        #[serde(default = "body")]
        max_body_bytes: u32,
        /// Key of the label that names a pod's version, for a proxy of an Istio mesh that tags what its own pod answers. Default
        /// `model-version`.
        #[serde(default = "version_label", skip_serializing_if = "is_default_label")]
        version_label: String,
        /// The models of each namespace. The virtual host tells which one a request belongs to: `model-serving/NAMESPACE`, else its
        /// name without the port among the `hosts`, else for `inbound|…` the namespace of the proxy's pod in an Istio mesh. A request
        /// of another virtual host passes unchanged. If there is only one namespace and it has no `hosts`, all virtual hosts belong to it.
        namespaces: BTreeMap<String, NamespaceConfig>,
    }

    const fn body() -> u32 {
        super::MAX_BODY_BYTES
    }

    fn version_label() -> String {
        LABEL_VERSION.to_owned()
    }

    fn is_default_label(label: &str) -> bool {
        label == LABEL_VERSION
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
            if raw.bodies == Bodies::Never && raw.stages.is_some_and(|stages| stages.limit) {
                return Err("`stages` has limit, and with `bodies: never` nothing is charged: write `stages: [tag]`".into());
            }
            unique_hosts(&raw.namespaces)?;
            for (ns, config) in &raw.namespaces {
                unique_names(ns, config)?;
                unique_buckets(ns, &config.buckets)?;
            }
            Ok(Self {
                stages: raw.stages,
                role: raw.role,
                bodies: raw.bodies,
                retry: raw.retry,
                max_body_bytes: raw.max_body_bytes,
                version_label: raw.version_label,
                namespaces: raw.namespaces,
            })
        }
    }

    /// Checks that each host belongs to one namespace, and has the form in which it is compared.
    fn unique_hosts(namespaces: &BTreeMap<String, NamespaceConfig>) -> Result<(), String> {
        let mut claims = Vec::new();
        for (ns, config) in namespaces {
            for host in &config.hosts {
                let plain = !host.bytes().any(|b| b.is_ascii_uppercase());
                if host.is_empty() || host_of(host) != host || !plain {
                    return Err(format!(
                        "`namespaces.{ns}.hosts`: {host:?} is not a host: write it in lower case, without a port and a final dot"
                    ));
                }
                claims.push((host.as_str(), ns.as_str()));
            }
        }
        match claimed_twice(claims) {
            None => Ok(()),
            Some((host, one, other)) => Err(format!(
                "`namespaces.{other}.hosts`: {host:?} is also a host of namespace {one}: remove it from one"
            )),
        }
    }

    /// Checks that each client name means one model.
    fn unique_names(ns: &str, config: &NamespaceConfig) -> Result<(), String> {
        let mut claims = Vec::new();
        for (id, plan) in &config.models {
            claims.push((id.as_str(), id.as_str()));
            claims.extend(plan.names.iter().map(|name| (name.as_str(), id.as_str())));
        }
        match claimed_twice(claims) {
            None => Ok(()),
            Some((name, one, other)) => Err(format!(
                "`namespaces.{ns}.models`: the name {name:?} is claimed by {one} and {other}: remove it from one"
            )),
        }
    }

    /// The first name that two owners claim, and both.
    #[inline(never)]
    fn claimed_twice<'a>(
        mut claims: Vec<(&'a str, &'a str)>,
    ) -> Option<(&'a str, &'a str, &'a str)> {
        claims.sort_unstable();
        claims.windows(2).find_map(|two| match two {
            [(name, one), (same, other)] if name == same && one != other => {
                Some((*name, *one, *other))
            }
            _ => None,
        })
    }

    /// Checks that no model has two buckets of one name.
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
                stages: c.stages,
                role: c.role,
                bodies: c.bodies,
                retry: c.retry,
                max_body_bytes: c.max_body_bytes,
                version_label: c.version_label,
                namespaces: c.namespaces,
            }
        }
    }
}
