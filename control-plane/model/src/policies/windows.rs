//! Buckets that fill slowly: what a restart of a proxy does to them.
//!
//! A bucket lives in the memory of each proxy's Envoy. A restart hardly matters to a bucket that fills within minutes. It does to a
//! monthly budget, so the policy gets a finding.

use headgate_contract::{Bucket, Duration, TokenBucketPolicySpec};

use super::outcome::{PolicyId, PolicyKind};
use super::reach::listed;
use crate::{Finding, Policy, Severity, reason};

/// Windows longer than this are reported, seconds.
const LONG: u64 = 3600;

/// The finding about a policy, if any. A function of the policy alone.
pub(super) fn finding(policy: &Policy<TokenBucketPolicySpec>) -> Option<Finding> {
    let buckets = policy.spec.buckets.iter();
    let long: Vec<String> = buckets
        .filter_map(|bucket| Some(format!("{:?} ({})", bucket.name.as_str(), window(bucket)?)))
        .collect();
    if long.is_empty() {
        return None;
    }
    let message = format!(
        "spec.buckets: takes longer than an hour to fill: {}. Each proxy keeps its buckets in Envoy's memory: a restart of \
         Envoy loses them, and every tenant starts with a full bucket on that proxy",
        listed(long.iter().map(String::as_str))
    );
    let object = PolicyId {
        kind: PolicyKind::TokenBucket,
        namespace: policy.namespace.clone(),
        name: policy.name.clone(),
    };
    Some(Finding {
        object: object.into(),
        reason: reason::LONG_WINDOW,
        severity: Severity::Info,
        origin: policy.origin.clone(),
        message,
    })
}

/// The window, if it is a long one.
fn window(bucket: &Bucket) -> Option<Duration> {
    let (numerator, denominator) = bucket.profile.window();
    let longest = denominator.saturating_mul(LONG);
    (numerator > longest).then(|| Duration::from_seconds(numerator.div_ceil(denominator.max(1))))
}
