//! The interface of a kind of policies to the resolution.

use headgate_contract::{BucketRule, ChargeAt, ModelId, NamespaceConfig, PolicySpec, TagRule};

use super::effective_items::EffectiveItems;
use super::resolved::ResolvedPolicy;
use super::typed::TypedPolicy;
use crate::{Authentication, Finding, Severity};

/// The rules of a namespace.
#[derive(Default)]
pub(crate) struct Rules {
    pub(crate) buckets: Vec<BucketRule>,
    pub(crate) tagging: Vec<TagRule>,
    pub(crate) authentication: Option<Authentication>,
}

/// A kind of policies that becomes rules of the filters, or of the proxies themselves.
///
/// A policy gives each of its models some items, such as buckets. For each item name, one policy takes precedence per model and
/// version.
pub(crate) trait RulePolicy: PolicySpec {
    /// The fix in messages about an overridden item.
    const CONFLICT_FIX: &'static str;

    /// The names of the items that it gives to a model.
    fn items(&self) -> Vec<String>;

    /// The hop that runs its rules; `None`: every hop.
    fn charge_at(&self) -> Option<ChargeAt> {
        None
    }

    /// An item in messages, with its field: `spec.buckets[0]: bucket "per-tenant"`.
    fn describe(index: usize, name: &str) -> String;

    /// Severity and reason of the finding on an overridden item. `tie`: only age or name decided it.
    fn conflict(tie: bool) -> (Severity, &'static str);

    /// If only the listeners that Headgate renders apply it, and not the proxies of a service mesh: what to do there.
    const NOT_IN_MESH: Option<&'static str> = None;

    /// Remarks on a policy alone, whatever it targets. `in_mesh`: there are proxies of a service mesh.
    fn advice(_policy: &TypedPolicy<'_, Self>, _in_mesh: bool) -> Vec<Finding> {
        Vec::new()
    }

    /// Adds the rules of a namespace. `policies`, `resolved` and `effective` have the same order, oldest policy first.
    fn add_rules(
        namespace: &str,
        policies: &[TypedPolicy<'_, Self>],
        resolved: &[ResolvedPolicy],
        effective: &mut [EffectiveItems],
        rules: &mut Rules,
    );

    /// The models of each rule that a policy, as [`PolicyId::in_rules`](crate::PolicyId::in_rules) names it, has in a namespace. `None` is a
    /// rule for all models.
    fn models_of_rules<'c>(
        config: &'c NamespaceConfig,
        authentication: Option<&'c Authentication>,
        policy: &str,
    ) -> Vec<Option<&'c [ModelId]>>;
}
