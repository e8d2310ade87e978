//! Policies → rules: which models of its namespace each policy is for, in which order, and which one is refused.
//!
//! Invariant: the rules of a namespace never give one model two buckets of one name, and never name a model the
//! namespace does not declare.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{
    Bucket, BucketRule, ModelId, TagRule, Target, TokenBucketPolicySpec, TrafficTagPolicySpec,
};

use crate::claims::Claims;
use crate::registry::Model;
use crate::{Finding, Objects, Policy, PolicyKey, Registry, Severity, reason};

/// The rules of a namespace.
#[derive(Default)]
pub(crate) struct Rules {
    pub(crate) buckets: Vec<BucketRule>,
    pub(crate) tagging: Vec<TagRule>,
}

type Models = BTreeMap<ModelId, Model>;

/// The rules accepted so far of one namespace.
struct Accepted<R> {
    rules: Vec<R>,
    /// Which of them are for which models: buckets by their name, taggings under one.
    by_name: BTreeMap<String, Claims>,
}

impl<R> Default for Accepted<R> {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            by_name: BTreeMap::new(),
        }
    }
}

impl<R> Accepted<R> {
    fn accept(&mut self, name: &str, models: Option<&[ModelId]>, rule: R) {
        let claims = self.by_name.entry(name.to_owned()).or_default();
        claims.enter(models, self.rules.len());
        self.rules.push(rule);
    }
}

/// The rules of every namespace that has policies.
pub(crate) fn resolve(
    registry: &Registry,
    objects: &Objects,
    findings: &mut Vec<Finding>,
) -> BTreeMap<String, Rules> {
    let mut buckets: BTreeMap<String, Accepted<BucketRule>> = BTreeMap::new();
    for policy in oldest_first(&objects.bucket_policies) {
        let matched = target(
            BUCKET_KIND,
            policy,
            &policy.spec.target,
            registry,
            objects,
            findings,
        );
        let Some(models) = matched else { continue };
        let accepted = buckets.entry(policy.namespace.clone()).or_default();
        if let Some((rule, bucket)) = clash(accepted, models.as_deref(), &policy.spec.buckets) {
            findings.push(duplicate(policy, rule, bucket));
            continue;
        }
        for bucket in &policy.spec.buckets {
            let rule = BucketRule {
                policy: identity(policy),
                models: models.clone(),
                bucket: bucket.clone(),
            };
            accepted.accept(bucket.name.as_str(), models.as_deref(), rule);
        }
    }
    let mut taggings: BTreeMap<String, Accepted<TagRule>> = BTreeMap::new();
    for policy in most_specific_first(&objects.tag_policies) {
        let matched = target(
            TAG_KIND,
            policy,
            &policy.spec.target,
            registry,
            objects,
            findings,
        );
        let Some(models) = matched else { continue };
        let accepted = taggings.entry(policy.namespace.clone()).or_default();
        let declared = registry.namespaces.get(&policy.namespace);
        if let Some(finding) = shadowed(policy, accepted, models.as_deref(), declared) {
            findings.push(finding);
        }
        let rule = TagRule {
            policy: identity(policy),
            models: models.clone(),
            tagging: policy.spec.tagging.clone(),
        };
        accepted.accept(TAGGING, models.as_deref(), rule);
    }
    let mut rules: BTreeMap<String, Rules> = BTreeMap::new();
    for (namespace, accepted) in buckets {
        rules.entry(namespace).or_default().buckets = accepted.rules;
    }
    for (namespace, accepted) in taggings {
        rules.entry(namespace).or_default().tagging = accepted.rules;
    }
    rules
}

/// One tagging per model counts, so that all of them compete under one name.
const TAGGING: &str = "";

const BUCKET_KIND: &str = "TokenBucketPolicy";
const TAG_KIND: &str = "TrafficTagPolicy";

/// Part of a bucket's identity at the filter, so with the namespace: two policies never share a bucket.
fn identity<S>(policy: &Policy<S>) -> String {
    format!("{}/{}", policy.namespace, policy.name)
}

/// By age, then by namespace and name. A new policy so comes last and is the one refused in a clash.
fn oldest_first<S>(policies: &BTreeMap<PolicyKey, Policy<S>>) -> Vec<&Policy<S>> {
    let mut list: Vec<_> = policies.iter().collect();
    list.sort_by_key(|(key, policy)| (policy.created, *key));
    list.into_iter().map(|(_, policy)| policy).collect()
}

/// The filter takes the first tagging that names a model: named models come before selected ones, and those before
/// all; then by age.
fn most_specific_first(
    policies: &BTreeMap<PolicyKey, Policy<TrafficTagPolicySpec>>,
) -> Vec<&Policy<TrafficTagPolicySpec>> {
    let mut list = oldest_first(policies);
    list.sort_by_key(|policy| match policy.spec.target {
        Target::Models(_) | Target::Refs(_) => 0,
        Target::Selector(_) => 1,
        Target::All => 2,
    });
    list
}

/// The models a policy is for, sorted; `Some(None)` is every model. `None`: it matches nothing.
fn target<S>(
    kind: &str,
    policy: &Policy<S>,
    target: &Target,
    registry: &Registry,
    objects: &Objects,
    findings: &mut Vec<Finding>,
) -> Option<Option<Vec<ModelId>>> {
    let empty = Models::new();
    let declared = registry.namespaces.get(&policy.namespace).unwrap_or(&empty);
    let matched: Vec<ModelId> = match target {
        Target::All => declared.keys().cloned().collect(),
        Target::Models(named) => {
            let named: BTreeSet<&ModelId> = named.iter().collect();
            let (known, unknown): (Vec<&ModelId>, Vec<&ModelId>) =
                named.into_iter().partition(|id| declared.contains_key(*id));
            if !known.is_empty() {
                findings.extend(unknown.iter().map(|id| partly(kind, policy, id, declared)));
            }
            known.into_iter().cloned().collect()
        }
        Target::Refs(refs) => declared
            .iter()
            .filter(|(_, model)| {
                model.carriers.iter().any(|key| {
                    refs.iter().any(|r| {
                        r.name.as_str() == key.name
                            && r.kind.as_str().eq_ignore_ascii_case(&key.kind)
                    })
                })
            })
            .map(|(id, _)| id.clone())
            .collect(),
        Target::Selector(selector) => declared
            .iter()
            .filter(|(_, model)| {
                let mut carriers = model
                    .carriers
                    .iter()
                    .filter_map(|key| objects.carriers.get(key));
                carriers.any(|c| {
                    selector
                        .match_labels
                        .iter()
                        .all(|(k, v)| c.labels.get(k) == Some(v))
                })
            })
            .map(|(id, _)| id.clone())
            .collect(),
    };
    if matched.is_empty() {
        findings.push(nothing(kind, policy, target, declared));
        return None;
    }
    Some((*target != Target::All).then_some(matched))
}

/// The accepted rule that already gives one of `models` a bucket of the same name, and that name.
fn clash<'a>(
    accepted: &'a Accepted<BucketRule>,
    models: Option<&[ModelId]>,
    buckets: &'a [Bucket],
) -> Option<(&'a BucketRule, &'a Bucket)> {
    buckets.iter().find_map(|bucket| {
        let same = accepted.by_name.get(bucket.name.as_str())?;
        Some((accepted.rules.get(same.overlapping(models)?)?, bucket))
    })
}

fn duplicate(
    policy: &Policy<TokenBucketPolicySpec>,
    rule: &BucketRule,
    bucket: &Bucket,
) -> Finding {
    let message = format!(
        "bucket {:?} is also given by {BUCKET_KIND} {} to a model of both: {BUCKET_KIND} {} is refused, the other stays. Rename the bucket in one of them, or make their models differ",
        bucket.name.as_str(),
        rule.policy,
        identity(policy)
    );
    about(
        BUCKET_KIND,
        policy,
        Severity::Error,
        reason::DUPLICATE_BUCKET,
        message,
    )
}

/// Says so when another policy comes before this one for some of its models, unless that is because it names them
/// more closely (the way to make an exception from a policy for all).
fn shadowed(
    policy: &Policy<TrafficTagPolicySpec>,
    before: &Accepted<TagRule>,
    models: Option<&[ModelId]>,
    declared: Option<&Models>,
) -> Option<Finding> {
    let all: Vec<ModelId>;
    let mine: &[ModelId] = match models {
        Some(models) => models,
        None => {
            all = declared?.keys().cloned().collect();
            &all
        }
    };
    let claims = before.by_name.get(TAGGING)?;
    let first = |model: &ModelId| before.rules.get(claims.first(model)?);
    let lost: Vec<(&ModelId, &TagRule)> = mine
        .iter()
        .filter_map(|m| first(m).map(|rule| (m, rule)))
        .collect();
    let exception = models.is_none() && lost.len() < mine.len() && !claims.for_all();
    let (model, rule) = lost.first().filter(|_| !exception)?;
    let message = format!(
        "{TAG_KIND} {} comes before it for model {model} ({} of its {} models): one tagging per model counts. Remove the model from one of them",
        rule.policy,
        lost.len(),
        mine.len()
    );
    Some(about(
        TAG_KIND,
        policy,
        Severity::Warning,
        reason::TAGGING_SHADOWED,
        message,
    ))
}

fn partly<S>(kind: &str, policy: &Policy<S>, id: &ModelId, declared: &Models) -> Finding {
    let message = format!(
        "names model {id}, which nothing declares. {}",
        known(declared)
    );
    about(
        kind,
        policy,
        Severity::Warning,
        reason::MATCHES_NOTHING,
        message,
    )
}

fn nothing<S>(kind: &str, policy: &Policy<S>, target: &Target, declared: &Models) -> Finding {
    let what = match target {
        Target::All => "its namespace declares no model".to_owned(),
        Target::Models(named) => {
            let named: Vec<&str> = named.iter().map(ModelId::as_str).collect();
            format!("nothing declares {}", named.join(", "))
        }
        Target::Refs(_) => "none of its targetRefs carries a model".to_owned(),
        Target::Selector(_) => "no carrier of a model has the labels of its selector".to_owned(),
    };
    let message = format!(
        "matches nothing and so limits and tags nothing: {what}. {}",
        known(declared)
    );
    about(
        kind,
        policy,
        Severity::Warning,
        reason::MATCHES_NOTHING,
        message,
    )
}

/// At most 20, or a message would grow with the fleet.
fn known(declared: &Models) -> String {
    let some: Vec<&str> = declared.keys().take(20).map(ModelId::as_str).collect();
    match (some.is_empty(), declared.len() - some.len()) {
        (true, _) => "Label a workload of the namespace, or move the policy".into(),
        (_, 0) => format!("Declared are {}", some.join(", ")),
        (_, more) => format!("Declared are {} and {more} more", some.join(", ")),
    }
}

fn about<S>(
    kind: &str,
    policy: &Policy<S>,
    severity: Severity,
    reason: &'static str,
    message: String,
) -> Finding {
    Finding {
        object: format!("{kind} {}", identity(policy)),
        reason,
        severity,
        origin: policy.origin.clone(),
        message,
    }
}
