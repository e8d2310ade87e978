//! A bucket: its key, its capacity, the cost of a request, and its settlement.

mod failure;
mod overrides;
mod raw;
mod weights;
mod window;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::failure::{Abandoned, FailureCharge, OnFailure};
pub use self::overrides::{Override, OverrideCapacity};
pub use self::weights::Weights;
use crate::{Attribute, BucketName, Decimal, Duration, ModelId};

/// Most parts of a key.
const MAX_PARTS: usize = 8;
/// Most rows in a semantic table.
const MAX_ROWS: usize = 256;

/// A semantic token bucket. Reserved before upstream, settled once usage is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "raw::Bucket", into = "raw::Bucket")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "raw::Bucket"))]
pub struct Bucket {
    /// Its name, unique within all buckets of a model.
    pub name: BucketName,
    /// Attributes that partition the bucket; empty means one bucket for everybody.
    pub key: Vec<Attribute>,
    /// Whether it limits requests.
    pub mode: Mode,
    /// Capacity and cost.
    pub profile: Profile,
    /// Other capacities for some keys. At most 10 000.
    pub overrides: Vec<Override>,
    /// UTF-8 bytes per token: of the prompt before usage is known, and of a response that reports no usage. 0.25–64.
    pub bytes_per_token: Decimal,
    /// How far settlement may drive the bucket below empty, in windows, 0–100. `None`: 10 windows, but at most the longer of
    /// one window and 24 hours.
    pub max_debt: Option<Decimal>,
    /// The decision when the shared cell stays contended.
    pub on_contention: OnContention,
    /// The basis of the final charge.
    pub settle_on: SettleOn,
    /// The charge for a response that cannot be read (compressed, unknown dialect).
    pub unreadable: Unreadable,
    /// Whether the upstream is asked to report the usage of a stream.
    pub usage: UsageReport,
    /// The charge for a request that failed.
    pub on_failure: OnFailure,
    /// The charge for a request whose client left before anything was generated.
    pub abandoned: Abandoned,
    /// The longest `Retry-After` that a client is expected to wait for; beyond it a refusal carries `x-should-retry: false`.
    pub max_client_wait: Duration,
    /// Number of active keys up to which no key evicts another. 64–16 777 216.
    pub max_keys: u32,
}

/// Whether a bucket limits requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// It refuses requests beyond its capacity.
    #[default]
    Enforce,
    /// It refuses nothing. What it would have refused is counted as `would_limit`, and not charged to it.
    Shadow,
}

impl Mode {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    fn is_enforce(&self) -> bool {
        *self == Self::Enforce
    }
}

/// Capacity and cost of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Profile {
    /// Counts tokens.
    Tokens(Tokens),
    /// Prices a request as a share of its own capacity: above the floor `max_tokens` cancels out, so it limits requests.
    Semantic(Semantic),
}

/// `cost = (input·prompt_tokens + output·n·max_tokens) · temperature_factor`, with the prices `input` and `output` of `weights`.
/// It is settled on the tokens of each class that the response reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = crate::rules::of(&[
    (
        "int(self.capacity * 1000000.0 + 0.5) * 1000 >= int(self.refillPerSecond * 1000000.0 + 0.5) && (int(self.capacity * 1000000.0 + 0.5) - 1) / 31622400 < int(self.refillPerSecond * 1000000.0 + 0.5)",
        "`capacity / refillPerSecond` is the time an empty bucket takes to fill: keep it between 1 ms and 366 days",
    ),
]))))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tokens {
    /// Tokens in a full bucket.
    #[cfg_attr(feature = "schema", schemars(extend("minimum" = 0.000_001, "x-kubernetes-validations" = crate::rules::positive())))]
    pub capacity: Decimal,
    /// Tokens refilled per second. `capacity / refillPerSecond` is the window: 1 ms to 366 days.
    #[cfg_attr(feature = "schema", schemars(extend("minimum" = 0.000_001, "x-kubernetes-validations" = crate::rules::positive())))]
    pub refill_per_second: Decimal,
    /// The price of a token by its class. Default: every token costs 1.
    #[serde(default, skip_serializing_if = "Weights::is_default")]
    pub weights: Weights,
    /// `temperature_factor = clamp(1 + sensitivity·(temperature − 1), 0.1, 4)`. Default 0: temperature has no effect.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[cfg_attr(feature = "schema", schemars(extend("maximum" = 10)))]
    pub temperature_sensitivity: Decimal,
}

/// `capacity = max(min_capacity, base_capacity·max_tokens/reference_max_tokens)`, `refill_per_second = fill_ratio·capacity`,
/// `cost = n·max_tokens/reference_max_tokens · temperature_factor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Semantic {
    /// Least capacity. Default 20.
    #[cfg_attr(feature = "schema", schemars(extend("minimum" = 0.000_001, "x-kubernetes-validations" = crate::rules::positive())))]
    pub min_capacity: Decimal,
    /// `max_tokens` of a request that costs 1. Default 512.
    #[cfg_attr(feature = "schema", schemars(extend("minimum" = 1, "maximum" = crate::MAX_TOKENS)))]
    pub reference_max_tokens: u32,
    /// Share of the capacity refilled per second; the window is its inverse. 0.000001–1000, default 0.3.
    #[cfg_attr(feature = "schema", schemars(extend("minimum" = 0.000_001, "maximum" = 1000, "x-kubernetes-validations" = crate::rules::positive())))]
    pub fill_ratio: Decimal,
    /// Per model id. Defaults: `gpt-4` 100 / 1.2, `llama3-70b` 80 / 1.0, `phi-3` 30 / 0.6; entries given here are added
    /// to them or replace them. A model without an entry has base capacity 0 (and so the floor) and sensitivity 1.
    #[cfg_attr(feature = "schema", schemars(extend("maxProperties" = MAX_ROWS)))]
    pub models: BTreeMap<ModelId, ModelCapacity>,
}

/// A row of the semantic table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelCapacity {
    /// Capacity at `referenceMaxTokens`.
    pub base_capacity: Decimal,
    /// `temperature_factor = clamp(1 + sensitivity·(temperature − 1), 0.1, 4)`. Default 1.
    #[serde(default = "one")]
    #[cfg_attr(feature = "schema", schemars(extend("maximum" = 10)))]
    pub temperature_sensitivity: Decimal,
}

/// The decision when compare-and-swap on the shared cell keeps failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum OnContention {
    /// Refuse with 503 and a Retry-After: never over-admits.
    #[default]
    Refuse,
    /// Admit; the cost is taken with the worker's next write.
    Admit,
}

/// The basis of the final charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum SettleOn {
    /// The usage of the response, which the filter reads.
    #[default]
    Usage,
    /// The reservation; the response is not read.
    Reservation,
}

/// Whether the upstream is asked to report the usage of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum UsageReport {
    /// A streamed OpenAI request without `stream_options.include_usage` gets it; the extra event is removed from the response
    /// again.
    #[default]
    Ask,
    /// Requests and responses are not changed; a stream without usage is charged by its text.
    Observe,
}

/// The charge for a response that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Unreadable {
    /// Its bytes divided by `bytesPerToken`, as completion tokens.
    #[default]
    Bytes,
    /// The whole reservation.
    Reservation,
}

impl Profile {
    /// The bucket's constant window `T = capacity / refill_per_second`, as `(numerator, denominator)` in seconds.
    #[must_use]
    pub fn window(&self) -> (u64, u64) {
        match self {
            Self::Tokens(t) => (t.capacity.millionths(), t.refill_per_second.millionths()),
            Self::Semantic(s) => (Decimal::UNIT, s.fill_ratio.millionths()),
        }
    }
}

impl Default for Semantic {
    fn default() -> Self {
        Self {
            min_capacity: Decimal::whole(20),
            reference_max_tokens: 512,
            fill_ratio: Decimal::from_millionths(300_000),
            models: default_models(),
        }
    }
}

/// The default table: base capacity / temperature sensitivity.
fn default_models() -> BTreeMap<ModelId, ModelCapacity> {
    let rows = [
        ("gpt-4", 100, 1_200_000),
        ("llama3-70b", 80, 1_000_000),
        ("phi-3", 30, 600_000),
    ];
    let mut models = BTreeMap::new();
    for (id, base, sensitivity) in rows {
        if let Ok(id) = ModelId::try_from(id) {
            let row = ModelCapacity {
                base_capacity: Decimal::whole(base),
                temperature_sensitivity: Decimal::from_millionths(sensitivity),
            };
            models.insert(id, row);
        }
    }
    models
}

const fn one() -> Decimal {
    Decimal::whole(1)
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_one(d: &Decimal) -> bool {
    *d == one()
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(d: &Decimal) -> bool {
    d.millionths() == 0
}
