//! One bucket: whom it counts, what it holds, what a request costs, how it settles.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{BucketName, Decimal, HeaderName, ModelId};

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
    /// Whom it counts apart; empty means one bucket for everybody.
    pub key: Vec<KeyPart>,
    /// Capacity and cost.
    pub profile: Profile,
    /// UTF-8 bytes of the prompt per token before usage is known: of messages, tools, tool calls and schemas, as they
    /// are sent. A picture, sound or file counts 765 tokens. 0.25–64, default 4.
    pub bytes_per_token: Decimal,
    /// How far settlement may drive the bucket beyond empty, in windows. 0–100, default 1.
    pub max_debt: Decimal,
    /// What to do when the shared cell stays contended.
    pub on_contention: OnContention,
    /// What a request is finally charged for.
    pub settle_on: SettleOn,
    /// What is charged when the answer cannot be read (compressed, unknown dialect).
    pub unreadable: Unreadable,
    /// Keys remembered apart; memory is about 25 bytes each, whatever appears. 64–1 048 576, default 4096.
    pub max_keys: u32,
}

/// What identifies whose bucket it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum KeyPart {
    /// The tenant (header named by the tagging).
    Tenant,
    /// The model id.
    Model,
    /// The version picked.
    Version,
    /// Any request header, as the client sent it; of a tag's header, what the hop that tags writes there.
    Header(HeaderName),
}

/// Capacity and cost of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Profile {
    /// Counts tokens.
    Tokens(Tokens),
    /// Prices a request as a share of its own capacity: above the floor `max_tokens` cancels out, so it limits requests.
    Semantic(Semantic),
}

/// `cost = (input_weight·prompt_tokens + output_weight·n·max_tokens) · temperature_factor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = crate::rules::of(&[
    (
        "int(self.capacity * 1000000.0 + 0.5) * 1000 >= int(self.refillPerSecond * 1000000.0 + 0.5) && (int(self.capacity * 1000000.0 + 0.5) - 1) / 31622400 < int(self.refillPerSecond * 1000000.0 + 0.5)",
        "`capacity / refillPerSecond` is the time an empty bucket takes to fill: keep it between 1 ms and 366 days",
    ),
    (
        "!(has(self.inputWeight) && self.inputWeight == 0.0 && has(self.outputWeight) && self.outputWeight == 0.0)",
        "`inputWeight` and `outputWeight` are both 0, so nothing would ever cost anything: give one of them a value",
    ),
]))))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tokens {
    /// Tokens in a full bucket.
    #[cfg_attr(feature = "schema", schemars(extend("minimum" = 0.000_001, "x-kubernetes-validations" = crate::rules::positive())))]
    pub capacity: Decimal,
    /// Tokens per second that flow back. `capacity / refillPerSecond` is the window: 1 ms to 366 days.
    #[cfg_attr(feature = "schema", schemars(extend("minimum" = 0.000_001, "x-kubernetes-validations" = crate::rules::positive())))]
    pub refill_per_second: Decimal,
    /// Price of a prompt token. Default 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[cfg_attr(feature = "schema", schemars(extend("maximum" = 1000)))]
    pub input_weight: Decimal,
    /// Price of a completion token. Default 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[cfg_attr(feature = "schema", schemars(extend("maximum" = 1000)))]
    pub output_weight: Decimal,
    /// `temperature_factor = clamp(1 + sensitivity·(temperature − 1), 0.1, 4)`. Default 0: a token is a token.
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
    #[cfg_attr(feature = "schema", schemars(extend("minimum" = 1, "maximum" = 10_000_000)))]
    pub reference_max_tokens: u32,
    /// Share of the capacity that flows back per second; the window is its inverse. 0.000001–1000, default 0.3.
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

/// What to do when compare-and-swap on the shared cell keeps failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum OnContention {
    /// Refuse with 503 and a Retry-After: never over-admits.
    #[default]
    Refuse,
    /// Admit, and owe the cost with the worker's next write.
    Admit,
}

/// What a request is finally charged for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum SettleOn {
    /// What the answer used; the filter reads the answer.
    #[default]
    Usage,
    /// The reservation, whatever was used; the answer is not read.
    Reservation,
}

/// What is charged when the answer cannot be read.
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

impl TryFrom<String> for KeyPart {
    type Error = String;
    fn try_from(s: String) -> Result<Self, String> {
        match s.as_str() {
            "tenant" => Ok(Self::Tenant),
            "model" => Ok(Self::Model),
            "version" => Ok(Self::Version),
            other => match other.strip_prefix("header:") {
                Some(name) => HeaderName::try_from(name)
                    .map(Self::Header)
                    .map_err(|e| e.to_string()),
                None => Err(format!(
                    "unknown key part {other:?}: write tenant, model, version or header:NAME"
                )),
            },
        }
    }
}

impl From<KeyPart> for String {
    fn from(part: KeyPart) -> Self {
        match part {
            KeyPart::Tenant => "tenant".into(),
            KeyPart::Model => "model".into(),
            KeyPart::Version => "version".into(),
            KeyPart::Header(name) => format!("header:{name}"),
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for KeyPart {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KeyPart".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "tenant, model, version or header:NAME",
            "pattern": "^(tenant|model|version|header:[a-z0-9-]{1,128})$"
        })
    }
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

mod raw {
    //! As written: `profile` names the section that counts.

    use serde::{Deserialize, Serialize};

    use super::{
        BucketName, Decimal, KeyPart, OnContention, Semantic, SettleOn, Tokens, Unreadable,
    };

    /// A semantic token bucket.
    #[derive(Serialize, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[cfg_attr(feature = "schema", schemars(rename = "Bucket"))]
    #[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = crate::rules::of(&[
        ("self.profile != 'tokens' || has(self.tokens)", "`profile: tokens` needs the section `tokens` with `capacity` and `refillPerSecond`"),
        ("self.profile != 'tokens' || !has(self.semantic)", "`profile: tokens` takes no section `semantic`: remove it"),
        ("self.profile != 'semantic' || !has(self.tokens)", "`profile: semantic` takes no section `tokens`: remove it"),
    ]))))]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub(super) struct Bucket {
        /// Its name, once in a policy. Where several policies give one model a bucket of this name, one of them counts, in the
        /// order told with the policy; a tie is an error (`DuplicateBucket`), and the oldest counts.
        name: BucketName,
        /// Whom it counts apart (`tenant`, `model`, `version`, `header:NAME`); empty means one bucket for everybody.
        #[cfg_attr(feature = "schema", schemars(length(max = super::MAX_PARTS), extend("x-kubernetes-list-type" = "set")))]
        key: Vec<KeyPart>,
        /// `tokens` counts tokens; `semantic` prices a request as a share of its own capacity, and so limits requests.
        profile: ProfileName,
        /// Required with `profile: tokens`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tokens: Option<Tokens>,
        /// Optional with `profile: semantic`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        semantic: Option<Semantic>,
        /// UTF-8 bytes of the prompt per token before usage is known: of messages, tools, tool calls and schemas, as they
        /// are sent. A picture, sound or file counts 765 tokens. 0.25–64, default 4.
        #[serde(default = "four")]
        #[cfg_attr(feature = "schema", schemars(extend("minimum" = 0.25, "maximum" = 64, "x-kubernetes-validations" = crate::rules::of(&[crate::rules::SIX_DIGITS, ("self >= 0.25", "write 0.25 to 64")]))))]
        bytes_per_token: Decimal,
        /// How far settlement may drive the bucket beyond empty, in windows. 0–100, default 1.
        #[serde(default = "super::one")]
        #[cfg_attr(feature = "schema", schemars(extend("maximum" = 100)))]
        max_debt: Decimal,
        /// What to do when the shared cell stays contended. Default `refuse`.
        #[serde(default)]
        on_contention: OnContention,
        /// What a request is finally charged for. Default `usage`.
        #[serde(default)]
        settle_on: SettleOn,
        /// What is charged when the answer cannot be read (compressed, unknown dialect). Default `bytes`.
        #[serde(default)]
        unreadable: Unreadable,
        /// Keys remembered apart; memory is about 25 bytes each, whatever appears. 64–1 048 576, default 4096.
        #[serde(default = "keys")]
        #[cfg_attr(feature = "schema", schemars(extend("minimum" = 64, "maximum" = 1_048_576)))]
        max_keys: u32,
    }

    #[derive(Serialize, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[serde(rename_all = "camelCase")]
    pub(super) enum ProfileName {
        /// Counts tokens.
        Tokens,
        /// Prices a request as a share of its own capacity.
        Semantic,
    }

    const fn four() -> Decimal {
        Decimal::whole(4)
    }
    const fn keys() -> u32 {
        4096
    }

    const MILLISECOND: u128 = Decimal::UNIT as u128 / 1000;
    const YEAR: u128 = 366 * 86_400;

    fn within(field: &str, value: Decimal, min: u64, max: u64) -> Result<(), String> {
        if (min..=max).contains(&value.millionths()) {
            return Ok(());
        }
        Err(format!(
            "`{field}` is {value}: write {} to {}",
            Decimal::from_millionths(min),
            Decimal::from_millionths(max)
        ))
    }

    fn tokens(t: Tokens) -> Result<super::Profile, String> {
        const TENTH: u64 = Decimal::UNIT / 10;
        if t.capacity.millionths() == 0 || t.refill_per_second.millionths() == 0 {
            return Err(
                "`tokens.capacity` and `tokens.refillPerSecond` must be greater than 0".into(),
            );
        }
        within(
            "tokens.inputWeight",
            t.input_weight,
            0,
            1000 * Decimal::UNIT,
        )?;
        within(
            "tokens.outputWeight",
            t.output_weight,
            0,
            1000 * Decimal::UNIT,
        )?;
        if t.input_weight.millionths() == 0 && t.output_weight.millionths() == 0 {
            return Err(
                "`tokens.inputWeight` and `tokens.outputWeight` are both 0, so nothing would ever cost anything: give one of them a value"
                    .into(),
            );
        }
        within(
            "tokens.temperatureSensitivity",
            t.temperature_sensitivity,
            0,
            100 * TENTH,
        )?;
        // capacity / refill, compared without dividing.
        let (capacity, refill) = (
            u128::from(t.capacity.millionths()),
            u128::from(t.refill_per_second.millionths()),
        );
        if capacity * u128::from(Decimal::UNIT) < refill * MILLISECOND || capacity > refill * YEAR {
            return Err(
                "`tokens.capacity / tokens.refillPerSecond` is the time an empty bucket takes to fill: keep it between 1 ms and 366 days"
                    .into(),
            );
        }
        Ok(super::Profile::Tokens(t))
    }

    fn semantic(s: Semantic) -> Result<super::Profile, String> {
        within(
            "semantic.minCapacity",
            s.min_capacity,
            1,
            Decimal::MAX_MILLIONTHS,
        )?;
        within("semantic.fillRatio", s.fill_ratio, 1, 1000 * Decimal::UNIT)?;
        if !(1..=10_000_000).contains(&s.reference_max_tokens) {
            return Err(format!(
                "`semantic.referenceMaxTokens` is {}: write 1 to 10000000",
                s.reference_max_tokens
            ));
        }
        if s.models.len() > super::MAX_ROWS {
            return Err("`semantic.models` has more than 256 entries: remove some".into());
        }
        let mut models = super::default_models();
        for (id, row) in s.models {
            let field = format!("semantic.models.{id}.temperatureSensitivity");
            within(&field, row.temperature_sensitivity, 0, 10 * Decimal::UNIT)?;
            models.insert(id, row);
        }
        Ok(super::Profile::Semantic(Semantic { models, ..s }))
    }

    impl TryFrom<Bucket> for super::Bucket {
        type Error = String;
        fn try_from(raw: Bucket) -> Result<Self, String> {
            let profile = match (raw.profile, raw.tokens, raw.semantic) {
                (ProfileName::Tokens, Some(t), None) => tokens(t)?,
                (ProfileName::Tokens, None, None) => {
                    return Err("`profile: tokens` needs the section `tokens` with `capacity` and `refillPerSecond`".into());
                }
                (ProfileName::Tokens, _, Some(_)) => {
                    return Err("`profile: tokens` takes no section `semantic`: remove it".into());
                }
                (ProfileName::Semantic, None, s) => semantic(s.unwrap_or_default())?,
                (ProfileName::Semantic, Some(_), _) => {
                    return Err("`profile: semantic` takes no section `tokens`: remove it".into());
                }
            };
            within(
                "bytesPerToken",
                raw.bytes_per_token,
                Decimal::UNIT / 4,
                64 * Decimal::UNIT,
            )?;
            within("maxDebt", raw.max_debt, 0, 100 * Decimal::UNIT)?;
            if !(64..=1_048_576).contains(&raw.max_keys) {
                return Err(format!(
                    "`maxKeys` is {}: write 64 to 1048576",
                    raw.max_keys
                ));
            }
            if raw.key.len() > super::MAX_PARTS {
                return Err("`key` has more than 8 parts: remove some".into());
            }
            let twice = |(i, part)| raw.key[..i].contains(part);
            if raw.key.iter().enumerate().any(twice) {
                return Err("`key` names the same part twice: remove one".into());
            }
            Ok(Self {
                name: raw.name,
                key: raw.key,
                profile,
                bytes_per_token: raw.bytes_per_token,
                max_debt: raw.max_debt,
                on_contention: raw.on_contention,
                settle_on: raw.settle_on,
                unreadable: raw.unreadable,
                max_keys: raw.max_keys,
            })
        }
    }

    impl From<super::Bucket> for Bucket {
        fn from(b: super::Bucket) -> Self {
            let (profile, tokens, semantic) = match b.profile {
                super::Profile::Tokens(t) => (ProfileName::Tokens, Some(t), None),
                super::Profile::Semantic(s) => (ProfileName::Semantic, None, Some(s)),
            };
            Self {
                name: b.name,
                key: b.key,
                profile,
                tokens,
                semantic,
                bytes_per_token: b.bytes_per_token,
                max_debt: b.max_debt,
                on_contention: b.on_contention,
                settle_on: b.settle_on,
                unreadable: b.unreadable,
                max_keys: b.max_keys,
            }
        }
    }
}
