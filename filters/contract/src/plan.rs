//! The live plan as a filter sees it: for each model its names, versions, percents, replicas and scale.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::max_tokens::{DefaultMaxTokens, MAX_TOKENS};
use crate::{Decimal, OnBaseLost, Version};

/// The live plan of one model: a filter picks the version and sizes the buckets with it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    try_from = "raw::ModelPlan",
    into = "raw::ModelPlan"
)]
#[cfg_attr(feature = "schema", schemars(with = "raw::ModelPlan"))]
pub struct ModelPlan {
    /// Names that clients write for this model, besides its id.
    pub names: Vec<String>,
    /// Live capacity of every bucket of this model; `None` is 100 %.
    pub scale: Option<Scale>,
    /// Carriers with an exact percent of new sessions. They sum to at most 100; to 100 where `base` is empty
    /// and there is a canary at all.
    pub canaries: Vec<CarrierShare>,
    /// Carriers that share the rest after the canaries, in proportion to `replicas`.
    pub base: Vec<CarrierShare>,
    /// Reachable by pin only.
    pub dark: Vec<DarkCarrier>,
    /// Versions for which the proxy has no route. Requests of their sessions go on without a version and follow the proxy's other routes.
    /// Pins of these versions are refused as not ready.
    pub unrouted: Vec<Version>,
    /// Where sessions of the base go while it has no ready endpoint, or cannot be reached.
    pub on_base_lost: OnBaseLost,
    /// The `max_tokens` of a request that names none.
    pub default_max_tokens: DefaultMaxTokens,
    /// The names that the servers of a version want for the model. A request that names it otherwise is rewritten.
    pub served_names: BTreeMap<Version, String>,
}

/// A carrier that takes new sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CarrierShare {
    /// The carrier, as `kind/name`: the candidate's identity in the rendezvous, so it must not change on an edit.
    pub carrier: String,
    /// A canary: percent of new sessions (0–100). A base carrier: desired replicas, at least 1.
    pub weight: Decimal,
    /// The carrier's versions: one, or two while it rolls.
    pub versions: Vec<VersionShare>,
}

/// A version of a carrier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VersionShare {
    /// The version.
    pub version: Version,
    /// Its ready endpoints; with none it is known (a pin gets 503, not 404) and never picked.
    pub endpoints: u32,
}

/// A carrier that takes no new sessions, because its weight is 0 or it is held. Only a pin reaches it, unless it stands in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DarkCarrier {
    /// The carrier, as `kind/name`.
    pub carrier: String,
    /// Its versions.
    pub versions: Vec<VersionShare>,
    /// Whether it takes the new sessions of the base while no carrier of the base has a ready endpoint, or none can be reached.
    /// Default false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stands_in: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Live capacity of a model's buckets, in percent of the configured one.
///
/// Other than 100 it expires 15 minutes after reception; a new `epoch` in the content renews it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, try_from = "raw::Scale")]
#[cfg_attr(feature = "schema", schemars(with = "raw::Scale"))]
pub struct Scale {
    /// 5–1000, in steps of 5.
    pub percent: u16,
    /// Number of half-lives (7.5 min) since the Unix epoch, so equal on every replica.
    pub epoch: u64,
}

impl ModelPlan {
    /// Every version the model knows, picked or not, with its ready endpoints.
    pub fn versions(&self) -> impl Iterator<Item = &VersionShare> {
        self.canaries
            .iter()
            .chain(&self.base)
            .flat_map(|c| &c.versions)
            .chain(self.dark.iter().flat_map(|c| &c.versions))
    }

    /// Whether any version has a ready endpoint. If not, 503 before any reserve.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.versions().any(|v| v.endpoints > 0)
    }
}

mod raw {
    use std::collections::BTreeMap;

    use crate::names::HOST_BYTES;

    use super::{CarrierShare, DarkCarrier, Decimal, DefaultMaxTokens, MAX_TOKENS, OnBaseLost};
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub(super) struct ModelPlan {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        names: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scale: Option<super::Scale>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        canaries: Vec<CarrierShare>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        base: Vec<CarrierShare>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        dark: Vec<DarkCarrier>,
        /// Versions for which the proxy has no route. Requests of their sessions go on without a version and follow the proxy's other
        /// routes. Pins of these versions are refused as not ready. Default none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unrouted: Vec<crate::Version>,
        /// Where sessions of the base go while it has no ready endpoint, or cannot be reached. `release`: to the dark
        /// carriers with `standsIn`, else to the canaries. `hold`: nowhere. Without a ready endpoint of a `base` that is listed, new
        /// sessions get 503; pins still reach their version. Excludes `standsIn`. Default `release`.
        #[serde(default, skip_serializing_if = "is_release")]
        on_base_lost: OnBaseLost,
        /// The names that the servers of a version want for the model, by version: 1–253 bytes. A request that names it otherwise is
        /// rewritten. Default: requests keep the name.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        served_names: BTreeMap<crate::Version, String>,
        /// The `max_tokens` of a request that names none. 1–10 000 000, default 512. Excludes `contextLength`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default_max_tokens: Option<u32>,
        /// Tokens of the model's context window, 1–10 000 000. A request without `max_tokens` reserves as many,
        /// at most the capacity of the bucket. Excludes `defaultMaxTokens`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        context_length: Option<u32>,
    }

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    fn is_release(on_base_lost: &OnBaseLost) -> bool {
        *on_base_lost == OnBaseLost::Release
    }

    fn default_max_tokens(
        fixed: Option<u32>,
        context: Option<u32>,
    ) -> Result<DefaultMaxTokens, String> {
        use super::DefaultMaxTokens::{Context, Tokens};
        let (field, value) = match (fixed, context) {
            (None, None) => return Ok(DefaultMaxTokens::default()),
            (Some(tokens), None) => ("defaultMaxTokens", Tokens(tokens)),
            (None, Some(tokens)) => ("contextLength", Context(tokens)),
            (Some(_), Some(_)) => {
                return Err(
                    "`defaultMaxTokens` and `contextLength` exclude each other: keep one".into(),
                );
            }
        };
        match value.tokens() {
            1..=MAX_TOKENS => Ok(value),
            other => Err(format!("`{field}` is {other}: write 1 to {}", MAX_TOKENS)),
        }
    }

    impl TryFrom<ModelPlan> for super::ModelPlan {
        type Error = String;
        fn try_from(raw: ModelPlan) -> Result<Self, String> {
            let weights = raw.canaries.iter().map(|c| c.weight.millionths());
            let sum = weights.fold(0, u64::saturating_add);
            let hundred = 100 * Decimal::UNIT;
            if sum > hundred {
                return Err(format!(
                    "`canaries` sum to {} percent: lower their weights to at most 100 in sum",
                    Decimal::from_millionths(sum)
                ));
            }
            if raw.base.is_empty() && !raw.canaries.is_empty() && sum != hundred {
                return Err(format!(
                    "without `base` the canaries must sum to 100 percent, not {}",
                    Decimal::from_millionths(sum)
                ));
            }
            let long = |name: &&String| name.is_empty() || name.len() > HOST_BYTES;
            if let Some(name) = raw.served_names.values().find(long) {
                return Err(format!(
                    "`servedNames` has a name of {} bytes: write 1 to {HOST_BYTES}",
                    name.len()
                ));
            }
            if let Some(c) = raw.base.iter().find(|c| c.weight.millionths() == 0) {
                return Err(format!(
                    "base carrier {:?} has weight 0: list it under `dark`",
                    c.carrier
                ));
            }
            if raw.on_base_lost == OnBaseLost::Hold
                && let Some(c) = raw.dark.iter().find(|c| c.stands_in)
            {
                return Err(format!(
                    "dark carrier {:?} has `standsIn: true`, and `onBaseLost` is hold: keep one of them",
                    c.carrier
                ));
            }
            Ok(Self {
                on_base_lost: raw.on_base_lost,
                default_max_tokens: default_max_tokens(raw.default_max_tokens, raw.context_length)?,
                names: raw.names,
                scale: raw.scale,
                canaries: raw.canaries,
                base: raw.base,
                dark: raw.dark,
                unrouted: raw.unrouted,
                served_names: raw.served_names,
            })
        }
    }

    impl From<super::ModelPlan> for ModelPlan {
        fn from(p: super::ModelPlan) -> Self {
            use super::DefaultMaxTokens::{Context, Tokens};
            let default = DefaultMaxTokens::default();
            let (default_max_tokens, context_length) = match p.default_max_tokens {
                value if value == default => (None, None),
                Tokens(tokens) => (Some(tokens), None),
                Context(tokens) => (None, Some(tokens)),
            };
            Self {
                served_names: p.served_names,
                on_base_lost: p.on_base_lost,
                default_max_tokens,
                context_length,
                names: p.names,
                scale: p.scale,
                canaries: p.canaries,
                base: p.base,
                dark: p.dark,
                unrouted: p.unrouted,
            }
        }
    }

    #[derive(Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub(super) struct Scale {
        percent: u16,
        epoch: u64,
    }

    impl TryFrom<Scale> for super::Scale {
        type Error = String;
        fn try_from(raw: Scale) -> Result<Self, String> {
            if !(5..=1000).contains(&raw.percent) || !raw.percent.is_multiple_of(5) {
                return Err(format!(
                    "`percent` is {}: write 5 to 1000 in steps of 5",
                    raw.percent
                ));
            }
            Ok(Self {
                percent: raw.percent,
                epoch: raw.epoch,
            })
        }
    }
}
