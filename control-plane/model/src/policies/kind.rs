//! The interface of a kind of policies to the resolution.

use headgate_contract::{BucketRule, TagRule, Target};

use super::awards::Awards;
use super::resolved::ResolvedPolicy;
use crate::{Finding, Policy, PolicyKind, Severity};

/// The rules of a namespace.
#[derive(Default)]
pub(crate) struct Rules {
    pub(crate) buckets: Vec<BucketRule>,
    pub(crate) tagging: Vec<TagRule>,
}

/// A kind of policies that becomes rules of the filters.
///
/// A policy gives each of its models some items, such as buckets. For each item name, one policy takes precedence per model and
/// version.
pub(crate) trait RulePolicy: Sized {
    /// The kind.
    const KIND: PolicyKind;
    /// The fix in messages about a lost contest.
    const CONFLICT_FIX: &'static str;

    /// The models to which it applies.
    fn target(&self) -> &Target;

    /// Whether it has `override`, which takes precedence over policies of other namespaces if it is in the root namespace.
    fn overrides(&self) -> bool;

    /// The names of the items that it gives to a model.
    fn items(&self) -> Vec<String>;

    /// An item in messages, with its field: `spec.buckets[0]: bucket "per-tenant"`.
    fn describe(index: usize, name: &str) -> String;

    /// Severity and reason of the finding on a lost contest. `tie`: only age or name decided it.
    fn conflict(tie: bool) -> (Severity, &'static str);

    /// A remark on a policy alone, whatever it targets.
    fn advice(_policy: &Policy<Self>) -> Option<Finding> {
        None
    }

    /// Adds the rules of a namespace. `policies`, `resolved` and `awards` have the same order, oldest policy first.
    fn add_rules(
        namespace: &str,
        policies: &[&Policy<Self>],
        resolved: &[ResolvedPolicy],
        awards: &mut [Awards],
        rules: &mut Rules,
    );
}
