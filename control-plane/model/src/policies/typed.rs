//! A policy with the type of its spec.

use headgate_contract::PolicySpec;

use crate::{Finding, Policy, Severity};

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

    /// A finding on the policy.
    pub(super) fn finding(
        &self,
        severity: Severity,
        reason: &'static str,
        message: String,
    ) -> Finding {
        Finding {
            object: self.policy.id().into(),
            reason,
            severity,
            origin: self.policy.origin.clone(),
            message,
        }
    }
}
