//! Durations as Kubernetes writes them: `60s`, `1m30s`, `24h` (GEP-2257, the Gateway API's duration format).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A duration of whole milliseconds, below 100 000 hours.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Duration(u64);

/// Units with their milliseconds, the longest first.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Duration {
    /// A duration of whole seconds.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    /// The duration in milliseconds.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// The duration in whole seconds, rounded down.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1_000
    }
}

impl TryFrom<String> for Duration {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        parse(&text).map(Self).ok_or_else(|| {
            format!(
                "{text:?} is not a duration: write numbers with units h, m, s or ms, such as \"60s\" or \"1h30m\""
            )
        })
    }
}

/// Milliseconds of up to four numbers, each of up to five digits and a unit.
fn parse(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut millis = 0;
    for part in 0..5 {
        if rest.is_empty() {
            return (part > 0).then_some(millis);
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, tail) = tail.split_at(letters);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        if !(1..=5).contains(&digits) {
            return None;
        }
        millis += number.parse::<u64>().ok()? * factor;
        rest = tail;
    }
    None
}

impl From<Duration> for String {
    fn from(duration: Duration) -> Self {
        duration.to_string()
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, millis) in UNITS {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Duration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "maxLength": 28,
            "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Duration;

    #[test]
    fn durations_are_read_and_written_as_kubernetes_does() {
        for (text, millis, written) in [
            ("0s", 0, "0s"),
            ("60s", 60_000, "1m"),
            ("1m30s", 90_000, "1m30s"),
            ("500ms", 500, "500ms"),
            ("24h", 86_400_000, "24h"),
        ] {
            let read = Duration::try_from(text.to_owned()).unwrap();
            assert_eq!((read.millis(), read.to_string()), (millis, written.into()));
        }
        for bad in [
            "",
            "60",
            "s",
            "1d",
            "-1s",
            "1.5s",
            "100000s",
            "1s1s1s1s1s",
            "1S",
        ] {
            let error = Duration::try_from(bad.to_owned()).unwrap_err();
            assert!(error.contains("60s"), "{error}");
        }
    }
}
