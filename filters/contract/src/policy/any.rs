//! The spec of a policy of any kind.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::{PolicyKind, PolicySpec, Target};

/// The spec of a policy of any kind. A clone shares it.
#[derive(Clone)]
pub struct AnyPolicySpec(Arc<dyn Erased>);

impl AnyPolicySpec {
    /// This spec.
    #[must_use]
    pub fn new<S: PolicySpec>(spec: S) -> Self {
        Self(Arc::new(spec))
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> PolicyKind {
        self.0.kind()
    }

    /// See [`PolicySpec::target`].
    #[must_use]
    pub fn target(&self) -> &Target {
        self.0.target()
    }

    /// See [`PolicySpec::overrides`].
    #[must_use]
    pub fn overrides(&self) -> bool {
        self.0.overrides()
    }

    /// The spec as a type; `None` if it is of another kind.
    #[must_use]
    pub fn get<S: PolicySpec>(&self) -> Option<&S> {
        self.0.as_any().downcast_ref()
    }
}

impl PartialEq for AnyPolicySpec {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.equals(other.0.as_any())
    }
}

impl Eq for AnyPolicySpec {}

impl fmt::Debug for AnyPolicySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// [`PolicySpec`] without its associated items.
trait Erased: fmt::Debug + Send + Sync {
    fn kind(&self) -> PolicyKind;
    fn target(&self) -> &Target;
    fn overrides(&self) -> bool;
    fn as_any(&self) -> &dyn Any;
    fn equals(&self, other: &dyn Any) -> bool;
}

impl<S: PolicySpec> Erased for S {
    fn kind(&self) -> PolicyKind {
        S::KIND
    }

    fn target(&self) -> &Target {
        PolicySpec::target(self)
    }

    fn overrides(&self) -> bool {
        PolicySpec::overrides(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref() == Some(self)
    }
}
