//! Claims, and the error of a claim that does not hold.

use std::fmt::{self, Display};

/// A claim that does not hold, with the reason.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokenClaim {
    /// The claim, as a sentence.
    pub claim: &'static str,
    /// The measured value instead.
    pub why: String,
}

/// The measured figures, or the claim that does not hold.
pub type ClaimResult<T> = Result<T, BrokenClaim>;

impl Display for BrokenClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "claim does not hold: {}\n  measured: {}",
            self.claim, self.why
        )
    }
}

/// Prints as `Display`, so that the `unwrap` of a test shows a readable message.
impl fmt::Debug for BrokenClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl std::error::Error for BrokenClaim {}

/// A claim, as a sentence. Its methods turn any error of a check into a [`BrokenClaim`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim(pub(crate) &'static str);

impl Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Claim {
    /// A claim.
    #[must_use]
    pub const fn new(sentence: &'static str) -> Self {
        Self(sentence)
    }

    /// The sentence.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        self.0
    }

    /// The error for this claim.
    pub fn broken(self, why: impl Display) -> BrokenClaim {
        BrokenClaim {
            claim: self.0,
            why: why.to_string(),
        }
    }

    /// Fails the claim unless `holds`.
    ///
    /// # Errors
    /// The claim, with `why`.
    pub fn ensure(self, holds: bool, why: impl FnOnce() -> String) -> ClaimResult<()> {
        if holds {
            Ok(())
        } else {
            Err(self.broken(why()))
        }
    }

    /// Fails the claim on an error; `what` names the step.
    ///
    /// # Errors
    /// The claim, with the step and its error.
    pub fn require_ok<T, E: Display>(self, what: &str, result: Result<T, E>) -> ClaimResult<T> {
        result.map_err(|error| self.broken(format!("{what}: {error}")))
    }

    /// Fails the claim on a missing value; `what` names the value.
    ///
    /// # Errors
    /// The claim, with the name of the value.
    pub fn require_some<T>(self, what: &str, found: Option<T>) -> ClaimResult<T> {
        found.ok_or_else(|| self.broken(format!("{what} is missing")))
    }
}
