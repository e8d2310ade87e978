//! Other capacities for some keys of a bucket.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::window;
use super::{Attribute, Decimal, Profile, Tokens};

/// Most overrides of a bucket.
pub(super) const MAX_OVERRIDES: usize = 10_000;
/// Most characters of a value that an override matches.
const MAX_VALUE: usize = 256;
/// Most characters of a reason.
const MAX_REASON: usize = 256;
/// Most combinations of key parts that the overrides of a bucket match. A request is looked up once for each.
const MAX_COMBINATIONS: usize = 8;
/// Most different fill times among the overrides of a bucket, without the bucket's own. Each fill time needs a table of its own.
const MAX_WINDOWS: usize = 64;

/// Another capacity for the keys that it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Values of parts of the key. Not empty.
    pub matches: BTreeMap<Attribute, String>,
    /// The capacity.
    pub capacity: OverrideCapacity,
}

/// The capacity of an override.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverrideCapacity {
    /// In a bucket that counts tokens.
    Tokens {
        /// Tokens in a full bucket. Above 0.
        capacity: Decimal,
        /// Tokens refilled per second. `None`: in proportion to the capacity, so the override fills in the same time as the bucket.
        refill_per_second: Option<Decimal>,
    },
    /// In a semantic bucket: the capacity and the refill, as a multiple of those of the bucket. Above 0.
    Scale(Decimal),
    /// No request passes.
    Suspended {
        /// The reason that the client reads.
        reason: Option<String>,
    },
}

/// Another capacity for the keys that it matches. `capacity` belongs to `profile: tokens`, `scale` to `profile: semantic`.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Override"))]
#[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = crate::rules::of(&[
    (
        "has(self.capacity) != has(self.scale)",
        "give `capacity` in `profile: tokens`, or `scale` in `profile: semantic`",
    ),
    (
        "!has(self.refillPerSecond) || (has(self.capacity) && self.capacity > 0.0)",
        "`refillPerSecond` needs a `capacity` above 0",
    ),
    (
        "!has(self.refillPerSecond) || !has(self.capacity) || self.capacity == 0.0 || (int(self.capacity * 1000000.0 + 0.5) * 1000 >= int(self.refillPerSecond * 1000000.0 + 0.5) && (int(self.capacity * 1000000.0 + 0.5) - 1) / 31622400 < int(self.refillPerSecond * 1000000.0 + 0.5))",
        "`capacity / refillPerSecond` is the time an empty bucket takes to fill: keep it between 1 ms and 366 days",
    ),
    (
        "!has(self.reason) || (has(self.capacity) && self.capacity == 0.0) || (has(self.scale) && self.scale == 0.0)",
        "`reason` is for suspended keys: remove it, or set `capacity` or `scale` to 0",
    ),
]))))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Raw {
    /// Values of parts of the bucket's `key`, such as `tenant: acme`, as clients send them. The parts that are not named have any value.
    /// An empty value matches requests without one. 1–8 parts.
    #[cfg_attr(feature = "schema", schemars(schema_with = "match_schema"))]
    r#match: BTreeMap<Attribute, String>,
    /// Tokens in a full bucket. 0: suspended, every request is refused with 403.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capacity: Option<Decimal>,
    /// Tokens refilled per second. Default: in proportion to `capacity`, so that an empty bucket takes as long to fill as others of the
    /// bucket. Keys with another time start with a full bucket when they get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("minimum" = 0.000_001, "x-kubernetes-validations" = crate::rules::positive())))]
    refill_per_second: Option<Decimal>,
    /// The capacity and the refill as a multiple of those of the bucket, up to 1000. 0: suspended, every request is refused with 403.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("maximum" = 1000)))]
    scale: Option<Decimal>,
    /// Why requests are suspended, for the client. At most 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_REASON)))]
    reason: Option<String>,
}

/// The names of the parts are not in the schema: as a rule for each of so many maps, they would cost the API server more than it allows.
#[cfg(feature = "schema")]
fn match_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": super::MAX_PARTS,
        "additionalProperties": { "type": "string", "maxLength": MAX_VALUE },
    })
}

/// Checks the overrides of a bucket with this key and profile.
pub(super) fn check(
    overrides: Vec<Raw>,
    key: &[Attribute],
    profile: &Profile,
) -> Result<Vec<Override>, String> {
    if overrides.len() > MAX_OVERRIDES {
        return Err(format!(
            "`overrides` has more than {MAX_OVERRIDES} entries: remove some"
        ));
    }
    let mut checked = Vec::with_capacity(overrides.len());
    for (i, raw) in overrides.into_iter().enumerate() {
        let entry = raw.check(key, profile);
        checked
            .push(entry.map_err(|(field, problem)| format!("`overrides[{i}].{field}`{problem}"))?);
    }
    each_once(&checked)?;
    let combinations: BTreeSet<Vec<&Attribute>> =
        checked.iter().map(|o| o.matches.keys().collect()).collect();
    if combinations.len() > MAX_COMBINATIONS {
        return Err(format!(
            "`overrides` match {} combinations of key parts: use at most {MAX_COMBINATIONS}",
            combinations.len()
        ));
    }
    if let Profile::Tokens(bucket) = profile {
        let windows = checked.iter().filter_map(|o| o.capacity.own_window(bucket));
        let windows: BTreeSet<(u64, u64)> = windows.collect();
        if windows.len() > MAX_WINDOWS {
            return Err(format!(
                "`overrides` have {} different times to fill a bucket (`capacity / refillPerSecond`): use at most {MAX_WINDOWS}, or leave `refillPerSecond` out",
                windows.len()
            ));
        }
    }
    Ok(checked)
}

/// No two overrides match the same values.
fn each_once(overrides: &[Override]) -> Result<(), String> {
    let mut known = BTreeMap::new();
    for (i, o) in overrides.iter().enumerate() {
        if let Some(first) = known.insert(&o.matches, i) {
            return Err(format!(
                "`overrides[{i}].match` is the same as in `overrides[{first}]`: remove one"
            ));
        }
    }
    Ok(())
}

impl Raw {
    /// The part of an error after the name of its field.
    fn check(self, key: &[Attribute], profile: &Profile) -> Result<Override, (String, String)> {
        let error = |field: &str, problem: &str| Err((field.to_owned(), problem.to_owned()));
        if self.r#match.is_empty() {
            return error("match", " is empty: name a part of `key`");
        }
        for (part, value) in &self.r#match {
            let problem = if !key.contains(part) {
                ": `key` of the bucket does not have this part: add it there, or remove it here"
            } else if value.chars().count() > MAX_VALUE {
                " has more than 256 characters: shorten it"
            } else {
                continue;
            };
            let name = String::from(part.clone());
            return error(&format!("match.{name}"), problem);
        }
        let capacity = match (profile, self.capacity, self.scale) {
            (Profile::Tokens(bucket), Some(capacity), None) => {
                OverrideCapacity::tokens(capacity, self.refill_per_second, bucket)?
            }
            (Profile::Semantic(_), None, Some(scale)) => {
                if self.refill_per_second.is_some() {
                    return error("refillPerSecond", " needs a `capacity` above 0");
                }
                if scale > Decimal::whole(1000) {
                    return error("scale", &format!(" is {scale}: write 0 to 1000"));
                }
                OverrideCapacity::Scale(scale)
            }
            (Profile::Tokens(_), ..) => {
                return error(
                    "capacity",
                    " is needed in `profile: tokens`, which takes no `scale`",
                );
            }
            (Profile::Semantic(_), ..) => {
                return error(
                    "scale",
                    " is needed in `profile: semantic`, which takes no `capacity`",
                );
            }
        };
        let suspended = self.capacity.or(self.scale) == Some(Decimal::default());
        if !suspended && self.reason.is_some() {
            return error(
                "reason",
                " is for suspended keys: remove it, or set `capacity` or `scale` to 0",
            );
        }
        if self
            .reason
            .as_ref()
            .is_some_and(|r| r.chars().count() > MAX_REASON)
        {
            return Err((
                "reason".into(),
                format!(" has more than {MAX_REASON} characters: shorten it"),
            ));
        }
        Ok(Override {
            matches: self.r#match,
            capacity: match suspended {
                true => OverrideCapacity::Suspended {
                    reason: self.reason,
                },
                false => capacity,
            },
        })
    }

    /// The override of a bucket with this profile, as written.
    pub(super) fn of(o: Override, profile: &Profile) -> Self {
        let written = Self {
            r#match: o.matches,
            capacity: None,
            refill_per_second: None,
            scale: None,
            reason: None,
        };
        match (o.capacity, profile) {
            (
                OverrideCapacity::Tokens {
                    capacity,
                    refill_per_second,
                },
                _,
            ) => Self {
                capacity: Some(capacity),
                refill_per_second,
                ..written
            },
            (OverrideCapacity::Scale(scale), _) => Self {
                scale: Some(scale),
                ..written
            },
            (OverrideCapacity::Suspended { reason }, Profile::Tokens(_)) => Self {
                capacity: Some(Decimal::default()),
                reason,
                ..written
            },
            (OverrideCapacity::Suspended { reason }, Profile::Semantic(_)) => Self {
                scale: Some(Decimal::default()),
                reason,
                ..written
            },
        }
    }
}

impl OverrideCapacity {
    fn tokens(
        capacity: Decimal,
        refill_per_second: Option<Decimal>,
        bucket: &Tokens,
    ) -> Result<Self, (String, String)> {
        let refill = refill_per_second.unwrap_or(bucket.refill_per_second);
        if refill_per_second.is_some() && (capacity.millionths() == 0 || refill.millionths() == 0) {
            let problem = " needs a `capacity` above 0, and must be greater than 0";
            return Err(("refillPerSecond".into(), problem.into()));
        }
        if refill_per_second.is_some() {
            window::check(capacity, refill).map_err(|problem| {
                let field = "capacity / refillPerSecond".to_owned();
                (field, format!(" {problem}"))
            })?;
        }
        Ok(Self::Tokens {
            capacity,
            refill_per_second,
        })
    }

    /// The fill time `capacity / refill_per_second` as a fraction in lowest terms; `None` if it equals the bucket's.
    fn own_window(&self, bucket: &Tokens) -> Option<(u64, u64)> {
        let Self::Tokens {
            capacity,
            refill_per_second: Some(refill),
        } = self
        else {
            return None;
        };
        let own = lowest(capacity.millionths(), refill.millionths());
        let usual = lowest(
            bucket.capacity.millionths(),
            bucket.refill_per_second.millionths(),
        );
        (own != usual).then_some(own)
    }
}

/// A fraction in lowest terms.
fn lowest(numerator: u64, denominator: u64) -> (u64, u64) {
    let (mut a, mut b) = (numerator, denominator);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    (numerator / a.max(1), denominator / a.max(1))
}
