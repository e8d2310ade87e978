//! Registry, policies and scales → plan: what every filter and every cluster of a namespace is told.
//!
//! Invariant: byte for byte a function of its arguments; shares of a model sum to exactly [`1_000_000`](PlannedVariant::share)
//! if anything of it is ready; what it emits, the filters' own parser accepts.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{
    CarrierShare, DarkCarrier, Decimal, ModelId, ModelPlan, NamespaceConfig, Version, VersionShare,
};

use crate::levels::{self, CarrierState, Levels};
use crate::memory::MemoryUpdate;
use crate::registry::{Member, Model, count};
use crate::shares::{Candidate, percents, version_shares};
use crate::{
    Address, CarrierKey, Finding, LabelKeys, Objects, PolicyId, PolicyOutcome, Registry, Scales,
    Severity, Subject, Upstream, policies, reason,
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
    /// What the plan contributes to its next memory.
    pub memory_update: MemoryUpdate,
}

/// A variant as decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlannedVariant {
    /// Parts of 1 000 000 of the model's new sessions. All variants of a model sum to exactly that, unless nothing is ready.
    pub share: u32,
    /// Endpoints that are ready.
    pub endpoints: BTreeSet<Address>,
    /// Endpoints, ready or not.
    pub total_endpoints: u32,
    /// Carriers that brought endpoints, oldest first; the first one's weight counts.
    pub carriers: Vec<CarrierKey>,
    /// Protocol, TLS and health check of its endpoints.
    pub upstream: Upstream,
}

/// A carrier as decided: for status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedCarrier {
    /// The carrier.
    pub key: CarrierKey,
    /// Where it stands.
    pub state: CarrierState,
    /// The percent that its weight label counts as; `None` without one.
    pub weight: Option<u8>,
    /// Parts of 1 000 000 of the model's new sessions.
    pub share: u32,
    /// Endpoints that are ready.
    pub ready: u32,
    /// Replicas wanted.
    pub desired: u32,
    /// Its weight, in replicas, where carriers share the base: the desired replicas, or the ready ones while too few are ready.
    pub base_replicas: u32,
    /// Whether it is flapping: it becomes ready too often, and takes no new sessions.
    pub flapping: bool,
    /// Whether it is of the stored base.
    pub is_stored_base: bool,
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
    let levels = Levels::of(model);
    findings.extend(levels::findings(id.as_str(), model, &levels, keys));
    let (canaries, base) = (&levels.canaries, &levels.base);
    if canaries.is_empty() && base.is_empty() {
        let lost = members.iter().any(Member::ready);
        let lost = lost.then(|| levels.base_key(model)).flatten();
        findings.push(nothing_serves(namespace, id, model, lost.as_ref()));
    }
    let wanted: Vec<u8> = canaries.iter().map(|(_, percent)| *percent).collect();
    let sum: u32 = wanted.iter().map(|w| u32::from(*w)).sum();
    if sum > 100 {
        let largest = canaries.iter().max_by_key(|(_, percent)| *percent);
        let largest = largest.map(|(i, _)| &members[*i].key);
        findings.push(scaled(namespace, id, sum, largest, keys));
    }
    let percents = percents(&wanted, !base.is_empty());
    let shares = shares_of(model, canaries, base, &percents);
    let memory_update = model.memory_update(&levels);
    PlannedModel {
        plan: ModelPlan {
            names: model.names.clone(),
            scale: None,
            on_base_lost: model.on_base_lost,
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
                        Decimal::whole(u64::from(model.replicas(&members[*i]))),
                    )
                })
                .collect(),
            dark: (0..members.len())
                .filter(|i| !shares.contains_key(i))
                .map(|i| dark(&members[i], levels.reserve.contains(&i)))
                .collect(),
        },
        variants: variants(members, &shares),
        carriers: carriers(model, levels, &shares),
        memory_update,
    }
}

/// Shares of the versions of every serving member, by its index.
fn shares_of(
    model: &Model,
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
    let members = &model.members;
    let candidates: Vec<Candidate> = serving
        .iter()
        .map(|(i, canary)| Candidate {
            canary: *canary,
            desired: model.replicas(&members[*i]),
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

fn dark(member: &Member, stands_in: bool) -> DarkCarrier {
    DarkCarrier {
        carrier: member.key.identity(),
        versions: versions(member),
        stands_in,
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
                upstream: endpoints.upstream(),
            };
            variants.insert(version.clone(), variant);
        }
    }
    variants
}

fn carriers(
    model: &Model,
    levels: Levels,
    shares: &BTreeMap<usize, Vec<u32>>,
) -> Vec<PlannedCarrier> {
    let states = levels.states.into_iter().zip(levels.weights);
    model
        .members
        .iter()
        .zip(states)
        .enumerate()
        .map(|(i, (member, (state, weight)))| PlannedCarrier {
            key: member.key.clone(),
            state,
            weight,
            share: shares.get(&i).map_or(0, |own| own.iter().sum()),
            ready: member.ready_endpoints(),
            desired: member.desired,
            base_replicas: model.replicas(member),
            flapping: member.flapping,
            is_stored_base: model.is_of_stored_base(member),
        })
        .collect()
}

/// No version takes new sessions: none is ready, or `onBaseLost: hold` forbids a stand-in for this lost base.
fn nothing_serves(
    namespace: &str,
    id: &ModelId,
    model: &Model,
    lost: Option<&CarrierKey>,
) -> Finding {
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
        message: match lost {
            Some(base) => format!(
                "no endpoint of {base}, the base of model {id}, is ready, and `spec.onBaseLost` of its ServedModel is hold: it answers 503 until one is, and pins still reach their version. To see why: kubectl describe {} -n {namespace}. To let another version stand in: set `spec.onBaseLost` to release",
                base.identity()
            ),
            None => format!(
                "no endpoint of model {id} is ready: it answers 503 until one is. To see why: kubectl describe {oldest} -n {namespace}"
            ),
        },
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
