//! Registry, policies and scales → plan: what every filter and every cluster of a namespace is told.
//!
//! Invariant: byte for byte a function of its arguments; shares of a model sum to exactly [`1_000_000`](PlannedVariant::share)
//! if anything of it is ready; what it emits, the filters' own parser accepts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use headgate_contract::{
    CarrierShare, DarkCarrier, Decimal, ModelId, ModelPlan, NamespaceConfig, Version, VersionShare,
};

use crate::levels::{self, Levels, Standing};
use crate::registry::{Member, Model, count};
use crate::shares::{Candidate, percents, version_shares};
use crate::{
    CarrierKey, Finding, LabelKeys, Objects, PolicyId, PolicyOutcome, Registry, Scales, Severity,
    Subject, policies, reason,
};

/// Everything decided, for all namespaces that declare a model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Per namespace.
    pub namespaces: BTreeMap<String, NamespacePlan>,
    /// Everything an operator should know, sorted, each once.
    pub findings: Vec<Finding>,
    /// What became of every policy.
    pub policies: BTreeMap<PolicyId, PolicyOutcome>,
}

impl Plan {
    /// The carrier that stands for a model as a whole: the oldest that owns a version of it.
    #[must_use]
    pub fn oldest_carrier(&self, namespace: &str, id: &ModelId) -> Option<&CarrierKey> {
        self.namespaces
            .get(namespace)?
            .models
            .get(id)?
            .oldest_carrier()
    }
}

impl PlannedModel {
    /// The carrier that stands for the model as a whole: the oldest that owns a version.
    #[must_use]
    pub fn oldest_carrier(&self) -> Option<&CarrierKey> {
        self.carriers.first().map(|carrier| &carrier.key)
    }
}

/// What a namespace serves and how it is limited.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamespacePlan {
    /// What its filters are told.
    pub config: NamespaceConfig,
    /// What its clusters are made of.
    pub models: BTreeMap<ModelId, PlannedModel>,
}

/// A model as decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlannedModel {
    /// What a filter picks from; the same as in the namespace's configuration.
    pub plan: ModelPlan,
    /// Every version that is declared, served or not.
    pub variants: BTreeMap<Version, PlannedVariant>,
    /// Every carrier that owns a version, oldest first.
    pub carriers: Vec<PlannedCarrier>,
}

/// A variant as decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlannedVariant {
    /// Parts of 1 000 000 of the model's new sessions. All variants of a model sum to exactly that, unless nothing is ready.
    pub share: u32,
    /// Endpoints that are ready.
    pub endpoints: BTreeSet<SocketAddr>,
    /// Endpoints, ready or not.
    pub total_endpoints: u32,
    /// Carriers that brought endpoints, oldest first; the first one's weight counts.
    pub carriers: Vec<CarrierKey>,
}

/// A carrier as decided: for status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedCarrier {
    /// The carrier.
    pub key: CarrierKey,
    /// Where it stands.
    pub standing: Standing,
    /// Parts of 1 000 000 of the model's new sessions.
    pub share: u32,
    /// Endpoints that are ready.
    pub ready: u32,
    /// Replicas wanted.
    pub desired: u32,
}

/// Decides the plan.
#[must_use]
pub fn plan(registry: &Registry, objects: &Objects, scales: &Scales) -> Plan {
    let mut findings = registry.findings.clone();
    let mut namespaces: BTreeMap<String, NamespacePlan> = BTreeMap::new();
    for (namespace, models) in &registry.namespaces {
        let planned = namespaces.entry(namespace.clone()).or_default();
        for (id, model) in models {
            let mut decided = plan_model(namespace, id, model, &registry.keys, &mut findings);
            decided.plan.scale = scales.0.get(&(namespace.clone(), id.clone())).copied();
            planned
                .config
                .models
                .insert(id.clone(), decided.plan.clone());
            planned.models.insert(id.clone(), decided);
        }
    }
    let (rules, policies) = policies::resolve(registry, objects, &mut findings);
    for (namespace, rules) in rules {
        if let Some(planned) = namespaces.get_mut(&namespace) {
            planned.config.buckets = rules.buckets;
            planned.config.tagging = rules.tagging;
        }
    }
    findings.sort();
    findings.dedup();
    Plan {
        namespaces,
        findings,
        policies,
    }
}

fn plan_model(
    namespace: &str,
    id: &ModelId,
    model: &Model,
    keys: &LabelKeys,
    findings: &mut Vec<Finding>,
) -> PlannedModel {
    let members = &model.members;
    let levels = Levels::of(members);
    findings.extend(levels::findings(id.as_str(), members, &levels, keys));
    let (canaries, base) = serving(members, &levels);
    if canaries.is_empty() && base.is_empty() {
        findings.push(nothing_ready(namespace, id, model));
    }
    let wanted: Vec<u8> = canaries.iter().map(|(_, percent)| *percent).collect();
    let sum: u32 = wanted.iter().map(|w| u32::from(*w)).sum();
    if sum > 100 {
        let largest = canaries.iter().max_by_key(|(_, percent)| *percent);
        let largest = largest.map(|(i, _)| &members[*i].key);
        findings.push(scaled(namespace, id, sum, largest, keys));
    }
    let percents = percents(&wanted, !base.is_empty());
    let shares = shares_of(members, &canaries, &base, &percents);
    PlannedModel {
        plan: ModelPlan {
            names: model.names.clone(),
            scale: None,
            default_max_tokens: model.default_max_tokens,
            canaries: canaries
                .iter()
                .zip(&percents)
                .map(|((i, _), percent)| share(&members[*i], Decimal::from_millionths(*percent)))
                .collect(),
            base: base
                .iter()
                .map(|i| {
                    share(
                        &members[*i],
                        Decimal::whole(u64::from(replicas(&members[*i]))),
                    )
                })
                .collect(),
            dark: (0..members.len())
                .filter(|i| !shares.contains_key(i))
                .map(|i| dark(&members[i]))
                .collect(),
        },
        variants: variants(members, &shares),
        carriers: carriers(members, levels, &shares),
    }
}

/// The members that take new sessions, by index: canaries with the percent wanted, and the base.
fn serving(members: &[Member], levels: &Levels) -> (Vec<(usize, u8)>, Vec<usize>) {
    let (mut canaries, mut base) = (Vec::new(), Vec::new());
    for (i, standing) in levels.standings.iter().enumerate() {
        match standing {
            _ if !members[i].ready() || !levels.serves(i) => {}
            Standing::Canary(percent) => canaries.push((i, *percent)),
            _ => base.push(i),
        }
    }
    (canaries, base)
}

/// Desired replicas as the base is split by them: a carrier that is ready counts, whatever it wants to become.
fn replicas(member: &Member) -> u32 {
    member.desired.max(1)
}

/// Shares of the versions of every serving member, by its index.
fn shares_of(
    members: &[Member],
    canaries: &[(usize, u8)],
    base: &[usize],
    percents: &[u64],
) -> BTreeMap<usize, Vec<u32>> {
    let canaries = canaries
        .iter()
        .zip(percents)
        .map(|((i, _), p)| (*i, Some(*p)));
    let serving: Vec<(usize, Option<u64>)> =
        canaries.chain(base.iter().map(|i| (*i, None))).collect();
    let candidates: Vec<Candidate> = serving
        .iter()
        .map(|(i, canary)| Candidate {
            canary: *canary,
            desired: replicas(&members[*i]),
            ready: members[*i]
                .versions
                .values()
                .map(|e| count(&e.ready))
                .collect(),
        })
        .collect();
    let shares = version_shares(&candidates);
    serving.into_iter().map(|(i, _)| i).zip(shares).collect()
}

fn versions(member: &Member) -> Vec<VersionShare> {
    member
        .versions
        .iter()
        .map(|(version, endpoints)| VersionShare {
            version: version.clone(),
            endpoints: count(&endpoints.ready),
        })
        .collect()
}

fn share(member: &Member, weight: Decimal) -> CarrierShare {
    CarrierShare {
        carrier: member.key.identity(),
        weight,
        versions: versions(member),
    }
}

fn dark(member: &Member) -> DarkCarrier {
    DarkCarrier {
        carrier: member.key.identity(),
        versions: versions(member),
    }
}

fn variants(
    members: &[Member],
    shares: &BTreeMap<usize, Vec<u32>>,
) -> BTreeMap<Version, PlannedVariant> {
    let mut variants = BTreeMap::new();
    for (i, member) in members.iter().enumerate() {
        for (j, (version, endpoints)) in member.versions.iter().enumerate() {
            let variant = PlannedVariant {
                share: shares.get(&i).map_or(0, |own| own[j]),
                endpoints: endpoints.ready.clone(),
                total_endpoints: count(&endpoints.all),
                carriers: endpoints.carriers.clone(),
            };
            variants.insert(version.clone(), variant);
        }
    }
    variants
}

fn carriers(
    members: &[Member],
    levels: Levels,
    shares: &BTreeMap<usize, Vec<u32>>,
) -> Vec<PlannedCarrier> {
    let standings = levels.standings.into_iter().enumerate();
    members
        .iter()
        .zip(standings)
        .map(|(member, (i, standing))| PlannedCarrier {
            key: member.key.clone(),
            standing,
            share: shares.get(&i).map_or(0, |own| own.iter().sum()),
            ready: member.ready_endpoints(),
            desired: member.desired,
        })
        .collect()
}

fn nothing_ready(namespace: &str, id: &ModelId, model: &Model) -> Finding {
    let carriers: Vec<String> = model.carriers.iter().map(CarrierKey::identity).collect();
    let oldest = carriers.first().map(String::as_str).unwrap_or_default();
    Finding {
        object: Subject::Model {
            namespace: namespace.to_owned(),
            id: id.clone(),
        },
        reason: reason::NOTHING_READY,
        severity: Severity::Warning,
        origin: carriers.join(", "),
        message: format!(
            "no endpoint of model {id} is ready: it answers 503 until one is. To see why: kubectl describe {oldest} -n {namespace}"
        ),
    }
}

fn scaled(
    namespace: &str,
    id: &ModelId,
    sum: u32,
    largest: Option<&CarrierKey>,
    keys: &LabelKeys,
) -> Finding {
    let largest = largest.map(CarrierKey::identity).unwrap_or_default();
    Finding {
        object: Subject::Model {
            namespace: namespace.to_owned(),
            id: id.clone(),
        },
        reason: reason::CANARIES_SCALED,
        severity: Severity::Warning,
        origin: String::new(),
        message: format!(
            "the canaries of model {id} sum to {sum} percent: they are scaled to 100 and the base takes nothing. Lower their weights to at most 100 in sum: kubectl label {largest} -n {namespace} {}=10 --overwrite",
            keys.weight
        ),
    }
}
