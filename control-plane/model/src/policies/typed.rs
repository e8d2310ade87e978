//! A policy with the type of its spec.

use headgate_contract::PolicySpec;

use crate::Policy;

/// A policy with the type of its spec.
pub(crate) struct TypedPolicy<'a, S> {
    pub(crate) policy: &'a Policy,
    pub(crate) spec: &'a S,
}

impl<'a, S: PolicySpec> TypedPolicy<'a, S> {
    /// `None` if the policy is of another kind.
    pub(super) fn of(policy: &'a Policy) -> Option<Self> {
        let spec = policy.spec.get()?;
        Some(Self { policy, spec })
    }
}
