//! Regular expressions.

use regex_lite::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// Longest pattern, in bytes.
pub(super) const MAX_PATTERN: usize = 256;
/// Longest value that a pattern is matched with, in bytes. A longer value does not match: the time of a match grows with its length.
pub const MAX_MATCHED: usize = 1024;
/// Most bytes of a compiled pattern: a bound for repetitions in repetitions, such as `((a{99}){99}){99}`.
const MAX_COMPILED: usize = 1 << 16;

/// A regular expression of the crate `regex-lite`: without look-around and back references. It is not anchored: `^` and `$` are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

impl Pattern {
    /// The compiled pattern; `None` never for a pattern that was parsed.
    #[must_use]
    pub fn compiled(&self) -> Option<Regex> {
        compile(&self.0).ok()
    }

    /// The numbers and the names of its groups.
    pub(crate) fn groups(&self) -> Vec<String> {
        let Some(regex) = self.compiled() else {
            return Vec::new();
        };
        let names = regex.capture_names().flatten().map(str::to_owned);
        let numbers = (0..regex.captures_len()).map(|n| n.to_string());
        names.chain(numbers).collect()
    }
}

#[inline(never)]
fn compile(text: &str) -> Result<Regex, regex_lite::Error> {
    RegexBuilder::new(text).size_limit(MAX_COMPILED).build()
}

impl TryFrom<String> for Pattern {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if !(1..=MAX_PATTERN).contains(&text.len()) {
            return Err(format!(
                "the pattern has {} bytes: write 1 to {MAX_PATTERN}",
                text.len()
            ));
        }
        match compile(&text) {
            Ok(_) => Ok(Self(text)),
            Err(error) => Err(format!("{text:?} is not a regular expression: {error}")),
        }
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}
