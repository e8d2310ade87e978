//! The bucket as written: `profile` selects one of the sections `tokens` and `semantic`.

use serde::{Deserialize, Serialize};

use crate::MAX_TOKENS;

use super::window;
use super::{
    Abandoned, Attribute, BucketName, Decimal, Duration, Mode, OnContention, OnFailure, Semantic,
    SettleOn, Tokens, Unreadable, UsageReport,
};

/// A semantic token bucket.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Bucket"))]
#[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = crate::rules::of(&[
    ("self.profile != 'tokens' || has(self.tokens)", "`profile: tokens` needs the section `tokens` with `capacity` and `refillPerSecond`"),
    ("self.profile != 'tokens' || !has(self.semantic)", "`profile: tokens` takes no section `semantic`: remove it"),
    ("self.profile != 'semantic' || !has(self.tokens)", "`profile: semantic` takes no section `tokens`: remove it"),
    ("!has(self.overrides) || self.overrides.all(o, has(o.capacity) == (self.profile == 'tokens'))", "`overrides` have `capacity` in `profile: tokens`, and `scale` in `profile: semantic`"),
]))))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Bucket {
    /// Bucket name, unique in the policy. If several policies define this bucket for one model, the policy precedence
    /// decides; a tie is an error (`DuplicateBucket`), and the oldest applies.
    name: BucketName,
    /// Attributes that partition the bucket, such as `tenant`, `model`, `header:NAME` or `jwtClaim:NAME`; empty means one bucket for everybody.
    #[cfg_attr(feature = "schema", schemars(length(max = super::MAX_PARTS), extend("x-kubernetes-list-type" = "set")))]
    key: Vec<Attribute>,
    /// `enforce`: the bucket refuses requests beyond its capacity. `shadow`: it reserves and settles as ever, but what it would
    /// have refused passes, is not charged to it, and is counted as `would_limit`; its balance is not shown to clients.
    /// Default `enforce`.
    #[serde(default, skip_serializing_if = "Mode::is_enforce")]
    mode: Mode,
    /// `tokens` counts tokens; `semantic` prices a request as a share of its own capacity, and so limits requests.
    profile: ProfileName,
    /// Required with `profile: tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens: Option<Tokens>,
    /// Optional with `profile: semantic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    semantic: Option<Semantic>,
    /// Other capacities for some keys, such as tenants. The entry that names the most parts of a key applies to it; of several, the first
    /// one. No two entries match the same values. A capacity of 0 suspends: requests are refused with 403. At most 10 000 entries, with
    /// at most 8 combinations of key parts and 64 different times to fill a bucket.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = super::overrides::MAX_OVERRIDES)))]
    overrides: Vec<super::overrides::Raw>,
    /// UTF-8 bytes per token: of the prompt before usage is known (messages, tools, tool calls and schemas, as they are
    /// sent; an image, audio or file counts 765 tokens), and of a response that reports no usage. 0.25–64, default 4.
    #[serde(default = "four")]
    #[cfg_attr(feature = "schema", schemars(extend("minimum" = 0.25, "maximum" = 64, "x-kubernetes-validations" = crate::rules::of(&[crate::rules::SIX_DIGITS, ("self >= 0.25", "write 0.25 to 64")]))))]
    bytes_per_token: Decimal,
    /// How far settlement may drive the bucket below empty, in windows. Usage beyond that is not charged;
    /// `headgate_debt_clipped_milli_total` counts it. 0–100. Default: 10 windows, but at most the longer of one window and 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("maximum" = 100)))]
    max_debt: Option<Decimal>,
    /// The decision when the shared cell stays contended. Default `refuse`.
    #[serde(default)]
    on_contention: OnContention,
    /// The basis of the final charge. Default `usage`.
    #[serde(default)]
    settle_on: SettleOn,
    /// The charge for a response that cannot be read (compressed, unknown dialect). Default `bytes`.
    #[serde(default)]
    unreadable: Unreadable,
    /// Whether the upstream is asked to report the usage of a stream. `ask`: a streamed OpenAI request without
    /// `stream_options.include_usage` gets it, and the extra event is removed from the response again; if several buckets
    /// apply, all of them must have `ask`. `observe`: requests and responses are not changed, and a stream without usage is
    /// charged by its text. Default `ask`.
    #[serde(default)]
    usage: UsageReport,
    /// The charge for a request that failed, by the kind of failure. Usage or generated text in an error response is always
    /// charged.
    #[serde(default)]
    on_failure: OnFailure,
    /// The charge for a request whose client left after it was forwarded and before anything was generated. Default `elapsed`.
    #[serde(default)]
    abandoned: Abandoned,
    /// The longest `Retry-After` that a client is expected to wait for, such as `60s`. A refusal with a longer one carries
    /// `x-should-retry: false`, which OpenAI's SDKs obey. 0s–24h, default 60s.
    #[serde(default = "client_wait")]
    #[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = crate::rules::of(&[crate::rules::UP_TO_A_DAY]))))]
    max_client_wait: Duration,
    /// Number of active keys up to which no key evicts another. Memory: 16 bytes per used key, plus about 250 bytes per group of 16.
    /// 64–16 777 216, default 1 048 576.
    #[serde(default = "keys")]
    #[cfg_attr(feature = "schema", schemars(extend("minimum" = 64, "maximum" = 16_777_216)))]
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
    1 << 20
}
const fn client_wait() -> Duration {
    Duration::from_seconds(60)
}

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
        return Err("`tokens.capacity` and `tokens.refillPerSecond` must be greater than 0".into());
    }
    for (class, weight) in t.weights.all() {
        let field = || format!("tokens.weights.{class}");
        weight.map_or(Ok(()), |weight| {
            within(&field(), weight, 0, 1000 * Decimal::UNIT)
        })?;
    }
    if t.weights.input.millionths() == 0 && t.weights.output.millionths() == 0 {
        return Err(
            "`tokens.weights.input` and `tokens.weights.output` are both 0, so most requests would be free: set one of them above 0"
                .into(),
        );
    }
    within(
        "tokens.temperatureSensitivity",
        t.temperature_sensitivity,
        0,
        100 * TENTH,
    )?;
    window::check(t.capacity, t.refill_per_second)
        .map_err(|problem| format!("`tokens.capacity / tokens.refillPerSecond` {problem}"))?;
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
    if !(1..=MAX_TOKENS).contains(&s.reference_max_tokens) {
        return Err(format!(
            "`semantic.referenceMaxTokens` is {}: write 1 to {MAX_TOKENS}",
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
        if let Some(debt) = raw.max_debt {
            within("maxDebt", debt, 0, 100 * Decimal::UNIT)?;
        }
        if raw.max_client_wait > Duration::from_seconds(86_400) {
            return Err(format!(
                "`maxClientWait` is {}: write 0s to 24h",
                raw.max_client_wait
            ));
        }
        if !(64..=16_777_216).contains(&raw.max_keys) {
            return Err(format!(
                "`maxKeys` is {}: write 64 to 16777216",
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
        let overrides = super::overrides::check(raw.overrides, &raw.key, &profile)?;
        Ok(Self {
            name: raw.name,
            key: raw.key,
            overrides,
            mode: raw.mode,
            profile,
            bytes_per_token: raw.bytes_per_token,
            max_debt: raw.max_debt,
            on_contention: raw.on_contention,
            settle_on: raw.settle_on,
            unreadable: raw.unreadable,
            usage: raw.usage,
            on_failure: raw.on_failure,
            abandoned: raw.abandoned,
            max_client_wait: raw.max_client_wait,
            max_keys: raw.max_keys,
        })
    }
}

impl From<super::Bucket> for Bucket {
    fn from(b: super::Bucket) -> Self {
        let written = |o| super::overrides::Raw::of(o, &b.profile);
        let overrides = b.overrides.into_iter().map(written).collect();
        let (profile, tokens, semantic) = match b.profile {
            super::Profile::Tokens(t) => (ProfileName::Tokens, Some(t), None),
            super::Profile::Semantic(s) => (ProfileName::Semantic, None, Some(s)),
        };
        Self {
            name: b.name,
            key: b.key,
            mode: b.mode,
            profile,
            tokens,
            semantic,
            overrides,
            bytes_per_token: b.bytes_per_token,
            max_debt: b.max_debt,
            on_contention: b.on_contention,
            settle_on: b.settle_on,
            unreadable: b.unreadable,
            usage: b.usage,
            on_failure: b.on_failure,
            abandoned: b.abandoned,
            max_client_wait: b.max_client_wait,
            max_keys: b.max_keys,
        }
    }
}
