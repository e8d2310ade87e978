//! `TokenBucketPolicy` → bucket rules.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{
    Bucket, BucketRule, ChargeAt, Duration, ModelId, NamespaceConfig, TokenBucketPolicySpec,
    Version,
};

use super::effective_items::EffectiveItems;
use super::kind::{RulePolicy, Rules};
use super::list::list;
use super::resolved::ResolvedPolicy;
use super::typed::TypedPolicy;
use crate::{Authentication, Finding, Severity, reason};

/// Buckets with a longer window than this get a remark, in seconds.
const LONG_WINDOW: u64 = 3600;

impl RulePolicy for TokenBucketPolicySpec {
    const CONFLICT_FIX: &'static str = "To apply both, rename one";

    fn items(&self) -> Vec<String> {
        let names = self.buckets.iter().map(|b| b.name.as_str().to_owned());
        names.collect()
    }

    fn charge_at(&self) -> Option<ChargeAt> {
        Some(self.at)
    }

    fn describe(index: usize, name: &str) -> String {
        format!("spec.buckets[{index}]: bucket {name:?}")
    }

    fn conflict(tie: bool) -> (Severity, &'static str) {
        let severity = match tie {
            true => Severity::Error,
            false => Severity::Warning,
        };
        (severity, reason::DUPLICATE_BUCKET)
    }

    /// The remark on buckets that fill slowly. A bucket lives in the memory of each proxy's Envoy. A restart hardly matters to a bucket
    /// that fills within minutes, but it does to a monthly budget.
    fn advice(policy: &TypedPolicy<'_, Self>, _in_mesh: bool) -> Vec<Finding> {
        let buckets = policy.spec.buckets.iter();
        let long: Vec<String> = buckets
            .filter_map(|b| Some(format!("{:?} ({})", b.name.as_str(), long_window(b)?)))
            .collect();
        if long.is_empty() {
            return Vec::new();
        }
        let message = format!(
            "spec.buckets: these buckets take longer than an hour to fill: {}. Each proxy keeps its buckets in Envoy's memory: a restart \
             of Envoy loses them, and every tenant starts with a full bucket on that proxy",
            list(long.iter().map(String::as_str))
        );
        vec![policy.finding(Severity::Info, reason::LONG_WINDOW, message)]
    }

    fn add_rules(
        _namespace: &str,
        policies: &[TypedPolicy<'_, Self>],
        _resolved: &[ResolvedPolicy],
        effective: &mut [EffectiveItems],
        rules: &mut Rules,
    ) {
        for (policy, effective) in policies.iter().zip(effective) {
            rules.buckets.extend(bucket_rules(policy, effective));
        }
    }

    fn models_of_rules<'c>(
        config: &'c NamespaceConfig,
        _authentication: Option<&'c Authentication>,
        policy: &str,
    ) -> Vec<Option<&'c [ModelId]>> {
        let rules = config.buckets.iter().filter(|rule| rule.policy == policy);
        rules.map(|rule| rule.models.as_deref()).collect()
    }
}

/// The rules for the effective of a policy.
fn bucket_rules<'a>(
    policy: &TypedPolicy<'a, TokenBucketPolicySpec>,
    effective: &'a EffectiveItems,
) -> impl Iterator<Item = BucketRule> + 'a {
    let name = policy.policy.id().in_rules();
    let at = policy.spec.at;
    let buckets = policy.spec.buckets.iter().zip(&effective.items);
    buckets.flat_map(move |(bucket, models)| {
        let mut by_versions: BTreeMap<Option<&BTreeSet<Version>>, Vec<ModelId>> = BTreeMap::new();
        for (model, versions) in models {
            let models = by_versions.entry(versions.as_ref()).or_default();
            models.push(model.clone());
        }
        let name = name.clone();
        by_versions.into_iter().map(move |(versions, models)| {
            let all =
                effective.all_models && versions.is_none() && models.len() == effective.targeted;
            BucketRule {
                policy: name.clone(),
                at,
                models: (!all).then_some(models),
                versions: versions.map(|some| some.iter().cloned().collect()),
                bucket: bucket.clone(),
            }
        })
    })
}

/// The window of a bucket, if it is a long one.
fn long_window(bucket: &Bucket) -> Option<Duration> {
    let (numerator, denominator) = bucket.profile.window();
    let longest = denominator.saturating_mul(LONG_WINDOW);
    (numerator > longest).then(|| Duration::from_seconds(numerator.div_ceil(denominator.max(1))))
}
