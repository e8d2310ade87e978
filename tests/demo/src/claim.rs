//! A claim that does not hold.

use std::fmt::{self, Display};

/// A claim that does not hold, and why.
#[derive(Clone, PartialEq, Eq)]
pub struct Broken {
    /// The claim, as a sentence.
    pub claim: &'static str,
    /// What was seen instead.
    pub why: String,
}

/// What was measured, or the claim that does not hold.
pub type Claimed<T> = Result<T, Broken>;

impl Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "does not hold: {}\n  seen: {}", self.claim, self.why)
    }
}

/// Reads like `Display`, so that a test's `unwrap` tells the story.
impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl std::error::Error for Broken {}

/// A claim, as a sentence. Under test it turns whatever goes wrong on the way into [`Broken`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim(pub(crate) &'static str);

impl Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Claim {
    /// The claim in words.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        self.0
    }

    /// The claim does not hold.
    pub(crate) fn broken(self, why: impl Display) -> Broken {
        Broken {
            claim: self.0,
            why: why.to_string(),
        }
    }

    /// Unless `holds`, the claim does not.
    pub(crate) fn ensure(self, holds: bool, why: impl FnOnce() -> String) -> Claimed<()> {
        if holds {
            Ok(())
        } else {
            Err(self.broken(why()))
        }
    }

    /// What was seen, or the claim does not hold.
    pub(crate) fn seen<T, E: Display>(self, what: &str, result: Result<T, E>) -> Claimed<T> {
        result.map_err(|error| self.broken(format!("{what}: {error}")))
    }

    /// What was seen, or the claim does not hold.
    pub(crate) fn found<T>(self, what: &str, found: Option<T>) -> Claimed<T> {
        found.ok_or_else(|| self.broken(format!("{what} is missing")))
    }
}
