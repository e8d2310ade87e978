//! The name of a kind of policies.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The `kind` of a policy, as objects spell it: `TokenBucketPolicy`.
///
/// The set is open: another replica may have a release with more kinds. [`PolicyDefinition`](crate::PolicyDefinition) lists the kinds of
/// this release.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PolicyKind(Cow<'static, str>);

impl PolicyKind {
    /// A kind of this release.
    #[must_use]
    pub const fn new(kind: &'static str) -> Self {
        Self(Cow::Borrowed(kind))
    }

    /// The kind as objects spell it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
