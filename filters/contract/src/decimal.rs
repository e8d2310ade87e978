//! Exact decimals: `0.3` in a configuration is 300 000 millionths, on every machine.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A non-negative decimal with at most six digits after the decimal point, kept as integer millionths.
///
/// Range: 0 to 9 000 000 000, under 2^53 millionths, so that every whole number survives a JSON reader that goes
/// through `f64`, as Envoy's and Kubernetes' do; six digits after the decimal point survive it below 4 000 000 000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Decimal(u64);

impl Decimal {
    /// One, in millionths.
    pub const UNIT: u64 = 1_000_000;
    /// The greatest value, in millionths.
    pub const MAX_MILLIONTHS: u64 = 9_000_000_000 * Self::UNIT;

    /// `n` whole units. `n` above the range saturates.
    #[must_use]
    pub const fn whole(n: u64) -> Self {
        Self::from_millionths(n.saturating_mul(Self::UNIT))
    }

    /// `n` millionths; above the range it saturates.
    #[must_use]
    pub const fn from_millionths(n: u64) -> Self {
        Self(if n > Self::MAX_MILLIONTHS {
            Self::MAX_MILLIONTHS
        } else {
            n
        })
    }

    /// The value in millionths.
    #[must_use]
    pub const fn millionths(self) -> u64 {
        self.0
    }

    /// Nearest double; exact to six digits.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    fn from_f64(x: f64) -> Result<Self, &'static str> {
        if !(x.is_finite() && x >= 0.0) {
            return Err("must be a number of at least 0");
        }
        if x > 9e9 {
            return Err("must be at most 9000000000");
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let millionths = Self((x * 1e6 + 0.5) as u64);
        // A seventh digit would be rounded away silently. A value with six digits is the double nearest to them.
        #[allow(clippy::float_cmp)]
        if millionths.as_f64() != x {
            return Err("must have at most six digits after the decimal point: round it");
        }
        Ok(millionths)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / Self::UNIT, self.0 % Self::UNIT);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{rest:06}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(Self::UNIT) {
            s.serialize_u64(self.0 / Self::UNIT)
        } else {
            s.serialize_f64(self.as_f64())
        }
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Decimal;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a number of at least 0 with at most six digits after the decimal point",
                )
            }
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Decimal, E> {
                n.checked_mul(Decimal::UNIT)
                    .filter(|m| *m <= Decimal::MAX_MILLIONTHS)
                    .map(Decimal)
                    .ok_or_else(|| E::custom("must be at most 9000000000"))
            }
            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Decimal, E> {
                u64::try_from(n)
                    .map_err(|_| E::custom("must be a number of at least 0"))
                    .and_then(|n| self.visit_u64(n))
            }
            fn visit_f64<E: de::Error>(self, x: f64) -> Result<Decimal, E> {
                Decimal::from_f64(x).map_err(E::custom)
            }
        }
        d.deserialize_any(Number)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Decimal {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Decimal".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "number",
            "minimum": 0,
            "maximum": 9_000_000_000_u64,
            "x-kubernetes-validations": crate::rules::of(&[crate::rules::SIX_DIGITS]),
        })
    }
}
